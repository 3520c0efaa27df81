package httpapi

import (
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// member is a handler for somebody who showed a valid app token.
type member func(w http.ResponseWriter, r *http.Request, id bell.Identity) error

// authenticated lets in whoever shows a valid app token. 401 means that the token
// really is bad: LINE's web client tells its user that the registration has expired.
func (a *api) authenticated(next member) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		id, err := a.identify(r)
		if err != nil {
			if errors.Is(err, bell.Unauthorized) && !a.misses.allow(household(a.clientAddress(r)), a.config.Now()) {
				a.metrics.limited.WithLabelValues("app_token").Inc()
				eventOf(r).quiet = true
				return bell.E(bell.TooMany, "Too many requests with bad app tokens; wait a minute.", err)
			}
			return err
		}
		return next(w, r, id)
	}
}

// identify says who shows the request's app token.
func (a *api) identify(r *http.Request) (bell.Identity, error) {
	token := bearer(r)
	if token == "" {
		return bell.Identity{}, bell.E(bell.Unauthorized, `Send the app token as "Authorization: Bearer <token>".`, nil)
	}
	id, err := a.services.Accounts.Authenticate(r.Context(), token)
	if err != nil {
		return bell.Identity{}, err
	}
	eventOf(r).add(slog.String("project", id.Project.Name))
	return id, nil
}

// bearer returns the app token of a request, or "".
func bearer(r *http.Request) planet.Secret {
	scheme, token, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return planet.Secret(strings.TrimSpace(token))
}
