package console

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console/pages"
	"github.com/planetbell/planetbell/internal/console/signin"
)

const (
	// watchEvery is how often a page that follows a call is drawn anew.
	watchEvery = time.Second
	// watchFresh is how old what is known of a call may be before the database is asked again:
	// so each call is read once a second, however many follow it.
	watchFresh = 900 * time.Millisecond
	// watchAtMost bounds the pages that follow calls at once, on this node.
	watchAtMost = 64
	// watchEach bounds those of one who is signed in, or of one token.
	watchEach = 8
	// watchFor is how long a page follows one call; a ring takes a minute, a missed call's notice
	// three. The browser may ask again.
	watchFor = 10 * time.Minute
	// watchRead and watchWrite bound what one turn may take, beside identifyTime.
	watchRead  = 5 * time.Second
	watchWrite = 10 * time.Second
)

// watches are the calls that pages follow. Safe for concurrent use.
type watches struct {
	mu    sync.Mutex // guards all
	calls map[callKey]*watched
	each  map[signin.Principal]int
	count int
}

// watched is a call that somebody follows.
type watched struct {
	followers int // guarded by watches.mu

	turn chan struct{}  // holds one while the database is asked, so that one asks for all
	told *pages.StoryOf // guarded by turn, as is at
	at   time.Time
}

// follow begins to follow a call, or reports that too many are followed. What it returns ends it.
func (s *watches) follow(key callKey, who signin.Principal) (*watched, func(), bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= watchAtMost || s.each[who] >= watchEach {
		return nil, nil, false
	}
	c := s.calls[key]
	if c == nil {
		c = &watched{turn: make(chan struct{}, 1)}
		if s.calls == nil {
			s.calls, s.each = map[callKey]*watched{}, map[signin.Principal]int{}
		}
		s.calls[key] = c
	}
	s.count++
	s.each[who]++
	c.followers++
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.count--
		if s.each[who]--; s.each[who] == 0 {
			delete(s.each, who)
		}
		if c.followers--; c.followers == 0 {
			delete(s.calls, key)
		}
	}, true
}

// look returns what is known of a call, at most watchFresh old. Who waits for somebody else to ask
// waits until ctx ends, and watchRead in all.
func (s *site) look(ctx context.Context, key callKey, of *watched) (*pages.StoryOf, error) {
	ctx, cancel := context.WithTimeout(ctx, watchRead)
	defer cancel()
	select {
	case of.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-of.turn }()
	if of.told != nil && s.Now().Sub(of.at) < watchFresh {
		return of.told, nil
	}
	told, err := s.told(ctx, key)
	if err != nil {
		return nil, err
	}
	of.told, of.at = told, s.Now()
	return told, nil
}

// liveCall sends a call's story as server-sent events, whenever it has changed, until nothing of
// it can change any more, who reads it signs out, the server stops, or watchFor is over. The
// event "over" says that the page need not ask again.
func (s *site) liveCall(w http.ResponseWriter, r *http.Request) error {
	key, err := callOf(r)
	if err != nil {
		return err
	}
	h := w.Header()
	if r.Method == http.MethodHead {
		h.Set("Content-Type", "text/event-stream")
		return nil
	}
	call, leave, ok := s.watches.follow(key, principalOf(r.Context()))
	if !ok {
		return bell.E(bell.TooMany, "Too many pages follow calls at the moment.", nil)
	}
	defer leave()
	ctx, cancel := context.WithTimeout(r.Context(), watchFor)
	defer cancel()
	if s.Stopping != nil {
		defer context.AfterFunc(s.Stopping, cancel)()
	}
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would keep it back
	control := http.NewResponseController(w)
	// The server's limits are for what ends soon, and this goes on.
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Time{})
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for to := (stream{w: w, control: control}); ; {
		over, err := s.tell(ctx, &to, r, key, call)
		if err != nil || over {
			return nil // the reader has gone, or knows all; there is nobody to tell
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// stream is one reader of a call.
type stream struct {
	w       io.Writer
	control *http.ResponseController
	last    []byte
	quiet   int // turns since something was sent
}

// tell sends what has changed. It reports true when nothing will change any more.
func (s *site) tell(ctx context.Context, to *stream, r *http.Request, key callKey, call *watched) (over bool, err error) {
	signedIn, err := s.stillSignedIn(ctx, r)
	switch {
	case err != nil:
		return false, ctx.Err() // the database is away, and may be back at the next turn; until then nothing is shown
	case !signedIn:
		return true, to.send("over", nil)
	}
	told, err := s.look(ctx, key, call)
	if err != nil {
		return false, err
	}
	story := s.story(words(r), told)
	var b bytes.Buffer
	if err := s.pages.Part(&b, "call", "story", s.frame(r, "calls", ""), story); err != nil {
		return false, err
	}
	if to.quiet++; !bytes.Equal(b.Bytes(), to.last) || to.quiet >= 15 {
		to.last, to.quiet = b.Bytes(), 0
		if err := to.send("", to.last); err != nil {
			return false, err
		}
	}
	if story.Going {
		return false, nil
	}
	return true, to.send("over", nil)
}

// lineEnds makes all ends of lines of an event alike, as HTML does: a client ends a line at a lone
// CR too, and what follows it would be a line of the stream, by whoever wrote it into a call.
var lineEnds = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// send writes one event.
func (s *stream) send(event string, data []byte) error {
	var b bytes.Buffer
	if event != "" {
		b.WriteString("event: " + event + "\n")
	}
	for line := range strings.Lines(lineEnds.Replace(string(data))) {
		b.WriteString("data: " + strings.TrimSuffix(line, "\n") + "\n")
	}
	if len(data) == 0 {
		b.WriteString("data: \n")
	}
	b.WriteByte('\n')
	// Not every writer can; then the connection's end ends it. Over HTTP/2 a limit that is left ends
	// a stream on which nothing is written.
	_ = s.control.SetWriteDeadline(time.Now().Add(watchWrite))
	defer func() { _ = s.control.SetWriteDeadline(time.Time{}) }()
	if _, err := b.WriteTo(s.w); err != nil {
		return err
	}
	return s.control.Flush()
}

// stillSignedIn reports whether who began to follow a call may still.
func (s *site) stillSignedIn(ctx context.Context, r *http.Request) (bool, error) {
	p, err := s.identify(r.WithContext(ctx), false)
	return p.Role.Covers(bell.Viewer), err
}
