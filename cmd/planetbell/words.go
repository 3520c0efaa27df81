package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/planet"
)

// clean makes text from outside fit for a terminal: a client or a provider must not be
// able to move the cursor or break a table. What does not print becomes "?".
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, text)
}

// table writes rows in columns; the first row is the heading.
func table(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, clean(cell))
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

// moment is a time for people, in the time zone of now: "3 min ago (2026-09-01 11:57:00 UTC)".
func moment(now, t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%s (%s)", relative(now, t), t.In(now.Location()).Format("2006-01-02 15:04:05 MST"))
}

func relative(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case d < -time.Second:
		return "in " + coarse(-d)
	case d < time.Second:
		return "just now"
	}
	return coarse(d) + " ago"
}

// coarse is a length of time in its largest unit.
func coarse(d time.Duration) string {
	switch {
	case d < time.Minute:
		return strconv.Itoa(int(d/time.Second)) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + " days"
}

// length is a length of time in two units at most: "0.4 ms", "40 ms", "1.5 s",
// "1 min 5 s", "2 h 3 min".
func length(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + length(-max(d, -math.MaxInt64)) // the least number has no opposite
	case d < 10*time.Millisecond:
		return decimal(float64(d)/float64(time.Millisecond)) + " ms"
	case d < time.Second:
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	case d < time.Minute:
		return decimal(d.Truncate(100*time.Millisecond).Seconds()) + " s"
	case d < time.Hour:
		return pair(int(d/time.Minute), "min", int(d%time.Minute/time.Second), "s")
	}
	return pair(int(d/time.Hour), "h", int(d%time.Hour/time.Minute), "min")
}

func decimal(f float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(f, 'f', 1, 64), ".0")
}

func pair(big int, bigUnit string, small int, smallUnit string) string {
	text := strconv.Itoa(big) + " " + bigUnit
	if small > 0 {
		text += " " + strconv.Itoa(small) + " " + smallUnit
	}
	return text
}

// counted is "1 device", "3 devices".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// userName is "unknown" when a Call Event named nobody.
func userName(u console.User) string {
	if u == (console.User{}) {
		return "unknown"
	}
	return u.ServiceID + "/" + u.UserID
}

// ending is how a call ended, in a word or two.
func ending(c console.Call) string {
	switch c.State {
	case bell.CallRinging:
		return "ringing"
	case bell.CallLost:
		return "lost"
	}
	return strings.ReplaceAll(string(c.Outcome), "_", " ")
}

// outcomeWords say how a call ended in a clause.
var outcomeWords = map[planet.Outcome]string{
	planet.OutcomeCompleted:  "they talked",
	planet.OutcomeCanceled:   "the caller hung up before the answer",
	planet.OutcomeDeclined:   "the callee refused",
	planet.OutcomeBusy:       "the callee was in a call",
	planet.OutcomeMissed:     "nobody answered",
	planet.OutcomePushFailed: "Planet Cloud could not reach this server, or was refused by it",
	planet.OutcomeFailed:     "it failed; the reasons below say more",
}

// deliveryWords say where a delivery stands in a clause.
var deliveryWords = map[bell.DeliveryState]string{
	bell.DeliveryPending:   "nobody is sending it",
	bell.DeliverySending:   "an attempt is under way",
	bell.DeliveryReceived:  "the device said that it has the call",
	bell.DeliveryFailed:    "it was refused for good",
	bell.DeliveryExpired:   "the ring was over before it could be delivered",
	bell.DeliveryWithdrawn: "the call was over before it could be delivered",
}

// verdictWords say what an attempt came to.
var verdictWords = map[bell.Verdict]string{
	bell.Deposited:       "it lies in the mailbox until the device asks",
	bell.RetryNow:        "unknown outcome",
	bell.RetryBackoff:    "the provider is unwell",
	bell.RetryConnect:    "no connection",
	bell.RetryThrottled:  "too much for this device or project",
	bell.RetryCredential: "the credential was refused",
	bell.RetryOtherHost:  "wrong APNs environment",
	bell.Rejected:        "refused for good",
}

// retryWords say what follows, unless the call is over before.
var retryWords = map[bell.Verdict]string{
	bell.RetryNow:        "to be tried again at once",
	bell.RetryBackoff:    "to be tried again after a pause",
	bell.RetryConnect:    "to be tried again on another",
	bell.RetryThrottled:  "to be tried again later",
	bell.RetryCredential: "to be tried again with a fresh one",
	bell.RetryOtherHost:  "to be tried at the other one",
}

// ownReasons explain why nothing could be sent at all; the words are ours, and the
// providers' own reasons stand for themselves.
var ownReasons = map[string]string{
	"no_apns_credential":       "nothing was sent, because the project has no APNs credential that fits the device",
	"no_fcm_credential":        "nothing was sent, because the project has no FCM credential",
	"no_vapid_key":             "nothing was sent, because the project has no VAPID key for Web Push",
	"push_service_not_allowed": "nothing was sent, because web_push.hosts does not have the browser's push service",
	"no_channel":               "nothing was sent, because the app never said how it can be reached",
	"project_not_configured":   "nothing was sent, because the device's project is not in the configuration any more",
	"route_full":               "nothing was sent, because too many deliveries waited for this provider",
	"not_polled":               "the device did not ask for calls in time",
	"mailbox_full":             "nothing was kept for the device, because its mailbox is full",
}
