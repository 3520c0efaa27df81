package storetest

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/planet"
)

var callTests = map[string]func(*testing.T, Store){
	"circumstances":                           callCircumstances,
	"begin":                                   callBegin,
	"begin without devices":                   callBeginAlone,
	"begin with many devices":                 callBeginMany,
	"begin with what has ended":               callBeginEnded,
	"begin fails as a whole":                  callBeginFails,
	"hostile texts":                           callHostile,
	"a repeat writes nothing":                 callRepeat,
	"fifty repeats at once":                   callRepeatsAtOnce,
	"environments are apart":                  callEnvironments,
	"end":                                     callEnd,
	"end repeated":                            callEndTwice,
	"end overtakes begin":                     callEndFirst,
	"end fills what Notify left out":          callEndFills,
	"Notify and event in any order":           callAnyOrder,
	"end and begin at once":                   callEndRace,
	"release numbers that did not come":       callRelease,
	"a call that nobody made":                 callMissing,
	"record without environment":              callNewest,
	"record keeps what happened to a device":  callDeviceGone,
	"cc_param is in no record":                callNoSecret,
	"a call known by its event rings nothing": callEndRingsNothing,
}

// recorded is c as Call returns it.
func recorded(c bell.Call) bell.Call {
	c.CCParam = ""
	return c
}

func callBegin(t *testing.T, s Store) {
	c := newCall()
	devices := []bell.Device{newDevice("bob", 1), newDevice("bob", 2)}
	for _, d := range devices {
		add(t, s, d)
	}
	written := []bell.Delivery{newDelivery(c, devices[0]), newDelivery(c, devices[1])}
	written[1].CreatedAt = noon.Add(time.Millisecond)
	written[1].State, written[1].Reason, written[1].Attempts = bell.DeliverySending, "timeout", 2
	written[1].LeaseOwner, written[1].LeaseUntil = "", time.Time{}
	got, err := s.BeginCall(t.Context(), c, written, nil)
	if err != nil || got != call.Began {
		t.Fatalf("BeginCall = %v, %v; want Began", got, err)
	}
	same(t, "record", record(t, s, c), call.Record{Call: recorded(c), Deliveries: []call.DeliveryRecord{
		{Delivery: written[0], Device: devices[0]},
		{Delivery: written[1], Device: devices[1]},
	}})
}

func callBeginAlone(t *testing.T, s Store) {
	c := bell.Call{
		Environment: planet.Real, SessionID: planet.SessionID(uuid.NewString()), State: bell.CallRinging, NotifiedAt: noon,
	}
	begin(t, s, c)
	same(t, "record", record(t, s, c), call.Record{Call: c})
}

func callBeginMany(t *testing.T, s Store) {
	const devices = 21 // more than fit into one statement of any store
	c := newCall()
	var deliveries []bell.Delivery
	want := map[string]bool{}
	for n := range devices {
		d := newDelivery(c, newDevice("bob", n))
		deliveries = append(deliveries, d)
		want[d.ID+d.DeviceID] = true
	}
	_, err := s.BeginCall(t.Context(), c, deliveries, nil)
	ok(t, "BeginCall", err)
	for _, r := range record(t, s, c).Deliveries {
		delete(want, r.Delivery.ID+r.Delivery.DeviceID)
	}
	if len(want) != 0 {
		t.Errorf("%d of %d deliveries are missing", len(want), devices)
	}
}

// A call that rang before it could be recorded comes with deliveries that have ended.
func callBeginEnded(t *testing.T, s Store) {
	c, d, other := newCall(), newDevice("bob", 1), newDevice("bob", 2)
	add(t, s, d)
	add(t, s, other)
	ended, open := newDelivery(c, d), newDelivery(c, other)
	ended.State, ended.Reason, ended.Attempts = bell.DeliveryAccepted, "accepted", 2
	ended.UpdatedAt = noon.Add(time.Second)
	if got, err := s.BeginCall(t.Context(), c, []bell.Delivery{ended, open}, nil); err != nil || got != call.Began {
		t.Fatalf("BeginCall = %v, %v; want Began", got, err)
	}
	same(t, "the delivery", state(t, s, ended), ended)
	rings := claim(t, s, delivery.Claim{Owner: "node-b", Now: noon.Add(10 * time.Second), LeaseUntil: noon.Add(20 * time.Second), TakeAll: true, Limit: 10})
	if len(rings) != 1 || rings[0].Delivery.ID != open.ID {
		t.Errorf("%d deliveries can be claimed, want only the one that has not ended", len(rings))
	}
	ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), ended, bell.Attempt{DeliveryID: ended.ID, Number: 1, StartedAt: noon}))
	for _, r := range record(t, s, c).Deliveries {
		if r.Delivery.ID == ended.ID && (len(r.Attempts) != 1 || r.Delivery.State != bell.DeliveryAccepted) {
			t.Errorf("the attempt was recorded as %+v", r)
		}
	}
}

func callBeginFails(t *testing.T, s Store) {
	first, second := newCall(), newCall()
	taken := begin(t, s, first, newDevice("bob", 1))[0]
	fresh := newDelivery(second, newDevice("bob", 2))
	clash := newDelivery(second, newDevice("bob", 3))
	clash.ID = taken.ID
	if got, err := s.BeginCall(t.Context(), second, []bell.Delivery{fresh, clash}, nil); err == nil {
		t.Errorf("BeginCall = %v with a delivery ID that is in use", got)
	}
	_, err := s.Call(t.Context(), second.Environment, second.SessionID)
	wantKind(t, "Call", err, bell.NotFound)
	if got := begin(t, s, second, newDevice("bob", 2)); len(got) != 1 {
		t.Error("the call could not be recorded afterwards")
	}
}

func callHostile(t *testing.T, s Store) {
	for _, text := range append([]string{strings.Repeat("long ", 13000)}, hostile...) {
		c := newCall()
		c.Project, c.Label, c.AppServerData, c.STID, c.Type = text, text, text, text, planet.CallType(text)
		c.Caller = planet.UserRef{ServiceID: text, UserID: text}
		c.Callee = c.Caller
		c.CCParam += planet.CCParam(text)
		c.SessionID += planet.SessionID(text[:min(len(text), 9)])
		d := newDevice("bob", len(text))
		add(t, s, d)
		begin(t, s, c, d)
		same(t, "call", record(t, s, c).Call, recorded(c))
		if secretOf(t, s, noon) != c.CCParam {
			t.Errorf("cc_param with %.20q did not come back unchanged", text)
		}
		e, entry := ended(c)
		e.Release.CodeName, e.Release.UserCode, e.Release.Releaser, e.Outcome = text, text, text, planet.Outcome(text)
		ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
		same(t, "release", record(t, s, c).Call.Release, e.Release)
		got, err := s.Calls(t.Context(), call.Filter{User: c.Caller}, call.Cursor{}, 5)
		ok(t, "Calls", err)
		if len(got) != 1 {
			t.Errorf("%d calls of the user %.20q, want 1", len(got), text)
		}
	}
}

func callRepeat(t *testing.T, s Store) {
	c := newCall()
	add(t, s, newDevice("bob", 1))
	begin(t, s, c, newDevice("bob", 1))
	before := record(t, s, c)
	again := c
	again.NotifiedAt, again.Callee.UserID, again.CCParam = noon.Add(time.Second), "eve", "another"
	got, err := s.BeginCall(t.Context(), again, []bell.Delivery{newDelivery(again, newDevice("eve", 2))}, nil)
	if err != nil || got != call.Repeated {
		t.Errorf("BeginCall = %v, %v; want Repeated", got, err)
	}
	same(t, "record", record(t, s, c), before)
	if secretOf(t, s, noon) != c.CCParam {
		t.Error("the repeat changed cc_param")
	}
	if n := len(claim(t, s, everything)); n != 1 {
		t.Errorf("the repeat rings: %d deliveries can be claimed", n)
	}

	e, entry := ended(c)
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	before = record(t, s, c)
	got, err = s.BeginCall(t.Context(), again, nil, nil)
	if err != nil || got != call.Repeated {
		t.Errorf("BeginCall after the end = %v, %v; want Repeated", got, err)
	}
	same(t, "record", record(t, s, c), before)
}

func callRepeatsAtOnce(t *testing.T, s Store) {
	c := newCall()
	var began, repeated atomic.Int32
	together(50, func(i int) {
		got, err := s.BeginCall(t.Context(), c, []bell.Delivery{newDelivery(c, newDevice("bob", i))}, nil)
		switch {
		case err != nil:
			t.Errorf("BeginCall: %v", err)
		case got == call.Began:
			began.Add(1)
		case got == call.Repeated:
			repeated.Add(1)
		}
	})
	if began.Load() != 1 || repeated.Load() != 49 {
		t.Errorf("%d began and %d repeated, want 1 and 49", began.Load(), repeated.Load())
	}
	if n := len(record(t, s, c).Deliveries); n != 1 {
		t.Errorf("%d deliveries, want 1", n)
	}
}

func callEnvironments(t *testing.T, s Store) {
	c := newCall()
	other := c
	other.Environment = planet.Real
	deliveries := begin(t, s, c, newDevice("bob", 1))
	others := begin(t, s, other, newDevice("bob", 2))
	e, entry := ended(c)
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))

	same(t, "the other environment's call", record(t, s, other).Call, recorded(other))
	if got := state(t, s, others[0]).State; got != bell.DeliveryPending {
		t.Errorf("the other environment's delivery is %s", got)
	}
	if got := state(t, s, deliveries[0]).State; got != bell.DeliveryWithdrawn {
		t.Errorf("the ended call's delivery is %s", got)
	}
}

func callEnd(t *testing.T, s Store) {
	c := newCall()
	add(t, s, newDevice("bob", 1))
	deliveries := begin(t, s, c, newDevice("bob", 1), newDevice("bob", 2), newDevice("bob", 3))
	accepted, sending := deliveries[1], deliveries[2]
	accepted.State, sending.State = bell.DeliveryAccepted, bell.DeliverySending
	for _, d := range []bell.Delivery{accepted, sending} {
		ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, bell.Attempt{}))
	}

	e, entry := ended(c)
	e.NotifiedAt, e.Deadline = noon.Add(time.Hour), noon.Add(time.Hour) // ignored
	e.StartedAt, e.Duration = noon.Add(3*time.Second), 7*time.Second+time.Microsecond
	e.CCParam = c.CCParam // never kept from an event
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))

	want := recorded(c)
	want.State, want.Outcome, want.Release = bell.CallEnded, e.Outcome, e.Release
	want.StartedAt, want.EndedAt, want.Duration = e.StartedAt, e.EndedAt, e.Duration
	same(t, "call", record(t, s, c).Call, want)
	for i, state := range []bell.DeliveryState{bell.DeliveryWithdrawn, bell.DeliveryAccepted, bell.DeliveryWithdrawn} {
		stateIs(t, s, deliveries[i], state)
	}
	if rings := claim(t, s, everything); len(rings) != 0 {
		t.Errorf("%d deliveries of an ended call were claimed", len(rings))
	}
}

func stateIs(t *testing.T, s Store, d bell.Delivery, want bell.DeliveryState) {
	t.Helper()
	if got := state(t, s, d).State; got != want {
		t.Errorf("delivery is %s, want %s", got, want)
	}
}

func callEndTwice(t *testing.T, s Store) {
	c := newCall()
	begin(t, s, c, newDevice("bob", 1))
	e, entry := ended(c)
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	before := record(t, s, c)
	e.Outcome, e.EndedAt, e.Duration, e.Release = planet.OutcomeMissed, noon.Add(time.Hour), time.Hour, planet.Release{}
	ok(t, "EndCall again", s.EndCall(t.Context(), e, entry))
	same(t, "record", record(t, s, c), before)
	if n := len(journal(t, s, c.SessionID)); n != 2 { // Notify and one event
		t.Errorf("%d journal entries, want 2", n)
	}
}

func callEndFirst(t *testing.T, s Store) {
	c := newCall()
	e, entry := ended(c)
	e.Caller.UserID, e.Project, e.AppServerData = "as the event says", "event's", "event's"
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	same(t, "record by event", record(t, s, c), call.Record{Call: e})

	got, err := s.BeginCall(t.Context(), c, []bell.Delivery{newDelivery(c, newDevice("bob", 1))}, nil)
	if err != nil || got != call.AlreadyEnded {
		t.Fatalf("BeginCall = %v, %v; want AlreadyEnded", got, err)
	}
	want := recorded(c)
	want.State, want.Outcome, want.Release, want.EndedAt = bell.CallEnded, e.Outcome, e.Release, e.EndedAt
	want.Circumstances.Overtaken = true
	same(t, "record by both", record(t, s, c), call.Record{Call: want})

	got, err = s.BeginCall(t.Context(), c, []bell.Delivery{newDelivery(c, newDevice("bob", 1))}, nil)
	if err != nil || got != call.Repeated {
		t.Errorf("BeginCall again = %v, %v; want Repeated", got, err)
	}
	same(t, "record", record(t, s, c), call.Record{Call: want})
}

func callEndRingsNothing(t *testing.T, s Store) {
	c := newCall()
	e, entry := ended(c)
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	_, err := s.BeginCall(t.Context(), c, []bell.Delivery{newDelivery(c, newDevice("bob", 1))}, nil)
	ok(t, "BeginCall", err)
	if rings := claim(t, s, everything); len(rings) != 0 {
		t.Errorf("%d deliveries were claimed, want none", len(rings))
	}
	n, err := s.ExpireDeliveries(t.Context(), noon.Add(time.Hour))
	if err != nil || n != 0 {
		t.Errorf("ExpireDeliveries = %d, %v; want 0", n, err)
	}
}

func callEndFills(t *testing.T, s Store) {
	c := newCall()
	c.AppServerData, c.STID = "", "Notify's"
	begin(t, s, c)
	e, entry := ended(c)
	e.AppServerData, e.STID, e.Caller.UserID = "event's", "event's", "eve"
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	got := record(t, s, c).Call
	if got.AppServerData != "event's" || got.STID != "Notify's" || got.Caller != c.Caller {
		t.Errorf("app data %q, stid %q, caller %s", got.AppServerData, got.STID, got.Caller)
	}
}

func callEndRace(t *testing.T, s Store) {
	const calls = 20
	for range calls {
		c := newCall()
		d := newDelivery(c, newDevice("bob", 1))
		e, entry := ended(c)
		together(2, func(i int) {
			var err error
			if i == 0 {
				_, err = s.BeginCall(t.Context(), c, []bell.Delivery{d}, nil)
			} else {
				err = s.EndCall(t.Context(), e, entry)
			}
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		})
		got := record(t, s, c)
		if got.Call.State != bell.CallEnded || !got.Call.NotifiedAt.Equal(noon) {
			t.Errorf("call is %s, notified at %s", got.Call.State, got.Call.NotifiedAt)
		}
	}
	if rings := claim(t, s, everything); len(rings) != 0 {
		t.Errorf("%d deliveries of ended calls can still ring", len(rings))
	}
}

func callRelease(t *testing.T, s Store) {
	for i, release := range []planet.Release{
		{},
		{Terminate: ptr(0)},
		{DisconnectReason: ptr(-1), CallEndReason: ptr(1 << 31)},
		{ReleaserType: ptr(3), Releaser: "initiator", Code: ptr(1203), CodeName: "NORMAL", UserCode: "bye"},
	} {
		c := newCall()
		if i%2 == 0 {
			begin(t, s, c)
		}
		e, entry := ended(c)
		e.Release = release
		ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
		same(t, fmt.Sprintf("release %d", i), record(t, s, c).Call.Release, release)
	}
}

func callMissing(t *testing.T, s Store) {
	c := newCall()
	begin(t, s, c)
	for _, key := range []bell.Call{
		{Environment: planet.Real, SessionID: c.SessionID},
		{Environment: planet.Evaluation, SessionID: "none"},
		{SessionID: "none"},
	} {
		_, err := s.Call(t.Context(), key.Environment, key.SessionID)
		wantKind(t, "Call", err, bell.NotFound)
	}
}

func callNewest(t *testing.T, s Store) {
	older, newer := newCall(), newCall()
	newer.SessionID, newer.Environment, newer.NotifiedAt = older.SessionID, planet.Real, noon.Add(time.Minute)
	begin(t, s, newer)
	begin(t, s, older)
	got, err := s.Call(t.Context(), "", older.SessionID)
	ok(t, "Call", err)
	same(t, "newest call", got.Call, recorded(newer))
}

func callDeviceGone(t *testing.T, s Store) {
	c := newCall()
	add(t, s, newDevice("bob", 1))
	delivery := begin(t, s, c, newDevice("bob", 1))[0]
	ok(t, "RemoveDevice", s.RemoveDevice(t.Context(), delivery.DeviceID))
	same(t, "record", record(t, s, c).Deliveries, []call.DeliveryRecord{
		{Delivery: delivery, Device: bell.Device{ID: delivery.DeviceID}},
	})
}

func callNoSecret(t *testing.T, s Store) {
	c := newCall()
	raw := []planet.RawParam{
		{Name: "sid", Value: "x"},
		{Name: "param", Value: c.CCParam.Reveal()},
		{Name: "cc_param", Value: "y"},
		{Name: "copy", Value: "in " + c.CCParam.Reveal()},
		{Name: c.CCParam.Reveal(), Value: ""},
	}
	_, err := s.BeginCall(t.Context(), c, nil, raw)
	ok(t, "BeginCall", err)
	if record(t, s, c).Call.CCParam != "" {
		t.Error("Call gives cc_param away")
	}
	calls, err := s.Calls(t.Context(), call.Filter{}, call.Cursor{}, 1)
	ok(t, "Calls", err)
	if len(calls) != 1 || calls[0].CCParam != "" {
		t.Error("Calls gives cc_param away")
	}
	entries := journal(t, s, c.SessionID)
	if len(entries) != 1 {
		t.Fatalf("%d journal entries, want 1", len(entries))
	}
	same(t, "journaled parameters", entries[0].Params, raw[:1])
}

// What was true when a call came in is kept as it was, by the first Notify.
func callCircumstances(t *testing.T, s Store) {
	c := newCall()
	c.Circumstances = bell.Circumstances{FromMemory: true, More: 2, Devices: []bell.DeviceNote{
		{DeviceID: "old", AppType: hostile[0], Channel: bell.APNsVoIP, Why: bell.NoteForgotten, Reason: "Unregistered", Since: noon.Add(-time.Hour), Rung: true},
	}}
	begin := func(c bell.Call) {
		t.Helper()
		_, err := s.BeginCall(t.Context(), c, nil, nil)
		ok(t, "BeginCall", err)
	}
	begin(c)
	repeat := c
	repeat.Circumstances = bell.Circumstances{}
	begin(repeat)
	repeat.NotifiedAt, repeat.Circumstances.FromMemory = noon.Add(time.Second), true // another Notify
	begin(repeat)
	same(t, "circumstances", record(t, s, c).Call.Circumstances, c.Circumstances)
	plain := newCall()
	begin(plain)
	same(t, "circumstances of a call without any", record(t, s, plain).Call.Circumstances, bell.Circumstances{})
	plain.Circumstances.FromMemory = true // its first write was given up, and committed after all
	begin(plain)
	same(t, "circumstances that are known later", record(t, s, plain).Call.Circumstances, plain.Circumstances)
}
