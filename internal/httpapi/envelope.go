package httpapi

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// envelope is the shape of every JSON answer. Data is always written: an object on
// success, null on failure. Code is a string on failure, as LINE's web client wants
// it, and absent on success, because LINE's Apple client cannot decode a string there.
// Timestamp is Unix milliseconds; the Apple client needs it.
type envelope struct {
	Status    string `json:"status"`
	Message   string `json:"message,omitempty"`
	Code      string `json:"code,omitempty"`
	Data      any    `json:"data"`
	Timestamp int64  `json:"timestamp"`
}

func (a *api) timestamp() int64 { return a.config.Now().UnixMilli() }

// writeTime is how long a client may take to accept an answer. There is no
// server-wide write time-out: it would count the time that a poll waits.
const writeTime = 5 * time.Second

// succeed answers 200 with data, which must encode as a JSON object.
func (a *api) succeed(w http.ResponseWriter, r *http.Request, data any) {
	a.respond(w, r, http.StatusOK, envelope{Status: "success", Data: data, Timestamp: a.timestamp()})
}

// respond writes an envelope and reports whether all of it went out.
func (a *api) respond(w http.ResponseWriter, r *http.Request, status int, body envelope) bool {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false) // it is not HTML, and says so
	if err := enc.Encode(body); err != nil {
		// Impossible for the types that handlers pass; the recovery answers 500.
		panic("httpapi: answer cannot be encoded")
	}
	return a.write(w, r, status, "application/json; charset=utf-8", buf.Bytes())
}

// write sends a complete answer and flushes it.
func (a *api) write(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) bool {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store") // WinRT's client would cache a token or a call
	h.Set("X-Content-Type-Options", "nosniff")
	control := http.NewResponseController(w)
	// Writers that know no deadlines are those of tests.
	_ = control.SetWriteDeadline(time.Now().Add(writeTime))
	w.WriteHeader(status)
	_, err := w.Write(body)
	if r.Method == http.MethodHead {
		err = nil // net/http says that there is no body, and rightly sends none
	}
	if err == nil {
		err = control.Flush()
	}
	if err != nil {
		eventOf(r).gone = true
		return false
	}
	return true
}

// empty is the data of an answer that says nothing but "done".
var empty = struct{}{}
