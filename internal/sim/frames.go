package sim

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strconv"
)

// What the fakes know of HTTP/2 frames (RFC 9113, 4 and 6).
const (
	frameHeader      = 9 // length 3, type 1, flags 1, stream 4
	frameHeaders     = 0x1
	frameReset       = 0x3
	frameSettings    = 0x4
	framePing        = 0x6
	frameGoAway      = 0x7
	frameWindow      = 0x8
	frameContinued   = 0x9
	flagAck          = 0x1
	flagEndHeaders   = 0x4
	flagPadded       = 0x8
	settingStreams   = 0x3
	codeInternal     = 0x2
	codeRefused      = 0x7
	maxFrame         = 1<<20 + frameHeader // what Go's server takes
	clientPreface    = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	streamHeader     = "x-sim-stream"
	streamHeaderName = "X-Sim-Stream" // as net/http spells it
)

// frame is a whole frame, or the header of one.
type frame []byte

func (f frame) length() int     { return int(f[0])<<16 | int(f[1])<<8 | int(f[2]) }
func (f frame) kind() byte      { return f[3] }
func (f frame) has(b byte) bool { return f[4]&b != 0 }
func (f frame) stream() uint32  { return binary.BigEndian.Uint32(f[5:]) &^ (1 << 31) }

func (f frame) setLength(n int) { f[0], f[1], f[2] = byte(n>>16), byte(n>>8), byte(n) }

// newFrame makes a frame of 32-bit numbers and some text.
func newFrame(kind byte, stream uint32, numbers []uint32, text string) frame {
	f := make(frame, frameHeader, frameHeader+4*len(numbers)+len(text))
	f.setLength(4*len(numbers) + len(text))
	f[3] = kind
	binary.BigEndian.PutUint32(f[5:], stream)
	for _, n := range numbers {
		f = binary.BigEndian.AppendUint32(f, n)
	}
	return append(f, text...)
}

// settingsFrame advertises so many concurrent streams.
func settingsFrame(n int) frame {
	f := newFrame(frameSettings, 0, nil, "\x00\x03")
	f = binary.BigEndian.AppendUint32(f, uint32(n))
	f.setLength(6)
	return f
}

// stamp adds the header streamHeader to the end of a header block, for the handler: net/http
// does not tell it the number of its stream. It is a literal that no table remembers
// (RFC 7541, 6.2.2), so it changes nothing else.
func stamp(f frame, stream uint32) frame {
	value := strconv.FormatUint(uint64(stream), 10)
	field := "\x00" + string(rune(len(streamHeader))) + streamHeader + string(rune(len(value))) + value
	end := len(f)
	if f.kind() == frameHeaders && f.has(flagPadded) && len(f) > frameHeader {
		end = max(frameHeader+1, end-int(f[frameHeader]))
	}
	f = slices.Insert(f, end, []byte(field)...)
	f.setLength(len(f) - frameHeader)
	return f
}

// frameReader reads what a client sends. It is for one goroutine.
type frameReader struct {
	in      *bufio.Reader
	preface bool   // it is still to come
	ready   []byte // is handed out next
	rest    int    // bytes of a frame that pass unseen
	newest  uint32 // highest stream
	fresh   uint32 // stream whose header block goes on; 0 is none
	buf     frame
}

// read hands out bytes of whole frames.
func (r *frameReader) read(p []byte, s *streams) (int, error) {
	for len(p) > 0 {
		if len(r.ready) > 0 {
			n := copy(p, r.ready)
			r.ready = r.ready[n:]
			return n, nil
		}
		if r.rest > 0 {
			n, err := r.in.Read(p[:min(len(p), r.rest)])
			r.rest -= n
			return n, err
		}
		if err := r.next(s); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// next reads the beginning of the next frame, or all of it when there is something to
// look at.
func (r *frameReader) next(s *streams) error {
	if r.preface {
		r.preface = false
		r.rest = len(clientPreface) // the HTTP server checks it
		return nil
	}
	r.buf = slices.Grow(r.buf[:0], 256)[:frameHeader]
	if _, err := io.ReadFull(r.in, r.buf); err != nil {
		return err
	}
	kind := r.buf.kind()
	if kind == frameReset {
		s.leave(r.buf.stream())
	}
	if kind != frameHeaders && kind != frameContinued && (kind != frameSettings || !r.buf.has(flagAck)) {
		r.ready, r.rest = r.buf, r.buf.length()
		return nil
	}
	n := r.buf.length()
	if n > maxFrame {
		return errors.New("a frame is too long")
	}
	r.buf = slices.Grow(r.buf, n+64)[:frameHeader+n]
	if _, err := io.ReadFull(r.in, r.buf[frameHeader:]); err != nil {
		return err
	}
	if kind == frameSettings {
		if !s.acked() {
			r.ready = r.buf
		}
		return nil
	}
	if kind == frameHeaders && r.buf.stream() > r.newest { // and no trailer
		r.newest, r.fresh = r.buf.stream(), r.buf.stream()
	}
	if r.fresh != 0 && r.buf.has(flagEndHeaders) {
		r.buf, r.fresh = stamp(r.buf, r.fresh), 0
	}
	r.ready = r.buf
	return nil
}

// injection is a frame of our own, and what to do when it is sent.
type injection struct {
	frame frame
	then  func()
}

// frameWriter looks at what the HTTP server sends.
type frameWriter struct {
	started bool  // SETTINGS were sent, which come before all else
	held    frame // a frame, or its header, that is not complete yet
	pass    int   // bytes of a frame that pass unseen
	block   bool  // a header block goes on: no other frame may come between
	pending []injection
	out     []byte
}

// filter returns what is sent in the place of p, which may end anywhere in a frame, and
// what is to be done then.
func (f *frameWriter) filter(p []byte, w *wire) (out []byte, then []func()) {
	f.out = f.out[:0]
	then = f.between(then)
	for len(p) > 0 {
		if f.pass > 0 {
			n := min(f.pass, len(p))
			f.out, p, f.pass = append(f.out, p[:n]...), p[n:], f.pass-n
		} else {
			p = f.hold(p, w)
		}
		then = f.between(then)
	}
	return f.out, then
}

// between adds frames of our own where one ends.
func (f *frameWriter) between(then []func()) []func() {
	if !f.started || len(f.held) > 0 || f.pass > 0 || f.block || len(f.pending) == 0 {
		return then
	}
	for _, i := range f.pending {
		f.out = append(f.out, i.frame...)
		if i.then != nil {
			then = append(then, i.then)
		}
	}
	f.pending = nil
	return then
}

// hold completes a header, and the whole frame when it is one to look at.
func (f *frameWriter) hold(p []byte, w *wire) []byte {
	want := frameHeader
	if len(f.held) >= frameHeader {
		want += f.held.length()
	}
	n := min(want-len(f.held), len(p))
	f.held = append(f.held, p[:n]...)
	if len(f.held) < want {
		return p[n:]
	}
	kind := f.held.kind()
	short := kind == frameSettings || kind == frameReset || kind == framePing || kind == frameWindow
	if short && want == frameHeader && f.held.length() > 0 {
		return p[n:] // its payload comes next
	}
	if kind == frameHeaders || kind == frameContinued {
		f.block = !f.held.has(flagEndHeaders)
	}
	if !short {
		f.pass = f.held.length()
	}
	if !short || w.passes(f.held) {
		f.out = append(f.out, f.held...)
	}
	f.started = f.started || kind == frameSettings
	f.held = f.held[:0]
	return p[n:]
}

// passes looks at a short frame of the HTTP server, may change it, and says whether it is
// sent.
func (w *wire) passes(f frame) bool {
	switch f.kind() {
	case framePing:
		mute := w.mute.Load()
		return !f.has(flagAck) || mute == nil || mute.ended.Load()
	case frameSettings:
		if !f.has(flagAck) {
			w.streams.first(f)
		}
	case frameReset:
		return w.streams.resets(f)
	case frameWindow:
		return w.streams.knows(f.stream())
	}
	return true
}
