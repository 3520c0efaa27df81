package sim

import (
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
)

// TestAPNsConnectionRules checks what a connection remembers.
func TestAPNsConnectionRules(t *testing.T) {
	setup := func(t *testing.T) (*apnsRig, *http.Client, *ecdsa.PrivateKey) {
		r := newAPNsRig(t, APNsOptions{})
		other := newECKey(t)
		r.TrustKey(APNsKey{ID: "KEY2", TeamID: "TEAM1", Public: &other.PublicKey})
		r.TrustKey(APNsKey{ID: "KEY3", TeamID: "TEAM3", Public: &other.PublicKey})
		client := testClient(t)
		r.want(r.send(client, r.good()), 200, "")
		return r, client, other
	}
	sendWith := func(r *apnsRig, client *http.Client, jwt string) answer {
		p := r.good()
		p.header["Authorization"] = []string{"bearer " + jwt}
		return r.send(client, p)
	}
	t.Run("other key", func(t *testing.T) {
		r, client, other := setup(t)
		r.want(sendWith(r, client, r.jwt(other, "KEY2", "TEAM1", testNow)), 403, "UnrelatedKeyIdInToken")
		r.want(sendWith(r, testClient(t), r.jwt(other, "KEY2", "TEAM1", testNow)), 200, "")
	})
	t.Run("other team", func(t *testing.T) {
		r, client, other := setup(t)
		r.want(sendWith(r, client, r.jwt(other, "KEY3", "TEAM3", testNow)), 403, "InvalidProviderToken")
	})
	t.Run("new token too early, and in time", func(t *testing.T) {
		r, client, _ := setup(t)
		first := r.Pushes()[0].Header.Get("Authorization")
		r.clock.Advance(20*time.Minute - time.Second)
		fresh := r.jwt(r.key, "KEY1", "TEAM1", r.clock.Now())
		r.want(sendWith(r, client, fresh), 429, "TooManyProviderTokenUpdates")
		r.want(sendWith(r, client, strings.TrimPrefix(first, "bearer ")), 200, "")
		r.clock.Advance(time.Second)
		r.want(sendWith(r, client, fresh), 200, "")
	})
	t.Run("counts connections", func(t *testing.T) {
		r, client, _ := setup(t)
		jwt := strings.TrimPrefix(r.Pushes()[0].Header.Get("Authorization"), "bearer ")
		sendWith(r, client, jwt)
		sendWith(r, testClient(t), jwt)
		var conns []int
		for _, p := range r.Pushes() {
			conns = append(conns, p.Conn)
		}
		if diff := cmp.Diff([]int{1, 1, 2}, conns); diff != "" {
			t.Error(diff)
		}
		if got := r.Stats().Connections; got != 2 {
			t.Errorf("%d connections, want 2", got)
		}
	})
}

func TestAPNsTokenRate(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{TokenRate: 2})
	client, p := testClient(t), r.good()
	r.want(r.send(client, p), 200, "")
	r.want(r.send(client, p), 200, "")
	r.want(r.send(client, p), 429, "TooManyRequests")
	r.clock.Advance(time.Second)
	r.want(r.send(client, p), 200, "")
}

func TestAPNsCertificate(t *testing.T) {
	certificate := func(t *testing.T, topics ...string) *http.Client {
		c, err := testCA(t).Push(topics...)
		if err != nil {
			t.Fatal(err)
		}
		return testClient(t, c)
	}
	r := newAPNsRig(t, APNsOptions{})
	noAuth := r.good()
	delete(noAuth.header, "Authorization")
	r.want(r.send(certificate(t, testTopic, "com.example.app"), noAuth), 200, "")
	r.want(r.send(certificate(t, "com.other.voip"), noAuth), 400, "TopicDisallowed")

	withAuth := r.good()
	withAuth.header["Authorization"] = []string{"bearer ignored"}
	r.want(r.send(certificate(t, testTopic), withAuth), 200, "")

	delete(noAuth.header, "Apns-Topic")
	r.want(r.send(certificate(t, testTopic), noAuth), 200, "")
	r.want(r.send(certificate(t, testTopic, "com.example.app"), noAuth), 400, "MissingTopic")

	server, err := testCA(t).Server() // a certificate that lists no topics, and is for servers
	if err != nil {
		t.Fatal(err)
	}
	req := request(t, http.MethodPost, r.URL()+"/3/device/"+r.token, withAuth.header, withAuth.body)
	if a, err := do(testClient(t, server), req); err == nil && a.status == 200 {
		t.Error("a server's certificate was accepted")
	}
}

func TestAPNsRefusesHTTP1(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{})
	for _, protocols := range [][]string{nil, {"http/1.1"}} {
		d := tls.Dialer{Config: &tls.Config{RootCAs: testCA(t).Pool(), NextProtos: protocols, MinVersion: tls.VersionTLS12}}
		conn, err := d.DialContext(testContext(t), "tcp", strings.TrimPrefix(r.URL(), "https://"))
		if err != nil {
			continue // refused in the handshake
		}
		// TLS 1.3 tells the client of the refusal only with the first read.
		_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		b := make([]byte, 1)
		if n, err := conn.Read(b); err == nil {
			t.Errorf("protocols %v: %d bytes of an answer", protocols, n)
		}
		_ = conn.Close()
	}
}

// TestAPNsOneStreamFirst checks that a connection works on one push until its first
// provider token was accepted.
func TestAPNsOneStreamFirst(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{})
	entered, release := make(chan struct{}, 10), make(chan struct{})
	r.Script(func(APNsRequest) *Answer {
		entered <- struct{}{}
		<-release
		return nil
	})
	client, p := testClient(t), r.good()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { r.want(r.send(client, p), 200, "") })
	}
	<-entered
	// Three cold requests may use up to three connections; each works on one.
	if n, conns := 1+len(entered), r.Stats().Connections; n > conns {
		t.Errorf("%d pushes at work on %d connections", n, conns)
	}
	close(release)
	wg.Wait()
	if got := r.Stats().Accepted; got != 3 {
		t.Errorf("%d accepted, want 3", got)
	}
}

func TestAPNsScript(t *testing.T) {
	client := func(t *testing.T) *http.Client { return testClient(t) }
	once := func(r *apnsRig, a Answer) {
		var mu sync.Mutex
		used := false
		r.Script(func(APNsRequest) *Answer {
			mu.Lock()
			defer mu.Unlock()
			if used {
				return nil
			}
			used = true
			return &a
		})
	}
	t.Run("status, reason and header", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, Answer{Status: 503, Reason: "ServiceUnavailable", Header: http.Header{"Retry-After": {"3"}}})
		c := client(t)
		a := r.send(c, r.good())
		r.want(a, 503, "ServiceUnavailable")
		if a.header.Get("Retry-After") != "3" {
			t.Errorf("headers %v", a.header)
		}
		r.want(r.send(c, r.good()), 200, "")
	})
	t.Run("410 with a timestamp", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, Answer{Status: 410, Reason: "Unregistered", Timestamp: testNow})
		if got := r.send(client(t), r.good()).json(t)["timestamp"]; got != float64(testNow.UnixMilli()) {
			t.Errorf("timestamp %v", got)
		}
	})
	t.Run("200 loses the push", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, Answer{Status: 200})
		r.want(r.send(client(t), r.good()), 200, "")
		if len(r.Pushes()) != 0 {
			t.Error("delivered")
		}
	})
	t.Run("HTML", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, *HTMLAnswer(502))
		a := r.send(client(t), r.good())
		if a.status != 502 || !strings.HasPrefix(a.body, "<html>") || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			t.Errorf("%+v", a)
		}
	})
	t.Run("delay by the clock", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, Answer{Delay: 10 * time.Second})
		done := make(chan answer)
		c := client(t)
		p := r.good()
		go func() {
			a, _ := do(c, request(t, p.method, r.URL()+p.path, p.header, p.body))
			done <- a
		}()
		if err := r.clock.AwaitWaiters(testContext(t), 1, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		r.clock.Advance(10 * time.Second)
		r.want(<-done, 200, "")
	})
	t.Run("close without answer, delivered", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, Answer{Close: true, Deliver: true})
		p := r.good()
		req := request(t, p.method, r.URL()+p.path, p.header, p.body)
		req.GetBody = nil // the transport must not repeat it
		if a, err := do(client(t), req); err == nil {
			t.Errorf("answered %+v", a)
		}
		if len(r.Pushes()) != 1 {
			t.Errorf("%d pushes, want 1", len(r.Pushes()))
		}
	})
	t.Run("GOAWAY", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, Answer{GoAway: true})
		c := client(t)
		r.want(r.send(c, r.good()), 200, "")
		r.want(r.send(c, r.good()), 200, "")
		if got := r.Pushes()[1].Conn; got != 2 {
			t.Errorf("the second push came on connection %d, want 2", got)
		}
	})
	t.Run("hang until the fake closes", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		entered := make(chan struct{})
		r.Script(func(APNsRequest) *Answer {
			close(entered)
			return &Answer{Hang: true}
		})
		p := r.good()
		req := request(t, p.method, r.URL()+p.path, p.header, p.body)
		req.GetBody = nil
		done := make(chan error)
		c := client(t)
		go func() {
			_, err := do(c, req)
			done <- err
		}()
		<-entered
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err == nil {
			t.Error("answered")
		}
	})
	t.Run("sees the request", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		seen := make(chan APNsRequest, 1)
		r.Script(func(q APNsRequest) *Answer { seen <- q; return nil })
		p := r.good()
		r.send(client(t), p)
		q := <-seen
		if q.Token != r.token || q.Conn != 1 || q.Number != 1 || string(q.Body) != string(p.body) || q.Header.Get("Apns-Topic") != testTopic {
			t.Errorf("%+v", q)
		}
	})
}

func TestAPNsRecordsAreBounded(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{Recent: 2})
	client := testClient(t)
	for range 3 {
		r.send(client, r.good())
	}
	all, err := r.AwaitPushes(testContext(t), 3)
	if err != nil || len(all) != 2 || r.Stats().Accepted != 3 {
		t.Errorf("%d kept, %d counted, %v", len(all), r.Stats().Accepted, err)
	}
}

func TestAPNsLife(t *testing.T) {
	if err := NewAPNs(APNsOptions{}).Start(); err == nil {
		t.Error("starts without a CA")
	}
	if err := NewAPNs(APNsOptions{}).Close(); err != nil {
		t.Errorf("close before start: %v", err)
	}
	for _, addr := range []string{"0.0.0.0:0", "example.com:1", "127.0.0.1"} {
		if err := NewAPNs(APNsOptions{CA: testCA(t), Address: addr}).Start(); err == nil {
			t.Errorf("listens on %s", addr)
		}
	}
	r := newAPNsRig(t, APNsOptions{})
	if err := r.Start(); err == nil {
		t.Error("starts twice")
	}
	addr := strings.TrimPrefix(r.URL(), "https://")
	if err := NewAPNs(APNsOptions{CA: testCA(t), Address: addr}).Start(); err == nil {
		t.Error("two fakes share an address")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if c, err := (&net.Dialer{}).DialContext(testContext(t), "tcp", addr); err == nil {
		_ = c.Close()
		t.Error("listens after Close")
	}
	if err := r.Start(); err != nil { // at the next port: a restart
		t.Error(err)
	}
}

// TestRejectionsNameNoSecret checks the explanations that people and logs see.
func TestRejectionsNameNoSecret(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{Strict: true})
	client := testClient(t)
	p := r.good()
	p.path = "/3/device/" + testlog.HexSecret(7, 64)
	r.send(client, p)
	p.header["Authorization"] = []string{"bearer x.y." + testlog.TextSecret("jwt")}
	r.send(client, p)
	for _, rej := range r.Rejections() {
		b, err := json.Marshal(rej.Why)
		if err != nil || slices.ContainsFunc([]string{testlog.Hex, testlog.Text}, func(s string) bool { return strings.Contains(string(b), s) }) {
			t.Errorf("why: %s, %v", b, err)
		}
		testlog.Keep(t, "why", rej.Why)
	}
}
