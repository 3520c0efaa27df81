package signin

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func sumOf(token planet.Secret) [sha256.Size]byte { return sha256.Sum256([]byte(token.Reveal())) }

func TestSignInAndOut(t *testing.T) {
	w, b := newWorld(t), newBrowser()
	w.is(t, b, nobody)
	rec, who, err := w.signInAs(b, alice(alicePassword))
	if err != nil || who != alicesOwn || rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "/calls?state=lost" {
		t.Fatalf("%+v, %v, %d to %s", who, err, rec.Code, rec.Header().Get("Location"))
	}
	w.is(t, b, alicesOwn)
	out := httptest.NewRecorder()
	stolen := &browser{cookies: map[string]string{secureCookie: b.cookies[secureCookie]}}
	who, err = w.SignOut(out, b.request("POST", "/signout", url.Values{}))
	b.take(out)
	if err != nil || who != alicesOwn || out.Code != http.StatusSeeOther || len(b.cookies) != 0 || len(w.store.rows) != 0 {
		t.Errorf("signed out %+v, %v, %d; %d cookies and %d sessions are left", who, err, out.Code, len(b.cookies), len(w.store.rows))
	}
	w.is(t, b, nobody)
	w.is(t, stolen, nobody)
}

func TestWrongPasswords(t *testing.T) {
	w := newWorld(t)
	for name, form := range map[string]url.Values{
		"wrong password":    alice(alicePassword + "x"),
		"no password":       alice(""),
		"a long password":   alice(strings.Repeat("x", MaxPassword+1)),
		"unknown name":      {"name": {"mallory"}, "password": {alicePassword}},
		"another case":      {"name": {"Alice"}, "password": {alicePassword}},
		"nothing":           {},
		"wrong token":       {"token": {alicePassword}},
		"token as password": alice(adminToken.Reveal()),
	} {
		b := newBrowser()
		b.remote = "192.0.2." + string(rune('0'+len(name)%10)) + ":1"
		rec, who, err := w.signInAs(b, form)
		wantKind(t, err, bell.Unauthorized)
		if rec.Code != http.StatusUnauthorized || len(b.cookies) != 0 {
			t.Errorf("%s: %d, %d cookies", name, rec.Code, len(b.cookies))
		}
		if known := who.Name != ""; known != (form.Get("name") == "alice") {
			t.Errorf("%s: the audit log would say %q", name, who.Name)
		}
		body := rec.Body.String()
		testlog.Keep(t, "page", body)
		if !strings.Contains(body, "is wrong.") || strings.Contains(body, testlog.Text) || strings.Contains(body, "mallory") {
			t.Errorf("%s: the page is\n%s", name, body)
		}
	}
	if len(w.store.rows) != 0 {
		t.Errorf("%d sessions", len(w.store.rows))
	}
}

func TestSignInWithAToken(t *testing.T) {
	w, b := newWorld(t), newBrowser()
	_, who, err := w.signInAs(b, url.Values{"token": {adminToken.Reveal()}})
	if err != nil || who != adminByToken {
		t.Fatalf("%+v, %v", who, err)
	}
	w.is(t, b, adminByToken)
}

func TestBearerTokens(t *testing.T) {
	w := newWorld(t)
	for header, want := range map[string]Principal{
		"Bearer " + adminToken.Reveal():       adminByToken,
		"bearer " + scraperToken.Reveal():     {Name: "scraper", Role: bell.Viewer, Via: ViaToken},
		"Bearer " + adminToken.Reveal() + " ": nobody,
		"Bearer":                              nobody,
		"Basic " + adminToken.Reveal():        nobody,
		adminToken.Reveal():                   nobody,
	} {
		r := httptest.NewRequest("POST", "/", nil)
		r.Header.Set("Authorization", header)
		if who, err := w.Identify(r); err != nil || who != want {
			t.Errorf("%+v, %v; want %+v", who, err, want)
		}
	}
	empty := newWorld(t, func(c *Config) {
		*c = Config{Token: "short", Tokens: []Token{{Name: "none", Role: bell.Admin}, {Name: "short", Sum: sumOf("short"), Role: bell.Admin}}}
	})
	for _, token := range []string{"", "short"} {
		if who := empty.bearer("Bearer " + token); who != nobody {
			t.Errorf("%q is %+v", token, who)
		}
	}
}

// A wrong header is not made good by a session: what asks with a token means it.
func TestAHeaderComesBeforeTheSession(t *testing.T) {
	w, b := newWorld(t), newBrowser()
	if _, _, err := w.signInAs(b, alice(alicePassword)); err != nil {
		t.Fatal(err)
	}
	r := b.request("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer wrong")
	if who, err := w.Identify(r); who != nobody || err != nil {
		t.Errorf("%+v, %v", who, err)
	}
}

// Nobody gets into a session whose cookie they have planted.
func TestSessionFixation(t *testing.T) {
	w, attacker := newWorld(t), newBrowser()
	if _, _, err := w.signInAs(attacker, url.Values{"token": {scraperToken.Reveal()}}); err != nil {
		t.Fatal(err)
	}
	for _, planted := range []string{attacker.cookies[secureCookie], "planted", strings.Repeat("x", 43), strings.Repeat("x", 5000)} {
		victim := newBrowser()
		victim.cookies[secureCookie] = planted
		if _, _, err := w.signInAs(victim, alice(alicePassword)); err != nil {
			t.Fatal(err)
		}
		if victim.cookies[secureCookie] == planted {
			t.Error("the cookie stays what it was")
		}
		w.is(t, victim, alicesOwn)
		w.is(t, &browser{cookies: map[string]string{secureCookie: planted}}, nobody)
	}
}

func TestCookies(t *testing.T) {
	for _, secure := range []bool{true, false} {
		w := newWorld(t, func(c *Config) { c.Secure = secure; c.Lifetime = time.Hour })
		rec, _, err := w.signInAs(newBrowser(), alice(alicePassword))
		if err != nil {
			t.Fatal(err)
		}
		cookies := rec.Result().Cookies()
		if len(cookies) != 1 {
			t.Fatalf("%d cookies", len(cookies))
		}
		c := cookies[0]
		if !c.HttpOnly || c.Secure != secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 3600 || len(c.Value) < 32 {
			t.Errorf("secure %v: %v", secure, c.Raw[strings.Index(c.Raw, ";"):])
		}
		if strings.HasPrefix(c.Name, "__Host-") != secure {
			t.Errorf("secure %v: name %s", secure, c.Name)
		}
		for key, r := range w.store.rows {
			if key == c.Value || strings.Contains(r.data, c.Value) {
				t.Error("the store has what the cookie holds")
			}
		}
	}
}

// What changes something must come from a page of this server.
func TestForgedRequests(t *testing.T) {
	w, b := newWorld(t), newBrowser()
	if _, _, err := w.signInAs(b, alice(alicePassword)); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		site, origin string
		good         bool
	}{
		"a page of ours":          {"same-origin", "https://" + here, true},
		"another site":            {"cross-site", "https://evil.example.net", false},
		"a sister":                {"same-site", "https://other.example.com", false},
		"typed":                   {"none", "", false},
		"an old browser, ours":    {"", "https://" + here, true},
		"an old browser, another": {"", "https://evil.example.net", false},
		"a hidden origin":         {"", "null", false},
		"says nothing":            {"", "", false},
		"another port":            {"", "https://" + here + ":8443", false},
		"lies in Origin only":     {"cross-site", "https://" + here, false},
	} {
		forge := func(method string) *http.Request {
			r := b.request(method, "/admin/v1/devices/x", nil)
			r.Header.Del("Sec-Fetch-Site")
			for header, value := range map[string]string{"Sec-Fetch-Site": test.site, "Origin": test.origin} {
				if value != "" {
					r.Header.Set(header, value)
				}
			}
			return r
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "STRANGE"} {
			who, err := w.Identify(forge(method))
			if (err == nil) != test.good || who != alicesOwn {
				t.Errorf("%s, %s: %+v, %v", name, method, who, err)
			}
			if !test.good {
				wantKind(t, err, bell.Forbidden)
			}
		}
		if who, err := w.Identify(forge("GET")); err != nil || who != alicesOwn {
			t.Errorf("%s, GET: %+v, %v", name, who, err)
		}
		if test.good {
			continue
		}
		r := forge("POST")
		if _, err := w.SignOut(httptest.NewRecorder(), r); bell.KindOf(err) != bell.Forbidden {
			t.Errorf("%s signs somebody out: %v", name, err)
		}
		form := b.request("POST", "/signin", alice(alicePassword))
		form.Header = r.Header
		form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if _, err := w.SignIn(httptest.NewRecorder(), form); bell.KindOf(err) != bell.Forbidden {
			t.Errorf("%s signs somebody in: %v", name, err)
		}
	}
}

func TestSessionsEnd(t *testing.T) {
	w, b := newWorld(t, func(c *Config) { c.Idle, c.Lifetime = time.Hour, 3*time.Hour }), newBrowser()
	begin := func() {
		if _, _, err := w.signInAs(b, alice(alicePassword)); err != nil {
			t.Fatal(err)
		}
	}
	begin()
	w.clock.add(time.Hour)
	w.is(t, b, alicesOwn)
	w.clock.add(time.Hour)
	w.is(t, b, alicesOwn) // it was used an hour ago
	w.clock.add(59 * time.Minute)
	w.is(t, b, alicesOwn)
	w.clock.add(time.Minute)
	w.is(t, b, nobody) // three hours
	begin()
	w.clock.add(time.Hour + time.Second)
	w.is(t, b, nobody) // idle
}

// A session in use costs a write a minute, and none brings it back.
func TestSessionsAreSeldomWritten(t *testing.T) {
	w, b := newWorld(t), newBrowser()
	if _, _, err := w.signInAs(b, alice(alicePassword)); err != nil {
		t.Fatal(err)
	}
	for range 120 {
		w.clock.add(time.Second)
		w.is(t, b, alicesOwn)
	}
	if w.store.touched != 2 {
		t.Errorf("%d writes in two minutes", w.store.touched)
	}
}

// Another node, or the next process, has the same sessions as long as the configuration has the
// same people.
func TestSessionsAfterARestart(t *testing.T) {
	w, b := newWorld(t), newBrowser()
	if _, _, err := w.signInAs(b, alice(alicePassword)); err != nil {
		t.Fatal(err)
	}
	byToken := newBrowser()
	if _, _, err := w.signInAs(byToken, url.Values{"token": {scraperToken.Reveal()}}); err != nil {
		t.Fatal(err)
	}
	scraper := Principal{Name: "scraper", Role: bell.Viewer, Via: ViaToken}
	for name, test := range map[string]struct {
		change       func(*Config)
		alice, token Principal
	}{
		"nothing":       {func(*Config) {}, alicesOwn, scraper},
		"password":      {func(c *Config) { c.Users[0].Hash = cheap("another long password") }, nobody, scraper},
		"same password": {func(c *Config) { c.Users[0].Hash = cheap(alicePassword) }, nobody, scraper},
		"role":          {func(c *Config) { c.Users[0].Role, c.Tokens[0].Role = bell.Admin, bell.Admin }, nobody, nobody},
		"name":          {func(c *Config) { c.Users[0].Name, c.Tokens[0].Name = "bob", "other" }, nobody, nobody},
		"gone":          {func(c *Config) { c.Users, c.Tokens = nil, nil }, nobody, nobody},
		"token":         {func(c *Config) { c.Tokens[0].Sum = sumOf("another long token") }, alicesOwn, nobody},
		"other user":    {func(c *Config) { c.Users = append(c.Users, User{Name: "bob", Hash: aliceHash(), Role: bell.Admin}) }, alicesOwn, scraper},
	} {
		t.Run(name, func(t *testing.T) {
			c := config(w.store, w.clock.Now)
			test.change(&c)
			next := &world{Service: New(c), store: w.store, clock: w.clock}
			next.is(t, b, test.alice)
			next.is(t, byToken, test.token)
		})
	}
}

func TestAttemptsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config) { c.Now = nil })
		w.derive = func(_ string, h bell.PasswordHash) []byte { return make([]byte, len(h.Sum)) }
		try := func(remote, name string) int {
			b := newBrowser()
			b.remote = remote
			rec, _, _ := w.signInAs(b, url.Values{"name": {name}, "password": {"a wrong password"}})
			return rec.Code
		}
		count := func(n int, remote, name string) (refused int) {
			for range n {
				if code := try(remote, name); code == http.StatusTooManyRequests {
					refused++
				} else if code != http.StatusUnauthorized {
					t.Fatalf("status %d", code)
				}
			}
			return refused
		}
		if got := count(15, "192.0.2.1:1", "x"); got != 5 {
			t.Errorf("%d of 15 were refused from one address, want 5", got)
		}
		if got := count(12, "[2001:db8::1]:1", "y") + count(1, "[2001:db8::ffff:2]:1", "z"); got != 3 {
			t.Errorf("%d of 13 were refused from one IPv6 network, want 3", got)
		}
		refused := 0
		for i := range 120 {
			refused += count(1, "198.51.100."+strconv.Itoa(i%20)+":1", "alice")
		}
		if refused != 20 {
			t.Errorf("%d of 120 were refused for one name from many addresses, want 20", refused)
		}
		<-time.After(6 * time.Second)
		if got := count(2, "192.0.2.1:1", "x"); got != 1 {
			t.Errorf("six seconds later: %d of 2 were refused, want 1", got)
		}
		// The right token comes in all the same.
		b := newBrowser()
		b.remote = "192.0.2.1:1"
		if rec, _, err := w.signInAs(b, url.Values{"token": {adminToken.Reveal()}}); err != nil || rec.Code != http.StatusSeeOther {
			t.Errorf("the right token: %d, %v", rec.Code, err)
		}
	})
}

// So many passwords are checked at once and no more; who would wait too long is told so.
func TestPasswordsTakeBoundedMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		now, most := 0, 0
		var mu sync.Mutex
		w.derive = func(_ string, h bell.PasswordHash) []byte {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-time.After(passwordWait - time.Second)
			mu.Lock()
			now--
			mu.Unlock()
			return make([]byte, len(h.Sum))
		}
		var late int
		var all sync.WaitGroup
		for range 6 {
			all.Go(func() {
				_, err := w.password(t.Context(), "alice", "a wrong password")
				mu.Lock()
				defer mu.Unlock()
				if bell.KindOf(err) == bell.Overload {
					late++
				}
			})
		}
		all.Wait()
		if most != concurrentPasswords || late != 2 {
			t.Errorf("%d at once, %d were too late", most, late)
		}
	})
}

func TestWithoutTheDatabase(t *testing.T) {
	w, b := newWorld(t), newBrowser()
	if _, _, err := w.signInAs(b, alice(alicePassword)); err != nil {
		t.Fatal(err)
	}
	w.store.fail = bell.E(bell.Unavailable, "The database is away.", errors.New("connection refused"))
	_, err := w.Identify(b.request("GET", "/", nil))
	wantKind(t, err, bell.Unavailable)
	_, _, err = w.signInAs(newBrowser(), alice(alicePassword))
	wantKind(t, err, bell.Unavailable)
	r := b.request("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+adminToken.Reveal())
	if who, err := w.Identify(r); err != nil || who != adminByToken {
		t.Errorf("a token needs no database: %+v, %v", who, err)
	}
	none := newWorld(t, func(c *Config) { c.Store = nil })
	_, _, err = none.signInAs(newBrowser(), alice(alicePassword))
	wantKind(t, err, bell.Unavailable)
	none.is(t, b, nobody)
}

func TestThePage(t *testing.T) {
	ask := func(w *world, b *browser, target string) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		if err := w.Ask(rec, b.request("GET", target, nil)); err != nil {
			t.Fatal(err)
		}
		testlog.Keep(t, "page", rec.Body.String())
		return rec
	}
	w, b := newWorld(t), newBrowser()
	rec := ask(w, b, "/signin?next="+url.QueryEscape(`/calls"><script>`))
	body := rec.Body.String()
	if rec.Code != 200 || strings.Contains(body, "<script>") || !strings.Contains(body, `name="password"`) || !strings.Contains(body, `name="token"`) || strings.Contains(body, "/signin/oidc") {
		t.Errorf("%d\n%s", rec.Code, body)
	}
	if !strings.Contains(rec.Header().Get("Content-Security-Policy"), "form-action 'self'") || rec.Header().Get("Referrer-Policy") != "same-origin" {
		t.Errorf("headers %v: browsers would send no form, or no origin", rec.Header())
	}
	if _, _, err := w.signInAs(b, alice(alicePassword)); err != nil {
		t.Fatal(err)
	}
	if rec := ask(w, b, "/signin?next=/rooms"); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "/rooms" {
		t.Errorf("who is signed in: %d to %s", rec.Code, rec.Header().Get("Location"))
	}
	shown := Page{}
	w = newWorld(t, func(c *Config) {
		c.Token, c.Tokens = "", nil
		c.Page = func(_ http.ResponseWriter, _ *http.Request, _ int, p Page) error { shown = p; return nil }
	})
	ask(w, newBrowser(), "/signin?next=//evil")
	if shown != (Page{Password: true, Next: "/"}) {
		t.Errorf("%+v", shown)
	}
}

func TestLocalPath(t *testing.T) {
	for _, good := range []string{"/", "/calls", "/calls?state=lost&x=%2F%2Fevil", "/a/../b", "/signins", "/%E3%81%82"} {
		if got := LocalPath(good); got != good {
			t.Errorf("%q becomes %q", good, got)
		}
	}
	for _, bad := range []string{
		"", "calls", "//evil.example.net", "/\\evil.example.net", "https://evil.example.net", "\\\\evil", "/%5Cevil", "/\t/evil", "/\n/evil",
		"javascript:alert(1)", "/%2F/evil", "///evil", "/signin", "/signin?next=/", "/signout", "/signin/oidc", "/" + strings.Repeat("x", maxNext), "/%zz", " /x",
	} {
		if got := LocalPath(bad); got != "/" {
			t.Errorf("%q becomes %q", bad, got)
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"/x", "//x", "/\\x", "https://x", "/%2f/x"} {
		f.Add(s)
	}
	base, _ := url.Parse("https://" + here + "/signin")
	f.Fuzz(func(t *testing.T, next string) {
		u, err := base.Parse(LocalPath(next))
		if err != nil || u.Host != here || u.Scheme != "https" {
			t.Errorf("%q leads to %v, %v", next, u, err)
		}
	})
}

func TestAskURL(t *testing.T) {
	for request, want := range map[string]string{
		"GET /calls?a=b":                   "/signin?next=%2Fcalls%3Fa%3Db",
		"POST /calls":                      "/signin",
		"GET //evil.example.net/%2e%2e":    "/signin?next=%2F",
		"GET /signin/oidc/callback?code=x": "/signin?next=%2F",
	} {
		method, target, _ := strings.Cut(request, " ")
		r := httptest.NewRequest(method, "https://"+here+"/", nil)
		r.URL, _ = url.Parse("https://" + here)
		r.RequestURI = target
		r.URL.Opaque = ""
		if u, err := url.ParseRequestURI(target); err == nil {
			r.URL = u
		}
		if got := AskURL(r); got != want {
			t.Errorf("%s: %s, want %s", request, got, want)
		}
	}
}

func TestHashPassword(t *testing.T) {
	h, err := HashPassword("correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	again, err := bell.ParsePasswordHash(h.PHC())
	if err != nil || again != h {
		t.Errorf("%v", err)
	}
	// What the other tests derive at a lower cost, a server derives at this one.
	s := New(Config{Users: []User{{Name: "alice", Hash: h, Role: bell.Admin}}})
	if u, err := s.password(t.Context(), "alice", "correct horse battery"); err != nil || u.Name != "alice" {
		t.Errorf("the hash does not fit its password: %v", err)
	}
	for what, h := range map[string]bell.PasswordHash{"a password": h, "a name that nobody has": s.dummies[0], "a name where there are none": New(Config{}).dummies[0]} {
		if !strings.HasPrefix(h.PHC().Reveal(), "$argon2id$v=19$m=65536,t=3,p=4$") || len(h.Salt) != 16 || len(h.Sum) != 32 {
			t.Errorf("%s costs %d KiB, %d passes, %d lanes", what, h.Memory, h.Passes, h.Lanes)
		}
	}
	for _, bad := range []planet.Secret{"", "fourteen chars", planet.Secret(strings.Repeat("x", MaxPassword+1))} {
		if _, err := HashPassword(bad); bell.KindOf(err) != bell.Invalid {
			t.Errorf("%d characters: %v", len(bad), err)
		}
	}
}

func TestAUserWithoutAHash(t *testing.T) {
	s := New(Config{Users: []User{{Name: "alice", Role: bell.Admin}}})
	s.derive = func(string, bell.PasswordHash) []byte { return nil }
	if u, err := s.password(t.Context(), "alice", ""); u != nil || err == nil {
		t.Error("a user without a hash is let in")
	}
}

func TestWhoIsBehindAProxy(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	})
	for _, test := range []struct{ peer, forwarded, want string }{
		{"10.0.0.1:5", "", "10.0.0.1"},
		{"10.0.0.1:5", "192.0.2.9", "192.0.2.9"},
		{"[::ffff:10.0.0.1]:5", "198.51.100.1, 192.0.2.9", "192.0.2.9"},
		{"[::1]:5", "192.0.2.9, 10.2.3.4", "192.0.2.9"},
		{"10.0.0.1:5", "192.0.2.9, unknown", "10.0.0.1"},
		{"192.0.2.1:5", "192.0.2.9", "192.0.2.1"}, // anybody can write this
		{"@", "192.0.2.9", "invalid IP"},
	} {
		r := httptest.NewRequest("POST", "/signin", nil)
		r.RemoteAddr = test.peer
		if test.forwarded != "" {
			r.Header.Set("X-Forwarded-For", test.forwarded)
		}
		if got := w.Client(r).String(); got != test.want {
			t.Errorf("%s for %q is %s, want %s", test.peer, test.forwarded, got, test.want)
		}
	}
}
