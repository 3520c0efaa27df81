package webpush

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/egress"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// inside is what nobody from outside may reach: it counts who connects.
type inside struct {
	port  string
	count atomic.Int32
}

// newInside listens on every address of this machine that tests can have.
func newInside(t *testing.T) *inside {
	t.Helper()
	in := &inside{}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	_, in.port, _ = net.SplitHostPort(listener.Addr().String())
	done := make(chan struct{})
	go func() { // ends with the listener
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			in.count.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	return in
}

func (in *inside) mustBeAlone(t *testing.T) {
	t.Helper()
	if n := in.count.Load(); n != 0 {
		t.Errorf("%d connections were made", n)
	}
}

// send rings a browser with this endpoint.
func send(t *testing.T, c *Client, endpoint string) bell.Outcome {
	t.Helper()
	ring := pushtest.Ring(bell.WebPush, planet.Secret(endpoint))
	ring.Device.PushKeys = newBrowser(t).keys()
	return c.Send(t.Context(), ring, delivery.Try{Number: 1, Now: time.Now()})
}

func push(t testing.TB, names ...string) bell.PushHosts {
	t.Helper()
	var hosts bell.PushHosts
	for _, name := range names {
		h, err := bell.ParsePushHost(name)
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	return hosts
}

// TestNoAddressInside: even if the operator's list has such a host, its address is looked at.
func TestNoAddressInside(t *testing.T) {
	in := newInside(t)
	for _, host := range []string{
		"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "0.0.0.0",
		"10.0.0.1", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "[fe80::1]", "[fd00::1]", "192.0.2.1", "[2001:db8::1]", "224.0.0.1", "[::]",
		"[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "[::ffff:169.254.169.254]",
	} {
		name := host + ":" + in.port
		c := newClient(t, pushtest.Target{Timeout: time.Second, Log: testlog.New(t)}, func(cfg *Config) {
			cfg.Egress, cfg.Hosts = egress.Policy{}, push(t, name)
		})
		o := send(t, c, "https://"+name+"/x")
		if o.Verdict != bell.Rejected || o.Reason != reasonAddress || !o.Unsent || o.Token != bell.TokenKeep || o.Alarm != bell.AlarmConfig {
			t.Errorf("%s: %+v", host, o)
		}
	}
	in.mustBeAlone(t)
}

// TestOnlyPushServices: an endpoint of any other host is not even connected to. It may have been
// registered when the list was longer.
func TestOnlyPushServices(t *testing.T) {
	in := newInside(t)
	c := newClient(t, pushtest.Target{Timeout: time.Second, Log: testlog.New(t)}, func(cfg *Config) {
		cfg.Hosts = push(t, "push.example.com", "*.push.apple.com")
	})
	for _, endpoint := range []string{
		"https://127.0.0.1:" + in.port + "/x", "https://localhost:" + in.port + "/x", "http://push.example.com/x", "https://push.example.com:" + in.port + "/x",
		"https://push.example.com@127.0.0.1:" + in.port + "/x", "https://push.apple.com/x", "https://evilpush.apple.com/x", "https://web.push.apple.com.example.com/x", "",
	} {
		if o := send(t, c, endpoint); o.Verdict != bell.Rejected || o.Reason != reasonHost || !o.Unsent || o.Token != bell.TokenKeep {
			t.Errorf("%s: %+v", endpoint, o)
		}
	}
	in.mustBeAlone(t)
}

// TestRedirectsAreNotFollowed, wherever they lead.
func TestRedirectsAreNotFollowed(t *testing.T) {
	var inside, outside atomic.Int32
	target := pushtest.NewServer(t, func(http.ResponseWriter, *http.Request) { inside.Add(1) })
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := pushtest.NewServer(t, func(w http.ResponseWriter, _ *http.Request) {
			outside.Add(1)
			w.Header().Set("Location", target.URL+"/x")
			w.WriteHeader(status)
		})
		c := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Log: testlog.New(t)}, func(cfg *Config) {
			cfg.Hosts = append(cfg.Hosts, hostsOf(t, target.URL)...)
		})
		o := send(t, c, server.URL+"/x")
		if o.Verdict != bell.Rejected || o.Reason != "http_"+strconv.Itoa(status) || o.Token != bell.TokenKeep {
			t.Errorf("%d: %+v", status, o)
		}
	}
	if inside.Load() != 0 || outside.Load() != 5 {
		t.Errorf("%d followed, %d asked", inside.Load(), outside.Load())
	}
}

// TestNoProxy: the address behind a proxy could not be looked at.
func TestNoProxy(t *testing.T) {
	in := newInside(t)
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:"+in.port)
	}
	server := pushtest.NewServer(t, accept)
	c := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Log: testlog.New(t)}, nil)
	for _, way := range c.transports {
		if way.Proxy != nil {
			t.Error("a proxy may be used")
		}
	}
	if o := send(t, c, server.URL+"/x"); o.Verdict != bell.Accepted {
		t.Errorf("%+v", o)
	}
	in.mustBeAlone(t)
}

// TestNamesThatMove: DNS answers with a public address first, and with this machine's when the
// connection is made. Only what is connected to counts.
func TestNamesThatMove(t *testing.T) {
	in := newInside(t)
	var asked atomic.Int32
	dns := newDNS(t, func() netip.Addr {
		asked.Add(1)
		return netip.MustParseAddr("127.0.0.1")
	})
	hosts := push(t, "rebind.push.example.com:"+in.port)
	// Registration looks at the name and asks nobody, so that there is no check that DNS could fool.
	keys := newBrowser(t)
	subscription := `{"endpoint":"https://rebind.push.example.com:` + in.port + `/x","keys":{"p256dh":"` +
		b64.EncodeToString(keys.key.PublicKey().Bytes()) + `","auth":"` + b64.EncodeToString(keys.auth) + `"}}`
	if _, err := bell.ParseSubscription(planet.Secret(subscription), hosts); err != nil || asked.Load() != 0 {
		t.Fatalf("registration: error %v, %d questions", err, asked.Load())
	}
	c := newClient(t, pushtest.Target{Timeout: 5 * time.Second, Log: testlog.New(t)}, func(cfg *Config) {
		cfg.Egress, cfg.Hosts, cfg.Resolver = egress.Policy{}, hosts, dns
	})
	for range 3 {
		if o := send(t, c, "https://rebind.push.example.com:"+in.port+"/x"); o.Reason != reasonAddress || !o.Unsent {
			t.Errorf("%+v", o)
		}
	}
	if asked.Load() == 0 {
		t.Error("the test's DNS was not asked")
	}
	in.mustBeAlone(t)
}

// newDNS is a resolver whose answers for IPv4 are a test's; there are none for IPv6.
func newDNS(t *testing.T, answer func() netip.Addr) *net.Resolver {
	t.Helper()
	socket, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { // ends with the socket
		defer close(done)
		question := make([]byte, 512)
		for {
			n, from, err := socket.ReadFrom(question)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil && n > 12 {
				_, _ = socket.WriteTo(dnsAnswer(question[:n], answer), from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = socket.Close()
		<-done
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", socket.LocalAddr().String())
	}}
}

// dnsAnswer answers a question of one name (RFC 1035 section 4).
func dnsAnswer(question []byte, answer func() netip.Addr) []byte {
	end := 12
	for end < len(question) && question[end] != 0 {
		end += 1 + int(question[end])
	}
	end += 5 // the name's end, type and class
	reply := append([]byte{}, question[:2]...)
	reply = append(reply, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	reply = append(reply, question[12:end]...)
	if binary.BigEndian.Uint16(question[end-4:]) == 1 { // A
		reply[7] = 1
		address := answer().As4()
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		reply = append(reply, address[:]...)
	}
	return reply
}
