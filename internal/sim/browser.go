package sim

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// browserGates is what pages may do with the pretend Planet Cloud. It stands in for PlanetKit's own
// connection: as long as the answer to a request is read, the page is in the call, and one that
// goes away is lost to the call, as its media would be.
//
//	POST /call     {"from":"alice","to":"bob","type":"A"}, with a PlanetKit access token as bearer
//	POST /verify   {"user":"bob","device":"...","cc_param":"...","via":"stream"}
//	POST /join     {"user":"bob","room":"lounge","name":"Bob"}, with a PlanetKit access token
//	POST /legs/{leg}/{answer|decline|end}
//
// The first three answer with a [browserState] a line, until the call is over for the page.
type browserGates struct {
	world  *World
	origin string

	mu    sync.Mutex
	legs  map[string]leg    // by an ID that only its page knows
	names map[string]string // of browsers, by user and device
	count map[string]int    // browsers of a user

	entering sync.Mutex // one opens a room, and the next joins it
}

// leg is what a page may do with its part of a call.
type leg struct{ answer, decline, end func() error }

// browserState is one line of an answer.
type browserState struct {
	State     string           `json:"state"` // waiting, verified, connected, peers, ended
	Leg       string           `json:"leg,omitempty"`
	SessionID planet.SessionID `json:"sid,omitempty"`
	Peer      string           `json:"peer,omitempty"`
	Type      planet.CallType  `json:"type,omitempty"`
	Users     []string         `json:"users,omitempty"`
	Code      int              `json:"code,omitempty"` // disconnect reason, docs/line-planet.md 4.3
	Name      string           `json:"name,omitempty"` // its name
}

// Bounds of what pages may hold open. A person has a few tabs.
const (
	maxBrowserLegs  = 100
	maxBrowserNames = 1000
	maxBrowserBody  = 16 << 10
	writeBrowser    = 5 * time.Second // to a page that does not read
)

// Browser returns what a page loaded from origin needs of Planet Cloud in the place of
// PlanetKit. Only requests that carry this origin are taken: curl has the control port, and other
// pages have no business here. Mount it with [http.StripPrefix]; whoever serves it must end the
// requests' contexts before Close.
func (w *World) Browser(origin string) http.Handler {
	b := &browserGates{
		world: w, origin: strings.TrimSuffix(origin, "/"), legs: map[string]leg{}, names: map[string]string{}, count: map[string]int{},
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /call", b.call)
	mux.HandleFunc("POST /verify", b.verify)
	mux.HandleFunc("POST /join", b.join)
	mux.HandleFunc("POST /legs/{leg}/{what}", b.act)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Vary", "Origin")
		rw.Header().Set("Cache-Control", "no-store")
		if r.Header.Get("Origin") != b.origin {
			refuse(rw, http.StatusForbidden, errors.New("only the softphone's own page may do this"))
			return
		}
		rw.Header().Set("Access-Control-Allow-Origin", b.origin)
		if r.Method == http.MethodOptions {
			rw.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
			rw.Header().Set("Access-Control-Allow-Methods", "POST")
			rw.WriteHeader(http.StatusNoContent)
			return
		}
		r.Body = http.MaxBytesReader(rw, r.Body, maxBrowserBody)
		mux.ServeHTTP(rw, r)
	})
}

// user names a user of the connected service, or answers 400.
func (b *browserGates) user(rw http.ResponseWriter, id string) (planet.UserRef, bool) {
	if err := planet.ValidateUserID(id); err != nil {
		refuse(rw, http.StatusBadRequest, err)
		return planet.UserRef{}, false
	}
	b.world.mu.Lock()
	defer b.world.mu.Unlock()
	return planet.UserRef{ServiceID: b.world.server.ServiceID, UserID: id}, true
}

// accessToken is the bearer's, which Planet Cloud wants of everybody who calls or joins.
func accessToken(rw http.ResponseWriter, r *http.Request) (planet.Secret, bool) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || token == "" {
		released(rw, http.StatusUnauthorized, 1501, "SERVICE_ACCESS_TOKEN_ERROR")
		return "", false
	}
	return planet.Secret(token), true
}

// released refuses with a disconnect reason, as PlanetKit tells it.
func released(rw http.ResponseWriter, status, code int, name string) {
	writeJSON(rw, status, browserState{State: "ended", Code: code, Name: name})
}

// add takes a leg and returns its ID, or "" when there are too many.
func (b *browserGates) add(l leg) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.legs) >= maxBrowserLegs {
		return ""
	}
	id := randomHex(16)
	b.legs[id] = l
	return id
}

func (b *browserGates) remove(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.legs, id)
}

// act is what somebody does with a leg of theirs.
func (b *browserGates) act(rw http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	l, ok := b.legs[r.PathValue("leg")]
	b.mu.Unlock()
	do := map[string]func() error{"answer": l.answer, "decline": l.decline, "end": l.end}[r.PathValue("what")]
	if !ok || do == nil {
		released(rw, http.StatusNotFound, 1304, "RELEASED_CALL")
		return
	}
	if err := do(); err != nil {
		released(rw, http.StatusConflict, 1304, "RELEASED_CALL")
		return
	}
	writeJSON(rw, http.StatusOK, struct{}{})
}

// name is what people call a browser: "bob's browser", and a second one of his "bob's browser 2".
func (b *browserGates) name(user, device string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := user + " " + device
	if name, ok := b.names[key]; ok {
		return name
	}
	if len(b.names) >= maxBrowserNames {
		clear(b.names)
		clear(b.count)
	}
	name := user + "'s browser"
	if b.count[user]++; b.count[user] > 1 {
		name += " " + string(rune('0'+b.count[user]%10))
	}
	b.names[key] = name
	return name
}

// pageStream writes states as they come.
type pageStream struct {
	control *http.ResponseController
	encoder *json.Encoder
}

func newPageStream(rw http.ResponseWriter) *pageStream {
	rw.Header().Set("Content-Type", "application/x-ndjson")
	return &pageStream{control: http.NewResponseController(rw), encoder: json.NewEncoder(rw)}
}

// send writes a state; that it could not be written the request's context tells.
func (s *pageStream) send(state browserState) {
	_ = s.control.SetWriteDeadline(time.Now().Add(writeBrowser)) // of the socket, which knows no other clock
	if s.encoder.Encode(state) == nil {
		_ = s.control.Flush()
	}
}

// event reports what a browser does, as phones report it.
func (b *browserGates) event(e Event) {
	e.At = orSystem(b.world.o.Clock).Now()
	b.world.hub.publish(e)
}
