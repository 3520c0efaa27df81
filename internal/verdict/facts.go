package verdict

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

const kindCallEvent = "call-event"

// facts is a call as the rules look at it.
type facts struct {
	*Input
	notified time.Time // when Notify came; zero if it did not
	over     time.Time // when this server learned that the call had ended; zero if it has not
	shown    time.Time // likewise, in what is shown: never later than is known
	devices  []device
	words    words
}

// device is one device as the rules look at it: a delivery, or a note of one that was left
// out.
type device struct {
	*facts
	d    *Delivery        // nil when it was left out
	note *bell.DeviceNote // nil when nothing spoke against it

	last     bell.Attempt // the last one; Number is 0 when there was none
	taken    time.Time    // when its provider, or its poll, took it; zero if none did
	refused  bell.Attempt // the last one that failed; Number is 0 when none did
	channel  bell.Channel
	reason   string // why it was not taken, as the delivery says; empty if it does not
	words    words
	verdict  DeviceVerdict
	priority int // of its rule among those by which nothing rang: the least explains the call
}

func newFacts(in *Input) *facts {
	c := &in.Call
	f := &facts{Input: in, notified: c.NotifiedAt, words: words{}}
	for i := range in.Journal {
		if e := &in.Journal[i]; e.Kind == kindCallEvent && e.Environment == c.Environment {
			f.over = e.ReceivedAt
			break
		}
	}
	f.shown = f.over
	if f.over.IsZero() && c.State == bell.CallEnded {
		f.over, f.shown = in.overWithoutJournal(), c.EndedAt
	}
	f.callWords()
	notes := map[string]*bell.DeviceNote{}
	for i := range c.Circumstances.Devices {
		notes[c.Circumstances.Devices[i].DeviceID] = &c.Circumstances.Devices[i]
	}
	for i := range in.Deliveries {
		d := &in.Deliveries[i]
		f.devices = append(f.devices, f.delivered(d, notes[d.Delivery.DeviceID]))
		delete(notes, d.Delivery.DeviceID)
	}
	for i := range c.Circumstances.Devices { // in the order in which they are kept
		if n := &c.Circumstances.Devices[i]; notes[n.DeviceID] == n {
			f.devices = append(f.devices, f.leftOut(n))
		}
	}
	return f
}

// overWithoutJournal is when the call ended as far as the rest of the record tells, which is kept
// longer than the callbacks. Planet Cloud names the second in which it ended: what was done within
// it was not too late.
func (in *Input) overWithoutJournal() time.Time {
	var over time.Time
	for i := range in.Deliveries {
		d := &in.Deliveries[i].Delivery
		if d.State == bell.DeliveryWithdrawn && (over.IsZero() || d.UpdatedAt.Before(over)) {
			over = d.UpdatedAt // by the Call Event, when it came
		}
	}
	end := in.Call.EndedAt
	if over.IsZero() && !end.IsZero() && end.Nanosecond() == 0 { // else it is this server's own time
		end = end.Add(time.Second)
	}
	return cmp.Or(over, end)
}

// callWords are those that are about the call.
func (f *facts) callWords() {
	c := &f.Call
	w := f.words
	w.both("sid", clean(string(c.SessionID)))
	w.both("project", cmp.Or(clean(c.Project), "?"))
	w.both("agent_reason", cmp.Or(clean(f.Agent.FailReason), "?"))
	w["caller"] = cmp.Or(named(c.Caller.UserID), Text{"the caller", "発信者"})
	w["callee"] = cmp.Or(named(c.Callee.UserID), Text{"the callee", "着信者"})
	w.span("ended", f.over.Sub(f.notified))
	w.span("talked", c.Duration)
	w.moment("when", cmp.Or(f.notified, f.over))
	if early := f.notified.Sub(f.over); early > 0 {
		w["overtook"] = Text{length(early, planet.English) + " before", length(early, planet.Japanese) + "前"}
	} else {
		w["overtook"] = Text{length(-early, planet.English) + " after", length(-early, planet.Japanese) + "後"}
	}
	w.span("cloud_early", f.notified.Sub(c.EndedAt))
	why := c.Release.Explain(planet.OneToOneCalls)
	number := "no reason"
	if why.Family != "" {
		number = strings.TrimSpace(string(why.Family) + " " + strconv.Itoa(why.Reason.Code) + " " + reasonName(why.Reason.Name))
	}
	if code := c.Release.Code; code != nil && why.Family != planet.FamilyReleaseCode {
		number += ", rel_code " + strconv.Itoa(*code)
	}
	w.both("number", number)
	w["why"] = Text{strings.TrimSuffix(why.What(planet.English), "."), strings.TrimSuffix(why.What(planet.Japanese), "。")}
	w["advice"] = Text{why.Advice(planet.English), why.Advice(planet.Japanese)}
}

// reasonName is a name of LINE Planet's numbers.
func reasonName(name string) string {
	if name == "" {
		return ""
	}
	return reasonOf(name)
}

func named(id string) Text {
	id = clean(id)
	return Text{id, id}
}

func (f *facts) delivered(d *Delivery, note *bell.DeviceNote) device {
	dev := device{facts: f, d: d, note: note, channel: d.Delivery.Channel, reason: d.Delivery.Reason}
	for _, a := range slices.SortedStableFunc(slices.Values(d.Attempts), func(a, b bell.Attempt) int { return a.Number - b.Number }) {
		dev.last = a
		switch {
		case a.Outcome.Verdict == bell.Deposited:
		case a.Outcome.Verdict != bell.Accepted:
			dev.refused = a
		case dev.taken.IsZero():
			dev.taken = a.StartedAt.Add(a.Took)
		}
	}
	if dev.taken.IsZero() && d.Delivery.State == bell.DeliveryAccepted { // its attempt is not on record
		dev.taken = d.Delivery.UpdatedAt
	}
	dev.reason = dev.telling()
	dev.verdict = DeviceVerdict{
		DeviceID: d.Delivery.DeviceID, Channel: dev.channel, Name: nameOf(d.Device.AppType, dev.channel),
		ToAccept: f.since(dev.taken), ToReceipt: f.since(d.Receipt.At),
	}
	dev.deviceWords()
	return dev
}

// endWords are reasons that only say that something ended a delivery, or an attempt.
var endWords = []string{"", "cancelled", "interrupted", "closed", "deadline", "not_polled", "polled", "mailbox"}

// telling is the last reason that says something: an attempt that was called off because the
// call had ended says nothing of why the ones before failed.
func (dev *device) telling() string {
	if !slices.Contains(endWords, dev.reason) {
		return dev.reason
	}
	reason := ""
	for _, a := range dev.d.Attempts {
		if a.Outcome.Verdict != bell.Accepted && !slices.Contains(endWords, a.Outcome.Reason) {
			reason = a.Outcome.Reason
		}
	}
	return reason
}

func (f *facts) leftOut(n *bell.DeviceNote) device {
	dev := device{facts: f, note: n, channel: n.Channel, verdict: DeviceVerdict{
		DeviceID: n.DeviceID, Channel: n.Channel, Name: nameOf(n.AppType, n.Channel),
	}}
	dev.deviceWords()
	return dev
}

func nameOf(appType string, channel bell.Channel) string {
	return cmp.Or(clean(appType), channelNames[channel], "unknown")
}

// since is how long after Notify a moment was.
func (f *facts) since(t time.Time) Span {
	if t.IsZero() || f.notified.IsZero() {
		return 0
	}
	return Span(max(t.Sub(f.notified), time.Microsecond))
}

// deviceWords are those of the call, and those about the device.
func (dev *device) deviceWords() {
	w := words{}
	for name, text := range dev.facts.words {
		w[name] = text
	}
	dev.words = w
	w["device"] = Text{
		possessive(w["callee"].English) + " " + dev.verdict.Name + " device",
		w["callee"].Japanese + "の" + dev.verdict.Name + "端末",
	}
	w["provider"] = cmp.Or(providers[dev.channel], Text{"its provider", "配信事業者"})
	w.both("reason", reasonOf(dev.reason))
	w.both("attempts", strconv.Itoa(len(dev.attempts())))
	w.both("status", strconv.Itoa(dev.refused.Outcome.Status))
	w.both("first_reason", reasonOf(dev.firstReason()))
	w.span("accepted", time.Duration(dev.verdict.ToAccept))
	w.span("received", time.Duration(dev.verdict.ToReceipt))
	asked := dev.refused
	if a := dev.otherHost(); a.Number != 0 { // later attempts may have failed at the other one
		asked = a
	}
	w.both("server", cmp.Or(string(asked.Server), "its server"))
	w.both("server_reason", reasonOf(asked.Outcome.Reason))
	w.both("other", cmp.Or(string(dev.last.Server), "the other server"))
	if dev.d != nil {
		w.both("problem", reasonOf(dev.d.Receipt.Problem))
		w.span("continued", dev.d.Delivery.ContinuedAt.Sub(dev.notified))
		w.moment("acknowledges_since", dev.d.Device.AcknowledgesSince)
		w.span("away", dev.openAfterEnd())
		w.span("late", dev.taken.Sub(dev.ringEnd()))
		w.span("received_late", dev.d.Receipt.At.Sub(dev.ringEnd()))
	}
	if n := dev.note; n != nil {
		w.both("held_for", cmp.Or(noteReason(n.Reason), "?"))
		w.moment("since", n.Since)
	}
}

func noteReason(reason string) string {
	if reason == "" {
		return ""
	}
	return reasonOf(reason)
}

func possessive(name string) string {
	if strings.HasSuffix(name, "s") {
		return name + "'"
	}
	return name + "'s"
}

func (dev *device) attempts() []bell.Attempt {
	if dev.d == nil {
		return nil
	}
	return dev.d.Attempts
}

// firstReason is what the first attempt failed with.
func (dev *device) firstReason() string {
	for _, a := range dev.attempts() {
		if a.Outcome.Verdict != bell.Accepted && a.Outcome.Reason != "" {
			return a.Outcome.Reason
		}
	}
	return dev.reason
}

// ringEnd is after when a device that learns of the call can do nothing with it.
func (dev *device) ringEnd() time.Time {
	if !dev.over.IsZero() {
		return dev.over
	}
	return dev.Call.Deadline
}

// decide gives the device the verdict of the first rule that matches.
func (dev *device) decide() {
	for i := range deviceRules {
		r := &deviceRules[i]
		if !r.when(dev) {
			continue
		}
		v := &dev.verdict
		v.Code, v.Rang, v.Hop = r.Code, r.Rang, r.Hop
		v.Sentence, v.Fix = dev.words.fill(r.Sentence), dev.words.fill(r.Fix)
		dev.priority = i
		if dev.d == nil { // one that was rung says more
			dev.priority += len(deviceRules)
		}
		return
	}
}

// rule is the first rule of calls that matches; the last one matches always.
func (f *facts) rule() *callRule {
	f.rangWords()
	for i := range callRules {
		if callRules[i].when(f) {
			return &callRules[i]
		}
	}
	return &callRules[len(callRules)-1]
}

// rang is the device that rang first; nil if none did.
func (f *facts) rang() *device {
	var first *device
	for i := range f.devices {
		dev := &f.devices[i]
		if dev.verdict.Rang && (first == nil || dev.when() < first.when()) {
			first = dev
		}
	}
	return first
}

// when is after how long a device is known to have had the call.
func (dev *device) when() Span {
	switch v := &dev.verdict; {
	case v.ToAccept == 0:
		return v.ToReceipt
	case v.ToReceipt == 0:
		return v.ToAccept
	default:
		return min(v.ToAccept, v.ToReceipt)
	}
}

// rangWords are about the device that rang first.
func (f *facts) rangWords() {
	dev := f.rang()
	if dev == nil {
		return
	}
	f.words["device"] = dev.words["device"]
	f.words.span("rang", time.Duration(dev.when()))
	f.words.span("left", f.over.Sub(f.notified.Add(time.Duration(dev.when()))))
}

// leading is the device whose verdict is the call's, if none rang.
func (f *facts) leading() *DeviceVerdict {
	lead := &f.devices[0]
	for i := range f.devices {
		if f.devices[i].priority < lead.priority {
			lead = &f.devices[i]
		}
	}
	return &lead.verdict
}

// amongOthers is the leading device's sentence, with how many others there are.
func (f *facts) amongOthers(d *DeviceVerdict) Text {
	n := len(f.devices) + f.Call.Circumstances.More
	if n == 1 {
		return d.Sentence
	}
	count := strconv.Itoa(n)
	return Text{
		"None of " + possessive(f.words["callee"].English) + " " + count + " devices rang: " + d.Sentence.English,
		f.words["callee"].Japanese + "の端末" + count + "台はいずれも鳴動していません。" + d.Sentence.Japanese,
	}
}
