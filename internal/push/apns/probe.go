package apns

import (
	"context"
	"net/http"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
)

// noDevice is a token that no device has: APNs gives out none of zeros only.
var noDevice = strings.Repeat("0", 64)

// Probe asks APNs whether it takes the client's credential for an app and a channel, by a push
// to a device that does not exist. A credential that is good is answered 400 BadDeviceToken
// (docs/push-providers.md 1.6); nothing reaches any device. The outcome is that of an attempt.
// The error is of kind bell.Invalid, of an app or channel that the credential is not for.
func (c *Client) Probe(ctx context.Context, bundleID string, channel bell.Channel) (bell.Outcome, error) {
	s, err := c.Sender(bundleID, channel)
	if err != nil {
		return bell.Outcome{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if err := c.pool.warm(ctx); err != nil { // a push would wait for another try
		return beforeStream(ctx, err.Error()), nil
	}
	now := c.now()
	ring := &bell.Ring{
		Delivery: bell.Delivery{ID: bell.NewID(), Deadline: now},
		Call:     &bell.Call{SessionID: "doctor", Purpose: bell.PurposeCall},
	}
	return c.send(ctx, s.request(ring, noDevice, now), []byte(`{"aps":{}}`), false), nil
}

// Answered reports whether an outcome shows that APNs took the credential, whatever it said of
// the device.
func Answered(o bell.Outcome) bool {
	return o.Status == http.StatusBadRequest && o.Reason == "BadDeviceToken" ||
		o.Status == http.StatusOK || o.Status == http.StatusGone && o.Token == bell.TokenDrop
}
