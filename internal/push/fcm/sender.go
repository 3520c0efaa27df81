package fcm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/transport"
)

var _ delivery.Sender = (*Client)(nil)

// maxData is how many bytes keys and values may have together.
const maxData = 4096

// maxTTL is the longest life of a message: 28 days.
const maxTTL = 2419200

// message is the request's JSON. There is no "notification": with one, a sleeping app
// would not be woken, the system would show a banner instead.
// https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
type message struct {
	ValidateOnly bool   `json:"validate_only,omitempty"` // looked at, and not delivered
	Message      target `json:"message"`
}

type target struct {
	Token   string            `json:"token"`
	Data    map[string]string `json:"data"`
	Android android           `json:"android"`
}

type android struct {
	Priority string `json:"priority"`
	TTL      string `json:"ttl"`
}

// Send makes one attempt. See delivery.Sender.
func (c *Client) Send(ctx context.Context, ring *bell.Ring, try delivery.Try) bell.Outcome {
	now := try.Now
	if now.IsZero() {
		now = c.now()
	}
	body, err := payload(ring, now)
	if err != nil {
		r := rules[answer{http.StatusRequestEntityTooLarge, "PAYLOAD_TOO_LARGE", false}]
		return bell.Outcome{Verdict: r.verdict, Reason: "PAYLOAD_TOO_LARGE", Token: r.token, Alarm: r.alarm, Unsent: true, Detail: r.detail}
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()

	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return c.unsent(ctx, reasonBusy)
	}
	token, failure := c.tokens.Current(ctx)
	if failure != nil {
		return c.unsent(ctx, failure.reason)
	}
	if c.pace.Wait(ctx) != nil { // at once, if its turn would come too late
		return c.unsent(ctx, reasonBusy)
	}
	way := c.transports[0]
	if try.Spare {
		way = c.transports[1]
	}
	o := c.exchange(ctx, way, token, body)
	if o.Verdict == bell.RetryCredential {
		c.tokens.Refused(token)
	}
	return o
}

// payload writes the message. Optional keys are left out as far as the limit asks for
// it; if that is not enough the error wraps planet.ErrTooLarge.
func payload(ring *bell.Ring, now time.Time) ([]byte, error) {
	data, err := ring.Call.Payload(now).Fit(maxData, nil)
	if err != nil {
		return nil, fmt.Errorf("write the data of the message: %w", err)
	}
	priority := "high"
	if !ring.Call.Purpose.Urgent() {
		priority = "normal"
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err = e.Encode(message{Message: target{
		Token: ring.Device.PushToken.Reveal(), Data: data,
		Android: android{Priority: priority, TTL: ttl(ring.KeptUntil().Sub(now))},
	}})
	if err != nil {
		return nil, fmt.Errorf("encode the message: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// ttl is how long FCM may keep the message: of a call what is left of the ring, in whole
// seconds. A later delivery would ring for a call that is over.
func ttl(left time.Duration) string {
	seconds := min(max(int64(left/time.Second), 0), maxTTL)
	return strconv.FormatInt(seconds, 10) + "s"
}

// exchange sends the message and reads the answer.
func (c *Client) exchange(ctx context.Context, way http.RoundTripper, token string, body []byte) bell.Outcome {
	u := c.sendURL
	request := (&http.Request{
		Method: http.MethodPost, URL: &u, Host: u.Host, ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{
			"Authorization": {"Bearer " + token},
			"Content-Type":  {"application/json"},
			"User-Agent":    {"planetbell"},
			// Errors as google.rpc.Status with details.
			"X-Goog-Api-Format-Version": {"2"},
		},
		Body:          io.NopCloser(bytes.NewReader(body)),
		GetBody:       func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil },
		ContentLength: int64(len(body)),
	}).WithContext(ctx)

	sent := c.now()
	response, err := way.RoundTrip(request)
	if err != nil {
		reason := exchangeReason(err)
		if reason == reasonGoAway {
			c.metrics.ended(c)
		}
		o := c.interrupted(ctx, reason)
		o.Unsent = o.Unsent && !transport.IsAlert(err)
		return o
	}
	c.metrics.clock.Answered(response, sent, c.now())
	text, err := readAnswer(response)
	if err != nil && ctx.Err() != nil && response.StatusCode != http.StatusOK {
		return c.interrupted(ctx, reasonTimeout)
	}
	o := classify(response.StatusCode, text)
	if o.Verdict == bell.RetryThrottled || o.Verdict == bell.RetryBackoff {
		o.RetryAfter = transport.RetryAfter(response.Header.Get("Retry-After"), c.now())
	}
	return o
}

// unsent is the outcome of an attempt that ended before its message was sent: reason,
// unless it was called off.
func (c *Client) unsent(ctx context.Context, reason string) bell.Outcome {
	switch {
	case c.ctx.Err() != nil:
		reason = reasonClosed
	case errors.Is(ctx.Err(), context.Canceled):
		reason = reasonCancelled
	}
	o := unanswered(reason)
	o.Unsent = true
	return o
}

// interrupted is the outcome of an attempt that got no answer: reason, unless the
// attempt was ended from outside.
func (c *Client) interrupted(ctx context.Context, reason string) bell.Outcome {
	switch {
	case c.ctx.Err() != nil:
		reason = reasonClosed
	case errors.Is(ctx.Err(), context.Canceled):
		reason = reasonCancelled
	case ctx.Err() != nil:
		reason = reasonTimeout
	}
	return unanswered(reason)
}
