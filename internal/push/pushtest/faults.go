package pushtest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
)

// testNothingLeaks has the provider say the secrets back to us, in every place.
func (h Harness) testNothingLeaks(t *testing.T) {
	for _, status := range []int{200, 400, 401, 403, 404, 410, 429, 500, 503} {
		for _, form := range []string{
			`{"reason":"%[1]s","timestamp":"%[1]s"}`,
			`{"error":{"status":"%[1]s","message":"%[1]s %[2]s","details":[{"@type":"x.FcmError","errorCode":"%[1]s"},{"@type":"x.BadRequest","fieldViolations":[{"field":"%[2]s"}]}]}}`,
			`{"name":"%[1]s"}`,
			`<html>%[1]s %[2]s</html>`,
		} {
			b := h.start(t, patience, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Apns-Id", h.PushToken.Reveal())
				w.Header().Set("Retry-After", h.PushToken.Reveal())
				w.WriteHeader(status)
				_, _ = fmt.Fprintf(w, form, h.PushToken.Reveal(), Ring(h.Channel, "").Call.CCParam.Reveal())
			})
			b.ring(t, t.Context(), nil)
			b.stop()
		}
	}
}

// testOddAnswers: what is not in the provider's format is decided by its status.
func (h Harness) testOddAnswers(t *testing.T) {
	bodies := map[string]string{
		"html": "<html><body>Bad gateway</body></html>", "empty": "", "null": "null", "list": "[1,2]", "number": "7",
		"half": `{"reason":"Unreg`, "wrong types": `{"reason":{"a":1},"timestamp":[],"error":"text"}`,
		"deep": strings.Repeat(`{"error":`, 20000), "huge": `{"reason":"` + strings.Repeat("A", 1<<20) + `"}`, "binary": "\x00\xff\xfe\x1f\x8b",
	}
	for name, body := range bodies {
		for _, status := range []int{302, 400, 418, 502, 520} {
			t.Run(fmt.Sprintf("%s %d", name, status), func(t *testing.T) {
				b := h.start(t, patience, Answer{Status: status, Body: body}.write)
				o := b.ring(t, t.Context(), nil)
				switch {
				case status >= 500:
					mustBe(t, o, bell.RetryBackoff)
				default:
					mustBe(t, o, bell.Rejected)
				}
				if o.Token != bell.TokenKeep {
					t.Errorf("token %s on an answer that proves nothing", o.Token)
				}
				if o.Status != status {
					t.Errorf("status %d, want %d", o.Status, status)
				}
			})
		}
	}
}

// testSlowAnswer: the outcome is unknown, so the same push may go out again at once.
func (h Harness) testSlowAnswer(t *testing.T) {
	b := h.start(t, hurry, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	o := b.ring(t, t.Context(), nil)
	mustBe(t, o, bell.RetryNow)
	mustBeUnsent(t, o, false)
}

func (h Harness) testCallersDeadline(t *testing.T) {
	b := h.start(t, time.Hour, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), hurry)
	defer cancel()
	mustBe(t, b.ring(t, ctx, nil), bell.RetryNow)

	arrived := make(chan struct{})
	called := h.start(t, time.Hour, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	ctx, cancel = context.WithCancel(t.Context())
	go func() { // ends with the request
		<-arrived
		cancel()
	}()
	o := called.ring(t, ctx, nil)
	mustBe(t, o, bell.RetryNow)
	mustBeUnsent(t, o, false)
}

func (h Harness) testSlowBody(t *testing.T) {
	b := h.start(t, hurry, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, " ")
			_ = http.NewResponseController(w).Flush()
			pause(r.Context(), 20*time.Millisecond)
		}
	})
	mustBe(t, b.ring(t, t.Context(), nil), bell.RetryNow)
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// testRefused: nobody listens; and when somebody does again, the same sender works.
func (h Harness) testRefused(t *testing.T) {
	listener := listen(t)
	address := listener.Addr().String()
	_ = listener.Close()
	b := h.sender(t, Target{URL: "https://" + address, Roots: x509.NewCertPool(), Timeout: hurry})
	o := b.ring(t, t.Context(), nil)
	mustBe(t, o, bell.RetryConnect, bell.RetryBackoff)
	mustBeUnsent(t, o, true)
}

func (h Harness) testHandshakeStalls(t *testing.T) {
	listener := listen(t)
	defer listener.Close()
	b := h.sender(t, Target{URL: "https://" + listener.Addr().String(), Roots: x509.NewCertPool(), Timeout: hurry})
	o := b.ring(t, t.Context(), nil)
	mustBe(t, o, bell.RetryConnect, bell.RetryNow, bell.RetryBackoff)
	mustBeUnsent(t, o, o.Verdict != bell.RetryNow) // a time-out does not say how far it came
}

func (h Harness) testUnknownAuthority(t *testing.T) {
	server := NewServer(t, h.Accept)
	b := h.sender(t, Target{URL: server.URL, Roots: x509.NewCertPool(), Timeout: patience})
	o := b.ring(t, t.Context(), nil)
	mustBe(t, o, bell.RetryConnect, bell.RetryBackoff)
	mustBeUnsent(t, o, true)
	if len(server.Requests()) != 0 {
		t.Error("a server that nobody vouches for got a request")
	}
}

func (h Harness) testReset(t *testing.T) {
	b := h.start(t, patience, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	o := b.ring(t, t.Context(), nil)
	mustBe(t, o, bell.RetryConnect)
	mustBeUnsent(t, o, false)
}

// testCut breaks all connections in a request. The next ones must find a new connection;
// a few may still run into one whose end the sender has not seen yet.
func (h Harness) testCut(t *testing.T) {
	var once sync.Once
	var b *bench
	b = h.start(t, patience, func(w http.ResponseWriter, r *http.Request) {
		cut := false
		once.Do(func() {
			cut = true
			b.server.CutConnections()
		})
		if cut {
			<-r.Context().Done()
			return
		}
		h.Accept(w, r)
	})
	o := b.ring(t, t.Context(), nil)
	mustBe(t, o, bell.RetryConnect)
	mustBeUnsent(t, o, false)
	for range 3 {
		if o := b.ring(t, t.Context(), nil); o.Verdict != bell.RetryConnect {
			mustBe(t, o, bell.Accepted)
			return
		}
	}
	t.Error("no new connection was found")
}

// testParallel is for the race detector and for lost wake-ups.
func (h Harness) testParallel(t *testing.T) {
	b := h.start(t, patience, h.Accept)
	const senders, each = 200, 5
	var wg sync.WaitGroup
	var mu sync.Mutex
	got := map[bell.Verdict]int{}
	for i := range senders {
		wg.Go(func() {
			for n := range each {
				ring := Ring(h.Channel, h.PushToken)
				ring.Delivery.ID = fmt.Sprintf("0199d1c2-3f5e-7c1a-9b7e-%012x", i*each+n)
				o := b.sender.Send(t.Context(), ring, delivery.Try{Number: 1, Spare: i%10 == 0, Now: time.Now()})
				mu.Lock()
				got[o.Verdict]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got[bell.Accepted] != senders*each {
		t.Errorf("verdicts %v, want all accepted", got)
	}
}

// testStopped: what is being sent ends at once, and what comes later is turned away.
func (h Harness) testStopped(t *testing.T) {
	arrived := make(chan struct{}, 100)
	b := h.start(t, time.Hour, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			o := b.ring(t, t.Context(), nil)
			mustBe(t, o, bell.RetryConnect, bell.RetryNow)
		})
	}
	<-arrived
	b.stop()
	wg.Wait()
	mustBe(t, b.ring(t, t.Context(), nil), bell.RetryConnect, bell.RetryNow)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen on loopback: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Errorf("close the listener: %v", err)
		}
	})
	return l
}
