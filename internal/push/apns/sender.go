package apns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
)

// Sender rings the devices of one app over one channel. It is a delivery.Sender.
type Sender struct {
	client  *Client
	channel bell.Channel
	topic   string
}

var _ delivery.Sender = (*Sender)(nil)

// bundleForm is what a bundle ID looks like.
var bundleForm = regexp.MustCompile(`^[A-Za-z0-9.-]{1,155}$`)

// Sender returns the sender for an app and a channel, bell.APNsVoIP or
// bell.APNsAlert. It refuses a topic that the certificate is not for; the error is of
// kind bell.Invalid.
func (c *Client) Sender(bundleID string, channel bell.Channel) (*Sender, error) {
	if !bundleForm.MatchString(bundleID) || strings.HasSuffix(bundleID, voipSuffix) {
		return nil, bell.E(bell.Invalid, "bundle_id must be the app's bundle ID, such as com.example.app, without .voip", nil)
	}
	topic := bundleID
	switch channel {
	case bell.APNsVoIP:
		topic += voipSuffix
	case bell.APNsAlert:
	default:
		return nil, bell.E(bell.Invalid, fmt.Sprintf("APNs has no channel %s", channel), nil)
	}
	if err := c.credential.checkTopic(topic); err != nil {
		return nil, err
	}
	return &Sender{client: c, channel: channel, topic: topic}, nil
}

// Send makes one attempt. See delivery.Sender.
func (s *Sender) Send(ctx context.Context, ring *bell.Ring, try delivery.Try) bell.Outcome {
	now := try.Now
	if now.IsZero() {
		now = s.client.now()
	}
	if !ring.Call.Purpose.Goes(s.channel) { // the last guard: iOS would kill the app
		return bell.Outcome{
			Verdict: bell.Rejected, Reason: "not_a_call", Token: bell.TokenKeep, Alarm: bell.AlarmBug, Unsent: true,
			Detail: "A missed call must not be sent as a VoIP push.",
		}
	}
	body, err := s.payload(ring.Call, now)
	if err != nil {
		o, _ := classify(http.StatusRequestEntityTooLarge, []byte(`{"reason":"PayloadTooLarge"}`))
		o.Status, o.Unsent = 0, true // we say so, not APNs
		return o
	}
	token := ring.Device.PushToken.Reveal()
	if !deviceToken(token) {
		o, _ := classify(http.StatusBadRequest, []byte(`{"reason":"MissingDeviceToken"}`))
		o.Status, o.Unsent, o.Detail = 0, true, "The stored push token is not one of APNs: it must be hexadecimal."
		return o
	}
	ctx, cancel := context.WithTimeout(ctx, s.client.timeout)
	defer cancel()
	request := s.request(ring, token, now)
	o := s.client.send(ctx, request, body, try.Spare)
	if o.Verdict == bell.Accepted && o.ProviderID == "" {
		o.ProviderID = ring.Delivery.ID
	}
	return o
}

// deviceToken reports whether a push token has the form of APNs' own. Apple says not
// to assume a length; this bound only keeps URLs short.
func deviceToken(token string) bool {
	for _, c := range []byte(token) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return len(token) > 0 && len(token) <= 400
}

// request makes everything but the body and the authorization.
func (s *Sender) request(ring *bell.Ring, token string, now time.Time) *http.Request {
	u := url.URL{Scheme: s.client.base.Scheme, Host: s.client.base.Host, Path: "/3/device/" + strings.ToLower(token)}
	header := http.Header{
		"Content-Type":  {"application/json"},
		"User-Agent":    {"planetbell"},
		"Apns-Id":       {ring.Delivery.ID}, // the same over retries
		"Apns-Topic":    {s.topic},
		"Apns-Priority": {"10"},
	}
	switch s.channel {
	case bell.APNsVoIP:
		header["Apns-Push-Type"] = []string{"voip"}
		header["Apns-Expiration"] = []string{s.voipExpiration(now)}
	default:
		header["Apns-Push-Type"] = []string{"alert"}
		header["Apns-Expiration"] = []string{strconv.FormatInt(ring.KeptUntil().Unix(), 10)}
		header["Apns-Collapse-Id"] = []string{collapseID(ring.Call.SessionID)}
	}
	return &http.Request{
		Method: http.MethodPost, URL: &u, Host: u.Host, Header: header,
		Proto: "HTTP/2.0", ProtoMajor: 2,
	}
}

// voipExpiration is 0, one attempt and nothing stored, unless configured otherwise.
// The header must be there: without it APNs may keep a call for 30 days.
// https://developer.apple.com/documentation/pushkit/responding-to-voip-notifications-from-pushkit
func (s *Sender) voipExpiration(now time.Time) string {
	if s.client.expiration == 0 {
		return "0"
	}
	return strconv.FormatInt(now.Add(s.client.expiration).Unix(), 10)
}

// send takes a stream, sends the request and reads the answer.
func (c *Client) send(ctx context.Context, request *http.Request, body []byte, spare bool) bell.Outcome {
	l, err := c.pool.acquire(ctx, newClaim(request.Header["Apns-Id"][0], spare))
	if err != nil {
		return beforeStream(ctx, err.Error()) // errNoLink: its text is a reason
	}
	if ctx.Err() != nil { // too late; better to know that nothing was sent
		c.pool.giveBack(l)
		return beforeStream(ctx, reasonNoStream)
	}
	var token string
	if c.tokens != nil { // asked for only now: the line may have been long
		if token, err = c.tokens.Current(); err != nil {
			c.pool.giveBack(l)
			return unanswered(reasonSigning)
		}
		request.Header["Authorization"] = []string{"bearer " + token}
	}
	request.Body = io.NopCloser(bytes.NewReader(body))
	request.ContentLength = int64(len(body))

	sent := time.Now()
	response, err := l.conn.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return c.broken(ctx, l, sent, err)
	}
	c.metrics.clock.Answered(response, c.now().Add(-time.Since(sent)), c.now())
	answer, err := read(response)
	if err != nil && ctx.Err() != nil {
		return c.broken(ctx, l, sent, ctx.Err())
	}
	o, r := classify(response.StatusCode, answer)
	c.pool.release(l, c.judge(&o, r, token), sent)
	if id := response.Header.Get("Apns-Id"); idForm.MatchString(id) {
		o.ProviderID = strings.ToLower(id)
	}
	return o
}

// idForm is what an apns-id looks like. What APNs sends is not trusted to be one.
var idForm = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// maxAnswer bounds what is read of an answer; APNs' own are under 100 bytes.
const maxAnswer = 64 << 10

// read returns the body of an answer that is not 200; a 200 has said all. It ends with
// the request's context.
func read(response *http.Response) ([]byte, error) {
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusOK {
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return body, fmt.Errorf("read the answer of APNs: %w", err)
	}
	return body, nil
}

// judge says what an answer means for the connection, and settles what concerns the
// provider token.
func (c *Client) judge(o *bell.Outcome, r rule, token string) ending {
	if o.Verdict == bell.RetryCredential && !r.redial && !c.otherToken(o.Reason, token) {
		o.Verdict, o.Alarm = bell.Rejected, bell.AlarmPage
		o.Detail = "APNs refuses the provider token for its age, and it is too young to be replaced: check this machine's clock."
	}
	switch {
	case r.redial:
		return endedUseless
	case o.Status == http.StatusForbidden || o.Status >= 500:
		return endedAnswered // does not show that the credential is valid
	}
	return endedValid
}

// otherToken changes the provider token as an answer asks for and reports whether the
// next attempt sends another one.
func (c *Client) otherToken(reason, refused string) bool {
	switch {
	case c.tokens == nil:
		return false
	case reason == "TooManyProviderTokenUpdates":
		return c.tokens.Return(refused)
	}
	another, early := c.tokens.Renew(refused)
	if early {
		c.pool.renew("another provider token")
	}
	return another
}

// beforeStream is the outcome of an attempt that ended before it had a stream: reason,
// unless it was called off.
func beforeStream(ctx context.Context, reason string) bell.Outcome {
	if why := calledOff(ctx); why != "" {
		reason = why
	}
	return unsent(reason)
}

// calledOff says why an attempt was ended from outside; empty when it was not, or by
// its time only.
func calledOff(ctx context.Context) string {
	switch {
	case errors.Is(context.Cause(ctx), delivery.ErrOutrun):
		return reasonOutrun
	case errors.Is(ctx.Err(), context.Canceled):
		return reasonCancelled
	}
	return ""
}

// broken is the outcome of a request that got no answer. sent is when it was sent.
func (c *Client) broken(ctx context.Context, l *link, sent time.Time, err error) bell.Outcome {
	reason, said := exchangeReason(err)
	off := calledOff(ctx)
	switch {
	case c.pool.ctx.Err() != nil:
		reason = reasonClosed
	case off != "":
		reason = off
	case ctx.Err() != nil:
		reason = reasonTimeout
	}
	how, special := map[string]ending{
		reasonTimeout: endedTimeout, reasonOutrun: endedOutrun, reasonRefused: endedReset, reasonReset: endedReset,
	}[reason]
	if !special {
		how = endedBroken
	}
	c.pool.release(l, how, sent)
	if reason == reasonGoAway {
		c.metrics.ended(c, said)
		return goAwayOutcome(said)
	}
	o := unanswered(reason)
	if reason == reasonTLS {
		o.Unsent = false // the other side says so, after the request
	}
	return o
}
