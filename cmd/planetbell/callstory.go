package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/planet"
)

// tell is a call's story for people. Everything in it that came from outside is cleaned.
// Only why it ended is told in lang; the rest is English.
func tell(s *console.CallStory, now time.Time, lang planet.Language) string {
	var b strings.Builder
	c := &s.Call
	if c.State == bell.CallNotice {
		tellNotice(&b, s)
		return b.String()
	}
	kind := cmp.Or(c.Type, "unknown type")
	line(&b, "Call %s: %s, %s, project %s", c.SID, kind, c.Environment, c.Project)
	if c.State == "" && s.Agent != nil { // nothing came but its Agent Call Status
		tellAgent(&b, s, now)
		line(&b, "Neither Notify nor Call Event came, so no device was rung.")
		tellJournal(&b, s)
		return b.String()
	}
	line(&b, "%s called %s.", userName(c.Caller), userName(c.Callee))
	tellAgent(&b, s, now)
	b.WriteByte('\n')
	tellBeginning(&b, s, now)
	for i := range s.Deliveries {
		b.WriteByte('\n')
		tellDelivery(&b, i+1, &s.Deliveries[i], c)
	}
	b.WriteByte('\n')
	tellEnd(&b, s, now, lang)
	tellNotices(&b, s)
	tellJournal(&b, s)
	return b.String()
}

// line writes one line, whatever the arguments contain.
func line(b *strings.Builder, format string, args ...any) {
	b.WriteString(clean(fmt.Sprintf(format, args...)))
	b.WriteByte('\n')
}

func tellBeginning(b *strings.Builder, s *console.CallStory, now time.Time) {
	c := &s.Call
	switch {
	case c.NotifiedAt.IsZero():
		line(b, "Notify never came: only the end of this call is known, so no device was rung.")
	case len(s.Deliveries) == 0 && overBefore(s):
		line(b, "Notify came %s.", moment(now, c.NotifiedAt))
		line(b, "The call was over by then, so no device was rung.")
	case c.Suppressed != bell.RingsAll:
		line(b, "Notify came %s.", moment(now, c.NotifiedAt))
		line(b, "Nothing rang on purpose: %s.", suppressedWords(c))
	case len(s.Deliveries) == 0:
		line(b, "Notify came %s.", moment(now, c.NotifiedAt))
		line(b, "%s had no device that could ring.", userName(c.Callee))
	default:
		line(b, "Notify came %s.", moment(now, c.NotifiedAt))
		within := ""
		if !c.Deadline.IsZero() {
			within = ", with no attempt later than " + length(c.Deadline.Sub(c.NotifiedAt)) + " after it"
		}
		line(b, "%s to ring%s:", counted(len(s.Deliveries), "device"), within)
	}
}

// tellAgent tells what LINE Planet said about a call that was asked for through its Server
// API.
func tellAgent(b *strings.Builder, s *console.CallStory, now time.Time) {
	switch a := s.Agent; {
	case a == nil:
	case a.Result == "success":
		line(b, "It was asked for through the Server API (%s), and LINE Planet set it up.", cmp.Or(a.AgentType, "unknown agent"))
	default:
		line(b, "It was asked for through the Server API (%s), and LINE Planet could not set it up, it said %s: %s.",
			cmp.Or(a.AgentType, "unknown agent"), moment(now, a.ReceivedAt), cmp.Or(a.FailReason, "no reason"))
	}
}

// suppressedWords say why nothing rang.
func suppressedWords(c *console.Call) string {
	switch c.Suppressed {
	case bell.SuppressBlocked:
		return userName(c.Callee) + " blocks " + userName(c.Caller)
	case bell.SuppressDoNotDisturb:
		return userName(c.Callee) + " wanted no calls then"
	}
	return "the project's policy hook said no"
}

// overBefore reports whether the Call Event overtook Notify.
func overBefore(s *console.CallStory) bool {
	return slices.ContainsFunc(s.Journal, func(e console.JournalEntry) bool {
		return e.Kind == "call-event" && e.ReceivedAt.Before(s.Call.NotifiedAt)
	})
}

func tellDelivery(b *strings.Builder, number int, d *console.Delivery, c *console.Call) {
	line(b, "%2d. %s", number, deviceWords(d))
	line(b, "    %s: %s", d.State, stateWords(d))
	for i := range d.Attempts {
		last := i == len(d.Attempts)-1
		line(b, "    %s", attemptWords(&d.Attempts[i], d.Channel, c.NotifiedAt, last && finished[d.State]))
	}
	if len(d.Attempts) == 0 {
		line(b, "    no attempt was made")
	}
	if d.Receipt != nil {
		line(b, "    %s", receiptWords(d.Receipt, c.NotifiedAt))
	}
}

func deviceWords(d *console.Delivery) string {
	if d.Device == nil {
		return fmt.Sprintf("device %s, %s; it is gone since", d.DeviceID, d.Channel)
	}
	// The channel of the delivery: the device may have another one by now.
	at := *d.Device
	at.Channel = d.Channel
	text := fmt.Sprintf("device %s, %s", d.DeviceID, channelOf(&at))
	if app := appOf(d.Device); app != "-" {
		text = app + ", " + text
	}
	if d.Device.PushTokenFingerprint != "" {
		text += ", push token " + d.Device.PushTokenFingerprint
	}
	return text
}

func stateWords(d *console.Delivery) string {
	words := deliveryWords[d.State]
	switch {
	case d.State == bell.DeliveryAccepted:
		return takenBy(d.Channel)
	case d.State == bell.DeliveryPending && handedOut(d):
		return "the device fetched it, and has not acknowledged it yet"
	case d.State == bell.DeliveryPending && d.Channel == bell.LongPoll:
		return "it lies in the mailbox until the device asks"
	case d.State == bell.DeliveryFailed && ownReasons[d.Reason] != "":
		words = ownReasons[d.Reason]
	}
	if d.Reason != "" && d.State != bell.DeliveryReceived {
		words += " (" + d.Reason + ")"
	}
	return words
}

// handedOut reports whether a device that acknowledges has fetched the call.
func handedOut(d *console.Delivery) bool {
	return d.Channel == bell.LongPoll && slices.ContainsFunc(d.Attempts, func(a console.Attempt) bool { return a.Verdict == bell.Accepted })
}

// receiptWords tell of a receipt, by our clock; the device's own is only compared with it.
func receiptWords(r *console.Receipt, notified time.Time) string {
	var b strings.Builder
	b.WriteString("receipt")
	if !notified.IsZero() {
		fmt.Fprintf(&b, " after %s", length(r.ReceivedAt.Sub(notified)))
	}
	if r.Channel != "" {
		fmt.Fprintf(&b, ", by %s", r.Channel)
	}
	switch ago := r.ReceivedAt.Sub(r.DeviceReceivedAt); {
	case r.DeviceReceivedAt.IsZero():
	case ago < 0:
		fmt.Fprintf(&b, "; by the device's clock the call came %s later", length(-ago))
	default:
		fmt.Fprintf(&b, "; by the device's clock the call came %s earlier", length(ago))
	}
	if r.OriginalPriority != "" && r.Priority != "" && r.OriginalPriority != r.Priority {
		fmt.Fprintf(&b, "; FCM changed its priority from %s to %s", r.OriginalPriority, r.Priority)
	}
	return b.String()
}

// takenBy says who took a notification: a poll is the device itself.
func takenBy(channel bell.Channel) string {
	if channel == bell.LongPoll {
		return "the device fetched it"
	}
	return "the provider took it"
}

// finished are the states of a delivery after which nothing is tried again.
var finished = map[bell.DeliveryState]bool{
	bell.DeliveryAccepted: true, bell.DeliveryReceived: true, bell.DeliveryFailed: true,
	bell.DeliveryExpired: true, bell.DeliveryWithdrawn: true,
}

// attemptWords tells one attempt; final says that no other followed it or will.
func attemptWords(a *console.Attempt, channel bell.Channel, notified time.Time, final bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "attempt %d", a.Number)
	if !a.StartedAt.IsZero() && !notified.IsZero() {
		fmt.Fprintf(&b, " after %s", length(a.StartedAt.Sub(notified)))
	}
	fmt.Fprintf(&b, ", took %s:", length(time.Duration(a.TookMS*float64(time.Millisecond))))
	if a.Status != 0 {
		fmt.Fprintf(&b, " %d", a.Status)
	}
	if a.Reason != "" {
		fmt.Fprintf(&b, " %s", a.Reason)
	}
	fmt.Fprintf(&b, " %s", attemptVerdict(a, channel, final))
	if a.RetryAfterMS > 0 {
		fmt.Fprintf(&b, "; asked to wait %s", length(time.Duration(a.RetryAfterMS)*time.Millisecond))
	}
	if a.TokenAction == bell.TokenDrop {
		b.WriteString("; the push token is dead")
	}
	if a.Detail != "" && a.Verdict != bell.Accepted { // or it says the same once more
		b.WriteString(". " + a.Detail)
	}
	return b.String()
}

func attemptVerdict(a *console.Attempt, channel bell.Channel, final bool) string {
	words := cmp.Or(verdictWords[a.Verdict], string(a.Verdict))
	if next := retryWords[a.Verdict]; next != "" && !final {
		words += ", " + next
	}
	if a.Verdict == bell.Accepted {
		words = takenBy(channel)
	}
	if a.Status != 0 || a.Reason != "" {
		return "(" + words + ")"
	}
	return words
}

func tellEnd(b *strings.Builder, s *console.CallStory, now time.Time, lang planet.Language) {
	c := &s.Call
	switch c.State {
	case bell.CallRinging:
		line(b, "It has not ended yet, as far as is known.")
		return
	case bell.CallLost:
		line(b, "Nobody knows how it ended: its Call Event never came. Check on_call_evt_cb in the LINE Planet Console.")
		return
	}
	why := cmp.Or(outcomeWords[c.Outcome], "for an unknown reason")
	if c.Outcome == planet.OutcomeFailed && len(s.Release.Reasons) == 0 {
		why = "and LINE Planet gave no reason"
	}
	line(b, "It ended %s%s: %s, %s.", moment(now, c.EndedAt), afterNotify(c), ending(*c), why)
	if c.DurationMS > 0 {
		line(b, "They talked for %s.", length(time.Duration(c.DurationMS)*time.Millisecond))
	}
	tellExplanation(b, s.Release.Explanation, lang)
	tellRelease(b, &s.Release)
}

// tellExplanation says in plain language why the call ended, and what can be done about it.
func tellExplanation(b *strings.Builder, e *console.Explanation, lang planet.Language) {
	if e == nil { // of an older server
		return
	}
	why, todo := "Why: %s %s", "What to do: %s"
	if lang == planet.Japanese {
		why, todo = "理由: %s%s", "対応: %s"
	}
	line(b, why, inLanguage(&e.What, lang), inLanguage(&e.Who, lang))
	if e.Advice != nil {
		line(b, todo, inLanguage(e.Advice, lang))
	}
}

// afterNotify says how long a call lasted. LINE Planet gives the end in whole seconds, cut
// off, of its own clock, so more digits would be invented, and the end may seem to come
// first.
func afterNotify(c *console.Call) string {
	if c.NotifiedAt.IsZero() {
		return ""
	}
	if c.EndedAt.Nanosecond() != 0 { // of our clock, because LINE Planet gave none
		if c.EndedAt.Before(c.NotifiedAt) {
			return ""
		}
		return ", " + length(c.EndedAt.Sub(c.NotifiedAt)) + " after Notify"
	}
	switch took := c.EndedAt.Sub(c.NotifiedAt.Truncate(time.Second)); {
	case took < 0:
		return ""
	case took < time.Second:
		return ", within a second of Notify"
	default:
		return ", about " + length(took) + " after Notify"
	}
}

func tellRelease(b *strings.Builder, r *console.Release) {
	if r.EndedBy != "" && r.Explanation == nil { // or it was said
		line(b, "Ended by: %s", strings.ReplaceAll(r.EndedBy, "_", " "))
	}
	if len(r.Reasons) > 0 {
		line(b, "LINE Planet says:")
	}
	for _, reason := range r.Reasons {
		line(b, "    %s %d %s: %s", reason.Family, reason.Code, cmp.Or(reason.Name, "(no name)"), reason.Meaning)
	}
	if r.UserCode != "" {
		line(b, "The app says: %s", r.UserCode)
	}
}

// tellNotice tells of what is no call, asked for by its own session ID.
func tellNotice(b *strings.Builder, s *console.CallStory) {
	c := &s.Call
	line(b, "Notice %s: %s, %s, project %s", c.SID, strings.ReplaceAll(string(c.Purpose), "_", " "), c.Environment, c.Project)
	line(b, "%s was told of %s, %s (session %s).", userName(c.Callee), userName(c.Caller), counted(len(s.Deliveries), "device"), cmp.Or(string(c.About), "none"))
	for i := range s.Deliveries {
		tellDelivery(b, i+1, &s.Deliveries[i], c)
	}
}

// tellNotices tells what was told of the call beside it.
func tellNotices(b *strings.Builder, s *console.CallStory) {
	for i := range s.Notices {
		n := &s.Notices[i]
		b.WriteByte('\n')
		what := "of this"
		if n.Purpose == bell.PurposeMissedCall {
			what = "that the call was missed"
		}
		line(b, "%s was told %s, %s (notice %s):", userName(n.To), what, counted(len(n.Deliveries), "device"), n.SID)
		since := console.Call{NotifiedAt: n.CreatedAt}
		for j := range n.Deliveries {
			tellDelivery(b, j+1, &n.Deliveries[j], &since)
		}
	}
}

func tellJournal(b *strings.Builder, s *console.CallStory) {
	if len(s.Journal) == 0 {
		return
	}
	b.WriteByte('\n')
	line(b, "Callbacks kept, which --json shows whole:")
	for _, entry := range s.Journal {
		after := ""
		if !s.Call.NotifiedAt.IsZero() && entry.Kind != "notify" {
			after = " (" + length(entry.ReceivedAt.Sub(s.Call.NotifiedAt)) + " after Notify)"
			if early := s.Call.NotifiedAt.Sub(entry.ReceivedAt); early > 0 {
				after = " (" + length(early) + " before Notify)"
			}
		}
		line(b, "    %s%s, %s", entry.Kind, after, counted(len(entry.Params), "parameter"))
	}
}
