package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

const (
	// streamWriteTime is how long one event may take to leave: a reader that takes nothing
	// holds its connection no longer.
	streamWriteTime = 5 * time.Second
	// retryLeast, and up to as much again, is when a client is to come back. It is spread, so
	// that those which a stop has ended do not come back all at once.
	retryLeast = time.Second
	// retryLater is the same for a client that has more streams than it may: if both live, they
	// must not push each other out all the time.
	retryLater = 30 * time.Second
	// checkEvery is how often it is asked whether a stream's app token is still good and its device
	// still polls: a poll is asked with each.
	checkEvery = time.Minute
	// resumeTime bounds the recording of what a client has by its own word.
	resumeTime = time.Second
)

// stream tells a device of calls as they come, as server-sent events (HTML Living Standard,
// 9.2): GET /v2/notification/sse. It is a poll that acknowledges and stays: see package mailbox.
// Last-Event-ID says what the client has; see eventid.go.
//
// As longPoll it keeps little on its stack while it waits.
func (a *api) stream(w http.ResponseWriter, r *http.Request) error {
	s, err := a.prepareStream(r)
	if err != nil {
		return refuseStream(w, err)
	}
	out := &streamWriter{a: a, w: w, r: r, poll: s.Poll, checked: time.Now()}
	return out.closed(a.services.Mailbox.Stream(r.Context(), s, out.write))
}

// refuseStream tells a client whose stream cannot be held when to ask again.
func refuseStream(w http.ResponseWriter, err error) error {
	if bell.KindOf(err) == bell.Unavailable {
		w.Header().Set("Retry-After", seconds(retryLeast+rand.N(4*retryLeast)))
	}
	return err
}

// prepareStream finds out whose stream it is, and what its client has.
func (a *api) prepareStream(r *http.Request) (*bell.Stream, error) {
	poll, id, err := a.preparePoll(r)
	if err != nil {
		return nil, err
	}
	s := &bell.Stream{Poll: poll, Environment: id.Owner.Environment, Beat: a.config.Beat, Known: parseEventID(r.Header.Get("Last-Event-ID"))}
	s.Acknowledges, s.Hold = true, a.streamLife(id)
	until := time.Now().Add(resumeTime)
	s.Arrived = func(ctx context.Context, sid planet.SessionID) bell.Arrival {
		ctx, cancel := context.WithDeadlineCause(ctx, until, errTooSlow)
		defer cancel()
		return a.arrived(ctx, bell.Receipt{Environment: s.Environment, SessionID: sid, DeviceID: s.DeviceID, Channel: bell.LongPoll, At: a.config.Now()})
	}
	return s, nil
}

// arrived records that a device has a call. It has it all the same if that fails: then the
// client's own receipt is waited for.
func (a *api) arrived(ctx context.Context, r bell.Receipt) bell.Arrival {
	got, err := a.services.Receipts.Receive(ctx, r)
	if err != nil {
		got = bell.Arrival{Unknown: errors.Is(err, bell.NotFound)}
		if !got.Unknown {
			a.log.Debug("what a stream's client has could not be recorded", "sid", r.SessionID, "device", r.DeviceID, "error", err)
		}
	}
	return got
}

// streamLife is how long a stream lives: up to a tenth less than configured, so that those
// which a restart has lined up do not stay in step, and not longer than its app token.
func (a *api) streamLife(id bell.Identity) time.Duration {
	life := a.config.StreamLife
	if a.brief() {
		life = briefHold
	}
	life -= rand.N(life / 10)
	if !id.ExpiresAt.IsZero() {
		life = min(life, id.ExpiresAt.Sub(a.config.Now()))
	}
	return life
}

// streamWriter writes what a stream is told.
type streamWriter struct {
	a       *api
	w       http.ResponseWriter
	r       *http.Request
	poll    bell.Poll
	checked time.Time
	opened  bool
	failed  bool
	calls   int
}

// write sends one event, and reports whether it went out to a client that is still there.
func (s *streamWriter) write(e bell.StreamEvent) bool {
	if s.r.Context().Err() != nil {
		return false
	}
	switch e.Kind {
	case bell.StreamOpened:
		s.open()
	case bell.StreamLetter:
		s.calls++
	case bell.StreamBeat:
		if time.Since(s.checked) >= checkEvery {
			s.checked = time.Now()
			if !s.allowed() { // its client comes back, and is told why
				return false
			}
		}
	}
	control := http.NewResponseController(s.w)
	// Writers that know no deadlines are those of tests. Over HTTP/2 a deadline that passes ends
	// a stream that writes nothing, too: so there is none between two events.
	_ = control.SetWriteDeadline(time.Now().Add(streamWriteTime))
	_, err := s.w.Write(eventText(e))
	if err == nil {
		err = control.Flush()
	}
	if err != nil {
		s.failed = true
		return false
	}
	_ = control.SetWriteDeadline(time.Time{})
	return true
}

// allowed reports whether the stream may go on: its app token was not revoked, and its device
// still polls. While that cannot be found out it may. It asks from another goroutine, because
// the stack that a question to the database needs would stay with the stream.
func (s *streamWriter) allowed() bool {
	type answer struct {
		allowed  bool
		panicked any
	}
	answers := make(chan answer, 1)
	go func() {
		a := answer{allowed: true}
		defer func() {
			a.panicked = recover()
			answers <- a
		}()
		ctx, cancel := context.WithTimeoutCause(s.r.Context(), resumeTime, errTooSlow)
		defer cancel()
		id, err := s.a.services.Accounts.Authenticate(ctx, bearer(s.r))
		if err != nil {
			a.allowed = !errors.Is(err, bell.Unauthorized)
			return
		}
		device, err := s.a.services.Devices.Polling(ctx, id, s.poll.Notices)
		a.allowed = err != nil || device == s.poll.DeviceID
	}()
	a := <-answers
	if a.panicked != nil {
		panic(a.panicked)
	}
	return a.allowed
}

func (s *streamWriter) open() {
	s.opened = true
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx would keep events until it has enough of them
	h.Set("X-Content-Type-Options", "nosniff")
	s.w.WriteHeader(http.StatusOK)
}

// closed notes for the log line how it went. A stream that was not opened is refused.
func (s *streamWriter) closed(err error) error {
	if err != nil && !s.opened {
		return refuseStream(s.w, bell.E(bell.Unavailable, "Calls cannot be waited for now; try again soon.", err))
	}
	e := eventOf(s.r)
	e.quiet = true
	e.gone = s.failed || s.r.Context().Err() != nil
	e.err = err
	e.add(slog.Int("letters", s.calls))
	return nil
}

// eventText is an event in the text of a stream. A line that begins with a colon is a comment:
// it only shows that the connection lives. JSON has no line ends within a text.
func eventText(e bell.StreamEvent) []byte {
	var b bytes.Buffer
	switch e.Kind {
	case bell.StreamOpened:
		writeRetry(&b, retryLeast)
	case bell.StreamBeat:
		b.WriteString(":\n\n")
	case bell.StreamOver:
		least := retryLeast
		if e.Later {
			least = retryLater
		}
		writeRetry(&b, least)
	case bell.StreamLetter:
		name := "call"
		if e.Notice {
			name = "notice"
		}
		writeEvent(&b, name, e.Known, e.Payload.Fields())
	case bell.StreamEnded:
		writeEvent(&b, "ended", e.Known, struct {
			SessionID planet.SessionID `json:"app_session_id"`
			Why       string           `json:"why"`
		}{e.SessionID, e.Why})
	}
	return b.Bytes()
}

func writeRetry(b *bytes.Buffer, least time.Duration) {
	b.WriteString("retry: ")
	b.WriteString(strconv.FormatInt((least + rand.N(2*least)).Milliseconds(), 10))
	b.WriteString("\n\n")
}

// writeEvent ends an event with its ID. A stream may be cut anywhere, and a client that takes the ID
// as its line comes, and not with the whole event as the standard says, then names no call
// whose data it has not got.
func writeEvent(b *bytes.Buffer, name string, known []planet.SessionID, data any) {
	b.WriteString("event: ")
	b.WriteString(name)
	b.WriteString("\ndata: ")
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(data); err != nil {
		panic("httpapi: event cannot be encoded") // impossible for the types that come here
	}
	b.WriteString("id: ") // Encode ended the line
	b.WriteString(eventID(known))
	b.WriteString("\n\n")
}
