package webhook_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/store/sqlite"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// got is an event as a receiver got it: signed, by the word of a library that is not ours.
type got struct {
	host, id, body string
	at             time.Duration // since the story began
}

// internet is where events go: hosts with receivers that answer what a story says.
type internet struct {
	t       *testing.T
	began   time.Time
	verify  *standardwebhooks.Webhook
	mu      sync.Mutex
	answers map[string]func(r *http.Request) (*http.Response, error) // by host; 204 if there is none
	tries   []got                                                    // all, also those that were not taken
	taken   []got
	atOnce  map[string]int
	most    map[string]int
}

func (n *internet) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	host := r.URL.Host
	n.mu.Lock()
	if err := n.verify.Verify(body, r.Header); err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		n.t.Errorf("%s %s is not as Standard Webhooks wants it: %v, %v", r.Method, host, err, r.Header)
	}
	g := got{host, r.Header.Get("Webhook-Id"), string(body), time.Since(n.began)}
	n.tries = append(n.tries, g)
	n.atOnce[host]++
	n.most[host] = max(n.most[host], n.atOnce[host])
	answer := n.answers[host]
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		n.atOnce[host]--
		n.mu.Unlock()
	}()
	if answer == nil {
		answer = status(http.StatusNoContent)
	}
	w, err := answer(r)
	if err == nil && w.StatusCode/100 == 2 {
		n.mu.Lock()
		n.taken = append(n.taken, g)
		n.mu.Unlock()
	}
	return w, err
}

func (n *internet) set(host string, answer func(*http.Request) (*http.Response, error)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answers[host] = answer
}

func (n *internet) seen() (tries, taken []got) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.tries), slices.Clone(n.taken)
}

func status(code int, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return &http.Response{StatusCode: code, Header: h, Request: r, Body: io.NopCloser(strings.NewReader("answer"))}, nil
	}
}

// hangs never answers.
func hangs(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// world is a worker with its database and the internet.
type world struct {
	*internet
	t       *testing.T
	path    string
	store   *sqlite.Store
	worker  *webhook.Worker
	reg     *prometheus.Registry
	change  func(*webhook.Config)
	stop    func()
	project *bell.Project
}

const host = "backend.example.com"

// secret is what all endpoints sign with.
var secret = bell.NewSigningSecret()

func endpoint(name string, types ...bell.EventType) *webhook.Endpoint {
	key, err := bell.ParseSigningKey(secret)
	if err != nil {
		panic(err)
	}
	if len(types) == 0 {
		types = bell.EventTypes()
	}
	return &webhook.Endpoint{
		Project: "acme", Name: name, URL: planet.Secret("https://" + host + "/" + testlog.TextSecret("hook")), Keys: []bell.SigningKey{key}, Types: bell.Events(types...),
	}
}

// empty is a database with the schema and nothing in it: to make one takes long under the
// race detector.
var empty []byte

func migrated(t *testing.T) []byte {
	t.Helper()
	if empty != nil {
		return empty // no two stories play at once
	}
	path := filepath.Join(t.TempDir(), "empty.db")
	store, err := sqlite.Open(t.Context(), sqlite.Config{Path: path, Log: testlog.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if empty, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	return empty
}

// story plays with a worker that runs, in test time.
func story(t *testing.T, change func(*webhook.Config), play func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		verify, err := standardwebhooks.NewWebhook(secret.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		w := &world{
			internet: &internet{
				t: t, began: time.Now(), verify: verify, answers: map[string]func(*http.Request) (*http.Response, error){},
				atOnce: map[string]int{}, most: map[string]int{},
			},
			t: t, path: filepath.Join(t.TempDir(), "planetbell.db"), change: change,
			project: &bell.Project{Name: "acme", Environment: planet.Real, Events: bell.Events(bell.EventTypes()...)},
		}
		if err := os.WriteFile(w.path, migrated(t), 0o600); err != nil {
			t.Fatal(err)
		}
		w.start()
		play(t, w)
		w.end()
	})
}

func (w *world) start() {
	w.t.Helper()
	store, err := sqlite.Open(w.t.Context(), sqlite.Config{Path: w.path, Log: testlog.New(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.reg = prometheus.NewRegistry()
	c := webhook.Config{
		Store: store, Transport: w.internet, Owner: bell.NewID(), Alone: true, Endpoints: []*webhook.Endpoint{endpoint("main")},
		Metrics: webhook.NewMetrics(w.reg), Log: testlog.New(w.t),
	}
	if w.change != nil {
		w.change(&c)
	}
	w.store, w.worker = store, webhook.New(c)
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.worker.Run(ctx)
	}()
	w.stop = func() {
		cancel()
		<-done
	}
}

func (w *world) end() {
	w.t.Helper()
	w.stop()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// restart ends the process in good order and starts another one.
func (w *world) restart() {
	w.t.Helper()
	w.end()
	w.start()
}

func newCall(n int) bell.Call {
	return bell.Call{
		Environment: planet.Real, SessionID: planet.SessionID(fmt.Sprintf("call-%04d", n)), Project: "acme",
		Caller: planet.UserRef{ServiceID: "svc", UserID: "alice"}, Callee: planet.UserRef{ServiceID: "svc", UserID: "bob"},
		Type: planet.AudioCall, CCParam: planet.CCParam(testlog.CCParam(n)), State: bell.CallRinging,
		NotifiedAt: time.Now(), Deadline: time.Now().Add(55 * time.Second),
	}
}

// rings records that a call rings, as package call does.
func (w *world) rings(n int) {
	w.t.Helper()
	c := newCall(n)
	c.Events = []bell.Event{bell.RingingEvent(&c, 1)}
	if _, err := w.store.BeginCall(w.t.Context(), c, nil, nil); err != nil {
		w.t.Fatal(err)
	}
}

// missed records that a call ended and nobody answered.
func (w *world) missed(n int) {
	w.t.Helper()
	c := newCall(n)
	c.State, c.Outcome, c.EndedAt, c.CCParam = bell.CallEnded, planet.OutcomeMissed, time.Now(), ""
	c.Wanted = w.project.Events
	if err := w.store.EndCall(w.t.Context(), c, bell.JournalEntry{DedupKey: string(c.SessionID), Kind: "call-event"}); err != nil {
		w.t.Fatal(err)
	}
}

// story of one call as a receiver tells it: the types in their order.
func typesOf(of []got, n int) string {
	sid, types := fmt.Sprintf(`"sid":"call-%04d"`, n), []string{}
	for _, g := range of {
		if strings.Contains(g.body, sid) {
			_, rest, _ := strings.Cut(g.body, `"type":"`)
			name, _, _ := strings.Cut(rest, `"`)
			types = append(types, name)
		}
	}
	return strings.Join(types, " ")
}

const wholeCall = "call.ringing call.ended call.missed"

func (w *world) wantWhole(n int) {
	w.t.Helper()
	_, taken := w.seen()
	if got := typesOf(taken, n); got != wholeCall {
		w.t.Errorf("call %d was told as %q, want %q", n, got, wholeCall)
	}
}

func (w *world) wantTaken(n int) {
	w.t.Helper()
	if _, taken := w.seen(); len(taken) != n {
		w.t.Errorf("%d events arrived, want %d", len(taken), n)
	}
}

// pass lets time go by, and then what is due happen.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

func (w *world) listed(state webhook.State) []webhook.Telling {
	w.t.Helper()
	all, err := w.worker.List(w.t.Context(), webhook.Filter{State: state}, webhook.Cursor{}, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}
