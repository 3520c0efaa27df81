package pages

import (
	"cmp"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/planet"
)

// Users is the page on which a user is looked for, and that lists devices.
type Users struct {
	Service, User string
	Channels      []Choice
	Projects      []Choice // by service
	Rows          []DeviceRow
	Next          string
	Wrong         string
	Filter        bool
}

// DeviceRow is a device in a list.
type DeviceRow struct {
	ID        string
	User      planet.UserRef
	UserHref  string
	Label     string
	Channel   string
	State     string
	Tone      Tone
	Reason    string
	Seen      string
	SeenAt    time.Time
	Project   string
	Readiness call.Readiness
}

// NewDeviceRow makes the row of a device: by itself, without its user's other devices.
func NewDeviceRow(w Words, d *bell.Device, now time.Time) DeviceRow {
	row := DeviceRow{
		ID: d.ID, User: d.Owner.User, UserHref: userHref(d.Owner.Environment, d.Owner.User),
		Label: appLabel(w, d), Channel: channelText(w, d, d.Channel), Project: d.Project,
		Seen: w.Ago(now, d.LastSeenAt), SeenAt: d.LastSeenAt, Tone: Good, State: w.T("device.reachable"),
	}
	switch n, spoken := d.Note(now); {
	case !spoken:
	case n.Why == bell.NoteForgotten:
		row.Tone, row.State, row.Reason = Bad, w.Word("ready", call.NotForgotten), n.Reason
	case n.Why == bell.NoteSuspended:
		row.Tone, row.State, row.Reason = Warn, w.Word("ready", call.NotSuspended), n.Reason
	default:
		row.Tone, row.State = Quiet, w.T("device.unreachable")
	}
	return row
}

func appLabel(w Words, d *bell.Device) string {
	s := cmp.Or(d.AppType, w.T("device.untyped"))
	if d.AppVersion != "" && len(d.AppVersion) < 20 {
		s += " " + d.AppVersion
	}
	return s
}

// User is the page of one user: would it ring, and if not, why.
type User struct {
	User        planet.UserRef
	Environment string
	Tone        Tone
	Headline    string
	Fix         string
	Devices     []DeviceRow
	Calls       []CallRow
	CallsHref   string
}

// UserOf is what the page of a user is made of.
type UserOf struct {
	Owner   bell.Owner
	Devices []call.DeviceReadiness // as a call now would find them
	Quiet   bool                   // do-not-disturb is on
	Calls   []bell.Call            // the newest, to or from the user
	Now     time.Time
}

// NewUser makes the page of a user.
func NewUser(w Words, of *UserOf) User {
	view := User{
		User: of.Owner.User, Environment: w.Word("environment", of.Owner.Environment),
		CallsHref: "/of.Calls?user_id=" + of.Owner.User.UserID,
	}
	ringing := 0
	for i := range of.Devices {
		d := &of.Devices[i]
		row := NewDeviceRow(w, &d.Device, of.Now)
		row.Readiness, row.State, row.Reason = d.Readiness, w.Word("ready", d.Readiness), d.Reason
		row.Tone = readyTone(d.Readiness)
		if d.Readiness.Rings() {
			ringing++
		}
		view.Devices = append(view.Devices, row)
	}
	for i := range of.Calls {
		view.Calls = append(view.Calls, NewCallRow(w, &of.Calls[i], of.Now))
	}
	switch {
	case of.Quiet:
		view.Tone, view.Headline, view.Fix = Warn, w.T("ring.quiet", of.Owner.User.UserID), w.T("ring.quiet_fix")
	case ringing > 0:
		view.Tone, view.Headline = Good, w.T("ring.yes", of.Owner.User.UserID, ringing, len(of.Devices))
	case len(of.Devices) == 0:
		view.Tone, view.Headline, view.Fix = Bad, w.T("ring.no_device", of.Owner.User.UserID), w.T("ring.no_device_fix")
	default:
		view.Tone, view.Headline, view.Fix = Bad, w.T("ring.no", of.Owner.User.UserID), w.T("ring.no_fix")
	}
	return view
}

func readyTone(r call.Readiness) Tone {
	switch r {
	case call.ReadyNow:
		return Good
	case call.ReadyAtLast, call.NotSuspended:
		return Warn
	case call.NotAmongMany, call.NotExpired:
		return Quiet
	}
	return Bad
}

// Device is the page of one device.
type Device struct {
	Row     DeviceRow
	Title   string
	Says    string // whether it would ring, with what can be done
	Facts   []Fact
	History []RungRow
	Test    DeviceTest
}

// RungRow is a delivery to the device.
type RungRow struct {
	At       time.Time
	Href     string
	What     string // who called, or what was told
	State    string
	Tone     Tone
	Reason   string
	Attempts int
}

// DeviceTest is the form that tests a device, and the answer to one.
type DeviceTest struct {
	Offered  bool // there is a provider to be asked
	Notice   bool // it can be a notice
	Answered bool
	Tone     Tone
	Said     string
	Facts    []Fact
	Wrong    string // why there is no answer
}

// NewDevice makes the page of a device.
func NewDevice(w Words, r call.DeviceReadiness, history []call.RungCall, now time.Time) Device {
	d := &r.Device
	view := Device{Row: NewDeviceRow(w, d, now), Title: appLabel(w, d) + " · " + d.Owner.User.UserID, Facts: deviceFacts(w, d, now)}
	view.Row.State, view.Row.Tone, view.Row.Reason = w.Word("ready", r.Readiness), readyTone(r.Readiness), r.Reason
	view.Says = w.Word("why", r.Readiness)
	for i := range history {
		view.History = append(view.History, rungRow(w, &history[i]))
	}
	view.Test.Offered = d.Channel != bell.LongPoll && d.Channel != "" && d.PushToken != ""
	view.Test.Notice = bell.PurposeTest.Goes(d.Channel) || d.AlertToken != ""
	return view
}

func rungRow(w Words, r *call.RungCall) RungRow {
	row := RungRow{
		At: r.Delivery.CreatedAt, Href: "/calls/" + string(r.Call.SessionID) + "?environment=" + string(r.Call.Environment),
		What: r.Call.Caller.UserID, State: w.Word("delivery", r.Delivery.State), Tone: deliveryTone(&r.Delivery),
		Reason: r.Delivery.Reason, Attempts: r.Delivery.Attempts,
	}
	if r.Call.Purpose != bell.PurposeCall {
		row.What = w.Word("purpose", r.Call.Purpose)
	}
	return row
}

func deviceFacts(w Words, d *bell.Device, now time.Time) []Fact {
	list := []Fact{
		{Name: "ID", Value: d.ID, Mono: true},
		{Name: w.T("form.user"), Value: userText(d.Owner.User), Href: userHref(d.Owner.Environment, d.Owner.User)},
		{Name: w.T("call.project"), Value: d.Project + " · " + w.Word("environment", d.Owner.Environment)},
		{Name: w.T("device.channel"), Value: w.Word("channel", d.Channel)},
	}
	add := func(key Key, value string, mono bool) {
		if value != "" {
			list = append(list, Fact{Name: w.T(key), Value: value, Mono: mono})
		}
	}
	add("device.app_id", d.AppID, false)
	add("device.client_id", d.ClientID, true)
	if d.APNsServer != "" {
		how := w.T("device.said")
		switch {
		case d.APNsServerConfirmed:
			how = w.T("device.confirmed")
		case d.APNsServerGuessed:
			how = w.T("device.guessed")
		}
		add("device.server", string(d.APNsServer)+" ("+how+")", false)
	}
	add("device.token", d.PushToken.Fingerprint(), true)
	add("device.alert_token", d.AlertToken.Fingerprint(), true)
	add("device.registered", stamp(d.RegisteredAt), false)
	add("device.seen", stamp(d.LastSeenAt)+" · "+w.Ago(now, d.LastSeenAt), false)
	if !d.ExpiresAt.IsZero() {
		add("device.expires", stamp(d.ExpiresAt)+" · "+w.Ago(now, d.ExpiresAt), false)
	}
	if d.Strikes > 0 {
		add("device.strikes", w.Count(int64(d.Strikes)), false)
	}
	if !d.SuspendedUntil.IsZero() {
		add("device.suspended", stamp(d.SuspendedUntil)+" · "+d.SuspendedFor, false)
	}
	if !d.ForgottenAt.IsZero() {
		add("device.forgotten", stamp(d.ForgottenAt)+" · "+d.ForgottenFor, false)
	}
	return list
}

// Answer fills in what the provider answered to a test.
func (t *DeviceTest) Answer(w Words, r *delivery.TrialResult) {
	o := &r.Attempt.Outcome
	t.Answered, t.Tone = true, attemptTone(o)
	t.Said = w.T("test.taken")
	if t.Tone != Good {
		t.Said = w.T("test.refused")
	}
	route := r.Route.Credential
	if r.Route.Server != "" {
		route += " · " + r.Route.Server
	}
	t.Facts = []Fact{
		{Name: w.T("test.route"), Value: route},
		{Name: w.T("device.channel"), Value: w.Word("channel", r.Channel)},
		{Name: w.T("tried.took"), Value: w.Length(r.Attempt.Took)},
		{Name: w.T("tried.answer"), Value: w.Word("verdict", o.Verdict)},
	}
	add := func(name, value string) {
		if value != "" {
			t.Facts = append(t.Facts, Fact{Name: name, Value: value})
		}
	}
	if o.Status != 0 {
		add("HTTP", w.Count(int64(o.Status)))
	}
	add(w.T("test.reason"), o.Reason)
	if own := r.Own; own != nil {
		add(w.T("test.own"), string(own.Server)+" · "+own.Outcome.Reason)
	}
	add(w.T("test.detail"), o.Detail)
	add(w.T("test.token"), w.Word("token", o.Token))
	if o.RetryAfter > 0 {
		add("Retry-After", w.Length(o.RetryAfter))
	}
	if !o.DeadSince.IsZero() {
		add(w.T("test.dead"), stamp(o.DeadSince))
	}
	add("ID", o.ProviderID)
}
