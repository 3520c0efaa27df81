package httpapi

import (
	"net/http"

	"github.com/planetbell/planetbell/internal/bell"
)

// WebPush knows the keys for which browsers subscribe.
type WebPush interface {
	// WebPushKey returns the public VAPID key of the identity's project in base64url
	// (RFC 8292 section 3.2), or bell.NotFound when the project has no Web Push.
	WebPushKey(id bell.Identity) (string, error)
}

// webPushKey is the data of GET /v2/web_push/key.
type webPushKey struct {
	PublicKey string `json:"publicKey"`
}

// showWebPushKey tells a page what to give to pushManager.subscribe as applicationServerKey:
// GET /v2/web_push/key. The key is public; the app token says which project's it is.
func (a *api) showWebPushKey(w http.ResponseWriter, r *http.Request, id bell.Identity) error {
	key, err := a.services.WebPush.WebPushKey(id)
	if err != nil {
		return err
	}
	a.succeed(w, r, webPushKey{PublicKey: key})
	return nil
}
