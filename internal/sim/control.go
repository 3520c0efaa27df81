package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// control is the control port: plain HTTP on loopback, for curl and scripts.
//
//	POST   /calls     {"from":"alice","to":"bob","plan":"answered","after":"1s","talk":"3s"}
//	GET    /calls     the reports of ended calls
//	GET    /events    what happened; ?follow=1 goes on as it happens, one JSON object a line
//	GET    /state     phones and counters
//	POST   /phones    {"kind":"ios","user":"bob","name":"...","sandbox":true,"acknowledges":true,"notices":true}
//	               or {"kind":"browser","user":"bob","push_profile":"apple"}
//	POST   /behavior  {"phone":"bob's ios","kind":"ignore","after":"1s"}
//	POST   /rooms     {"room":"lounge","users":["alice","bob"]}; they join, the first opens it
//	GET    /rooms     who is in a group call, and what messages it got
//	POST   /faults    {"target":"fcm","kind":"unavailable","count":3}; see docs/cli.md
//	GET    /faults    what goes wrong now, and how often each kind struck
//	DELETE /faults    ends all faults; ?target= and ?kind= end some
type control struct{ l listener }

// startControl listens.
func (w *World) startControl(addr string) error {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /calls", w.postCall)
	mux.HandleFunc("GET /calls", func(rw http.ResponseWriter, _ *http.Request) {
		writeJSON(rw, http.StatusOK, w.Cloud.Reports())
	})
	mux.HandleFunc("GET /events", w.serveEvents)
	mux.HandleFunc("GET /state", w.serveState)
	mux.HandleFunc("POST /phones", w.postPhone)
	mux.HandleFunc("POST /behavior", w.postBehavior)
	mux.HandleFunc("POST /rooms", w.postRoom)
	mux.HandleFunc("GET /rooms", w.getRooms)
	mux.HandleFunc("POST /faults", w.postFault)
	mux.HandleFunc("GET /faults", w.getFaults)
	mux.HandleFunc("DELETE /faults", w.deleteFaults)
	return w.control.l.start(addr, &http.Server{Handler: mux}, nil)
}

// duration is a time.Duration that reads from JSON as "1.5s".
type duration time.Duration

// UnmarshalJSON reads a Go duration.
func (d *duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return errors.New(`a duration is text such as "1.5s"`)
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf(`the duration %q is not like "1.5s" or "300ms"`, s)
	}
	*d = duration(v)
	return nil
}

// callBody is the body of POST /calls.
type callBody struct {
	From          string   `json:"from"`
	To            string   `json:"to"`
	Plan          PlanKind `json:"plan"`
	After         duration `json:"after"`
	Talk          duration `json:"talk"`
	By            string   `json:"by"`
	Type          string   `json:"type"`
	AppServerData string   `json:"app_svr_data"`
	Duplicates    int      `json:"duplicates"`
	UpperCase     bool     `json:"upper_case"`
	Wait          bool     `json:"wait"` // answer at the end of the call
}

func (w *World) postCall(rw http.ResponseWriter, r *http.Request) {
	var b callBody
	if !readBody(rw, r, &b) {
		return
	}
	if b.From == "" || b.To == "" {
		refuse(rw, http.StatusBadRequest, errors.New(`"from" and "to" must name users`))
		return
	}
	call, err := w.Call(r.Context(), b.From, b.To, CallRequest{
		Type: planet.CallType(strings.ToUpper(b.Type)), AppServerData: b.AppServerData,
		Plan: Plan{
			Kind: b.Plan, After: time.Duration(b.After), Talk: time.Duration(b.Talk), By: b.By,
			Duplicates: b.Duplicates, UpperCase: b.UpperCase,
		},
	})
	if err != nil {
		refuse(rw, http.StatusBadRequest, err)
		return
	}
	if b.Wait {
		select {
		case <-call.Done():
		case <-r.Context().Done():
			return
		}
	}
	writeJSON(rw, http.StatusOK, call.Report())
}

// serveEvents lists events, or streams them.
func (w *World) serveEvents(rw http.ResponseWriter, r *http.Request) {
	if r.FormValue("follow") == "" {
		writeJSON(rw, http.StatusOK, w.Recent())
		return
	}
	events := w.Events(r.Context())
	rw.Header().Set("Content-Type", "application/x-ndjson")
	flush := http.NewResponseController(rw).Flush
	encoder := json.NewEncoder(rw)
	for flush() == nil {
		e, ok := <-events
		if !ok || encoder.Encode(e) != nil {
			return
		}
	}
}

// phoneState is a phone in GET /state.
type phoneState struct {
	Name       string    `json:"name"`
	Kind       PhoneKind `json:"kind"`
	User       string    `json:"user"`
	Registered bool      `json:"registered"`
	Polling    bool      `json:"polling"`
	Polls      int       `json:"polls"`
	Received   uint64    `json:"received"`
	Trouble    string    `json:"trouble,omitempty"`
}

func (w *World) serveState(rw http.ResponseWriter, _ *http.Request) {
	phones := []phoneState{}
	for _, p := range w.Phones() {
		s := p.Stats()
		state := phoneState{
			Name: p.Name(), Kind: p.Kind(), User: p.User().String(), Registered: s.Registered,
			Polling: s.Polling, Polls: s.Polls, Received: p.receipts.count(),
		}
		if s.Err != nil {
			state.Trouble = s.Err.Error()
		}
		phones = append(phones, state)
	}
	writeJSON(rw, http.StatusOK, map[string]any{
		"settings": w.Settings(), "phones": phones, "active_calls": w.Cloud.Active(),
		"apns_sandbox": w.Sandbox.Stats(), "apns_production": w.Production.Stats(), "fcm": w.FCM.Stats(), "webpush": w.WebPush.Stats(),
	})
}

func (w *World) postPhone(rw http.ResponseWriter, r *http.Request) {
	var b struct {
		Kind        PhoneKind `json:"kind"`
		Name        string    `json:"name"`
		User        string    `json:"user"`
		DisplayName string    `json:"display_name"`
		Sandbox     bool      `json:"sandbox"`
		// Of a browser.
		PushProfile PushProfile `json:"push_profile"`
		// As an app of one's own does, and LINE's do not.
		Acknowledges bool `json:"acknowledges"`
		Notices      bool `json:"notices"`
		Streams      bool `json:"streams"`
	}
	if !readBody(rw, r, &b) {
		return
	}
	p, err := w.AddPhone(r.Context(), PhoneRequest{
		Kind: b.Kind, Name: b.Name, UserID: b.User, DisplayName: b.DisplayName, Sandbox: b.Sandbox,
		Acknowledges: b.Acknowledges, Notices: b.Notices, Streams: b.Streams, PushProfile: b.PushProfile,
	})
	if err != nil {
		refuse(rw, http.StatusBadRequest, err)
		return
	}
	writeJSON(rw, http.StatusOK, map[string]string{"name": p.Name()})
}

func (w *World) postBehavior(rw http.ResponseWriter, r *http.Request) {
	var b struct {
		Phone string       `json:"phone"`
		Kind  BehaviorKind `json:"kind"`
		After duration     `json:"after"`
	}
	if !readBody(rw, r, &b) {
		return
	}
	p := w.Phone(b.Phone)
	if p == nil {
		refuse(rw, http.StatusNotFound, fmt.Errorf("there is no phone named %q", b.Phone))
		return
	}
	p.SetBehavior(Behavior{Kind: b.Kind, After: time.Duration(b.After)})
	writeJSON(rw, http.StatusOK, b.Kind)
}

// readBody decodes a JSON body strictly, or answers 400.
func readBody(rw http.ResponseWriter, r *http.Request, to any) bool {
	d := json.NewDecoder(io.LimitReader(r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		refuse(rw, http.StatusBadRequest, fmt.Errorf("the body is not the expected JSON: %w", err))
		return false
	}
	return true
}

func refuse(rw http.ResponseWriter, status int, err error) {
	writeJSON(rw, status, map[string]string{"error": err.Error()})
}
