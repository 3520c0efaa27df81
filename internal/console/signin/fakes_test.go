package signin

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is when the tests begin.
var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

const here = "admin.example.com"

var (
	adminToken    = planet.Secret(testlog.TextSecret("admin-token-of-the-tests"))
	scraperToken  = planet.Secret(testlog.TextSecret("scraper-token-of-the-tests"))
	alicePassword = testlog.TextSecret("password-of-alice")
)

// cheap is a hash that costs next to nothing, and is for tests only: no configuration may have it.
func cheap(password string) bell.PasswordHash {
	h := bell.PasswordHash{Memory: 64, Passes: 1, Lanes: 1, Salt: random(16), Sum: planet.Secret(make([]byte, 32))}
	h.Sum = planet.Secret(derive(password, h))
	return h
}

var aliceHash = sync.OnceValue(func() bell.PasswordHash { return cheap(alicePassword) })

// row is a session in memory.
type row struct {
	data          string
	expires, seen time.Time
}

// memory is a Store.
type memory struct {
	mu      sync.Mutex
	rows    map[string]row
	touched int
	fail    error
}

func newMemory() *memory { return &memory{rows: map[string]row{}} }

func (m *memory) SaveSignIn(_ context.Context, key, data string, expires, seen time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows[key] = row{data, expires, seen}
	return m.fail
}

func (m *memory) FindSignIn(_ context.Context, key string, now, seenSince time.Time) (string, time.Time, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rows[key]
	if !ok || !r.expires.After(now) || r.seen.Before(seenSince) {
		return "", time.Time{}, false, m.fail
	}
	return r.data, r.seen, true, m.fail
}

func (m *memory) TouchSignIn(_ context.Context, key string, seen time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.touched++
	if r, ok := m.rows[key]; ok {
		r.seen = seen
		m.rows[key] = r
	}
	return m.fail
}

func (m *memory) EndSignIn(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rows, key)
	return m.fail
}

// clock is one that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a Service and what is around it.
type world struct {
	*Service
	store *memory
	clock *clock
}

func config(store Store, now func() time.Time) Config {
	return Config{
		Token: adminToken, Store: store, Now: now, Secure: true,
		Users:  []User{{Name: "alice", Hash: aliceHash(), Role: bell.Operator}},
		Tokens: []Token{{Name: "scraper", Sum: sumOf(scraperToken), Role: bell.Viewer}},
	}
}

func newWorld(t *testing.T, change ...func(*Config)) *world {
	t.Helper()
	w := &world{store: newMemory(), clock: &clock{now: noon}}
	c := config(w.store, w.clock.Now)
	for _, f := range change {
		f(&c)
	}
	w.Service = New(c)
	return w
}

// browser keeps cookies as browsers do, and says where its requests come from.
type browser struct {
	cookies map[string]string
	remote  string
}

func newBrowser() *browser { return &browser{cookies: map[string]string{}, remote: "192.0.2.7:4000"} }

func (b *browser) request(method, target string, form url.Values) *http.Request {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, "https://"+here+target, body)
	r.RemoteAddr = b.remote
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if method != "GET" {
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r
}

// take takes over the cookies of an answer.
func (b *browser) take(w *httptest.ResponseRecorder) *httptest.ResponseRecorder {
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return w
}

func (w *world) signInAs(b *browser, form url.Values) (*httptest.ResponseRecorder, Principal, error) {
	rec := httptest.NewRecorder()
	who, err := w.SignIn(rec, b.request("POST", "/signin", form))
	return b.take(rec), who, err
}

func alice(password string) url.Values {
	return url.Values{"name": {"alice"}, "password": {password}, "next": {"/calls?state=lost"}}
}

// is checks who a browser is.
func (w *world) is(t *testing.T, b *browser, want Principal) {
	t.Helper()
	who, err := w.Identify(b.request("GET", "/", nil))
	if err != nil || who != want {
		t.Errorf("it is %+v, %v; want %+v", who, err, want)
	}
}

var (
	nobody       = Principal{}
	alicesOwn    = Principal{Name: "alice", Role: bell.Operator, Via: ViaPassword}
	adminByToken = Principal{Name: "admin.token", Role: bell.Admin, Via: ViaToken}
)

func wantKind(t *testing.T, err error, kind bell.Kind) {
	t.Helper()
	if bell.KindOf(err) != kind {
		t.Errorf("error %v has kind %q, want %q", err, bell.KindOf(err), kind)
	}
	if err != nil {
		testlog.Keep(t, "error", err.Error())
	}
}
