package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
)

// webPush has one key for all.
type webPush struct {
	err      error
	panics   any
	identity bell.Identity
}

const publicKey = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"

func (p *webPush) WebPushKey(id bell.Identity) (string, error) {
	if p.panics != nil {
		panic(p.panics)
	}
	p.identity = id
	return publicKey, p.err
}

func TestWebPushKey(t *testing.T) {
	w := newWorld(t)
	out := w.do("GET", "/v2/web_push/key", "", as(appToken)...)
	out.want(t, http.StatusOK)
	if out.envelope.Data["publicKey"] != publicKey || w.webPush.identity.Project != w.project {
		t.Errorf("%s for project %v", out.body, w.webPush.identity.Project)
	}
	w.webPush.err = bell.E(bell.NotFound, "The project has no Web Push.", nil)
	out = w.do("GET", "/v2/web_push/key", "", as(appToken)...)
	out.want(t, http.StatusNotFound)
	if !strings.Contains(out.envelope.Message, "no Web Push") {
		t.Errorf("%s", out.body)
	}
}
