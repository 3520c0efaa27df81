package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// preflightAge is how long a browser may remember that it was allowed: long enough to
// spare most preflights, short enough that a changed setting works the same day.
const preflightAge = 10 * time.Minute

// normalOrigin makes the operator's and the browser's writing comparable. Browsers
// send lower case and no slash.
func normalOrigin(origin string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(origin), "/"))
}

// cors sets the headers by which a browser lets a page of a configured origin read the
// answer, errors included, and answers OPTIONS by itself; then it reports true. There
// are no cookies, so pages of other origins are not a danger to anybody; they are
// refused because nobody has said that they belong to this app server.
func (a *api) cors(w http.ResponseWriter, r *http.Request, rt route) (done bool) {
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	allowed := origin != "" && a.origins[normalOrigin(origin)]
	if allowed {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After, WWW-Authenticate")
	}
	if r.Method != http.MethodOptions {
		return false
	}
	if origin != "" && !allowed {
		a.fail(w, r, bell.E(bell.Forbidden, "This web origin may not call the API; the operator has to add it to the web origins.", nil))
		return true
	}
	h.Set("Allow", rt.allow())
	if allowed {
		h.Set("Access-Control-Allow-Methods", "GET, POST, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept, Last-Event-ID")
		h.Set("Access-Control-Max-Age", seconds(preflightAge))
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}
