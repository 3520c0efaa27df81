package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// acknowledge takes a device's word that it has a call: POST /v2/notification/ack. The
// device is that of the app token. Once it is answered 200, the receipt is on disk and the
// device is not rung again for this call; a repeat is answered the same.
func (a *api) acknowledge(w http.ResponseWriter, r *http.Request, id bell.Identity) error {
	now := a.config.Now()
	if !a.receipts.allow(id.Owner, now) {
		a.metrics.limited.WithLabelValues("receipt").Inc()
		return bell.E(bell.TooMany, "This user's devices send receipts too often; wait a minute.", nil)
	}
	body, err := readObject(r)
	if err != nil {
		return err
	}
	receipt, err := readReceipt(body)
	if err != nil {
		return err
	}
	eventOf(r).add(slog.String("sid", string(receipt.SessionID)))
	receipt.Environment, receipt.At = id.Owner.Environment, now
	ctx, cancel := context.WithTimeoutCause(r.Context(), a.config.NotifyCap, errTooSlow)
	defer cancel()
	receipt.DeviceID, err = a.services.Devices.DeviceOf(ctx, id)
	if errors.Is(err, bell.NotFound) {
		return bell.E(bell.NotFound, "This app token has no device, so no call was sent to it.", err)
	}
	if err != nil {
		return err
	}
	if _, err := a.services.Receipts.Receive(ctx, receipt); err != nil {
		return err
	}
	a.succeed(w, r, empty)
	return nil
}

// receiptChannels are the ways by which a call comes, in the words in which clients say how
// they want to be reached.
var receiptChannels = map[string]bell.Channel{
	"": "", "apnsvoip": bell.APNsVoIP, "apns": bell.APNsAlert, "fcm": bell.FCM, "lp": bell.LongPoll, "sse": bell.LongPoll,
	"webpush": bell.WebPush, "web_push": bell.WebPush,
}

// readReceipt reads what a device says of a call that it has. Only sid is needed.
func readReceipt(body object) (bell.Receipt, error) {
	var r bell.Receipt
	text, err := body.needed("sid")
	if err != nil {
		return bell.Receipt{}, err
	}
	if r.SessionID, err = planet.ParseSessionID(text); err != nil {
		return bell.Receipt{}, bell.E(bell.Invalid, "sid: "+err.Error()+".", nil)
	}
	channel, err := body.text("channel")
	if err != nil {
		return bell.Receipt{}, err
	}
	known := false
	if r.Channel, known = receiptChannels[channel]; !known {
		return bell.Receipt{}, bell.E(bell.Invalid, "channel: must be apnsvoip, apns, fcm, webpush, lp or sse, or be left out.", nil)
	}
	if r.ReceivedAt, err = body.moment("receivedAt"); err != nil {
		return bell.Receipt{}, err
	}
	if r.Priority, err = body.priority("priority"); err != nil {
		return bell.Receipt{}, err
	}
	if r.OriginalPriority, err = body.priority("originalPriority"); err != nil {
		return bell.Receipt{}, err
	}
	r.Problem, err = body.text("problem")
	if err == nil && r.Problem != "" && !problemWord.MatchString(r.Problem) {
		return bell.Receipt{}, bell.E(bell.Invalid, "problem: must be one word of at most 40 letters, digits and underscores, such as DECODE_CALL_PARAM, or be left out.", nil)
	}
	return r, err
}

// problemWord is what an app may call its trouble with a call. It is shown to the operator, and
// a cc_param in the wrong place must not be.
var problemWord = regexp.MustCompile(`^[A-Za-z0-9_]{1,` + strconv.Itoa(bell.MaxProblem) + `}$`)

// priority returns a field with one of FCM's priorities, or "".
func (o object) priority(name string) (string, error) {
	s, err := o.text(name)
	if err == nil && s != "" && s != "high" && s != "normal" {
		return "", bell.E(bell.Invalid, name+": must be high or normal, or be left out.", nil)
	}
	return s, err
}

// lastMoment is the end of the year 9999: beyond it, times have no common text form.
const lastMoment = 253402300799999

// moment returns a field of Unix milliseconds; the zero time when it is missing or null.
// Clocks of devices may be wrong by years, and that is no reason to refuse a receipt.
func (o object) moment(name string) (time.Time, error) {
	raw, ok := o[name]
	if !ok {
		return time.Time{}, nil
	}
	var ms *int64
	if err := json.Unmarshal(raw, &ms); err != nil || ms != nil && (*ms < 1 || *ms > lastMoment) {
		return time.Time{}, bell.E(bell.Invalid, name+": must be a time in Unix milliseconds, a whole number.", nil)
	}
	if ms == nil {
		return time.Time{}, nil
	}
	return time.UnixMilli(*ms).UTC(), nil
}
