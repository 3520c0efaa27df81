package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/egress"
	"github.com/planetbell/planetbell/planet"
)

// postTimeout is how long an endpoint may take to answer (Standard Webhooks 1.0: 15 to 30 s).
const postTimeout = 15 * time.Second

var errPostTimeout = errors.New("the endpoint did not answer in time")

// The reasons of a failed try. They are stable: the admin API shows them.
const (
	reasonTimeout  = "timeout"         // no answer in time
	reasonAddress  = "address_refused" // ours: see Policy
	reasonDNS      = "dns"
	reasonDial     = "dial"
	reasonTLS      = "tls"
	reasonBroken   = "broken"   // the connection broke, or the answer was no HTTP
	reasonRedirect = "redirect" // never followed
	reasonGone     = "gone"
	reasonStatus   = "status"       // any other answer but 2xx
	reasonData     = "invalid_data" // ours: the event is no JSON
	reasonStopped  = "stopped"      // ours: the process ends
)

// answer is what became of one POST. A zero reason is success.
type answer struct {
	reason string
	status int
	wait   time.Duration // that the endpoint asks for
}

func (a answer) ok() bool { return a.reason == "" }

// payload is the body of every POST (Standard Webhooks 1.0, "Payload structure").
type payload struct {
	Type      bell.EventType  `json:"type"`
	Timestamp string          `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}

// bodyOf writes the body. It is the same for every try, byte for byte.
func bodyOf(e *bell.Event) ([]byte, error) {
	body, err := json.Marshal(payload{e.Type, e.At.UTC().Format(time.RFC3339Nano), e.Data})
	if err != nil {
		return nil, fmt.Errorf("write event %s: %w", e.ID, err)
	}
	return body, nil
}

// messageID is the event's ID if it can stand between the dots of what is signed, and in a
// header; otherwise one that is made of it.
func messageID(id string) string {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	if id == "" || len(id) > 128 || strings.Trim(id, allowed) != "" {
		return bell.EventID("", id)
	}
	return id
}

// poster sends events. It is safe for concurrent use.
type poster struct {
	client *http.Client
	now    func() time.Time
}

func newPoster(transport http.RoundTripper, now func() time.Time) *poster {
	return &poster{now: now, client: &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// message is one event as it is told.
type message struct {
	id          string
	traceparent string // empty: none
	body        []byte
}

// post tells one event to one address.
func (p *poster) post(ctx context.Context, e *Endpoint, to planet.Secret, m message) answer {
	id, body := m.id, m.body
	parent := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, postTimeout, errPostTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.Reveal(), bytes.NewReader(body))
	if err != nil {
		return answer{reason: reasonDial} // an address that the configuration would not have taken
	}
	now := p.now()
	signatures := make([]string, len(e.Keys))
	for i, key := range e.Keys {
		signatures[i] = key.Sign(id, now, body)
	}
	r.Header = http.Header{
		"Content-Type": {"application/json"}, "User-Agent": {"planetbell"},
		"Webhook-Id": {id}, "Webhook-Timestamp": {strconv.FormatInt(now.Unix(), 10)},
		"Webhook-Signature": {strings.Join(signatures, " ")},
	}
	if m.traceparent != "" {
		r.Header.Set("Traceparent", m.traceparent)
	}
	w, err := p.client.Do(r)
	if err != nil {
		return answer{reason: reasonOf(parent, ctx, err)}
	}
	defer w.Body.Close()
	_, _ = io.CopyN(io.Discard, w.Body, maxBody) // see maxBody; the status has been read
	return judge(w, now)
}

// judge reads an answer's status (Standard Webhooks 1.0, "Delivery success and failure").
func judge(w *http.Response, now time.Time) answer {
	a := answer{status: w.StatusCode, reason: reasonStatus}
	switch {
	case w.StatusCode >= 200 && w.StatusCode <= 299:
		a.reason = ""
	case w.StatusCode >= 300 && w.StatusCode <= 399:
		a.reason = reasonRedirect
	case w.StatusCode == http.StatusGone:
		a.reason = reasonGone
	default:
		a.wait = retryAfter(w.Header, now)
	}
	return a
}

// reasonOf classifies an error in one word. Its text is not passed on: it holds the URL.
func reasonOf(parent, ctx context.Context, err error) string {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var dns *net.DNSError
	var op *net.OpError
	var timeout net.Error
	switch {
	case parent.Err() != nil:
		return reasonStopped
	case errors.Is(err, egress.ErrNotPublic):
		return reasonAddress
	case errors.Is(context.Cause(ctx), errPostTimeout), errors.As(err, &timeout) && timeout.Timeout():
		return reasonTimeout
	case errors.As(err, &dns):
		return reasonDNS
	case errors.As(err, &op) && op.Op == "dial":
		return reasonDial
	case isTLS(err):
		return reasonTLS
	}
	return reasonBroken
}

// isTLS reports whether an error is about a handshake or a certificate.
func isTLS(err error) bool {
	var op *net.OpError // "remote error" and "local error" are alerts; crypto/tls exports no type for them
	var record tls.RecordHeaderError
	var verification *tls.CertificateVerificationError
	return errors.As(err, &op) && strings.HasSuffix(op.Op, " error") || errors.As(err, &record) || errors.As(err, &verification)
}
