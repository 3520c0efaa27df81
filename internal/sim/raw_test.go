package sim

import (
	"bytes"
	"crypto/tls"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// rawClient is an HTTP/2 client that a test leads frame by frame.
type rawClient struct {
	t    *testing.T
	conn *tls.Conn
	*http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
}

// dialRaw connects and sends preface and SETTINGS.
func dialRaw(t *testing.T, url string, certs ...tls.Certificate) *rawClient {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{RootCAs: testCA(t).Pool(), NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12, Certificates: certs}}
	conn, err := d.DialContext(testContext(t), "tcp", strings.TrimPrefix(url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second)) // only a test that hangs
	c := &rawClient{t: t, conn: conn.(*tls.Conn), Framer: http2.NewFramer(conn, conn)}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.block)
	_, err = conn.Write([]byte(http2.ClientPreface))
	c.must(err)
	c.must(c.WriteSettings())
	return c
}

func (c *rawClient) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// headers encodes the header block of a push.
func (c *rawClient) headers(p *push) []byte {
	c.block.Reset()
	fields := [][2]string{{":method", p.method}, {":scheme", "https"}, {":authority", "sim"}, {":path", p.path}}
	for name, values := range p.header {
		fields = append(fields, [2]string{strings.ToLower(name), values[0]})
	}
	for _, f := range fields {
		c.must(c.encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]}))
	}
	return bytes.Clone(c.block.Bytes())
}

// open sends the headers of a push.
func (c *rawClient) open(id uint32, p *push) {
	c.t.Helper()
	c.must(c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.headers(p), EndHeaders: true}))
}

// push sends a push.
func (c *rawClient) push(id uint32, p *push) {
	c.t.Helper()
	c.open(id, p)
	c.must(c.WriteData(id, true, p.body))
}

// next returns the next frame that a test may care for; SETTINGS are acknowledged.
func (c *rawClient) next() (http2.Frame, error) {
	for {
		f, err := c.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch f := f.(type) {
		case *http2.WindowUpdateFrame:
			continue
		case *http2.SettingsFrame:
			if f.IsAck() {
				continue
			}
			c.must(c.WriteSettingsAck())
		}
		return f, nil
	}
}

// want returns the next frame, which must be of type T.
func want[T http2.Frame](c *rawClient) T {
	c.t.Helper()
	f, err := c.next()
	v, ok := f.(T)
	if !ok {
		c.t.Fatalf("got %v, %v, want %T", f, err, v)
	}
	return v
}

// settings reads SETTINGS with so many streams.
func (c *rawClient) settings(streams uint32) {
	c.t.Helper()
	if n, ok := want[*http2.SettingsFrame](c).Value(http2.SettingMaxConcurrentStreams); !ok || n != streams {
		c.t.Errorf("SETTINGS with %d streams, want %d", n, streams)
	}
}

// answered reads an answer with the status and no body, or a body in one frame.
func (c *rawClient) answered(id uint32, status string) {
	c.t.Helper()
	h := want[*http2.MetaHeadersFrame](c)
	if h.StreamID != id || h.PseudoValue("status") != status {
		c.t.Errorf("stream %d is answered %s, want stream %d and %s", h.StreamID, h.PseudoValue("status"), id, status)
	}
	for ended := h.StreamEnded(); !ended; {
		d := want[*http2.DataFrame](c)
		if d.StreamID != id {
			c.t.Errorf("data of stream %d, want %d", d.StreamID, id)
		}
		ended = d.StreamEnded()
	}
}

// refused reads a RST_STREAM.
func (c *rawClient) refused(id uint32, code http2.ErrCode) {
	c.t.Helper()
	if f := want[*http2.RSTStreamFrame](c); f.StreamID != id || f.ErrCode != code {
		c.t.Errorf("stream %d is reset with %v, want stream %d and %v", f.StreamID, f.ErrCode, id, code)
	}
}

// bye reads a GOAWAY.
func (c *rawClient) bye(last uint32, debug string) {
	c.t.Helper()
	f := want[*http2.GoAwayFrame](c)
	if f.LastStreamID != last || f.ErrCode != http2.ErrCodeNo || string(f.DebugData()) != debug {
		c.t.Errorf("GOAWAY with last stream %d, %v, %q; want %d, NO_ERROR, %q", f.LastStreamID, f.ErrCode, f.DebugData(), last, debug)
	}
}

// ping sends a PING and reads its answer.
func (c *rawClient) ping() {
	c.t.Helper()
	data := [8]byte{'p', 'i', 'n', 'g'}
	c.must(c.WritePing(false, data))
	if f := want[*http2.PingFrame](c); !f.IsAck() || f.Data != data {
		c.t.Errorf("got %v", f)
	}
}

// hearsNothing reads for a moment. A fault that says something late goes unnoticed, one
// that says something at once does not.
func (c *rawClient) hearsNothing() {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if f, err := c.next(); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Errorf("heard %v, %v, want silence", f, err)
	}
}

// faulty returns a fake with a fault.
func faulty(t *testing.T, f Fault) *apnsRig {
	t.Helper()
	r := newAPNsRig(t, APNsOptions{})
	if err := r.Faults().Add(f); err != nil {
		t.Fatal(err)
	}
	return r
}

// warmRaw connects, and has a first push accepted on stream 1.
func (r *apnsRig) warmRaw(t *testing.T) *rawClient {
	t.Helper()
	c := dialRaw(t, r.URL())
	c.settings(1)
	c.push(1, r.good())
	c.settings(1000)
	c.answered(1, "200")
	return c
}
