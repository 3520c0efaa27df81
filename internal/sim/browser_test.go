package sim

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

const pageOrigin = "http://127.0.0.1:8083"

// pageWorld is a world whose app server takes everything, and the port for pages.
type pageWorld struct {
	*World
	t      *testing.T
	url    string
	issuer planet.AccessTokenIssuer
	left   atomic.Int32 // Group Call Events
}

func newPageWorld(t *testing.T) *pageWorld {
	t.Helper()
	w, err := NewWorld(WorldOptions{Dir: t.TempDir(), CA: testCA(t)})
	if err != nil {
		t.Fatal(err)
	}
	p := &pageWorld{World: w, t: t}
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/group-call-event") {
			p.left.Add(1)
		}
	}))
	secret := planet.Secret(testlog.HexSecret(7, 64))
	p.issuer = planet.AccessTokenIssuer{ServiceID: "svc", APIKey: "key", APISecret: secret}
	if err := w.Connect(AppServer{BaseURL: app.URL, CallbackURL: app.URL + "/cb/x", ServiceID: "svc", APIKey: "key", APISecret: secret}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(w.Browser(pageOrigin))
	p.url = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		app.Close()
	})
	return p
}

// token is what the app server issues.
func (p *pageWorld) token(user string) string {
	p.t.Helper()
	token, err := p.issuer.Issue(user, SystemClock{}.Now())
	if err != nil {
		p.t.Fatal(err)
	}
	return "Bearer " + token.Reveal()
}

// pageLeg is a request of a page whose answer lasts.
type pageLeg struct {
	t      *testing.T
	status int
	lines  *bufio.Scanner
	gone   context.CancelFunc
	id     string
}

func (p *pageWorld) open(path, auth, body string) *pageLeg {
	p.t.Helper()
	ctx, cancel := context.WithCancel(testContext(p.t))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Origin", pageOrigin)
	if auth != "" {
		req.Header.Set("Authorization", auth)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { cancel(); _ = resp.Body.Close() })
	return &pageLeg{t: p.t, status: resp.StatusCode, lines: bufio.NewScanner(resp.Body), gone: cancel}
}

// next waits for the next state.
func (l *pageLeg) next(want string) browserState {
	l.t.Helper()
	if !l.lines.Scan() {
		l.t.Fatalf("the stream ended (%v, status %d), want %s", l.lines.Err(), l.status, want)
	}
	var s browserState
	if err := json.Unmarshal(l.lines.Bytes(), &s); err != nil || s.State != want {
		l.t.Fatalf("the page is told %s, want %s", l.lines.Bytes(), want)
	}
	if s.Leg != "" {
		l.id = s.Leg
	}
	return s
}

// act presses a button, and returns the status.
func (p *pageWorld) act(l *pageLeg, what string) int {
	p.t.Helper()
	a := p.open("/legs/"+l.id+"/"+what, "", "{}")
	return a.status
}

// param is the cc_param of a call that runs.
func (p *pageWorld) param(sid planet.SessionID) string {
	p.Cloud.mu.Lock()
	defer p.Cloud.mu.Unlock()
	for param, c := range p.Cloud.calls {
		if c.SessionID() == sid {
			return param
		}
	}
	p.t.Fatal("there is no such call")
	return ""
}

// dial lets alice's page call bob, whose page rings.
func (p *pageWorld) dial(device string) (caller, callee *pageLeg) {
	p.t.Helper()
	caller = p.open("/call", p.token("alice"), `{"from":"alice","to":"bob","type":"v"}`)
	sid := caller.next("waiting").SessionID
	callee = p.verify(sid, device)
	if s := callee.next("verified"); s.Peer != "alice" || s.Type != planet.VideoCall || s.SessionID != sid {
		p.t.Errorf("the callee is told %+v", s)
	}
	return caller, callee
}

func (p *pageWorld) verify(sid planet.SessionID, device string) *pageLeg {
	p.t.Helper()
	body, err := json.Marshal(map[string]string{"user": "bob", "device": device, "via": "stream", "cc_param": p.param(sid)})
	if err != nil {
		p.t.Fatal(err)
	}
	return p.open("/verify", "", string(body))
}

func TestPagesCallEachOther(t *testing.T) {
	t.Parallel()
	p := newPageWorld(t)
	t.Run("answered, and the callee hangs up", func(t *testing.T) {
		p.t = t
		caller, callee := p.dial("d1")
		other := p.verify(planet.SessionID(p.last().SessionID()), "d2")
		other.next("verified")
		if p.act(callee, "answer") != http.StatusOK {
			t.Error("the answer is refused")
		}
		caller.next("connected")
		callee.next("connected")
		if s := other.next("ended"); s.Code != 1206 {
			t.Errorf("the other browser is told %+v", s)
		}
		if p.act(callee, "answer") != http.StatusConflict {
			t.Error("a second answer is taken")
		}
		p.act(callee, "end")
		if a, b := caller.next("ended"), callee.next("ended"); a.Code != 1001 || b.Code != 1001 {
			t.Errorf("the ends are %+v and %+v", a, b)
		}
		if r := p.last().Report(); r.Legs[0].Phone != "bob's browser" || r.Legs[1].Phone != "bob's browser 2" {
			t.Errorf("the legs are %+v", r.Legs)
		}
	})
	t.Run("declined", func(t *testing.T) {
		p.t = t
		caller, callee := p.dial("d1")
		p.act(callee, "decline")
		if a, b := caller.next("ended"), callee.next("ended"); a.Code != 1002 || b.Code != 1002 {
			t.Errorf("the ends are %+v and %+v", a, b)
		}
	})
	t.Run("canceled", func(t *testing.T) {
		p.t = t
		caller, callee := p.dial("d1")
		p.act(caller, "end")
		if a, b := caller.next("ended"), callee.next("ended"); a.Code != 1201 || b.Code != 1201 {
			t.Errorf("the ends are %+v and %+v", a, b)
		}
		if late := p.verify(p.last().SessionID(), "d2"); late.status != http.StatusConflict || late.next("ended").Code != 1304 {
			t.Error("a call that is over can be verified")
		}
	})
	t.Run("the callee's page is closed, and comes back", func(t *testing.T) {
		p.t = t
		caller, callee := p.dial("d1")
		if again := p.verify(p.last().SessionID(), "d1"); again.status != http.StatusConflict || again.next("ended").Code != 1204 {
			t.Error("one browser rings twice")
		}
		events := p.Events(testContext(t))
		callee.gone()
		for e := range events {
			if strings.HasPrefix(e.Text, "is gone") {
				break
			}
		}
		back := p.verify(p.last().SessionID(), "d1")
		back.next("verified")
		p.act(back, "answer")
		caller.next("connected")
		back.gone()
		if s := caller.next("ended"); s.Code != 1001 {
			t.Errorf("the caller is told %+v", s)
		}
	})
	t.Run("the caller's page is closed", func(t *testing.T) {
		p.t = t
		caller, callee := p.dial("d1")
		caller.gone()
		if s := callee.next("ended"); s.Code != 1201 {
			t.Errorf("the callee is told %+v", s)
		}
	})
}

// last is the newest call.
func (p *pageWorld) last() *Call {
	p.Cloud.mu.Lock()
	defer p.Cloud.mu.Unlock()
	return p.Cloud.calls[p.Cloud.order[len(p.Cloud.order)-1]]
}

func TestPagesMeetInARoom(t *testing.T) {
	t.Parallel()
	p := newPageWorld(t)
	alice := p.open("/join", p.token("alice"), `{"user":"alice","room":"lounge","name":"Alice"}`)
	alice.next("connected")
	alice.next("peers")
	bob := p.open("/join", p.token("bob"), `{"user":"bob","room":"lounge"}`)
	bob.next("connected")
	if a, b := alice.next("peers"), bob.next("peers"); strings.Join(a.Users, " ") != "alice bob" || strings.Join(b.Users, " ") != "alice bob" {
		t.Errorf("they see %v and %v", a.Users, b.Users)
	}
	bob.gone()
	if s := alice.next("peers"); strings.Join(s.Users, " ") != "alice" {
		t.Errorf("alice sees %v", s.Users)
	}
	p.act(alice, "end")
	if s := alice.next("ended"); s.Code != 1001 {
		t.Errorf("alice is told %+v", s)
	}
	if n := p.left.Load(); n < 4 {
		t.Errorf("the app server got %d Group Call Events, want two joins and two leaves", n)
	}
	// Who is removed is told so.
	alice = p.open("/join", p.token("alice"), `{"user":"alice","room":"lounge"}`)
	alice.next("connected")
	alice.next("peers")
	p.Cloud.Room(planet.RoomRef{ServiceID: "svc", RoomID: "lounge"}).End(testContext(t))
	if s := alice.next("ended"); s.Code != 1110 {
		t.Errorf("alice is told %+v", s)
	}
}

func TestWhatPagesMayNot(t *testing.T) {
	t.Parallel()
	p := newPageWorld(t)
	for name, c := range map[string]struct {
		path, auth, body string
		status           int
	}{
		"call without a token":        {"/call", "", `{"from":"alice","to":"bob"}`, 401},
		"call with another's token":   {"/call", p.token("bob"), `{"from":"alice","to":"bob"}`, 401},
		"call oneself":                {"/call", p.token("alice"), `{"from":"alice","to":"alice"}`, 400},
		"call nobody":                 {"/call", p.token("alice"), `{"from":"alice","to":""}`, 400},
		"call as an odd user":         {"/call", p.token("alice"), `{"from":"a b","to":"bob"}`, 400},
		"an unknown field":            {"/call", p.token("alice"), `{"from":"alice","to":"bob","plan":"answered"}`, 400},
		"verify nonsense":             {"/verify", "", `{"user":"bob","via":"push","cc_param":"x"}`, 400},
		"verify by an odd way":        {"/verify", "", `{"user":"bob","via":"pigeon","cc_param":"x"}`, 400},
		"join without a token":        {"/join", "", `{"user":"bob","room":"lounge"}`, 401},
		"join with another's token":   {"/join", p.token("alice"), `{"user":"bob","room":"lounge"}`, 401},
		"join an odd room":            {"/join", p.token("bob"), `{"user":"bob","room":"a b"}`, 400},
		"act on a leg of nobody":      {"/legs/0123/answer", "", `{}`, 404},
		"a body that is far too long": {"/verify", "", `{"user":"` + strings.Repeat("x", maxBrowserBody) + `"}`, 400},
	} {
		if l := p.open(c.path, c.auth, c.body); l.status != c.status {
			t.Errorf("%s: status %d, want %d", name, l.status, c.status)
		}
	}
	for origin, want := range map[string]int{pageOrigin: http.StatusNoContent, "http://evil.example": http.StatusForbidden, "": http.StatusForbidden} {
		req := request(t, http.MethodOptions, p.url+"/call", http.Header{}, nil)
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		a := mustDo(t, http.DefaultClient, req)
		if allowed := a.header.Get("Access-Control-Allow-Origin"); a.status != want || (allowed == pageOrigin) != (want == http.StatusNoContent) {
			t.Errorf("origin %q: status %d, allowed %q", origin, a.status, allowed)
		}
	}
	if p.Cloud.Active() != 0 {
		t.Error("a refused page began a call")
	}
}

// A page cannot hold more than is meant for people.
func TestPagesAreBounded(t *testing.T) {
	t.Parallel()
	p := newPageWorld(t)
	b := &browserGates{world: p.World, legs: map[string]leg{}}
	for range maxBrowserLegs {
		if b.add(leg{}) == "" {
			t.Fatal("a leg is refused too early")
		}
	}
	if b.add(leg{}) != "" {
		t.Errorf("there are more than %d legs", maxBrowserLegs)
	}
}
