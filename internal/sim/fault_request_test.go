package sim

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// single is a request that the transport must not repeat by itself.
func (r *apnsRig) single(t *testing.T) *http.Request {
	p := r.good()
	req := request(t, p.method, r.URL()+p.path, p.header, p.body)
	req.GetBody = nil
	return req
}

func TestFaultGoAwayRefuse(t *testing.T) {
	t.Run("frames", func(t *testing.T) {
		r := faulty(t, Fault{Kind: FaultGoAwayRefuse, Count: 1, Reason: "BadCertificate"})
		c := dialRaw(t, r.URL())
		c.settings(1)
		c.push(1, r.good())
		c.bye(0, `{"reason":"BadCertificate"}`)
		c.ping() // and no RST_STREAM before it
		if n := len(r.Pushes()); n != 0 {
			t.Errorf("%d pushes had an effect", n)
		}
	})
	t.Run("net/http repeats it elsewhere", func(t *testing.T) {
		r := faulty(t, Fault{Kind: FaultGoAwayRefuse, Count: 1})
		r.want(r.send(testClient(t), r.good()), 200, "")
		if p := r.Pushes(); len(p) != 1 || p[0].Conn != 2 {
			t.Errorf("%+v, want one push, on connection 2", p)
		}
	})
	t.Run("an earlier request is answered", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		c := r.warmRaw(t)
		if err := r.Faults().Add(Fault{Kind: FaultSlow, Delay: time.Second, Count: 1}); err != nil {
			t.Fatal(err)
		}
		c.push(3, r.good())
		await(t, r, 1, time.Second)
		if err := r.Faults().Add(Fault{Kind: FaultGoAwayRefuse, Count: 1}); err != nil {
			t.Fatal(err)
		}
		c.push(5, r.good())
		c.bye(3, "")
		r.clock.Advance(time.Second)
		c.answered(3, "200")
		c.push(7, r.good()) // a client that has not read the GOAWAY yet
		c.ping()
		if n := len(r.Pushes()); n != 2 {
			t.Errorf("%d pushes had an effect, want 2", n)
		}
	})
	t.Run("a later request is at work", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		c := r.warmRaw(t)
		if err := r.Faults().Add(Fault{Kind: FaultGoAwayRefuse, Delay: time.Second, Count: 1}); err != nil {
			t.Fatal(err)
		}
		c.push(3, r.good())
		await(t, r, 1, time.Second)
		c.push(5, r.good())
		c.answered(5, "200")
		r.clock.Advance(time.Second)
		c.bye(5, "")
		c.refused(3, http2.ErrCodeRefusedStream)
	})
}

// await waits until n requests wait for d.
func await(t *testing.T, r *apnsRig, n int, d time.Duration) {
	t.Helper()
	if err := r.clock.AwaitWaiters(testContext(t), n, d); err != nil {
		t.Fatal(err)
	}
}

func TestFaultGoAwayAnswer(t *testing.T) {
	r := faulty(t, Fault{Kind: FaultGoAwayAnswer, Count: 1, Reason: "Shutdown"})
	c := dialRaw(t, r.URL())
	c.settings(1)
	c.push(1, r.good())
	c.bye(1, `{"reason":"Shutdown"}`)
	c.settings(1000)
	c.answered(1, "200")
	c.push(3, r.good())
	c.ping()
	if n := len(r.Pushes()); n != 1 {
		t.Errorf("%d pushes had an effect, want 1: the GOAWAY says so", n)
	}
	r = faulty(t, Fault{Kind: FaultGoAwayAnswer, Count: 1})
	client := testClient(t)
	r.want(r.send(client, r.good()), 200, "")
	r.want(r.send(client, r.good()), 200, "")
	if p := r.Pushes(); len(p) != 2 || p[1].Conn != 2 {
		t.Errorf("%+v, want the second push on connection 2", p)
	}
}

func TestFaultShutdown(t *testing.T) {
	r := faulty(t, Fault{Kind: FaultShutdown, Count: 1})
	c := dialRaw(t, r.URL())
	c.settings(1)
	c.push(1, r.good())
	c.bye(1, `{"reason":"Shutdown"}`)
	c.answered(1, "503")
	client := testClient(t)
	if err := r.Faults().Add(Fault{Kind: FaultShutdown, Count: 1}); err != nil {
		t.Fatal(err)
	}
	r.want(r.send(client, r.good()), 503, "Shutdown")
	r.want(r.send(client, r.good()), 200, "")
}

// TestFaultsWithoutAnswer checks what net/http says of each, and whether the push had an
// effect.
func TestFaultsWithoutAnswer(t *testing.T) {
	for _, c := range []struct {
		fault Fault
		says  string
	}{
		{Fault{Kind: FaultGoAwayClose, Reason: "IdleTimeout"}, "server sent GOAWAY and closed the connection"},
		{Fault{Kind: FaultGoAwayClose, Reason: "IdleTimeout"}, "IdleTimeout"},
		{Fault{Kind: FaultStreamError}, "INTERNAL_ERROR"},
		{Fault{Kind: FaultReset}, ""}, // the writer or the reader sees ECONNRESET; the other, less
		{Fault{Kind: FaultClose}, "EOF"},
	} {
		for _, deliver := range []bool{false, true} {
			c.fault.Deliver, c.fault.Count = deliver, 1
			r := faulty(t, c.fault)
			client := testClient(t)
			a, err := do(client, r.single(t))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %+v, %v, want %q", c.fault.Kind, a, err, c.says)
			}
			if n := len(r.Pushes()); (n == 1) != deliver {
				t.Errorf("%s, deliver %v: %d pushes had an effect", c.fault.Kind, deliver, n)
			}
			r.want(r.send(client, r.good()), 200, "")
		}
	}
}

func TestFaultRefusedStream(t *testing.T) {
	r := faulty(t, Fault{Kind: FaultRefusedStream, Count: 1})
	r.want(r.send(testClient(t), r.good()), 200, "")
	if p := r.Pushes(); len(p) != 1 || p[0].Conn != 1 {
		t.Errorf("%+v, want one push, on the same connection", p)
	}
	r = faulty(t, Fault{Kind: FaultRefusedStream, Count: 1})
	c := dialRaw(t, r.URL())
	c.settings(1)
	c.push(1, r.good())
	c.refused(1, http2.ErrCodeRefusedStream)
}

// TestFaultsBeforeTheBody checks that these come right after the headers.
func TestFaultsBeforeTheBody(t *testing.T) {
	for kind, wanted := range map[FaultKind]error{FaultClose: io.EOF, FaultReset: syscall.ECONNRESET} {
		r := faulty(t, Fault{Kind: kind})
		c := dialRaw(t, r.URL())
		c.settings(1)
		c.open(1, r.good())
		if f, err := c.next(); !errors.Is(err, wanted) {
			t.Errorf("%s: %v, %v, want %v", kind, f, err, wanted)
		}
	}
}

func TestFaultHang(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{})
	c := r.warmRaw(t)
	if err := r.Faults().Add(Fault{Kind: FaultHang, Count: 1}); err != nil {
		t.Fatal(err)
	}
	c.push(3, r.good())
	c.hearsNothing()
	_ = c.conn.SetReadDeadline(time.Time{})
	c.push(5, r.good())
	c.answered(5, "200")
	c.ping()
}

func TestFaultSlow(t *testing.T) {
	r := faulty(t, Fault{Kind: FaultSlow, Delay: 20 * time.Second})
	c := dialRaw(t, r.URL())
	c.settings(1)
	c.push(1, r.good())
	await(t, r, 1, 20*time.Second)
	r.clock.Advance(20 * time.Second)
	c.settings(1000)
	c.answered(1, "200")
}

func TestFaultDrip(t *testing.T) {
	r := faulty(t, Fault{Kind: FaultDrip, Status: 500, Reason: "InternalServerError"})
	c := dialRaw(t, r.URL())
	c.settings(1)
	c.push(1, r.good())
	if h := want[*http2.MetaHeadersFrame](c); h.PseudoValue("status") != "500" || h.StreamEnded() {
		t.Errorf("%v", h)
	}
	var body []byte
	for range `{"reason":"InternalServerError"}` + "\n" {
		await(t, r, 1, 100*time.Millisecond)
		r.clock.Advance(100 * time.Millisecond)
		d := want[*http2.DataFrame](c)
		if len(d.Data()) != 1 || d.StreamEnded() {
			t.Fatalf("%d bytes at once", len(d.Data()))
		}
		body = append(body, d.Data()...)
	}
	await(t, r, 1, 100*time.Millisecond)
	r.clock.Advance(100 * time.Millisecond)
	if !want[*http2.DataFrame](c).StreamEnded() || string(body) != `{"reason":"InternalServerError"}`+"\n" {
		t.Errorf("%s", body)
	}
}

// TestFaultStatuses checks the words of each service.
func TestFaultStatuses(t *testing.T) {
	for _, c := range []struct {
		fault  Fault
		status int
		reason string
	}{
		{Fault{Kind: FaultServerError}, 500, "InternalServerError"},
		{Fault{Kind: FaultServerError, Status: 502, Reason: "X"}, 502, "X"},
		{Fault{Kind: FaultUnavailable}, 503, "ServiceUnavailable"},
		{Fault{Kind: FaultTooMany}, 429, "TooManyRequests"},
		{Fault{Kind: FaultUnauthorized}, 403, "ExpiredProviderToken"},
		{Fault{Kind: FaultAnswer, Answer: Answer{Status: 400, Reason: "BadTopic"}}, 400, "BadTopic"},
	} {
		c.fault.Count = 2
		r := faulty(t, c.fault)
		client := testClient(t)
		r.want(r.send(client, r.good()), c.status, c.reason)
		r.want(r.send(client, r.good()), c.status, c.reason)
		r.want(r.send(client, r.good()), 200, "") // the burst is over
	}
	f := newFCMRig(t, FCMOptions{})
	access := f.login()
	for _, c := range []struct {
		fault  Fault
		status int
		word   string
	}{
		{Fault{Kind: FaultServerError}, 500, `"errorCode":"INTERNAL"`},
		{Fault{Kind: FaultUnavailable}, 503, `"errorCode":"UNAVAILABLE"`},
		{Fault{Kind: FaultTooMany}, 429, `"errorCode":"QUOTA_EXCEEDED"`},
		{Fault{Kind: FaultUnauthorized}, 401, `"status":"UNAUTHENTICATED"`},
		{Fault{Kind: FaultHTML}, 502, `<html>`},
		{Fault{Kind: FaultHTML, Status: 504}, 504, `<html>`},
	} {
		c.fault.Count = 1
		if err := f.Faults().Add(c.fault); err != nil {
			t.Fatal(err)
		}
		if a := f.send(access, sendPath, f.good()); a.status != c.status || !strings.Contains(a.body, c.word) {
			t.Errorf("%s: %+v", c.fault.Kind, a)
		}
		if a := f.send(access, sendPath, f.good()); a.status != 200 {
			t.Errorf("after %s: %+v", c.fault.Kind, a)
		}
	}
}

func TestFaultRetryAfter(t *testing.T) {
	f := newFCMRig(t, FCMOptions{})
	for _, c := range []struct {
		fault  Fault
		header string
	}{
		{Fault{Kind: FaultTooMany}, ""},
		{Fault{Kind: FaultTooMany, RetryAfter: "7"}, "7"},
		{Fault{Kind: FaultUnavailable, RetryDate: time.Minute}, "Fri, 01 May 2026 12:01:00 GMT"},
	} {
		c.fault.Count = 1
		if err := f.Faults().Add(c.fault); err != nil {
			t.Fatal(err)
		}
		if a := f.send("x", sendPath, f.good()); a.header.Get("Retry-After") != c.header {
			t.Errorf("%+v: %v", c.fault, a.header)
		}
	}
}

func TestFaultsOfTheTokenEndpoint(t *testing.T) {
	f := newFCMRig(t, FCMOptions{})
	add := func(x Fault) {
		t.Helper()
		x.Count = 1
		if err := f.TokenFaults().Add(x); err != nil {
			t.Fatal(err)
		}
	}
	for kind, c := range map[FaultKind]struct {
		status int
		word   string
	}{
		FaultRevoked:     {400, "invalid_grant"},
		FaultServerError: {500, "internal_failure"},
		FaultUnavailable: {503, "temporarily_unavailable"},
		FaultTooMany:     {429, "rate_limit_exceeded"},
		FaultHTML:        {502, "<html>"},
	} {
		add(Fault{Kind: kind})
		if a := f.grant(f.goodForm()); a.status != c.status || !strings.Contains(a.body, c.word) {
			t.Errorf("%s: %+v", kind, a)
		}
	}
	add(Fault{Kind: FaultShortToken, ExpiresIn: 3 * time.Second})
	token := f.grant(f.goodForm()).json(t)
	if token["expires_in"] != 3.0 {
		t.Errorf("%v", token)
	}
	access := token["access_token"].(string)
	if a := f.send(access, sendPath, f.good()); a.status != 200 {
		t.Errorf("%+v", a)
	}
	f.clock.Advance(3 * time.Second)
	if a := f.send(access, sendPath, f.good()); a.status != 401 {
		t.Errorf("after the end of the token: %+v", a)
	}
	// The two endpoints are two targets: one breaks without the other.
	add(Fault{Kind: FaultClose})
	if a := f.send("nobody", sendPath, f.good()); a.status != 401 {
		t.Errorf("%+v", a)
	}
	if f.TokenFaults().Struck()[FaultClose] != 0 {
		t.Error("a fault of the token endpoint struck a send")
	}
}

// TestFaultsOnHTTP1 checks that faults of frames end an HTTP/1.1 connection.
func TestFaultsOnHTTP1(t *testing.T) {
	f := newFCMRig(t, FCMOptions{})
	client := testClient(t)
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	client.Transport.(*http.Transport).TLSClientConfig.NextProtos = []string{"http/1.1"}
	for _, kind := range []FaultKind{
		FaultGoAwayRefuse, FaultGoAwayClose, FaultRefusedStream, FaultStreamError, FaultReset, FaultClose,
	} {
		if err := f.Faults().Add(Fault{Kind: kind, Count: 1}); err != nil {
			t.Fatal(err)
		}
		send := func() (answer, error) {
			req := request(t, "POST", f.URL()+sendPath, nil, []byte(f.good()))
			req.GetBody = nil
			return do(client, req)
		}
		if a, err := send(); err == nil {
			t.Errorf("%s: %+v", kind, a)
		}
		if a, err := send(); err != nil || a.status != 401 {
			t.Errorf("after %s: %+v, %v", kind, a, err)
		}
	}
}
