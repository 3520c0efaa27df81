package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/planet"
)

// frontDoor is a proxy in front of the callback URLs.
type frontDoor struct {
	*httptest.Server
	target  atomic.Pointer[string]
	mangles atomic.Bool // writes cc_param in lower case
	closed  atomic.Bool // answers 502 to everything
}

func newFrontDoor(t *testing.T) *frontDoor {
	f := &frontDoor{}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		to, err := url.Parse(*f.target.Load())
		if err != nil {
			t.Error(err)
			return
		}
		r.SetURL(to)
		if q := r.Out.URL.Query(); f.mangles.Load() && q.Has("param") {
			q.Set("param", strings.ToLower(q.Get("param")))
			r.Out.URL.RawQuery = q.Encode()
		}
	}}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.closed.Load() || f.target.Load() == nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

// A synthetic call goes the whole way, through a proxy in front: it rings, also after a restart,
// and what is wrong with the proxy is found, with its hop.
func TestTheCanaryRingsAndFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	door := newFrontDoor(t)
	s := play(t, configured(func(c *config.Config) {
		c.Canaries = []config.Canary{{
			Name: "front", Project: c.Projects[0].Name, CallerUserID: "canary-caller", CalleeUserID: "canary-callee",
			Every: time.Second, Timeout: 900 * time.Millisecond, CallbackURL: door.URL,
		}}
	}))
	to := s.App.PublicURL()
	door.target.Store(&to)
	calls := func(result string) float64 {
		return s.metric(`planetbell_canary_calls_total{canary="front",result="` + result + `"}`)
	}
	s.await("it has rung twice", func() bool { return calls("ok") >= 2 })
	if n := s.metric(`planetbell_canary_ring_seconds_count{canary="front"}`); n < 2 {
		t.Errorf("%v rings are measured", n)
	}
	all := s.calls("canary-callee")
	last := all[len(all)-1]
	if last.Caller.UserID != "canary-caller" || last.Outcome != planet.OutcomeCompleted {
		t.Errorf("in the call log: %+v", last)
	}
	if n := s.reachable("canary-callee"); n != 1 {
		t.Errorf("it has %d devices", n)
	}

	door.mangles.Store(true)
	s.await("a changed cc_param is found", func() bool { return calls("cc_param") >= 1 })
	door.mangles.Store(false)
	door.closed.Store(true)
	s.await("a dead proxy is found", func() bool { return calls("notify") >= 1 })
	door.closed.Store(false)
	before := calls("ok")
	s.await("it rings again", func() bool { return calls("ok") > before })

	s.stop()
	s.start() // its user ID is registered still
	s.await("it rings after a restart", func() bool { return calls("ok") >= 1 })
	if n := calls("register_user"); n != 0 {
		t.Errorf("%v sign-ups failed", n)
	}
}
