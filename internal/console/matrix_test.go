package console_test

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/console/signin"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// roleToken is a token with a role.
func roleToken(role bell.Role) planet.Secret {
	return planet.Secret(testlog.TextSecret("token-of-the-" + string(role)))
}

// password is everybody's in these tests; each role has a user of its name.
var password = testlog.TextSecret("password-of-everybody")

// passwordHash costs next to nothing, and is for tests only: no configuration may have it.
var passwordHash = sync.OnceValue(func() bell.PasswordHash {
	h := bell.PasswordHash{Memory: 64, Passes: 1, Lanes: 1, Salt: "sixteen bytes ok"}
	h.Sum = planet.Secret(argon2.IDKey([]byte(password), []byte(h.Salt.Reveal()), h.Passes, h.Memory, h.Lanes, 32))
	return h
})

// rolesConfig has a token and a user for each role.
func rolesConfig() console.Config {
	c := testConfig()
	c.SignIn.Store = &sessionStore{rows: map[string]string{}}
	for _, role := range bell.Roles() {
		c.SignIn.Tokens = append(c.SignIn.Tokens, signin.Token{Name: string(role), Sum: sha256.Sum256([]byte(roleToken(role).Reveal())), Role: role})
		c.SignIn.Users = append(c.SignIn.Users, signin.User{Name: string(role), Hash: passwordHash(), Role: role})
	}
	return c
}

// sessionStore keeps sessions without an end.
type sessionStore struct {
	mu   sync.Mutex
	rows map[string]string

	failing atomic.Int32 // of the next sessions that are looked for, how many cannot be
	touched atomic.Int32
}

func (s *sessionStore) SaveSignIn(_ context.Context, key, data string, _, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows[key] = data
	return nil
}

func (s *sessionStore) FindSignIn(_ context.Context, key string, now, _ time.Time) (string, time.Time, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing.Add(-1) >= 0 {
		return "", time.Time{}, false, bell.E(bell.Unavailable, "The database is away.", nil)
	}
	data, ok := s.rows[key]
	return data, now.Add(-2 * time.Minute), ok, nil
}

func (s *sessionStore) TouchSignIn(context.Context, string, time.Time) error {
	s.touched.Add(1)
	return nil
}

func (s *sessionStore) EndSignIn(_ context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.rows, key)
	return nil
}

// pathOf fills a route's placeholders.
func pathOf(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	parts := strings.Split(path, "/")
	for i, part := range parts {
		switch part {
		case "{id}":
			parts[i] = phone
		case "{sid}":
			parts[i] = string(sid)
		case "{$}":
			parts[i] = ""
		default:
			if strings.HasPrefix(part, "{") {
				parts[i] = "bell-eval"
			}
		}
	}
	return method, strings.Join(parts, "/")
}

// asRole sends a request as somebody of a role; "" is nobody.
func asRole(role bell.Role) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Del("Authorization")
		if role != "" {
			r.Header.Set("Authorization", "Bearer "+roleToken(role).Reveal())
		}
	}
}

// Every route, by the table itself, times every role, by token and by session: who has not the
// role is refused before anything is asked, and who has it is not.
func TestWhoMayDoWhat(t *testing.T) {
	cookies := map[bell.Role]*http.Cookie{}
	config := rolesConfig()
	config.ProtectMetrics = false
	first := newHandler(t, willing(t), config)
	for _, role := range bell.Roles() {
		cookies[role] = signInAs(t, first, role)
	}
	routes := console.Routes()
	if len(routes) < 30 {
		t.Fatalf("there are %d routes; the test would prove little", len(routes))
	}
	for _, route := range routes {
		if route.Kind == "signin" || strings.HasSuffix(route.Pattern, "/profile") || strings.HasSuffix(route.Pattern, "/trace") {
			continue // those that sign in have tests of their own; these two take their time, see below
		}
		for _, role := range append(bell.Roles(), "") {
			for _, by := range []string{"token", "session"} {
				as := asRole(role)
				if by == "session" {
					as = func(r *http.Request) {
						r.Header.Del("Authorization")
						r.Header.Set("Sec-Fetch-Site", "same-origin")
						if c := cookies[role]; c != nil {
							r.AddCookie(c)
						}
					}
				}
				method, path := pathOf(route.Pattern)
				allowed := route.Least == "" || role.Covers(route.Least)
				f := newFake(t) // would panic if asked
				if allowed {
					f = willing(t)
				}
				w := ask(t, newHandler(t, f, config), method, path, "", as)
				if got, want := classOf(w), classWanted(route, role, allowed); got != want {
					t.Errorf("%s as %q by %s: %d, want %s", route.Pattern, role, by, w.Code, want)
				}
			}
		}
	}
}

// classOf is what an answer means for who asked. Who is let in may well be told that something
// is wrong, or find a fake that was not prepared, which is answered 500.
func classOf(w *httptest.ResponseRecorder) string {
	switch {
	case w.Code == http.StatusUnauthorized:
		return "401"
	case w.Code == http.StatusForbidden:
		return "403"
	case w.Code == http.StatusSeeOther && strings.HasPrefix(w.Header().Get("Location"), "/signin"):
		return "303"
	}
	return "let in"
}

func classWanted(route console.Route, role bell.Role, allowed bool) string {
	switch {
	case allowed:
		return "let in"
	case role != "":
		return "403"
	case route.Kind == "page":
		return "303"
	}
	return "401"
}

// The two profiles that take their time.
func TestWhoMayProfile(t *testing.T) {
	h := newHandler(t, newFake(t), rolesConfig())
	for _, path := range []string{"/debug/pprof/profile", "/debug/pprof/trace"} {
		for role, want := range map[bell.Role]int{"": 401, bell.Viewer: 403, bell.Operator: 403} {
			if w := ask(t, h, "GET", path, "", asRole(role)); w.Code != want {
				t.Errorf("%s as %q: %d, want %d", path, role, w.Code, want)
			}
		}
	}
}

func TestProtectedMetrics(t *testing.T) {
	config := rolesConfig()
	config.ProtectMetrics = true
	h := newHandler(t, willing(t), config)
	for role, want := range map[bell.Role]int{"": 401, bell.Viewer: 200, bell.Operator: 200, bell.Admin: 200} {
		if w := ask(t, h, "GET", "/metrics", "", asRole(role)); w.Code != want {
			t.Errorf("as %q: %d, want %d", role, w.Code, want)
		}
		if w := ask(t, h, "GET", "/livez", "", asRole(role)); w.Code != 200 {
			t.Errorf("/livez as %q: %d", role, w.Code)
		}
	}
}

// form posts a form as a page of this server does.
func form(t *testing.T, h http.Handler, path string, values url.Values, change ...func(*http.Request)) *httptest.ResponseRecorder {
	t.Helper()
	return ask(t, h, "POST", path, values.Encode(), append([]func(*http.Request){func(r *http.Request) {
		r.Header.Del("Authorization")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}}, change...)...)
}

func signInAs(t *testing.T, h http.Handler, role bell.Role) *http.Cookie {
	t.Helper()
	w := form(t, h, "/signin", url.Values{"name": {string(role)}, "password": {password}})
	if w.Code != http.StatusSeeOther || len(w.Result().Cookies()) != 1 {
		t.Fatalf("sign in as %s: %d, %d cookies", role, w.Code, len(w.Result().Cookies()))
	}
	return w.Result().Cookies()[0]
}
