package sim

import (
	"encoding/json"
	"net/http"
	"time"
)

// Answer is what a script makes a fake answer in the place of its own judgement. The
// zero Answer changes nothing. The steps happen in the order of the fields.
type Answer struct {
	// Delay is waited first, by the fake's clock.
	Delay time.Duration
	// Deliver makes the request be judged, and delivered if it is good, before the
	// fault: the outcome that a sender cannot know.
	Deliver bool
	// Hang gives no answer until the client or the fake goes away.
	Hang bool
	// Close closes the TCP connection without an answer.
	Close bool
	// GoAway makes the HTTP/2 server announce the end of the connection after the
	// answer. It may stand beside the fake's own answer (Status 0).
	GoAway bool
	// Status is the HTTP status; 0 means the fake's own judgement. 200 takes the request
	// and loses it.
	Status int
	// Reason is APNs' reason, FCM's errorCode, or OAuth's error. Unless Body is set, the
	// fake wraps it as the real service does.
	Reason string
	// Timestamp goes into an APNs 410.
	Timestamp time.Time
	// Header is added to the answer, for example Retry-After.
	Header http.Header
	// Body replaces the body; ContentType goes with it.
	Body        string
	ContentType string

	// What only a [Fault] does.
	breaks  func()        // ends the request without an answer, or says something before it
	drip    time.Duration // between the bytes of the body
	expires time.Duration // of an access token
}

// HTMLAnswer is what a middlebox answers: an HTML page instead of the service's JSON.
func HTMLAnswer(status int) *Answer {
	return &Answer{
		Status: status, ContentType: "text/html; charset=UTF-8",
		Body: "<html><head><title>" + http.StatusText(status) + "</title></head><body>front end</body></html>",
	}
}

// fault does the steps of a that are not an answer. It reports whether the request is
// dealt with.
func (a *Answer) fault(w http.ResponseWriter, r *http.Request) bool {
	if a.breaks != nil {
		a.breaks()
	}
	switch {
	case a.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case a.Close:
		if c, ok := r.Context().Value(connKey{}).(*connState); ok {
			_ = c.conn.Close()
		}
		panic(http.ErrAbortHandler)
	case a.GoAway:
		w.Header().Set("Connection", "close") // Go's HTTP/2 server turns it into GOAWAY
	}
	for name, values := range a.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if a.Body == "" {
		return false
	}
	w.Header().Set("Content-Type", a.ContentType)
	w.WriteHeader(max(a.Status, http.StatusOK))
	_, _ = w.Write([]byte(a.Body))
	return true
}

// writeJSON answers with v. A client that has gone is not an error of the fake.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
