package pages

import (
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
)

// lanes are the lines of a call's waterfall, from Notify to what was told after its end.
func lanes(w Words, line scale, s *StoryOf) []Lane {
	c := &s.Record.Call
	all := []Lane{notifyLane(w, line, s)}
	end := s.Now
	if c.State == bell.CallEnded {
		end = endHeard(s)
	}
	for i := range s.Record.Deliveries {
		all = append(all, deliveryLane(w, line, &s.Record.Deliveries[i], c.NotifiedAt, end))
	}
	if c.State == bell.CallEnded {
		all = append(all, endLane(w, line, s))
	}
	for i := range s.Notices {
		n := &s.Notices[i]
		for j := range n.Deliveries {
			lane := deliveryLane(w, line, &n.Deliveries[j], c.NotifiedAt, s.Now)
			lane.Sub = w.Word("purpose", n.Call.Purpose) + " · " + lane.Sub
			all = append(all, lane)
		}
	}
	return all
}

// notifyLane shows how soon the call was on disk. The answer goes out then, in the same moment
// in which the first attempts begin; it has no time of its own in the record.
func notifyLane(w Words, line scale, s *StoryOf) Lane {
	c := &s.Record.Call
	lane := Lane{Label: w.T("lane.notify"), Sub: "Planet Cloud", Tone: Quiet, Summary: w.T("lane.no_attempt")}
	lane.Marks = append(lane.Marks, line.mark(0, "cloud", w.T("lane.notify_in", clock(c.NotifiedAt))))
	if first := firstAttempt(&s.Record); !first.IsZero() {
		took := first.Sub(c.NotifiedAt)
		lane.Tone, lane.Summary = Good, w.T("lane.answered", w.Length(took))
		lane.Bars = append(lane.Bars, line.bar(0, took, "cloud", lane.Summary))
	}
	if c.Suppressed != bell.RingsAll {
		lane.Tone, lane.Summary = Quiet, w.Word("suppressed", c.Suppressed)
	} else if len(s.Record.Deliveries) == 0 {
		lane.Tone, lane.Summary = Bad, w.T("lane.no_device")
	}
	return lane
}

func firstAttempt(r *call.Record) (first time.Time) {
	for i := range r.Deliveries {
		for _, a := range r.Deliveries[i].Attempts {
			if first.IsZero() || a.StartedAt.Before(first) {
				first = a.StartedAt
			}
		}
	}
	return first
}

// deliveryLane shows one device: its attempts, how long it waited for the device to ask, and
// the device's own word.
func deliveryLane(w Words, line scale, d *call.DeliveryRecord, begin, end time.Time) Lane {
	lane := Lane{
		Label: deviceLabel(w, d), Sub: channelText(w, &d.Device, d.Delivery.Channel), Tone: deliveryTone(&d.Delivery),
		Summary: w.Word("delivery", d.Delivery.State),
	}
	if d.Device.Project != "" {
		lane.Href = "/devices/" + d.Device.ID
	}
	if from, to, waits := waiting(d, end); waits {
		lane.Bars = append(lane.Bars, line.bar(from.Sub(begin), to.Sub(begin), "wait", w.T("lane.waits")))
	}
	for i := range d.Attempts {
		a := &d.Attempts[i]
		from := a.StartedAt.Sub(begin)
		lane.Bars = append(lane.Bars, line.bar(from, from+a.Took, string(attemptTone(&a.Outcome)), attemptTitle(w, a, begin)))
	}
	if n := len(d.Attempts); n > 0 {
		a := &d.Attempts[n-1]
		lane.Summary += " " + after(w, a.StartedAt.Add(a.Took), begin)
		if a.Outcome.Status != 0 {
			lane.Summary += w.T("lane.status", a.Outcome.Status)
		}
		if n > 1 {
			lane.Summary += w.T("lane.attempts", n)
		}
	}
	if d.Delivery.Reason != "" && lane.Tone != Good {
		lane.Summary += " · " + d.Delivery.Reason
	}
	if r := d.Receipt; !r.At.IsZero() {
		lane.Marks = append(lane.Marks, line.mark(r.At.Sub(begin), "receipt", w.T("call.receipt", after(w, r.At, begin))))
		lane.Summary = w.Word("delivery", bell.DeliveryReceived) + " " + after(w, r.At, begin)
	}
	return lane
}

// waiting is the time in which nothing was under way: a mailbox waits for its device, a push
// for its next attempt, or for the one whose answer is still to come.
func waiting(d *call.DeliveryRecord, end time.Time) (from, to time.Time, waits bool) {
	from, to = d.Delivery.CreatedAt, end
	if n := len(d.Attempts); n > 0 {
		last := &d.Attempts[n-1]
		to = last.StartedAt.Add(last.Took)
	}
	switch {
	case d.Delivery.State.Final() && len(d.Attempts) == 0 && d.Delivery.Channel != bell.LongPoll:
		return from, to, false
	case !d.Delivery.State.Final():
		to = end
	}
	if !d.Delivery.Deadline.IsZero() && to.After(d.Delivery.Deadline) {
		to = d.Delivery.Deadline
	}
	return from, to, to.After(from)
}

func attemptTitle(w Words, a *bell.Attempt, begin time.Time) string {
	title := w.T("lane.attempt", a.Number, after(w, a.StartedAt, begin), w.Length(a.Took), w.Word("verdict", a.Outcome.Verdict))
	if a.Outcome.Status != 0 {
		title += w.T("lane.status", a.Outcome.Status)
	}
	if a.Outcome.Reason != "" {
		title += " · " + a.Outcome.Reason
	}
	if a.Outcome.ProviderID != "" {
		title += " · " + a.Outcome.ProviderID
	}
	return title
}

// endLane shows the end of the call, and of the conversation, which LINE Planet tells in whole
// seconds of its own clock.
func endLane(w Words, line scale, s *StoryOf) Lane {
	c := &s.Record.Call
	heard := endHeard(s).Sub(c.NotifiedAt)
	lane := Lane{
		Label: w.T("lane.end"), Sub: "Planet Cloud", Tone: callTone(c),
		Summary: w.Word("outcome", c.Outcome) + " +" + w.Length(max(heard, 0)),
		Marks:   []Mark{line.mark(heard, "cloud", w.T("lane.end_in", clock(endHeard(s))))},
	}
	if c.Duration > 0 {
		title := w.T("lane.talked", w.Length(c.Duration))
		lane.Bars = append(lane.Bars, line.bar(heard-c.Duration, heard, "talk", title))
		lane.Summary += " · " + title
	}
	return lane
}
