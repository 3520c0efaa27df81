package httpapi

import (
	"net/http"

	"github.com/planetbell/planetbell/internal/bell"
)

// issued is the data of access_token/issue. LINE calls the PlanetKit access token a
// gateway access token here.
type issued struct {
	GatewayAccessToken string `json:"gwAccessToken"`
	UserID             string `json:"userId"`
	ServiceID          string `json:"serviceId"`
}

// issueAccessToken hands out a PlanetKit access token for the client's own user: GET
// /v2/access_token/issue. LINE's Windows client forgets its user on any failure here.
func (a *api) issueAccessToken(w http.ResponseWriter, r *http.Request, id bell.Identity) error {
	if !a.tokens.allow(id.Owner, a.config.Now()) {
		a.metrics.limited.WithLabelValues("access_token").Inc()
		return bell.E(bell.TooMany, "This user asks for too many access tokens; wait a minute.", nil)
	}
	token, err := a.services.Accounts.AccessToken(r.Context(), id)
	if err != nil {
		return err
	}
	a.succeed(w, r, issued{
		GatewayAccessToken: token.Reveal(), UserID: id.Owner.User.UserID, ServiceID: id.Owner.User.ServiceID,
	})
	return nil
}
