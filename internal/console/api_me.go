package console

import (
	"net/http"

	"github.com/planetbell/planetbell"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console/signin"
)

// Me is who asks.
type Me struct {
	Name string     `json:"name"`
	Role bell.Role  `json:"role"`
	Via  signin.Via `json:"via"`
}

func (a *api) whoAmI(w http.ResponseWriter, r *http.Request) error {
	p := principalOf(r.Context())
	return writeJSON(w, http.StatusOK, Me{Name: p.Name, Role: p.Role, Via: p.Via})
}

// contract sends admin-openapi.yaml.
func (a *api) contract(w http.ResponseWriter, _ *http.Request) error {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(planetbell.AdminOpenAPI) // the sender has gone; there is nobody to tell
	return nil
}
