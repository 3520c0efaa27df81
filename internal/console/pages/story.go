package pages

import (
	"cmp"
	"net/url"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/verdict"
	"github.com/planetbell/planetbell/planet"
)

// Saying is what happened to a call in one sentence, and what can be done about it.
type Saying struct {
	Tone     Tone
	Sentence string
	Why      string // LINE Planet's reason, explained; empty when there is none
	Fix      string // empty when nothing is to be done
}

// Story is the page of a call.
type Story struct {
	Call    CallRow
	Saying  Saying
	Facts   []Fact
	Ticks   []Tick
	Lanes   []Lane
	Tried   []TriedDevice
	LeftOut []LeftOut
	Notices []NoticeStory
	Reasons []bell.ReleaseReason
	Journal []JournalRow

	Going   bool   // something of it may still change: the page follows it
	Updates string // where the page hears of changes
	Shown   time.Time
}

// Fact is a line of a list of facts.
type Fact struct {
	Name, Value string
	Href        string
	Mono        bool // an ID
}

// TriedDevice is a delivery with its attempts, in words.
type TriedDevice struct {
	Number   int
	Device   bell.Device
	Gone     bool // the device is not there any more
	Label    string
	Channel  string
	State    string
	Tone     Tone
	Reason   string
	Attempts []AttemptRow
	Receipt  string // empty when the device sent none
	Says     string // why it rang, or did not
	Fix      string
}

// LeftOut is a device of the callee's that was not rung.
type LeftOut struct {
	ID, Name, Channel string
	Says, Fix         string
}

// AttemptRow is one attempt, in words.
type AttemptRow struct {
	Number     int
	Tone       Tone
	After      string // since Notify
	Took       string
	Verdict    string
	Status     int
	Reason     string
	Detail     string
	ProviderID string
}

// NoticeStory is what was told of the call beside it.
type NoticeStory struct {
	SID     planet.SessionID
	Purpose string
	To      planet.UserRef
	After   string
	Tried   []TriedDevice
}

// JournalRow is a callback as it came.
type JournalRow struct {
	At     time.Time
	After  string
	Kind   string
	Params []planet.RawParam
}

// StoryOf is what a call's page is made of.
type StoryOf struct {
	Record  call.Record
	Journal []bell.JournalEntry // of the call's environment, oldest first, without cc_param
	Notices []call.Record
	Verdict verdict.Verdict
	Now     time.Time
}

// settles is how long after a call's end its page goes on to follow it: receipts and the notice
// of a missed call come then.
const settles = 20 * time.Second

// NewStory makes the page of a call.
func NewStory(w Words, s StoryOf) Story {
	c := &s.Record.Call
	view := Story{
		Call: NewCallRow(w, c, s.Now), Saying: NewSaying(w, c, &s.Verdict), Reasons: bell.ReleaseReasons(&c.Release), Shown: s.Now,
		Going: going(&s), Updates: "/calls/" + string(c.SessionID) + "/live?environment=" + string(c.Environment),
	}
	view.Facts = facts(w, &s)
	begin := c.NotifiedAt
	for i := range s.Record.Deliveries {
		t := tried(w, i+1, &s.Record.Deliveries[i], begin)
		for _, v := range s.Verdict.Devices {
			if v.DeviceID == t.Device.ID {
				t.Says, t.Fix = v.Sentence.In(w.Language), v.Fix.In(w.Language)
			}
		}
		view.Tried = append(view.Tried, t)
	}
	for _, v := range s.Verdict.Devices {
		if !slices.ContainsFunc(view.Tried, func(t TriedDevice) bool { return t.Device.ID == v.DeviceID }) {
			view.LeftOut = append(view.LeftOut, LeftOut{v.DeviceID, v.Name, w.Word("channel", v.Channel), v.Sentence.In(w.Language), v.Fix.In(w.Language)})
		}
	}
	for i := range s.Notices {
		view.Notices = append(view.Notices, noticeStory(w, &s.Notices[i], begin))
	}
	for i := range s.Journal {
		view.Journal = append(view.Journal, journalRow(w, &s.Journal[i], begin))
	}
	if !begin.IsZero() {
		line := newScale(ending(&s).Sub(begin))
		view.Ticks, view.Lanes = line.ticks(w), lanes(w, line, &s)
	}
	return view
}

// going reports whether something of a call may still change by itself.
func going(s *StoryOf) bool {
	c := &s.Record.Call
	open := func(r *call.Record) bool {
		return slices.ContainsFunc(r.Deliveries, func(d call.DeliveryRecord) bool { return !d.Delivery.State.Final() })
	}
	switch c.State {
	case bell.CallRinging:
		return true
	case bell.CallLost, bell.CallNotice:
		return open(&s.Record) && s.Now.Before(c.Deadline)
	}
	return s.Now.Sub(endHeard(s)) < settles || slices.ContainsFunc(s.Notices, func(n call.Record) bool {
		return open(&n) && s.Now.Before(n.Call.Deadline)
	})
}

// endHeard is when the Call Event came, by our clock; else when LINE Planet says that the call
// ended, in whole seconds.
func endHeard(s *StoryOf) time.Time {
	for i := range s.Journal {
		if s.Journal[i].Kind == "call-event" {
			return s.Journal[i].ReceivedAt
		}
	}
	return s.Record.Call.EndedAt
}

// ending is the end of the waterfall: what happened last.
func ending(s *StoryOf) time.Time {
	c := &s.Record.Call
	end := c.NotifiedAt
	if c.State == bell.CallRinging {
		end = s.Now
	}
	see := func(t time.Time) {
		if t.After(end) {
			end = t
		}
	}
	if c.State == bell.CallEnded {
		see(endHeard(s))
	}
	see(lastOf(&s.Record))
	for i := range s.Notices {
		see(lastOf(&s.Notices[i]))
	}
	return end
}

func lastOf(r *call.Record) (last time.Time) {
	see := func(t time.Time) {
		if t.After(last) {
			last = t
		}
	}
	for i := range r.Deliveries {
		for _, a := range r.Deliveries[i].Attempts {
			see(a.StartedAt.Add(a.Took))
		}
		see(r.Deliveries[i].Receipt.At)
	}
	return last
}

func facts(w Words, s *StoryOf) []Fact {
	c := &s.Record.Call
	list := []Fact{
		{Name: w.T("call.sid"), Value: string(c.SessionID), Mono: true},
		{Name: w.T("call.caller"), Value: userText(c.Caller), Href: userHref(c.Environment, c.Caller)},
		{Name: w.T("call.callee"), Value: userText(c.Callee), Href: userHref(c.Environment, c.Callee)},
		{Name: w.T("call.type"), Value: w.Word("type", typeName(c.Type))},
		{Name: w.T("call.project"), Value: c.Project + " · " + w.Word("environment", c.Environment)},
		{Name: w.T("call.notified"), Value: stamp(c.NotifiedAt)},
	}
	if c.CallerName != "" {
		list = append(list, Fact{Name: w.T("call.caller_name"), Value: c.CallerName})
	}
	if c.State == bell.CallEnded {
		list = append(list, Fact{Name: w.T("call.ended"), Value: stamp(c.EndedAt)})
	}
	if c.Duration > 0 {
		list = append(list, Fact{Name: w.T("call.talked"), Value: w.Length(c.Duration)})
	}
	if by := bell.EndedBy(&c.Release); by != "" {
		list = append(list, Fact{Name: w.T("call.ended_by"), Value: w.Word("party", by)})
	}
	if c.Release.UserCode != "" {
		list = append(list, Fact{Name: w.T("call.user_code"), Value: c.Release.UserCode})
	}
	if a := s.Record.Agent; !a.ReceivedAt.IsZero() {
		value := w.T("call.agent_ok", cmp.Or(a.AgentType, "–"))
		if !a.Success {
			value = w.T("call.agent_failed", cmp.Or(a.AgentType, "–"), cmp.Or(a.FailReason, "–"))
		}
		list = append(list, Fact{Name: w.T("call.agent"), Value: value})
	}
	if c.About != "" {
		list = append(list, Fact{Name: w.T("call.about"), Value: string(c.About), Href: "/calls/" + string(c.About), Mono: true})
	}
	return list
}

// userHref leads to a user; empty when there is none.
func userHref(e planet.Environment, u planet.UserRef) string {
	if u.UserID == "" || u.ServiceID == "" {
		return ""
	}
	return "/users/" + url.PathEscape(u.ServiceID) + "/" + url.PathEscape(u.UserID) + "?environment=" + string(e)
}

func userText(u planet.UserRef) string {
	if u.UserID == "" {
		return "–"
	}
	return u.ServiceID + "/" + u.UserID
}

func typeName(t planet.CallType) string {
	switch t {
	case planet.AudioCall:
		return "audio"
	case planet.VideoCall:
		return "video"
	}
	return string(t)
}

func tried(w Words, number int, d *call.DeliveryRecord, begin time.Time) TriedDevice {
	view := TriedDevice{
		Number: number, Device: d.Device, Gone: d.Device.Project == "", Label: deviceLabel(w, d),
		Channel: channelText(w, &d.Device, d.Delivery.Channel), State: w.Word("delivery", d.Delivery.State),
		Tone: deliveryTone(&d.Delivery), Reason: d.Delivery.Reason,
	}
	for i := range d.Attempts {
		a := &d.Attempts[i]
		view.Attempts = append(view.Attempts, AttemptRow{
			Number: a.Number, Tone: attemptTone(&a.Outcome), After: after(w, a.StartedAt, begin), Took: w.Length(a.Took),
			Verdict: w.Word("verdict", a.Outcome.Verdict), Status: a.Outcome.Status, Reason: a.Outcome.Reason,
			Detail: a.Outcome.Detail, ProviderID: a.Outcome.ProviderID,
		})
	}
	if r := d.Receipt; !r.At.IsZero() {
		view.Receipt = w.T("call.receipt", after(w, r.At, begin))
		if r.OriginalPriority != "" && r.Priority != "" && r.OriginalPriority != r.Priority {
			view.Receipt += " " + w.T("call.lowered", r.OriginalPriority, r.Priority)
		}
	}
	return view
}

// after is how long after another time a time was.
func after(w Words, t, begin time.Time) string {
	if t.IsZero() || begin.IsZero() {
		return "–"
	}
	d := t.Sub(begin)
	if d < 0 {
		return w.Length(d)
	}
	return "+" + w.Length(d)
}

func deviceLabel(w Words, d *call.DeliveryRecord) string {
	if d.Device.Project == "" {
		return w.T("device.gone", short(d.Delivery.DeviceID))
	}
	return cmp.Or(d.Device.AppType, w.T("device.untyped")) + " " + short(d.Device.ID)
}

// channelText is a channel with the server that a device is reached by.
func channelText(w Words, d *bell.Device, channel bell.Channel) string {
	s := w.Word("channel", channel)
	if d.APNsServer == bell.APNsSandbox {
		s += " · " + w.T("device.sandbox")
	}
	return s
}

func noticeStory(w Words, r *call.Record, begin time.Time) NoticeStory {
	n := NoticeStory{
		SID: r.Call.SessionID, Purpose: w.Word("purpose", r.Call.Purpose), To: r.Call.Callee, After: after(w, r.Call.NotifiedAt, begin),
	}
	for i := range r.Deliveries {
		n.Tried = append(n.Tried, tried(w, i+1, &r.Deliveries[i], begin))
	}
	return n
}

// journalRow leaves cc_param out even if it should have come this far.
func journalRow(w Words, e *bell.JournalEntry, begin time.Time) JournalRow {
	row := JournalRow{At: e.ReceivedAt, After: after(w, e.ReceivedAt, begin), Kind: e.Kind}
	for _, p := range e.Params {
		if p.Name != "param" && p.Name != "cc_param" {
			row.Params = append(row.Params, p)
		}
	}
	return row
}
