package sim

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

func TestSettingsFollowTheToken(t *testing.T) {
	t.Run("one stream until a token was accepted", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{Streams: 7})
		c := dialRaw(t, r.URL())
		c.settings(1)
		bad := r.good()
		bad.header["Authorization"] = []string{"bearer x"}
		c.push(1, bad)
		c.answered(1, "403")
		c.push(3, r.good())
		c.settings(7)
		c.answered(3, "200")
		c.push(5, r.good()) // an acknowledgement of SETTINGS that it never sent would end net/http's server
		c.answered(5, "200")
		c.ping()
		if n := r.Stats().Surplus; n != 0 {
			t.Errorf("%d streams were refused", n)
		}
	})
	t.Run("surplus is refused", func(t *testing.T) {
		r := faulty(t, Fault{Kind: FaultSlow, Delay: time.Second, Count: 1})
		c := dialRaw(t, r.URL())
		c.settings(1)
		c.push(1, r.good())
		await(t, r, 1, time.Second)
		c.push(3, r.good())
		c.refused(3, http2.ErrCodeRefusedStream)
		c.must(c.WriteRSTStream(1, http2.ErrCodeCancel)) // makes room
		c.ping()
		c.push(5, r.good())
		c.settings(1000)
		c.answered(5, "200")
		if n := r.Stats().Surplus; n != 1 {
			t.Errorf("%d streams were refused, want 1", n)
		}
	})
	t.Run("certificates have no such rule", func(t *testing.T) {
		cert, err := testCA(t).Push(testTopic)
		if err != nil {
			t.Fatal(err)
		}
		r := newAPNsRig(t, APNsOptions{})
		dialRaw(t, r.URL(), cert).settings(1000)
	})
}

func TestFaultStreams(t *testing.T) {
	cert, err := testCA(t).Push(testTopic)
	if err != nil {
		t.Fatal(err)
	}
	r := newAPNsRig(t, APNsOptions{})
	add := func(f Fault) {
		t.Helper()
		if err := r.Faults().Add(f); err != nil {
			t.Fatal(err)
		}
	}
	old := dialRaw(t, r.URL(), cert)
	old.settings(1000)
	add(Fault{Kind: FaultStreams})
	old.settings(1)
	fresh := dialRaw(t, r.URL(), cert)
	fresh.settings(1)
	add(Fault{Kind: FaultSlow, Delay: time.Second, Count: 1})
	fresh.push(1, r.good())
	await(t, r, 1, time.Second)
	fresh.push(3, r.good())
	fresh.refused(3, http2.ErrCodeRefusedStream)
	r.clock.Advance(time.Second)
	fresh.answered(1, "200")
	r.Faults().Clear(FaultStreams)
	old.settings(1000)
	fresh.settings(1000)
	add(Fault{Kind: FaultStreams, Streams: 3, Scope: ScopeNew})
	old.ping()
	dialRaw(t, r.URL(), cert).settings(3)
}

// pinger returns a client that gives a silent connection up soon.
func pinger(t *testing.T) *http.Client {
	c := testClient(t)
	c.Transport.(*http.Transport).HTTP2 = &http.HTTP2Config{SendPingTimeout: 100 * time.Millisecond, PingTimeout: 400 * time.Millisecond}
	return c
}

func TestFaultSilence(t *testing.T) {
	lost := func(r *apnsRig, client *http.Client) {
		t.Helper()
		if a, err := do(client, r.single(t)); err == nil || !strings.Contains(err.Error(), "client connection lost") {
			t.Errorf("%+v, %v, want a lost connection", a, err)
		}
	}
	t.Run("the first connection", func(t *testing.T) {
		r := faulty(t, Fault{Kind: FaultSilence, Scope: ScopeNew, Count: 1})
		c := dialRaw(t, r.URL())
		c.hearsNothing()
		client := testClient(t)
		r.want(r.send(client, r.good()), 200, "")
		if got := r.Faults().Active(); len(got) != 0 {
			t.Errorf("left: %+v", got)
		}
	})
	t.Run("a client with pings", func(t *testing.T) {
		r := faulty(t, Fault{Kind: FaultSilence, Scope: ScopeNew, Count: 1})
		client := pinger(t)
		lost(r, client)
		r.want(r.send(client, r.good()), 200, "")
	})
	t.Run("the open ones", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		c, client := r.warmRaw(t), pinger(t)
		r.want(r.send(client, r.good()), 200, "")
		if err := r.Faults().Add(Fault{Kind: FaultSilence, Scope: ScopeOpen}); err != nil {
			t.Fatal(err)
		}
		c.push(3, r.good())
		c.hearsNothing()
		lost(r, client)
		r.want(r.send(client, r.good()), 200, "")
		r.Faults().Clear()
		_ = c.conn.SetReadDeadline(time.Time{})
		c.hearsNothing() // what fell silent stays so
		if n := r.Faults().Struck()[FaultSilence]; n != 2 {
			t.Errorf("struck %d connections, want 2", n)
		}
		if n := len(r.Pushes()); n != 3 {
			t.Errorf("%d pushes had an effect, want 3: a black hole takes none", n)
		}
	})
	t.Run("all", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		client := pinger(t)
		r.want(r.send(client, r.good()), 200, "")
		if err := r.Faults().Add(Fault{Kind: FaultSilence}); err != nil {
			t.Fatal(err)
		}
		lost(r, client)
		lost(r, client)
		r.Faults().Clear()
		r.want(r.send(client, r.good()), 200, "")
	})
	t.Run("the fake's own end of a connection stays unsaid", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		c := r.warmRaw(t)
		if err := r.Faults().Add(Fault{Kind: FaultAnswer, Answer: Answer{Close: true}, Delay: time.Second}); err != nil {
			t.Fatal(err)
		}
		c.push(3, r.good())
		await(t, r, 1, time.Second)
		if err := r.Faults().Add(Fault{Kind: FaultSilence, Scope: ScopeOpen}); err != nil {
			t.Fatal(err)
		}
		r.clock.Advance(time.Second)
		c.hearsNothing()
	})
}

func TestFaultNoPing(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{})
	c := r.warmRaw(t)
	if err := r.Faults().Add(Fault{Kind: FaultNoPing}); err != nil {
		t.Fatal(err)
	}
	c.must(c.WritePing(false, [8]byte{1}))
	c.push(3, r.good())
	c.answered(3, "200") // and no PING before it
	fresh := dialRaw(t, r.URL())
	fresh.settings(1)
	fresh.must(fresh.WritePing(false, [8]byte{1}))
	fresh.push(1, r.good())
	fresh.settings(1000)
	fresh.answered(1, "200")
	r.Faults().Clear()
	c.ping()
	fresh.ping()
}

func TestFaultTLSStall(t *testing.T) {
	r := faulty(t, Fault{Kind: FaultTLSStall, Count: 1})
	client := testClient(t)
	client.Transport.(*http.Transport).TLSHandshakeTimeout = 50 * time.Millisecond
	if a, err := do(client, r.single(t)); err == nil || !strings.Contains(err.Error(), "TLS handshake timeout") {
		t.Errorf("%+v, %v", a, err)
	}
	client.Transport.(*http.Transport).TLSHandshakeTimeout = 0
	r.want(r.send(client, r.good()), 200, "")
}

func TestFaultCertificates(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{})
	client := testClient(t)
	if err := r.Faults().Add(Fault{Kind: FaultExpired, Count: 1}); err != nil {
		t.Fatal(err)
	}
	var invalid x509.CertificateInvalidError
	if _, err := do(client, r.single(t)); !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		t.Errorf("%v, want an expired certificate", err)
	}
	if err := r.Faults().Add(Fault{Kind: FaultWrongHost, Count: 1}); err != nil {
		t.Fatal(err)
	}
	var host x509.HostnameError
	if _, err := do(client, r.single(t)); !errors.As(err, &host) || !slices.Contains(host.Certificate.DNSNames, "elsewhere.invalid") {
		t.Errorf("%v, want another host", err)
	}
	r.want(r.send(client, r.good()), 200, "")
}

func TestFaultRefuse(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{})
	c := r.warmRaw(t)
	if err := r.Faults().Add(Fault{Kind: FaultRefuse, For: 3 * time.Second}); err != nil {
		t.Fatal(err)
	}
	client := testClient(t)
	if _, err := do(client, r.single(t)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, want connection refused", err)
	}
	c.push(3, r.good())
	c.answered(3, "200")
	await(t, r, 1, 3*time.Second)
	r.clock.Advance(3 * time.Second)
	r.reachable(t, client) // when the fault's goroutine has seen the time
	if err := r.Faults().Add(Fault{Kind: FaultRefuse}); err != nil {
		t.Fatal(err)
	}
	if _, err := do(client, r.single(t)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v, want connection refused", err)
	}
	r.Faults().Clear()
	r.want(r.send(client, r.good()), 200, "")

	if err := r.Faults().Add(Fault{Kind: FaultRefuse}); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("close with a closed port: %v", err)
	}
	if err := r.Start(); err != nil || len(r.Faults().Active()) != 0 {
		t.Errorf("after a restart: %v, %+v", err, r.Faults().Active())
	}
}

// TestRefuseAwaitsItsPort checks that the port is opened again although somebody else had
// it for a while.
func TestRefuseAwaitsItsPort(t *testing.T) {
	r := faulty(t, Fault{Kind: FaultRefuse})
	squatter, err := net.Listen("tcp", strings.TrimPrefix(r.URL(), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	r.Faults().Clear()
	if err := squatter.Close(); err != nil {
		t.Error(err)
	}
	r.reachable(t, testClient(t))
}

// reachable tries until the port is open.
func (r *apnsRig) reachable(t *testing.T, client *http.Client) {
	t.Helper()
	ctx := testContext(t)
	for ctx.Err() == nil {
		if _, err := do(client, r.single(t)); err == nil {
			client.CloseIdleConnections()
			return
		}
	}
	t.Fatal("the port stays closed")
}

// TestHeadersInPieces checks that a request whose headers come in several frames, or
// padded, is known by its stream, and that no mark of ours stays in it.
func TestHeadersInPieces(t *testing.T) {
	for name, send := range map[string]func(*rawClient, []byte){
		"continuation": func(c *rawClient, b []byte) {
			c.must(c.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: b[:10]}))
			c.must(c.WriteContinuation(3, false, b[10:20]))
			c.must(c.WriteContinuation(3, true, b[20:]))
		},
		"padding": func(c *rawClient, b []byte) {
			c.must(c.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: b, EndHeaders: true, PadLength: 40}))
		},
		"trailer": func(c *rawClient, b []byte) {
			c.must(c.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: b, EndHeaders: true}))
			c.must(c.WriteData(3, false, []byte(`{"aps":{}}`)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newAPNsRig(t, APNsOptions{})
			c := r.warmRaw(t)
			if err := r.Faults().Add(Fault{Kind: FaultGoAwayAnswer}); err != nil {
				t.Fatal(err)
			}
			p := r.good()
			p.header["X-Sim-Stream"] = []string{"1"} // a client's own means nothing
			send(c, c.headers(p))
			if name == "trailer" {
				c.block.Reset()
				c.must(c.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, EndStream: true, EndHeaders: true}))
			} else {
				c.must(c.WriteData(3, true, p.body))
			}
			c.bye(3, "")
			c.answered(3, "200")
			for _, p := range r.Pushes() {
				if _, ok := p.Header["X-Sim-Stream"]; ok {
					t.Errorf("%v", p.Header)
				}
			}
		})
	}
}

// TestFramesInPieces feeds what a server sends in pieces of every size: the same comes
// out, and frames of our own only between two.
func TestFramesInPieces(t *testing.T) {
	headers := newFrame(frameHeaders, 1, nil, strings.Repeat("h", 30)) // its block goes on
	end := newFrame(frameContinued, 1, nil, "end")
	end[4] = flagEndHeaders
	ping := newFrame(framePing, 0, []uint32{1, 2}, "")
	reset := newFrame(frameReset, 5, []uint32{codeInternal}, "")
	ack := newFrame(frameSettings, 0, nil, "")
	ack[4] = flagAck
	data := newFrame(0, 1, nil, strings.Repeat("d", 40))
	all := slices.Concat(settingsFrame(1000), ack, headers, end, data, ping, reset)
	ours := newFrame(frameGoAway, 0, []uint32{0, 0}, "ours")
	for size := 1; size <= len(all); size++ {
		for at := 0; at < len(all); at += 7 {
			w := &wire{h2: true, streams: streams{full: 1000}}
			var out []byte
			sent := false
			for b := range slices.Chunk(all, size) {
				if !sent && len(out) >= at {
					sent = true
					w.out.pending = append(w.out.pending, injection{frame: ours})
				}
				o, _ := w.out.filter(b, w)
				out = append(out, o...)
			}
			o, _ := w.out.filter(nil, w)
			if out = append(out, o...); sent {
				i := strings.Index(string(out), string(ours))
				before := string(out[:max(i, 0)])
				if i < 0 || !slices.Contains([]string{
					string(settingsFrame(1000)), string(all[:24]), string(all[:24+len(headers)+len(end)]),
					string(all[:24+len(headers)+len(end)+len(data)]), string(all[:len(all)-len(reset)]), string(all),
				}, before) {
					t.Fatalf("pieces of %d: ours comes at %d", size, i)
				}
				out = slices.Delete(out, i, i+len(ours))
			}
			if string(out) != string(all) {
				t.Fatalf("pieces of %d: %x, want %x", size, out, all)
			}
		}
	}
}

// TestConnectionsAreCounted checks that what a connection remembers survives the layer for
// faults, and that a handshake that fails counts for nothing.
func TestConnectionsAreCounted(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{})
	d := tls.Dialer{Config: &tls.Config{NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}} // trusts nobody
	if conn, err := d.DialContext(testContext(t), "tcp", strings.TrimPrefix(r.URL(), "https://")); err == nil {
		_ = conn.Close()
		t.Error("the client trusts the fake")
	}
	r.warmRaw(t)
	if n := r.Stats().Connections; n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}
