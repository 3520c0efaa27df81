package app

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/console/signin"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
	"github.com/planetbell/planetbell/planet"
)

// withAlice adds a user, and returns her password.
func withAlice(t *testing.T, c *config.Config) string {
	t.Helper()
	password := testlog.TextSecret("password-of-alice")
	hash, err := signin.HashPassword(planet.Secret(password))
	if err != nil {
		t.Fatal(err)
	}
	c.Admin.Users = []config.AdminUser{{Name: "alice", PasswordHash: hash.PHC(), Role: bell.Operator}}
	return password
}

func start(t *testing.T, c config.Config) *App {
	t.Helper()
	a, err := New(t.Context(), c, testlog.New(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// asks sends a request to the admin listener's handler, as a browser on a page of it does.
func asks(a *App, method, path, body string, cookie *http.Cookie) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if cookie != nil {
		r.AddCookie(cookie)
	}
	w := httptest.NewRecorder()
	a.admin.Handler.ServeHTTP(w, r)
	return w
}

func signIn(t *testing.T, a *App, password string) *http.Cookie {
	t.Helper()
	w := asks(a, "POST", "/signin", url.Values{"name": {"alice"}, "password": {password}}.Encode(), nil)
	if w.Code != http.StatusSeeOther || len(w.Result().Cookies()) != 1 {
		t.Fatalf("sign in: %d, %d cookies", w.Code, len(w.Result().Cookies()))
	}
	return w.Result().Cookies()[0]
}

func wantStatus(t *testing.T, what string, w *httptest.ResponseRecorder, status int) {
	t.Helper()
	if w.Code != status {
		t.Errorf("%s: status %d, want %d", what, w.Code, status)
	}
}

// A session outlives the process, but not the password that it began with.
func TestASessionOutlivesARestart(t *testing.T) {
	t.Parallel()
	c := settings(t)
	password := withAlice(t, &c)
	first := start(t, c)
	cookie := signIn(t, first, password)
	wantStatus(t, "at first", asks(first, "GET", "/admin/v1/me", "", cookie), http.StatusOK)
	stop(t, first)

	second := start(t, c)
	w := asks(second, "GET", "/admin/v1/me", "", cookie)
	var me console.Me
	if err := json.Unmarshal(w.Body.Bytes(), &me); err != nil || me != (console.Me{Name: "alice", Role: bell.Operator, Via: signin.ViaPassword}) {
		t.Errorf("after a restart it is %+v, %v", me, err)
	}
	stop(t, second)

	withAlice(t, &c) // another hash
	third := start(t, c)
	wantStatus(t, "with another hash", asks(third, "GET", "/admin/v1/me", "", cookie), http.StatusUnauthorized)
	r := httptest.NewRequest("GET", "http://localhost/admin/v1/audit", nil)
	r.Header.Set("Authorization", "Bearer "+c.Admin.Token.Reveal())
	rec := httptest.NewRecorder()
	third.admin.Handler.ServeHTTP(rec, r)
	if body := rec.Body.String(); !strings.Contains(body, `"who":"alice","role":"operator","via":"password","remote":"192.0.2.1","action":"session.begin"`) {
		t.Errorf("the audit log is %d %s", rec.Code, body)
	}
	testlog.Keep(t, "audit log", rec.Body.String())
	stop(t, third)
}

// All nodes know a session, and that it has ended.
func TestNodesShareSessions(t *testing.T) {
	t.Parallel()
	c := settings(t)
	c.Database.URL = planet.Secret(testpg.Database(t))
	password := withAlice(t, &c)
	here, there := start(t, c), start(t, c)
	cookie := signIn(t, here, password)
	wantStatus(t, "there", asks(there, "GET", "/admin/v1/me", "", cookie), http.StatusOK)
	wantStatus(t, "sign out there", asks(there, "POST", "/signout", "", cookie), http.StatusSeeOther)
	wantStatus(t, "here", asks(here, "GET", "/admin/v1/me", "", cookie), http.StatusUnauthorized)
	stop(t, here)
	stop(t, there)
}

// On the network, and behind a proxy, there must be credentials; any will do.
func TestCredentialsOnTheNetwork(t *testing.T) {
	t.Parallel()
	c := settings(t)
	c.Admin.Token, c.Admin.Address = "", "0.0.0.0:0"
	_, err := New(t.Context(), c, testlog.New(t), "test")
	if err == nil || !strings.Contains(err.Error(), "admin.address: 0.0.0.0:0 can be reached from the network, and there are no credentials; set admin.token") {
		t.Errorf("error %v", err)
	}
	c.Admin.Address, c.Admin.BehindProxy = "127.0.0.1:0", true
	_, err = New(t.Context(), c, testlog.New(t), "test")
	if err == nil || !strings.Contains(err.Error(), "admin.behind_proxy: is set, and there are no credentials; set admin.token") {
		t.Errorf("behind a proxy: error %v", err)
	}
	c.Admin.Address, c.Admin.BehindProxy = "0.0.0.0:0", false
	withAlice(t, &c)
	a := start(t, c)
	wantStatus(t, "nobody", asks(a, "GET", "/admin/v1/me", "", nil), http.StatusUnauthorized)
	stop(t, a)

	c = settings(t)
	c.Admin.Token = ""
	a = start(t, c)
	r := httptest.NewRequest("GET", "http://localhost/admin/v1/me", nil)
	r.RemoteAddr = "127.0.0.1:4000"
	w := httptest.NewRecorder()
	a.admin.Handler.ServeHTTP(w, r)
	wantStatus(t, "on loopback", w, http.StatusOK)
	stop(t, a)
}

func TestOIDCFromTheConfiguration(t *testing.T) {
	t.Parallel()
	c := settings(t)
	c.Admin.OIDC.Issuer, c.Admin.OIDC.ClientID = "https://login.example.com", "bell"
	c.Admin.OIDC.RedirectURL = "https://admin.example.com/signin/oidc/callback"
	c.Admin.OIDC.Roles = config.OIDCRoles{Viewer: []string{"staff"}, Operator: []string{"ops"}, Admin: []string{"root", "boss"}}
	made := oidcOf(&c.Admin.OIDC)
	want := map[string]bell.Role{"staff": bell.Viewer, "ops": bell.Operator, "root": bell.Admin, "boss": bell.Admin}
	for value, role := range want {
		if made.Roles[value] != role {
			t.Errorf("%s is %q", value, made.Roles[value])
		}
	}
	if made.DefaultRole != "" || len(made.Roles) != len(want) {
		t.Errorf("%+v", made)
	}
	a := start(t, c)
	page := asks(a, "GET", "/signin", "", nil)
	if !strings.Contains(page.Body.String(), "/signin/oidc") {
		t.Errorf("the page does not offer it: %s", page.Body)
	}
	r := httptest.NewRequest("GET", "https://admin.example.com/livez", nil)
	w := httptest.NewRecorder()
	a.admin.Handler.ServeHTTP(w, r)
	wantStatus(t, "by the name that people come back to", w, http.StatusOK)
	stop(t, a)
}
