package signin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var ann = Principal{Name: "ann@example.com", Role: bell.Operator, Via: ViaOIDC}

// withIssuer is a world that lets people of example.com in by the groups that they are in.
func withIssuer(t *testing.T, change ...func(*OIDC)) (*world, *issuer) {
	t.Helper()
	i := newIssuer(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	o := &OIDC{
		Issuer: i.URL, ClientID: clientID, ClientSecret: planet.Secret(clientSecret), RedirectURL: callback, Scopes: []string{"openid", "email"},
		RoleClaim: "groups", Roles: map[string]bell.Role{"staff": bell.Viewer, "ops": bell.Operator, "root": bell.Admin},
		Domains: []string{"example.com"}, Transport: transport,
	}
	for _, f := range change {
		f(o)
	}
	return newWorld(t, func(c *Config) { c.OIDC = o }), i
}

// visit goes to the identity provider and returns where that sends the browser back to.
func (w *world) visit(t *testing.T, b *browser, i *issuer) string {
	t.Helper()
	rec := httptest.NewRecorder()
	if err := w.Visit(rec, b.request("GET", "/signin/oidc?next=/calls", nil)); err != nil {
		t.Fatal(err)
	}
	b.take(rec)
	if rec.Code != http.StatusSeeOther {
		t.Fatalf("status %d", rec.Code)
	}
	return i.authorize(rec.Header().Get("Location"))
}

func (w *world) comeBack(t *testing.T, b *browser, target string) (*httptest.ResponseRecorder, Principal, error) {
	t.Helper()
	rec := httptest.NewRecorder()
	r := b.request("GET", target, nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	who, err := w.Return(rec, r)
	testlog.Keep(t, "page", rec.Body.String())
	return b.take(rec), who, err
}

func TestOIDC(t *testing.T) {
	w, i := withIssuer(t)
	b := newBrowser()
	rec, who, err := w.comeBack(t, b, w.visit(t, b, i))
	if err != nil || who != ann || rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "/calls" {
		t.Fatalf("%+v, %v, %d to %s", who, err, rec.Code, rec.Header().Get("Location"))
	}
	w.is(t, b, ann)
	if len(b.cookies) != 1 {
		t.Errorf("%d cookies are left", len(b.cookies))
	}
	if i.asked != 1 {
		t.Errorf("the issuer was discovered %d times", i.asked)
	}
	// Other settings end the session.
	c := config(w.store, w.clock.Now)
	other := w.oidc.OIDC
	other.Domains = []string{"example.net"}
	c.OIDC = &other
	(&world{Service: New(c)}).is(t, b, nobody)
	c.OIDC = nil
	(&world{Service: New(c)}).is(t, b, nobody)
}

func TestOIDCRefuses(t *testing.T) {
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	claim := func(name string, value any) func(*issuer) {
		return func(i *issuer) { i.change = func(c jwt.MapClaims) { c[name] = value } }
	}
	for name, test := range map[string]struct {
		change func(*issuer)
		kind   bell.Kind
	}{
		"another nonce":       {claim("nonce", "other"), bell.Unauthorized},
		"no nonce":            {claim("nonce", ""), bell.Unauthorized},
		"another audience":    {claim("aud", "other"), bell.Unauthorized},
		"another issuer":      {claim("iss", "https://login.example.net"), bell.Unauthorized},
		"expired":             {claim("exp", noon.Add(-time.Second).Unix()), bell.Unauthorized},
		"another domain":      {claim("email", "ann@example.net"), bell.Forbidden},
		"a domain before it":  {claim("email", "ann@evil-example.com"), bell.Forbidden},
		"two domains":         {claim("email", "ann@evil.net@example.com"), bell.Forbidden},
		"not verified":        {claim("email_verified", false), bell.Forbidden},
		"verified, by a text": {claim("email_verified", "yes"), bell.Forbidden},
		"no e-mail":           {claim("email", nil), bell.Forbidden},
		"no group":            {claim("groups", nil), bell.Forbidden},
		"other groups":        {claim("groups", []any{"Ops", 7, "op"}), bell.Forbidden},
		"a stranger's key": {func(i *issuer) {
			i.sign = func(c jwt.MapClaims) (string, error) {
				token := jwt.NewWithClaims(jwt.SigningMethodES256, c)
				token.Header["kid"] = "k1"
				return token.SignedString(stranger)
			}
		}, bell.Unauthorized},
		"no signature": {func(i *issuer) {
			i.sign = func(c jwt.MapClaims) (string, error) {
				return jwt.NewWithClaims(jwt.SigningMethodNone, c).SignedString(jwt.UnsafeAllowNoneSignatureType)
			}
		}, bell.Unauthorized},
		"signed with the client secret": {func(i *issuer) {
			i.sign = func(c jwt.MapClaims) (string, error) {
				return jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString([]byte(clientSecret))
			}
		}, bell.Unauthorized},
		"no ID token": {func(i *issuer) { i.sign = func(jwt.MapClaims) (string, error) { return "", nil } }, bell.Unauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			w, i := withIssuer(t)
			test.change(i)
			b := newBrowser()
			rec, _, err := w.comeBack(t, b, w.visit(t, b, i))
			wantKind(t, err, test.kind)
			if rec.Code != http.StatusForbidden || len(w.store.rows) != 0 || len(b.cookies) != 0 {
				t.Errorf("status %d, %d sessions, %d cookies", rec.Code, len(w.store.rows), len(b.cookies))
			}
			if strings.Contains(rec.Body.String(), testlog.Text) || strings.Contains(err.Error(), testlog.Text) {
				t.Error("a secret is shown")
			}
		})
	}
}

// Who comes back must be the browser that went, with what it was given, and once.
func TestOIDCWaysBack(t *testing.T) {
	w, i := withIssuer(t)
	set := func(target, name, value string) string {
		path, query, _ := strings.Cut(target, "?")
		q, _ := url.ParseQuery(query)
		q.Set(name, value)
		return path + "?" + q.Encode()
	}
	for name, change := range map[string]func(b *browser, target string) string{
		"another state": func(_ *browser, target string) string { return set(target, "state", "other") },
		"no state":      func(_ *browser, target string) string { return set(target, "state", "") },
		"no code":       func(_ *browser, target string) string { return set(set(target, "code", ""), "error", "access_denied") },
		"made-up code":  func(_ *browser, target string) string { return set(target, "code", "made-up") },
		"another browser": func(b *browser, target string) string {
			clear(b.cookies)
			return target
		},
		"a broken cookie": func(b *browser, target string) string { b.cookies[w.visitCookie()] = "%%%"; return target },
		"an empty cookie": func(b *browser, target string) string {
			b.cookies[w.visitCookie()] = base64.RawURLEncoding.EncodeToString([]byte(`{"s":"","n":"","v":""}`))
			return set(target, "state", "")
		},
		"another verifier": func(b *browser, target string) string {
			text, _ := base64.RawURLEncoding.DecodeString(b.cookies[w.visitCookie()])
			text = []byte(strings.Replace(string(text), `"v":"`, `"v":"x`, 1))
			b.cookies[w.visitCookie()] = base64.RawURLEncoding.EncodeToString(text)
			return target
		},
	} {
		b := newBrowser()
		b.remote = "192.0.2." + string(rune('0'+len(name)%10)) + ":1"
		rec, _, err := w.comeBack(t, b, change(b, w.visit(t, b, i)))
		if bell.KindOf(err) != bell.Unauthorized || rec.Code != http.StatusForbidden || strings.Contains(err.Error(), testlog.Text) {
			t.Errorf("%s: %v, status %d", name, err, rec.Code)
		}
	}
	b := newBrowser()
	target := w.visit(t, b, i)
	before := b.cookies[w.visitCookie()]
	if _, _, err := w.comeBack(t, b, target); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.comeBack(t, b, target); bell.KindOf(err) != bell.Unauthorized {
		t.Errorf("a second time: %v", err)
	}
	b.cookies[w.visitCookie()] = before
	if _, _, err := w.comeBack(t, b, target); bell.KindOf(err) != bell.Unauthorized {
		t.Errorf("a second time with the same cookie: %v", err)
	}
	if len(w.store.rows) != 1 {
		t.Errorf("%d sessions, want one", len(w.store.rows))
	}
}

func TestOIDCRoles(t *testing.T) {
	claims := func(more map[string]any) map[string]any {
		all := map[string]any{"sub": "s-1", "email": "ann@example.com", "email_verified": true}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	roles := map[string]bell.Role{"staff": bell.Viewer, "ops": bell.Operator, "root": bell.Admin}
	for name, test := range map[string]struct {
		o      OIDC
		claims map[string]any
		want   bell.Role
	}{
		"one text":          {OIDC{RoleClaim: "role", Roles: roles}, map[string]any{"role": "root"}, bell.Admin},
		"the highest":       {OIDC{RoleClaim: "g", Roles: roles}, map[string]any{"g": []any{"staff", "root", "ops"}}, bell.Admin},
		"nested":            {OIDC{RoleClaim: "realm_access.roles", Roles: roles}, map[string]any{"realm_access": map[string]any{"roles": []any{"ops"}}}, bell.Operator},
		"a name with dots":  {OIDC{RoleClaim: "https://x.example/roles", Roles: roles}, map[string]any{"https://x.example/roles": []any{"ops"}}, bell.Operator},
		"default":           {OIDC{DefaultRole: bell.Viewer, Emails: []string{"ann@example.com"}}, nil, bell.Viewer},
		"more than default": {OIDC{DefaultRole: bell.Viewer, RoleClaim: "g", Roles: roles}, map[string]any{"g": "ops"}, bell.Operator},
		"less than default": {OIDC{DefaultRole: bell.Operator, RoleClaim: "g", Roles: roles}, map[string]any{"g": "staff"}, bell.Operator},
		"none":              {OIDC{RoleClaim: "g", Roles: roles}, map[string]any{"g": map[string]any{"root": true}}, ""},
		"another e-mail":    {OIDC{DefaultRole: bell.Viewer, Emails: []string{"bob@example.com"}}, nil, ""},
		"an empty domain":   {OIDC{DefaultRole: bell.Viewer, Domains: []string{""}}, map[string]any{"email": ""}, ""},
	} {
		p := &provider{OIDC: test.o}
		who, err := p.admit(claims(test.claims))
		if who.Role != test.want && err == nil || (err == nil) != (test.want != "") {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
	// A name that is not proved cannot look like one that is.
	who, err := (&provider{OIDC: OIDC{DefaultRole: bell.Viewer}}).admit(map[string]any{"sub": "ann@example.com", "email": "bob@example.com"})
	if err != nil || who.Name != "sub:ann@example.com" {
		t.Errorf("%+v, %v", who, err)
	}
}

// An identity provider that is away is asked again the next time, and holds up nobody else.
func TestOIDCAway(t *testing.T) {
	w, i := withIssuer(t)
	i.down = true
	b := newBrowser()
	err := w.Visit(httptest.NewRecorder(), b.request("GET", "/signin/oidc", nil))
	wantKind(t, err, bell.Unavailable)
	if _, _, err := w.signInAs(newBrowser(), alice(alicePassword)); err != nil {
		t.Errorf("with a password: %v", err)
	}
	i.mu.Lock()
	i.down = false
	i.mu.Unlock()
	if _, who, err := w.comeBack(t, b, w.visit(t, b, i)); err != nil || who != ann {
		t.Errorf("%+v, %v", who, err)
	}
	none := newWorld(t)
	wantKind(t, none.Visit(httptest.NewRecorder(), b.request("GET", "/signin/oidc", nil)), bell.NotFound)
	_, err = none.Return(httptest.NewRecorder(), b.request("GET", "/signin/oidc/callback", nil))
	wantKind(t, err, bell.NotFound)
	for range attemptBurst {
		err = w.Visit(httptest.NewRecorder(), b.request("GET", "/signin/oidc", nil))
	}
	wantKind(t, err, bell.TooMany)
}

// Whoever waits for somebody else's question to a provider that hangs gives up in time.
func TestAProviderThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &provider{turn: make(chan struct{}, 1)}
		p.turn <- struct{}{}
		start := time.Now()
		_, err := p.discover(t.Context())
		wantKind(t, err, bell.Unavailable)
		if waited := time.Since(start); waited != providerTime {
			t.Errorf("waited %s, want %s", waited, providerTime)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = p.discover(gone)
		wantKind(t, err, bell.Unavailable)
	})
}
