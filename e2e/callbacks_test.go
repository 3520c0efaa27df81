package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/sim"
)

// Planet Cloud and its Console get the answers that they need, whatever they send.
func TestHowCallbacksAreAnswered(t *testing.T) {
	t.Parallel()
	s := play(t)
	good := notify("7d0a3c52-0d5f-4a44-9b5e-0b0b6f3f9a10", "demo-service", "nobody")
	without := func(name string) string {
		v := url.Values{}
		for key, values := range good {
			if key != name {
				v[key] = values
			}
		}
		return "?" + v.Encode()
	}
	base := s.callbackURL(s.project(), "")
	wrong := s.App.PublicURL() + "/cb/" + secret("a wrong one", 40) + "/"
	for _, c := range []struct {
		what, method, url string
		status            int
	}{
		{"Notify for a callee whom nobody knows", http.MethodGet, base + "notify?" + good.Encode(), http.StatusOK},
		{"Notify without sid", http.MethodGet, base + "notify" + without("sid"), http.StatusBadRequest},
		{"Notify without callee", http.MethodGet, base + "notify" + without("to_user_id"), http.StatusBadRequest},
		{"Notify without cc_param", http.MethodGet, base + "notify" + without("param"), http.StatusBadRequest},
		{"Notify with a broken query", http.MethodGet, base + "notify?sid=%zz&" + good.Encode(), http.StatusBadRequest},
		{"the Console's test of Notify", http.MethodGet, base + "notify", http.StatusOK},
		{"the Console's test of Call Event", http.MethodGet, base + "call-event", http.StatusOK},
		{"the Console's test of Group Call Event", http.MethodGet, base + "group-call-event", http.StatusOK},
		{"the Console's test of Agent Call Status", http.MethodGet, base + "agent-call-status", http.StatusOK},
		{"a probe", http.MethodHead, base + "notify", http.StatusOK},
		{"another method", http.MethodDelete, base + "notify", http.StatusMethodNotAllowed},
		{"a wrong secret", http.MethodGet, wrong + "notify?" + good.Encode(), http.StatusNotFound},
		{"a wrong secret without parameters", http.MethodGet, wrong + "notify", http.StatusNotFound},
		{"an unreadable Call Event", http.MethodGet, base + "call-event?sid=short", http.StatusOK},
	} {
		a := s.do(s.request(c.method, c.url, ""))
		if a.status != c.status {
			t.Errorf("%s: answered %d, want %d", c.what, a.status, c.status)
		}
		if c.method == http.MethodHead {
			continue
		}
		e := a.envelope(t)
		if c.status >= 300 && (!strings.HasSuffix(e.Message, ".") || e.Code != fmt.Sprint(c.status)) {
			t.Errorf("%s: the envelope says %q, code %v; want a sentence and the status", c.what, e.Message, e.Code)
		}
	}
}

// app_svr_data may make the request line long; up to 64 KiB the call rings.
func TestALongNotifyRings(t *testing.T) {
	t.Parallel()
	s := play(t)
	iphone, android := s.phone("bob", sim.IOS, "iPhone"), s.phone("bob", sim.Android, "Android")
	mac := s.phone("bob", sim.MacOS, "Mac")
	c, err := s.World.Call(s.ctx, "alice", "bob", sim.CallRequest{AppServerData: strings.Repeat("d", 29_900)}) // sent twice
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []*sim.Phone{iphone, android, mac} {
		if got := s.rang(p, 1)[0]; !got.Rang {
			t.Errorf("%s did not ring: %v", p.Name(), got.Err)
		}
	}
	c.Hangup()
	r := s.over(c)
	if len(r.Events) == 0 || !r.Events[0].OK() {
		t.Error("the long Call Event was not taken")
	}

	long := notify("7d0a3c52-0d5f-4a44-9b5e-0b0b6f3f9a11", "demo-service", "bob")
	long.Set("app_svr_data", strings.Repeat("d", 65<<10))
	if a := s.callback(s.project(), "notify", long); a.status != http.StatusRequestURITooLong {
		t.Errorf("a request line above 64 KiB was answered %d, want 414", a.status)
	}
}

// Callbacks may be POSTed, as a form or as JSON.
func TestACallbackMayBePosted(t *testing.T) {
	t.Parallel()
	s := play(t)
	iphone := s.phone("bob", sim.IOS, "iPhone")
	form := notify("7d0a3c52-0d5f-4a44-9b5e-0b0b6f3f9a12", "demo-service", "bob")
	object := map[string]string{}
	for name, values := range notify("7d0a3c52-0d5f-4a44-9b5e-0b0b6f3f9a13", "demo-service", "bob") {
		object[name] = values[0]
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	for i, post := range []struct{ contentType, body string }{
		{"application/x-www-form-urlencoded", form.Encode()},
		{"application/json", string(text)},
	} {
		r := s.request(http.MethodPost, s.callbackURL(s.project(), "notify"), post.body)
		r.Header.Set("Content-Type", post.contentType)
		if a := s.do(r); a.status != http.StatusOK {
			t.Errorf("%s: answered %d %s", post.contentType, a.status, a.body)
		}
		if got := s.rang(iphone, i+1); got[i].Call.CCParam != form.Get("param") {
			t.Errorf("%s: the iPhone got another cc_param", post.contentType)
		}
	}
}
