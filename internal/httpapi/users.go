package httpapi

import (
	"errors"
	"net/http"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// registered is the data of register_user. The name is LINE's: it is our app token,
// not the PlanetKit access token.
type registered struct {
	AccessToken string `json:"accessToken"`
}

// registerUser gives a user ID to a client: POST /v2/register_user.
func (a *api) registerUser(w http.ResponseWriter, r *http.Request) error {
	if !a.signUps.allow(household(a.clientAddress(r)), a.config.Now()) {
		a.metrics.limited.WithLabelValues("sign_up").Inc()
		return bell.E(bell.TooMany, "Too many registrations from this address; wait a minute.", nil)
	}
	in, err := readSignUp(r)
	if err != nil {
		return err
	}
	if in.Current, err = a.current(r); err != nil {
		return err
	}
	token, err := a.services.Accounts.SignUp(r.Context(), in)
	if errors.Is(err, bell.Unauthorized) {
		// The client key is in the body. 401 is kept for bad app tokens, because
		// clients take it as "your registration has expired".
		return bell.E(bell.Forbidden, describe(err).message, err)
	}
	if err != nil {
		return err
	}
	a.succeed(w, r, registered{AccessToken: token.Reveal()})
	return nil
}

func readSignUp(r *http.Request) (account.SignUp, error) {
	body, err := readObject(r)
	if err != nil {
		return account.SignUp{}, err
	}
	userID, err := body.needed("userId")
	if err != nil {
		return account.SignUp{}, err
	}
	serviceID, err := body.needed("serviceId")
	if err != nil {
		return account.SignUp{}, err
	}
	key, err := body.text("apiKey")
	if err != nil {
		return account.SignUp{}, err
	}
	return account.SignUp{
		UserID: userID, ServiceID: serviceID, ClientKey: planet.Secret(key),
		Region: body.remark("region"), DisplayName: body.remark("displayName"),
	}, nil
}

// current says who the client already is, if it shows a valid app token: it may then
// register its own user ID again. LINE's clients show none here; a bad one is no
// reason to refuse a registration that needs none.
func (a *api) current(r *http.Request) (*bell.Identity, error) {
	if bearer(r) == "" {
		return nil, nil
	}
	id, err := a.identify(r)
	if errors.Is(err, bell.Unauthorized) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &id, nil
}
