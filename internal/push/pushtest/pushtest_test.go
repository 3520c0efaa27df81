package pushtest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain is the smallest sender that passes: it shows what the suite asks for.
type plain struct {
	to        Target
	transport *http.Transport
	ctx       context.Context // ends with stop
}

func newPlain(t *testing.T, to Target) (delivery.Sender, func()) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &plain{to: to, ctx: ctx, transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: to.Roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true, MaxConnsPerHost: 1,
	}}
	return s, func() {
		cancel()
		s.transport.CloseIdleConnections()
	}
}

func (s *plain) Send(ctx context.Context, ring *bell.Ring, try delivery.Try) bell.Outcome {
	ctx, cancel := context.WithTimeout(ctx, s.to.Timeout)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	o := bell.Outcome{Token: bell.TokenKeep, Detail: "What came of it."}
	body, err := json.Marshal(ring.Call.Notification(try.Now).Fields())
	if err != nil {
		o.Verdict, o.Reason = bell.Rejected, "payload"
		return o
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.to.URL+"/push", bytes.NewReader(body))
	if err != nil {
		o.Verdict, o.Reason = bell.Rejected, "url"
		return o
	}
	connected := false
	response, err := s.transport.RoundTrip(request.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected = true },
	})))
	if err == nil {
		_, err = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<16))
		err = errors.Join(err, response.Body.Close())
		o.Status = response.StatusCode
	}
	switch {
	case ctx.Err() != nil:
		o.Verdict, o.Reason, o.Status = bell.RetryNow, "timeout", 0
	case err != nil && connected:
		o.Verdict, o.Reason = bell.RetryConnect, "connection_lost"
	case errors.As(err, new(*tls.CertificateVerificationError)):
		o.Verdict, o.Reason, o.Alarm, o.Unsent = bell.RetryConnect, "tls", bell.AlarmPage, true
	case err != nil:
		o.Verdict, o.Reason, o.Unsent = bell.RetryConnect, "dial", true
	case o.Status == http.StatusOK:
		o.Verdict = bell.Accepted
	case o.Status >= 500:
		o.Verdict, o.Reason = bell.RetryBackoff, "unwell"
	default:
		o.Verdict, o.Reason = bell.Rejected, "refused"
	}
	return o
}

func harness() Harness {
	return Harness{
		Channel: bell.FCM, PushToken: planet.Secret(testlog.TextSecret("token")), New: newPlain,
		Accept: func(http.ResponseWriter, *http.Request) {},
		Aside:  func(_ http.ResponseWriter, r *http.Request) bool { return r.URL.Path == "/aside" },
		CCParam: func(body []byte) (string, error) {
			var fields map[string]string
			err := json.Unmarshal(body, &fields)
			return fields["cc_param"], err
		},
		Answers: []Answer{
			{Name: "taken", Status: 200, Want: bell.Outcome{Verdict: bell.Accepted, Status: 200, Token: bell.TokenKeep}},
			{
				Name: "refused", Status: 410, Header: map[string]string{"X-A": "b"}, Body: "gone",
				Change: func(r *bell.Ring) { r.Device.APNsServerGuessed = true },
				Want:   bell.Outcome{Verdict: bell.Rejected, Reason: "refused", Status: 410, Token: bell.TokenKeep},
			},
		},
	}
}

func TestSuite(t *testing.T) { Run(t, harness()) }

func TestServerRecords(t *testing.T) {
	h := harness()
	server := NewServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) == 0 {
			t.Errorf("the handler read %d bytes (%v)", len(body), err)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	sender, stop := newPlain(t, Target{URL: server.URL, Roots: server.Roots, Timeout: patience})
	defer stop()
	sender.Send(t.Context(), Ring(h.Channel, h.PushToken), delivery.Try{})
	r := server.Last(t)
	if r.Method != http.MethodPost || r.Path != "/push" || r.Proto != "HTTP/2.0" || r.Host == "" || server.Opened() != 1 {
		t.Errorf("request %s %s %s to %q over %d connections", r.Method, r.Path, r.Proto, r.Host, server.Opened())
	}
}

func TestRender(t *testing.T) {
	got := Render("/p", http.Header{"B": {"2"}, "A": {"1", "0"}}, []byte("body"), func(name, value string) string {
		return strings.ToUpper(name) + value
	})
	if want := "POST /p\na: A0\na: A1\nb: B2\n\nbody\n"; got != want {
		t.Errorf("rendered %q, want %q", got, want)
	}
	t.Chdir(t.TempDir())
	Golden(t, "x.txt", got, true)
	Golden(t, "x.txt", got, false)
}
