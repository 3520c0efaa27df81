package httpapi

import (
	"net/http"

	"github.com/planetbell/planetbell"
)

// openAPI sends the contract of this listener: GET /openapi.yaml.
func (a *api) openAPI(w http.ResponseWriter, r *http.Request) error {
	a.write(w, r, http.StatusOK, "application/yaml", planetbell.OpenAPI)
	return nil
}
