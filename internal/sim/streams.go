package sim

import (
	"crypto/x509"
	"encoding/binary"
	"maps"
	"net/http"
	"strconv"
	"sync"
)

// streams is what a fake knows of the streams of an HTTP/2 connection. It is safe for
// concurrent use.
type streams struct {
	mu         sync.Mutex
	full       int // what is advertised in the end
	cold       bool
	fewer      *activeFault        // advertises fewer while it lasts
	active     map[uint32]struct{} // requests that are at work
	begun      bool                // the first SETTINGS are sent
	advertised int
	acks       []bool            // SETTINGS that are not acknowledged yet; true are ours
	codes      map[uint32]uint32 // of RST_STREAM frames to come, by stream
	committed  uint32            // highest stream that may have had an effect
	closed     bool              // a GOAWAY of ours is sent
	last       uint32            // its last-stream-id
}

// limit is how many streams the connection may have now. The caller holds mu.
func (s *streams) limit() int {
	n := s.full
	if s.cold {
		n = 1
	}
	if s.fewer != nil && !s.fewer.ended.Load() {
		n = min(n, s.fewer.Streams)
	}
	return n
}

// first writes the limit into the HTTP server's SETTINGS.
func (s *streams) first(f frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acks = append(s.acks, false)
	s.begun, s.advertised = true, s.limit()
	for at := frameHeader; at+6 <= len(f); at += 6 {
		if binary.BigEndian.Uint16(f[at:]) == settingStreams {
			binary.BigEndian.PutUint32(f[at+2:], uint32(s.advertised))
		}
	}
}

// acked takes a client's acknowledgement, and says whether it is one of our SETTINGS,
// which the HTTP server does not know of.
func (s *streams) acked() (ours bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.acks) > 0 {
		ours, s.acks = s.acks[0], s.acks[1:]
	}
	return ours
}

// enter counts a request in. It reports false when there are more than the limit: the
// stream is to be refused.
func (s *streams) enter(id uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.active) >= s.limit() {
		return false
	}
	if s.active == nil {
		s.active = map[uint32]struct{}{}
	}
	s.active[id] = struct{}{}
	return true
}

// leave counts a request out: its handler ends, or the client gave up.
func (s *streams) leave(id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.active, id)
}

// commit says that the request will have an effect. It reports false when a GOAWAY has
// told the client that it has none.
func (s *streams) commit(id uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed && id > s.last {
		return false
	}
	s.committed = max(s.committed, id)
	return true
}

// away notes a GOAWAY and returns its last stream: the highest that had an effect. A later
// GOAWAY has the same one.
func (s *streams) away() (last uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed, s.last = true, s.committed
	}
	return s.last
}

// resets puts the code that was asked for into a RST_STREAM. It reports false when the
// client has been told: by a GOAWAY, or by an earlier RST_STREAM, which net/http repeats
// when data still comes.
func (s *streams) resets(f frame) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := f.stream()
	code, ours := s.codes[id]
	if ours && code == codeSent {
		return false
	}
	if ours && len(f) >= frameHeader+4 {
		binary.BigEndian.PutUint32(f[frameHeader:], code)
		s.codes[id] = codeSent
	}
	return !s.closed || id <= s.last
}

// codeSent stands in the place of a code that was sent.
const codeSent = 1<<32 - 1

// breakOff asks for the code in the RST_STREAM to come. Of a connection that lives long,
// old streams are forgotten.
func (s *streams) breakOff(id, code uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.codes) > 1000 {
		maps.DeleteFunc(s.codes, func(_, code uint32) bool { return code == codeSent })
	}
	if s.codes == nil {
		s.codes = map[uint32]uint32{}
	}
	s.codes[id] = code
}

// knows says whether the client still thinks of the stream.
func (s *streams) knows(id uint32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed || id <= s.last
}

// warm ends the time of one stream.
func (w *wire) warm() {
	w.streams.mu.Lock()
	w.streams.cold = false
	w.streams.mu.Unlock()
	w.advertise()
}

// advertise sends SETTINGS when the limit has changed.
func (w *wire) advertise() {
	s := &w.streams
	s.mu.Lock()
	n := s.limit()
	if !w.h2 || !s.begun || n == s.advertised {
		s.mu.Unlock()
		return
	}
	s.advertised = n
	s.acks = append(s.acks, true)
	s.mu.Unlock()
	w.inject(settingsFrame(n), nil)
}

// stream is one request, seen from its handler.
type stream struct {
	w  *wire  // nil without TLS
	id uint32 // 0 on HTTP/1.1
}

// streamOf finds the stream of a request, and takes the mark of [stamp] away.
func streamOf(r *http.Request) stream {
	c, ok := r.Context().Value(connKey{}).(*connState)
	if !ok {
		return stream{}
	}
	w := c.wire
	marks := r.Header[streamHeaderName]
	delete(r.Header, streamHeaderName)
	if w == nil || !w.h2 || len(marks) == 0 {
		return stream{w: w}
	}
	id, _ := strconv.ParseUint(marks[len(marks)-1], 10, 32)
	return stream{w: w, id: uint32(id)}
}

// certificate returns what the client showed, or nil.
func (s stream) certificate() *x509.Certificate {
	if s.w == nil {
		return nil
	}
	return s.w.cert
}

// enter counts the request in; the caller calls leave at its end. A surplus stream is
// refused, as RFC 9113 5.1.2 has it.
func (s stream) enter() (surplus bool, leave func()) {
	if s.id == 0 {
		return false, func() {}
	}
	if !s.w.streams.enter(s.id) {
		return true, nil
	}
	return false, func() { s.w.streams.leave(s.id) }
}

// commit ends the request when the client was told that it has no effect.
func (s stream) commit() {
	if s.id != 0 && !s.w.streams.commit(s.id) {
		panic(http.ErrAbortHandler)
	}
}

// reset ends the request with a RST_STREAM; on HTTP/1.1 it closes the connection.
func (s stream) reset(code uint32) {
	if s.id != 0 {
		s.w.streams.breakOff(s.id, code)
	}
	panic(http.ErrAbortHandler) // net/http sends INTERNAL_ERROR, and the wire puts the code in
}

// narrow makes the connection advertise the streams of a fault while it lasts.
func (s *streams) narrow(a *activeFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fewer = a
}

// narrowed says whether narrow was called with a.
func (s *streams) narrowed(a *activeFault) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fewer == a
}
