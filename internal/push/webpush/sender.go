package webpush

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/transport"
	"github.com/planetbell/planetbell/planet"
)

var _ delivery.Sender = (*Client)(nil)

// maxTTL is the longest life of a message: 28 days, as Google has it.
const maxTTL = 2419200

// topicBytes of a hash are the 32 characters that a topic may have (RFC 8030 section 5.4).
const topicBytes = 24

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 10

// message is what one attempt sends.
type message struct {
	endpoint *url.URL
	header   http.Header
	body     []byte
}

// Send makes one attempt. See delivery.Sender.
func (c *Client) Send(ctx context.Context, ring *bell.Ring, try delivery.Try) bell.Outcome {
	now := try.Now
	if now.IsZero() {
		now = c.now()
	}
	service, endpoint, err := c.hosts.Find(ring.Device.PushToken)
	if err != nil { // the configuration has changed since it was registered
		return unanswered(reasonHost)
	}
	m, failure := c.message(ring, endpoint, now)
	if failure != "" {
		return unanswered(failure)
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()

	slots := c.slots[service.String()]
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		o := c.interrupted(ctx, reasonBusy, reasonBusy)
		o.Unsent = true
		return o
	}
	way := c.transports[0]
	if try.Spare {
		way = c.transports[1]
	}
	return c.exchange(ctx, way, m)
}

// message makes what is sent: everything of it is new, but for the VAPID token and the topic.
func (c *Client) message(ring *bell.Ring, endpoint *url.URL, now time.Time) (message, string) {
	subscription := bell.Subscription{Endpoint: ring.Device.PushToken, Keys: ring.Device.PushKeys}
	browser, auth, err := subscription.Open()
	if err != nil {
		return message{}, reasonKeys
	}
	text, err := payload(ring, now)
	if err != nil {
		return message{}, reasonTooLarge
	}
	body, err := seal(browser, auth, text)
	if err != nil {
		return message{}, reasonTooLarge
	}
	authorization, err := c.tokens.authorization(originOf(endpoint), c.now())
	if err != nil {
		return message{}, reasonSign
	}
	urgency := "high"
	if !ring.Call.Purpose.Urgent() {
		urgency = "normal"
	}
	return message{endpoint: endpoint, body: body, header: http.Header{
		"Authorization":    {authorization},
		"Content-Encoding": {"aes128gcm"},
		"Content-Type":     {"application/octet-stream"},
		"Topic":            {topic(ring.Call.SessionID)},
		"Ttl":              {ttl(ring.KeptUntil().Sub(now))},
		"Urgency":          {urgency},
		"User-Agent":       {"planetbell"},
	}}, ""
}

// payload writes what the page gets: the keys of the notification in a JSON object. Optional
// keys are left out as far as the limit asks for it; if that is not enough the error wraps
// planet.ErrTooLarge.
func payload(ring *bell.Ring, now time.Time) ([]byte, error) {
	fields, err := ring.Call.Payload(now).Fit(maxText, func(fields map[string]string) int { return len(encode(fields)) })
	if err != nil {
		return nil, fmt.Errorf("write the message: %w", err)
	}
	text := encode(fields)
	if len(text) > maxText {
		return nil, planet.ErrTooLarge
	}
	return text, nil
}

// encode writes fields as JSON without escaping what only HTML needs.
func encode(fields map[string]string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(fields) // a map of texts has no value that cannot be encoded
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// ttl is how long the push service may keep the message: of a call what is left of the ring, in
// whole seconds. At least 1: Apple takes no 0, nor does Microsoft.
func ttl(left time.Duration) string {
	return strconv.FormatInt(min(max(int64(left/time.Second), 1), maxTTL), 10)
}

// topic makes the messages of one call, or of one notice, replace each other at the push
// service: a retry whose first try arrived after all shows nothing twice.
func topic(id planet.SessionID) string {
	sum := sha256.Sum256([]byte(strings.ToLower(string(id))))
	return base64.RawURLEncoding.EncodeToString(sum[:topicBytes])
}

// exchange sends the message and reads the answer.
func (c *Client) exchange(ctx context.Context, way http.RoundTripper, m message) bell.Outcome {
	request := (&http.Request{
		Method: http.MethodPost, URL: m.endpoint, Host: m.endpoint.Host, ProtoMajor: 1, ProtoMinor: 1, Header: m.header,
		Body:          io.NopCloser(bytes.NewReader(m.body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(m.body)), nil },
		ContentLength: int64(len(m.body)),
	}).WithContext(ctx)

	sent := c.now()
	response, err := way.RoundTrip(request) // which follows no redirect
	if err != nil {
		reason := exchangeReason(err)
		if reason == reasonGoAway {
			c.metrics.ended(c)
		}
		o := c.interrupted(ctx, reason, reasonTimeout)
		o.Unsent = o.Unsent && !transport.IsAlert(err)
		return o
	}
	c.metrics.clock.Answered(response, sent, c.now())
	text, err := readAnswer(response)
	if err != nil && ctx.Err() != nil && response.StatusCode/100 != 2 {
		return c.interrupted(ctx, reasonTimeout, reasonTimeout)
	}
	o := classify(response.StatusCode, text)
	if err != nil && o.Verdict == bell.Rejected && parse(text) == "" { // the reason may be in what did not come
		return unanswered(brokenReason(err))
	}
	if o.Verdict == bell.RetryThrottled || o.Verdict == bell.RetryBackoff {
		o.RetryAfter = transport.RetryAfter(response.Header.Get("Retry-After"), c.now())
	}
	return o
}

func readAnswer(response *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	return body, errors.Join(err, response.Body.Close())
}

// interrupted is the outcome of an attempt that got no answer: reason, unless the attempt was
// ended from outside, or its time was up.
func (c *Client) interrupted(ctx context.Context, reason, late string) bell.Outcome {
	switch {
	case c.ctx.Err() != nil:
		reason = reasonClosed
	case errors.Is(ctx.Err(), context.Canceled):
		reason = reasonCancelled
	case ctx.Err() != nil:
		reason = late
	}
	return unanswered(reason)
}
