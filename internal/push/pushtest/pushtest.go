// Package pushtest is the suite that every sender must pass, whatever its provider:
// cc_param arrives byte for byte, secrets stay inside, every answer has its outcome,
// and nothing that a network or a server does makes a sender hang, panic or leak.
//
// A sender's test fills in a [Harness] and calls [Run]. The fakes of package sim judge
// what a sender says; this suite judges how it behaves, against a [Server] that answers
// whatever it is told to.
package pushtest

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// Harness is what the suite has to know of a sender.
type Harness struct {
	Channel   bell.Channel
	PushToken planet.Secret // with a canary of testlog in it

	// New makes a sender and what ends it. It may be called with a server that does not
	// exist, so it must not wait for one.
	New func(t *testing.T, to Target) (sender delivery.Sender, stop func())
	// Accept answers a push as the provider does when it takes it.
	Accept http.HandlerFunc
	// Aside answers requests that are not pushes, such as those for an access token, and
	// reports whether the request was one. nil: there are none.
	Aside func(w http.ResponseWriter, r *http.Request) bool
	// CCParam finds cc_param in the body of a push.
	CCParam func(body []byte) (string, error)
	// Answers are the provider's answers with the outcome of each; of the outcome,
	// ProviderID and Detail are not compared.
	Answers []Answer
}

// Target is where a sender under test sends to.
type Target struct {
	URL     string
	Roots   *x509.CertPool
	Timeout time.Duration // of an attempt
	Log     *slog.Logger
}

// Answer is one thing a provider may say.
type Answer struct {
	Name   string
	Status int
	Header map[string]string
	Body   string
	Change func(*bell.Ring) // what is special about the device; nil: nothing
	Want   bell.Outcome
}

// The outcomes below have reasons of the sender's own, so only the verdicts are common.
const (
	patience = 10 * time.Second       // for what must not fail by time
	hurry    = 300 * time.Millisecond // for what must fail by time
)

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	t.Run("cc_param arrives unchanged", h.testCCParam)
	t.Run("answers", h.testAnswers)
	t.Run("nothing leaks", h.testNothingLeaks)
	t.Run("odd answers", h.testOddAnswers)
	t.Run("slow answer", h.testSlowAnswer)
	t.Run("deadline of the caller", h.testCallersDeadline)
	t.Run("slow body", h.testSlowBody)
	t.Run("connection refused", h.testRefused)
	t.Run("handshake stalls", h.testHandshakeStalls)
	t.Run("unknown authority", h.testUnknownAuthority)
	t.Run("certificate", h.testCertificates)
	t.Run("listens again", h.testListensAgain)
	t.Run("request reset", h.testReset)
	t.Run("connection cut", h.testCut)
	t.Run("in parallel", h.testParallel)
	t.Run("stopped while sending", h.testStopped)
}

// bench is one sender, its server and everything it logged.
type bench struct {
	h      Harness
	server *Server
	sender delivery.Sender
	stop   func()
	logs   *buffer
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p) //nolint:wrapcheck // never fails
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// start makes a server that answers pushes with handler, and a sender to it.
func (h Harness) start(t *testing.T, timeout time.Duration, handler http.HandlerFunc) *bench {
	t.Helper()
	server := NewServer(t, h.orAside(handler))
	b := h.sender(t, Target{URL: server.URL, Roots: server.Roots, Timeout: timeout})
	b.server = server
	return b
}

func (h Harness) sender(t *testing.T, to Target) *bench {
	t.Helper()
	b := &bench{h: h, logs: new(buffer)}
	to.Log = slog.New(slog.NewJSONHandler(io.MultiWriter(testlog.Writer(t), b.logs), &slog.HandlerOptions{Level: slog.LevelDebug}))
	b.sender, b.stop = h.New(t, to)
	t.Cleanup(func() {
		b.stop()
		h.mustHide(t, "the log", b.logs.String())
	})
	return b
}

// ring rings a device with a certain cc_param and checks what must hold of every
// outcome.
func (b *bench) ring(t *testing.T, ctx context.Context, change func(*bell.Ring)) bell.Outcome {
	t.Helper()
	ring := Ring(b.h.Channel, b.h.PushToken)
	if change != nil {
		change(ring)
	}
	o := b.sender.Send(ctx, ring, delivery.Try{Number: 1, Now: time.Now()})
	text := fmt.Sprintf("%+v", o)
	testlog.Keep(t, "outcome", text)
	b.h.mustHide(t, "the outcome", text)
	switch {
	case o.Verdict == "" || o.Token == "":
		t.Errorf("the outcome is not complete: %+v", o)
	case o.Reason == "" && o.Verdict != bell.Accepted:
		t.Errorf("the outcome has no reason: %+v", o)
	case o.Unsent && (o.Status != 0 || o.Verdict == bell.Accepted):
		t.Errorf("the outcome is an answer to what was not sent: %+v", o)
	case len(o.Reason) > 64 || len(o.Detail) > 200 || len(o.ProviderID) > 200:
		t.Errorf("a text of the outcome is too long: %+v", o)
	}
	return o
}

// mustHide fails if text holds a secret of the test.
func (h Harness) mustHide(t *testing.T, what, text string) {
	t.Helper()
	for _, secret := range []string{h.PushToken.Reveal(), testlog.Hex, testlog.Text} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(secret)) {
			t.Errorf("%s holds a secret: %s", what, text)
		}
	}
}

// mustBeUnsent holds an outcome to whether anything can have reached the provider.
func mustBeUnsent(t *testing.T, o bell.Outcome, want bool) {
	t.Helper()
	if o.Unsent != want {
		t.Errorf("unsent %v (%s), want %v", o.Unsent, o.Reason, want)
	}
}

func mustBe(t *testing.T, o bell.Outcome, verdicts ...bell.Verdict) {
	t.Helper()
	for _, v := range verdicts {
		if o.Verdict == v {
			return
		}
	}
	t.Errorf("verdict %s (%s), want %v", o.Verdict, o.Reason, verdicts)
}

// Ring returns a delivery to ring, with secrets that carry canaries.
func Ring(channel bell.Channel, token planet.Secret) *bell.Ring {
	now := time.Now()
	call := &bell.Call{
		Environment: planet.Real, SessionID: "5f1f6b4e-7a33-4a6e-9d2a-0c5f3c1e8b11", Project: "demo", Label: "real",
		Caller: planet.UserRef{ServiceID: "planet-demo", UserID: "alice"},
		Callee: planet.UserRef{ServiceID: "planet-demo", UserID: "bob"},
		Type:   planet.AudioCall, CCParam: planet.CCParam(testlog.CCParam(7)),
		NotifiedAt: now, Deadline: now.Add(40 * time.Second),
	}
	return &bell.Ring{
		Call:   call,
		Device: bell.Device{ID: "0199d1c2-0000-7000-8000-000000000001", Channel: channel, PushToken: token, APNsServer: bell.APNsSandbox},
		Delivery: bell.Delivery{
			ID: "0199d1c2-3f5e-7c1a-9b7e-2f60a4c7d8e9", Environment: planet.Real, SessionID: call.SessionID,
			Channel: channel, State: bell.DeliverySending, Deadline: call.Deadline, CreatedAt: now,
		},
	}
}

func (h Harness) testCCParam(t *testing.T) {
	b := h.start(t, patience, h.Accept)
	params := []string{testlog.CCParam(1), "plain", "a+b/c==", "<&>'\" \\ +", "ünïcode \u2028 ☎", strings.Repeat("Ab+/", 256)}
	for _, want := range params {
		o := b.ring(t, t.Context(), func(r *bell.Ring) { r.Call.CCParam = planet.CCParam(want) })
		mustBe(t, o, bell.Accepted)
		got, err := h.CCParam(b.server.Last(t).Body)
		if err != nil || got != want {
			t.Errorf("a cc_param of %d bytes arrived as %d bytes (%v), or changed", len(want), len(got), err)
		}
	}
}

func (h Harness) testAnswers(t *testing.T) {
	for _, a := range h.Answers {
		t.Run(a.Name, func(t *testing.T) {
			b := h.start(t, patience, a.write)
			got := b.ring(t, t.Context(), a.Change)
			ignore := cmpopts.IgnoreFields(bell.Outcome{}, "ProviderID", "Detail")
			if diff := cmp.Diff(a.Want, got, ignore); diff != "" {
				t.Errorf("outcome (-want +got):\n%s", diff)
			}
			if got.Detail == "" && got.Verdict != bell.Accepted {
				t.Error("the outcome says nothing to people")
			}
		})
	}
}

func (a Answer) write(w http.ResponseWriter, _ *http.Request) {
	for name, value := range a.Header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(a.Status)
	_, _ = io.WriteString(w, a.Body)
}
