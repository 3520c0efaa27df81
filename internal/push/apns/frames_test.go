package apns

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// frameServer speaks HTTP/2 frame by frame, so that a test can do what no handler can:
// GOAWAY, RST_STREAM, SETTINGS of its choice, silence.
type frameServer struct {
	url   string
	roots *x509.CertPool

	mu    sync.Mutex // guards what follows
	conns []net.Conn
	done  bool
}

// frameConn is one connection, from the server's side. Its script runs in one
// goroutine; what is sent to may come from others.
type frameConn struct {
	number int // of the connection, from 1
	conn   net.Conn
	framer *http2.Framer
	mute   atomic.Bool // say nothing: neither PING nor WINDOW_UPDATE

	mu sync.Mutex // guards writing
}

// newFrameServer runs script for every connection; it ends when script returns.
func newFrameServer(t *testing.T, script func(*frameConn)) *frameServer {
	t.Helper()
	borrowed := httptest.NewUnstartedServer(nil) // for its certificate
	borrowed.StartTLS()
	certificates := borrowed.TLS.Certificates
	roots := x509.NewCertPool()
	roots.AddCert(borrowed.Certificate())
	borrowed.Close()

	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: certificates, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	s := &frameServer{url: "https://" + listener.Addr().String(), roots: roots}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if number := s.add(conn); number > 0 {
				wg.Go(func() { serveFrames(conn, number, script) })
			}
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		s.cut()
		wg.Wait()
	})
	return s
}

func (s *frameServer) add(conn net.Conn) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done {
		_ = conn.Close()
		return 0
	}
	s.conns = append(s.conns, conn)
	return len(s.conns)
}

func (s *frameServer) opened() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *frameServer) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = true
	for _, c := range s.conns {
		_ = c.Close()
	}
}

func serveFrames(conn net.Conn, number int, script func(*frameConn)) {
	defer conn.Close()
	preface := make([]byte, len(http2.ClientPreface))
	for n := 0; n < len(preface); {
		m, err := conn.Read(preface[n:])
		if err != nil {
			return
		}
		n += m
	}
	c := &frameConn{number: number, conn: conn, framer: http2.NewFramer(conn, conn)}
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	script(c)
}

func (c *frameConn) write(f func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = f() // the client may have gone; the test looks at the client
}

// streams sends SETTINGS with so many concurrent streams.
func (c *frameConn) streams(n uint32) {
	c.write(func() error {
		return c.framer.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: n})
	})
}

// next reads until a request is complete and returns its stream; 0 at the end.
func (c *frameConn) next() uint32 {
	for {
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return 0
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.write(c.framer.WriteSettingsAck)
			}
		case *http2.PingFrame:
			if !f.IsAck() && !c.mute.Load() {
				c.write(func() error { return c.framer.WritePing(true, f.Data) })
			}
		case *http2.DataFrame:
			if n := uint32(len(f.Data())); n > 0 && !c.mute.Load() { // or the connection's window is used up some day
				c.write(func() error { return c.framer.WriteWindowUpdate(0, n) })
			}
			if f.StreamEnded() {
				return f.StreamID
			}
		}
	}
}

// answer answers a request; an empty reason is a 200.
func (c *frameConn) answer(stream uint32, status int, reason string) {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: strconv.Itoa(status)})
	c.write(func() error {
		err := c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true, EndStream: reason == ""})
		if reason != "" && err == nil {
			err = c.framer.WriteData(stream, true, []byte(`{"reason":"`+reason+`"}`))
		}
		return err
	})
}

func (c *frameConn) goAway(last uint32, code http2.ErrCode, debug string) {
	c.write(func() error { return c.framer.WriteGoAway(last, code, []byte(debug)) })
}

func (c *frameConn) reset(stream uint32, code http2.ErrCode) {
	c.write(func() error { return c.framer.WriteRSTStream(stream, code) })
}

// acceptAll answers everything with 200.
func (c *frameConn) acceptAll() {
	for stream := c.next(); stream != 0; stream = c.next() {
		c.answer(stream, 200, "")
	}
}
