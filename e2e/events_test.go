package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// told is an event as the customer's system got it.
type told struct {
	ID        string `json:"-"`
	Type      string
	Timestamp time.Time
	Data      struct {
		SID     string
		Outcome string
		Devices int
		Release struct {
			Reasons []struct{ Name string }
		}
		Callee struct {
			UserID string `json:"user_id"`
		}
		AppServerData string `json:"app_server_data"`
	}
}

// backend is the customer's system: it takes events that an independent library finds well
// signed. While it is stuck, every request hangs.
type backend struct {
	*httptest.Server
	t      *testing.T
	secret string
	verify *standardwebhooks.Webhook

	mu    sync.Mutex
	got   []told
	hung  int
	gate  chan struct{} // closed when it is not stuck
	fails func(told) bool
}

func newBackend(t *testing.T) *backend {
	t.Helper()
	b := &backend{t: t, secret: "whsec_" + secret("events", 64), gate: make(chan struct{})}
	var err error
	if b.verify, err = standardwebhooks.NewWebhook(b.secret); err != nil {
		t.Fatal(err)
	}
	close(b.gate)
	b.Server = httptest.NewServer(b)
	t.Cleanup(b.Close)
	return b
}

// stick makes every request hang until the backend is freed, or the request's end.
func (b *backend) stick() (free func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gate := make(chan struct{})
	b.gate = gate
	return sync.OnceFunc(func() { close(gate) })
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the sender has gone
	}
	b.mu.Lock()
	gate := b.gate
	b.hung++
	b.mu.Unlock()
	select {
	case <-gate:
	case <-r.Context().Done():
		return
	}
	e := told{ID: r.Header.Get("webhook-id")}
	if err := errors.Join(b.verify.Verify(body, r.Header), json.Unmarshal(body, &e)); err != nil {
		b.t.Errorf("an event is not as it should be: %v", err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	testlog.Keep(b.t, "event", string(body))
	for what, is := range secrets {
		if is.Match(body) {
			b.t.Errorf("%s is in an event", what)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fails != nil && b.fails(e) {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	b.got = append(b.got, e)
	w.WriteHeader(http.StatusNoContent)
}

// requests is how many came so far, also those that hang.
func (b *backend) requests() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hung
}

// of are the events of a call, each once, in the order in which they came first.
func (b *backend) of(sid string) (events []told, repeats int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.got {
		switch {
		case e.Data.SID != sid:
		case slices.ContainsFunc(events, func(other told) bool { return other.ID == e.ID }):
			repeats++
		default:
			events = append(events, e)
		}
	}
	return events, repeats
}

func types(events []told) string {
	names := make([]string, len(events))
	for i, e := range events {
		names[i] = e.Type
	}
	return strings.Join(names, " ")
}

// tells lets the first project tell the backend.
func tells(b *backend) setting {
	return configured(func(c *config.Config) {
		c.Webhooks.AllowHTTP = true
		c.Webhooks.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
		c.Projects[0].Events = []config.Endpoint{{Name: "main", URL: planet.Secret(b.URL + "/" + secret("hook", 32)), Secret: planet.Secret(b.secret)}}
	})
}

const wholeMissed = "call.ringing call.ended call.missed"

// The customer's system is told of a call in order, by events that anybody's library
// verifies.
func TestEventsOfACall(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	s := play(t, tells(b))
	s.phone("bob", sim.MacOS, "Mac")
	missed := s.call("alice", "bob", sim.Plan{Kind: sim.PlanUnanswered})
	s.await("the ringing is told", func() bool { e, _ := b.of(string(missed.SessionID())); return types(e) == "call.ringing" })
	missed.Hangup()
	s.over(missed)
	answered := s.call("alice", "bob", sim.Plan{Kind: sim.PlanAnswered, By: "Mac"})
	s.over(answered)
	s.await("all is told", func() bool {
		one, _ := b.of(string(missed.SessionID()))
		other, _ := b.of(string(answered.SessionID()))
		return len(one) == 3 && len(other) == 2
	})
	one, repeats := b.of(string(missed.SessionID()))
	if types(one) != wholeMissed || repeats != 0 {
		t.Errorf("told: %s, and %d repeats", types(one), repeats)
	}
	if e := one[0]; e.Data.Devices != 1 || e.Data.Callee.UserID != "bob" || e.Data.AppServerData != "ticket-7" || time.Since(e.Timestamp).Abs() > patience {
		t.Errorf("call.ringing says %+v", e)
	}
	if e := one[1]; e.Data.Outcome != "canceled" || len(e.Data.Release.Reasons) == 0 || e.Data.Release.Reasons[0].Name == "" {
		t.Errorf("call.ended says %+v", e)
	}
	if other, _ := b.of(string(answered.SessionID())); types(other) != "call.ringing call.ended" || other[1].Data.Outcome != "completed" {
		t.Errorf("an answered call is told as %+v", other)
	}

	var list console.EventList
	s.await("the operator sees that all is told", func() bool {
		s.admin(http.MethodGet, "/admin/v1/events?state=told", "", &list)
		return len(list.Events) == 5
	})
	if list.Events[0].Endpoint != "demo/main" || list.Events[0].Status != http.StatusNoContent {
		t.Errorf("the operator sees %+v", list)
	}
	if status := s.admin(http.MethodPost, "/admin/v1/events/"+one[2].ID+"/replay", "", nil); status != http.StatusOK {
		t.Errorf("a replay was answered %d", status)
	}
	if status := s.admin(http.MethodPost, "/admin/v1/events/test", `{"project":"demo"}`, nil); status != http.StatusAccepted {
		t.Errorf("a test was answered %d", status)
	}
	s.await("the replay and the test arrive", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return slices.ContainsFunc(b.got, func(e told) bool { return e.Type == string(bell.EventTest) }) && len(b.got) == 7
	})
}

// While the customer's system swallows every request, calls ring and end all the same: none
// of this story could go on if anything waited for it. Then everything arrives, in order,
// also across a restart.
func TestABlackHoleHoldsUpNoRing(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	s := play(t, tells(b))
	free := b.stick()
	defer free()
	mac := s.phone("bob", sim.MacOS, "Mac")
	var sids []string
	for i := range 30 {
		if i == 15 {
			s.await("requests hang", func() bool { return b.requests() > 0 })
			s.stop()
			s.start()
		}
		c := s.call("alice", "bob", sim.Plan{Kind: sim.PlanUnanswered})
		s.rang(mac, i+1)
		c.Hangup()
		s.over(c)
		sids = append(sids, string(c.SessionID()))
	}
	if b.mu.Lock(); len(b.got) != 0 {
		t.Errorf("%d events arrived at a system that swallows them", len(b.got))
	}
	b.mu.Unlock()
	free()
	s.await("everything is told", func() bool {
		for _, sid := range sids {
			if e, _ := b.of(sid); types(e) != wholeMissed {
				return false
			}
		}
		return true
	})
}

// What a server that was killed had not told is told by the next one.
func TestAKillLosesNoEvent(t *testing.T) {
	t.Parallel()
	b := newBackend(t)
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	w := newWatch(t)
	defer w.search(t)
	defer w.client.CloseIdleConnections()
	file := filepath.Join(t.TempDir(), "planetbell.yaml")
	callback := secret("callback-secret", 40)
	settings := fmt.Sprintf(`
public: {address: "127.0.0.1:0"}
admin: {address: "localhost:0"}
app_tokens: {signing_key: %q}
webhooks: {allow_http: true, allow_private: [127.0.0.1]}
projects:
  - {name: demo, service_id: demo-service, api_key: demo-api-key, api_secret: %q, client_key: %q, callback_secret: %q,
     events: [{url: %q, secret: %q}]}
`, secret("signing-key", 64), secret("api-secret", 64), secret("client-key", 32), callback, b.URL+"/"+secret("hook", 32), b.secret)
	if err := os.WriteFile(file, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	var sids []string
	for round := range 4 {
		p := serve(ctx, t, w, file)
		free := b.stick()
		if round%2 == 1 {
			free() // it is killed while it tells
		}
		for n := range 20 {
			sid := fmt.Sprintf("7d0a3c52-0d5f-4a44-9b5e-%04d%08d", round, n)
			for _, step := range []struct {
				name   string
				values url.Values
			}{{"notify", notify(sid, "demo-service", "bob")}, {"call-event", callEvent(sid, "demo-service", "bob")}} {
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.public+"/cb/"+callback+"/"+step.name+"?"+step.values.Encode(), nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := w.client.Do(r)
				if err != nil {
					t.Fatalf("%s was not answered", step.name)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Fatalf("%s was answered %d", step.name, resp.StatusCode)
				}
			}
			sids = append(sids, sid)
		}
		p.kill()
		free()
	}
	p := serve(ctx, t, w, file)
	defer p.kill()
	whole := func() bool {
		for _, sid := range sids {
			if e, _ := b.of(sid); types(e) != wholeMissed {
				return false
			}
		}
		return true
	}
	for tick := time.NewTicker(50 * time.Millisecond); !whole(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			for _, sid := range sids {
				if e, _ := b.of(sid); types(e) != wholeMissed {
					t.Errorf("call %s is told as %q", sid, types(e))
				}
			}
			return
		}
	}
}
