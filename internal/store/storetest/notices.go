package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/planet"
)

var noticeTests = map[string]func(*testing.T, Store){
	"a notice is kept as it is given":           noticeKept,
	"a claim continues a notice":                noticeClaimed,
	"an event changes no notice":                noticeNoEvent,
	"lists hold calls only":                     noticeLists,
	"what a call tells its devices is kept too": noticeCallFields,
	"a receipt of a notice":                     noticeReceipt,
	"an alert token":                            noticeAlertToken,
	"an alert token moves":                      noticeAlertTokenMoves,
	"a device that knows notices":               noticeDevice,
	"missed calls":                              missedCalls,
	"missed calls in order":                     missedOrder,
	"a mark is written once":                    missedOnce,
	"lost calls":                                lostCalls,
	"a lost call ends":                          lostEnds,
	"lost calls are told":                       lostEvents,
}

// newNotice tells bob that he missed a call.
func newNotice(about planet.SessionID) bell.Call {
	return bell.Call{
		Environment: planet.Evaluation, SessionID: planet.SessionID(uuid.NewString()), Project: "demo", Label: "evaluation",
		Caller: planet.UserRef{ServiceID: "other-service", UserID: "ann"}, Callee: planet.UserRef{ServiceID: "service", UserID: "bob"},
		Type: planet.VideoCall, State: bell.CallNotice, NotifiedAt: noon, Deadline: noon.Add(3 * time.Minute),
		Purpose: bell.PurposeMissedCall, About: about, AboutAt: noon.Add(-time.Minute), CallerName: "Ann 사용자",
		AppFields: map[string]string{"app_a": hostile[0], "app_b": "line\nbreak"},
	}
}

func noticeKept(t *testing.T, s Store) {
	missed, invitation := newNotice("s-1"), newNotice("run-1")
	invitation.Purpose, invitation.Room, invitation.AppFields = bell.PurposeInvitation, planet.RoomRef{ServiceID: "service", RoomID: "lobby"}, nil
	invitation.Suppressed = bell.SuppressDoNotDisturb
	for _, n := range []bell.Call{missed, invitation} {
		written := begin(t, s, n, newDevice("bob", 1))
		got := record(t, s, n)
		same(t, "the notice", got.Call, n)
		if len(got.Deliveries) != 1 || got.Deliveries[0].Delivery.ID != written[0].ID {
			t.Errorf("%d deliveries", len(got.Deliveries))
		}
		again, err := s.BeginCall(t.Context(), n, nil, nil)
		if err != nil || again != call.Repeated {
			t.Errorf("a repeat is %v, %v", again, err)
		}
	}
}

func noticeClaimed(t *testing.T, s Store) {
	n, d := newNotice("s-1"), newDevice("bob", 1)
	add(t, s, d)
	begin(t, s, n, d)
	rings := claim(t, s, delivery.Claim{Owner: "node-b", Now: noon.Add(time.Minute), LeaseUntil: noon.Add(2 * time.Minute), Limit: 10})
	if len(rings) != 1 {
		t.Fatalf("%d rings", len(rings))
	}
	same(t, "the claimed notice", *rings[0].Call, n)
}

func noticeNoEvent(t *testing.T, s Store) {
	n := newNotice("s-1")
	written := begin(t, s, n, newDevice("bob", 1))
	c, entry := ended(n)
	ok(t, "EndCall", s.EndCall(t.Context(), c, entry))
	same(t, "the notice", record(t, s, n).Call, n)
	if got := state(t, s, written[0]); got.State != bell.DeliveryPending {
		t.Errorf("its delivery is %s", got.State)
	}
}

func noticeLists(t *testing.T, s Store) {
	c := newCall()
	begin(t, s, c)
	first, second, other := newNotice(c.SessionID), newNotice(c.SessionID), newNotice("other")
	second.NotifiedAt = noon.Add(time.Second)
	for _, n := range []bell.Call{first, second, other} {
		begin(t, s, n)
	}
	for _, f := range []call.Filter{{}, {User: c.Callee}, {User: c.Caller}, {Environment: planet.Evaluation, User: planet.UserRef{UserID: "bob"}}} {
		got, err := s.Calls(t.Context(), f, call.Cursor{}, 10)
		ok(t, "Calls", err)
		if len(got) != 1 || got[0].SessionID != c.SessionID {
			t.Errorf("filter %+v: %d calls, want the one that is no notice", f, len(got))
		}
	}
	got, err := s.Calls(t.Context(), call.Filter{Environment: planet.Evaluation, About: c.SessionID}, call.Cursor{}, 10)
	ok(t, "Calls", err)
	same(t, "the notices of the call", got, []bell.Call{second, first})
	got, err = s.Calls(t.Context(), call.Filter{Environment: planet.Real, About: c.SessionID}, call.Cursor{}, 10)
	if ok(t, "Calls", err); len(got) != 0 {
		t.Errorf("%d notices in the other environment", len(got))
	}
}

func noticeCallFields(t *testing.T, s Store) {
	c, d := newCall(), newDevice("bob", 1)
	c.CallerName, c.AppFields = hostile[len(hostile)-1], map[string]string{"app_tier": "gold"}
	add(t, s, d)
	begin(t, s, c, d)
	rings := claim(t, s, delivery.Claim{Owner: "node-b", Now: noon.Add(10 * time.Second), LeaseUntil: noon.Add(time.Minute), Limit: 10})
	if len(rings) != 1 {
		t.Fatalf("%d rings", len(rings))
	}
	same(t, "the claimed call", *rings[0].Call, c)
	late := newCall()
	over, entry := ended(late)
	ok(t, "EndCall", s.EndCall(t.Context(), over, entry))
	late.CallerName, late.AppFields = c.CallerName, c.AppFields
	_, err := s.BeginCall(t.Context(), late, nil, nil)
	ok(t, "BeginCall", err)
	if got := record(t, s, late).Call; got.CallerName != c.CallerName || got.AppFields["app_tier"] != "gold" {
		t.Errorf("a Notify that was overtaken told %q, %v", got.CallerName, got.AppFields)
	}
}

func noticeReceipt(t *testing.T, s Store) {
	n := newNotice("s-1")
	d := begin(t, s, n, newDevice("bob", 1))[0]
	a := attempt(d, 1)
	a.Outcome.Verdict, d.State = bell.Accepted, bell.DeliveryAccepted
	ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, a))
	got, err := s.RecordReceipt(t.Context(), bell.Receipt{Environment: n.Environment, SessionID: n.SessionID, DeviceID: d.DeviceID, At: noon})
	ok(t, "RecordReceipt", err)
	if got.DeliveryID != d.ID || !got.NotifiedAt.IsZero() || !got.AcceptedAt.IsZero() || got.Over {
		t.Errorf("the receipt is for %q, of a Notify at %v, taken at %v; a notice has no such times", got.DeliveryID, got.NotifiedAt, got.AcceptedAt)
	}
	if state(t, s, d).State != bell.DeliveryReceived {
		t.Errorf("the delivery is %s", state(t, s, d).State)
	}
}

func noticeAlertToken(t *testing.T, s Store) {
	d := newDevice("bob", 1)
	d.AlertToken, d.Strikes, d.SuspendedUntil = "a1e27000", 2, noon.Add(time.Hour)
	add(t, s, d)
	n := newNotice("s-1")
	alert := newDelivery(n, d)
	alert.Channel = bell.APNsAlert
	_, err := s.BeginCall(t.Context(), n, []bell.Delivery{alert}, nil)
	ok(t, "BeginCall", err)
	rings := claim(t, s, delivery.Claim{Owner: "node-b", Now: noon.Add(time.Minute), LeaseUntil: noon.Add(2 * time.Minute), Limit: 10})
	if len(rings) != 1 {
		t.Fatalf("%d rings", len(rings))
	}
	same(t, "the device as an alert reaches it", rings[0].Device, d.Over(bell.APNsAlert))
	if got := rings[0].Device; got.Channel != bell.APNsAlert || got.PushToken != "a1e27000" || got.Strikes != 0 {
		t.Errorf("by %s, token %s, %d strikes", got.Channel, got.PushToken.Fingerprint(), got.Strikes)
	}
}

func noticeDevice(t *testing.T, s Store) {
	d := newDevice("bob", 1)
	d.Channel, d.PushToken, d.Notices = bell.LongPoll, "", true
	add(t, s, d)
	got, err := s.Device(t.Context(), d.ID)
	ok(t, "Device", err)
	same(t, "the device", got, d)
}

// A phone that changes hands shows its new user's notices only.
func noticeAlertTokenMoves(t *testing.T, s Store) {
	first, second, elsewhere := newDevice("bob", 1), newDevice("eve", 2), newDevice("eve", 3)
	first.AlertToken, second.AlertToken, elsewhere.AlertToken = "a1e27000", "a1e27000", "a1e27000"
	elsewhere.Owner.Environment = planet.Real
	for _, d := range []bell.Device{elsewhere, first, second} {
		add(t, s, d)
	}
	for id, want := range map[string]planet.Secret{first.ID: "", second.ID: "a1e27000", elsewhere.ID: "a1e27000"} {
		got, err := s.Device(t.Context(), id)
		ok(t, "Device", err)
		if got.AlertToken != want || got.PushToken == "" {
			t.Errorf("device %s has the alert token: %v, want %v", id, got.AlertToken != "", want != "")
		}
	}
}

// marked ends a call so that its callee is to be told.
func marked(t *testing.T, s Store, c bell.Call, at time.Time) bell.Call {
	t.Helper()
	over, entry := ended(c)
	over.Outcome, over.MissedAt = planet.OutcomeMissed, at
	ok(t, "EndCall", s.EndCall(t.Context(), over, entry))
	return over
}

func missed(t *testing.T, s Store, limit int) []bell.Call {
	t.Helper()
	got, err := s.Missed(t.Context(), limit)
	ok(t, "Missed", err)
	return got
}

func missedCalls(t *testing.T, s Store) {
	user := bell.User{Owner: owner("ann"), DisplayName: "Ann", RegisteredAt: noon}
	user.User.ServiceID = "other-service"
	err := s.OpenSession(t.Context(), user, bell.Session{ID: id("session", 1), Owner: user.Owner, Project: "demo", IssuedAt: noon, ExpiresAt: noon.Add(time.Hour)}, account.SessionRule{})
	ok(t, "OpenSession", err)
	known, named, byEvent, declined := newCall(), newCall(), newCall(), newCall()
	named.CallerName = "Ann from work"
	for i, c := range []bell.Call{known, named, declined} {
		c.NotifiedAt = noon.Add(time.Duration(i) * time.Second)
		begin(t, s, c)
	}
	marked(t, s, known, noon.Add(time.Minute))
	marked(t, s, named, noon.Add(2*time.Minute))
	marked(t, s, byEvent, noon.Add(3*time.Minute))
	over, entry := ended(declined)
	ok(t, "EndCall", s.EndCall(t.Context(), over, entry))

	got := missed(t, s, 10)
	if len(got) != 3 || got[0].SessionID != known.SessionID || got[1].SessionID != named.SessionID || got[2].SessionID != byEvent.SessionID {
		t.Fatalf("%d calls are marked, or in another order than they were", len(got))
	}
	if got[0].CallerName != "Ann" || got[1].CallerName != "Ann from work" || got[2].CallerName != "Ann" {
		t.Errorf("callers %q, %q, %q", got[0].CallerName, got[1].CallerName, got[2].CallerName)
	}
	if !got[0].MissedAt.Equal(noon.Add(time.Minute)) || got[0].CCParam != "" || got[0].Callee != known.Callee {
		t.Errorf("%+v", got[0])
	}
	ok(t, "MissedTold", s.MissedTold(t.Context(), got[:2]))
	ok(t, "MissedTold of nothing", s.MissedTold(t.Context(), nil))
	if got := missed(t, s, 10); len(got) != 1 || got[0].SessionID != byEvent.SessionID {
		t.Errorf("%d calls are marked after two were told", len(got))
	}
	if got := record(t, s, known).Call; !got.MissedAt.IsZero() || got.CallerName != "" {
		t.Errorf("the record says marked at %v, caller %q", got.MissedAt, got.CallerName)
	}
}

func missedOrder(t *testing.T, s Store) {
	var want []planet.SessionID
	for i := range 5 {
		c := newCall()
		marked(t, s, c, noon.Add(-time.Duration(i)*time.Second))
		want = append([]planet.SessionID{c.SessionID}, want...)
	}
	var got []planet.SessionID
	for _, c := range missed(t, s, 3) {
		got = append(got, c.SessionID)
	}
	same(t, "the longest marked", got, want[:3])
}

func missedOnce(t *testing.T, s Store) {
	c := newCall()
	begin(t, s, c)
	marked(t, s, c, noon)
	ok(t, "MissedTold", s.MissedTold(t.Context(), []bell.Call{c}))
	marked(t, s, c, noon.Add(time.Minute)) // a repeat of the event
	if _, err := s.BeginCall(t.Context(), c, nil, nil); err != nil {
		t.Error(err)
	}
	if got := missed(t, s, 10); len(got) != 0 {
		t.Errorf("a repeat marked it again")
	}
	other := c
	other.Environment = planet.Real
	marked(t, s, other, noon)
	ok(t, "MissedTold", s.MissedTold(t.Context(), []bell.Call{c}))
	if got := missed(t, s, 10); len(got) != 1 {
		t.Errorf("%d calls are marked, want that of the other environment", len(got))
	}
}

func lose(t *testing.T, s Store, before time.Time, limit int, events func(bell.Call) []bell.Event) int {
	t.Helper()
	calls, err := s.LoseCalls(t.Context(), before, limit, events)
	ok(t, "LoseCalls", err)
	for _, c := range calls {
		if got := record(t, s, c).Call; c.State != bell.CallLost || got.State != bell.CallLost || c.CCParam != "" || !c.NotifiedAt.Equal(got.NotifiedAt) {
			t.Errorf("returned as lost: %+v; on record: %+v", c, got)
		}
	}
	return len(calls)
}

func lostCalls(t *testing.T, s Store) {
	var calls []bell.Call
	for i := range 4 {
		c := newCall()
		c.NotifiedAt = noon.Add(time.Duration(i) * time.Minute)
		begin(t, s, c)
		calls = append(calls, c)
	}
	over, entry := ended(calls[0])
	ok(t, "EndCall", s.EndCall(t.Context(), over, entry))
	notice := newNotice("s-1")
	notice.NotifiedAt = noon.Add(-time.Hour)
	begin(t, s, notice)
	if n := lose(t, s, noon.Add(3*time.Minute), 1, nil); n != 1 {
		t.Errorf("%d calls were lost, want 1 at a time", n)
	}
	if n := lose(t, s, noon.Add(3*time.Minute), 10, nil); n != 1 {
		t.Errorf("%d more calls were lost, want 1: the last is not old enough", n)
	}
	for i, want := range []bell.CallState{bell.CallEnded, bell.CallLost, bell.CallLost, bell.CallRinging} {
		if got := record(t, s, calls[i]).Call.State; got != want {
			t.Errorf("call %d is %s, want %s", i, got, want)
		}
	}
	if got := record(t, s, notice).Call.State; got != bell.CallNotice {
		t.Errorf("a notice is %s", got)
	}
	if n := lose(t, s, noon.Add(3*time.Minute), 10, nil); n != 0 {
		t.Errorf("%d calls were lost once more", n)
	}
}

func lostEnds(t *testing.T, s Store) {
	c, d := newCall(), newDevice("bob", 1)
	add(t, s, d)
	begin(t, s, c, d)
	lose(t, s, noon.Add(time.Second), 10, nil)
	rings := claim(t, s, delivery.Claim{Owner: "node-b", Now: noon.Add(10 * time.Second), LeaseUntil: noon.Add(time.Minute), Limit: 10})
	if len(rings) != 1 || rings[0].Call.CCParam != "" {
		t.Errorf("%d rings; the cc_param of a lost call is kept", len(rings))
	}
	marked(t, s, c, noon)
	got := record(t, s, c).Call
	if got.State != bell.CallEnded || got.Outcome != planet.OutcomeMissed || len(missed(t, s, 10)) != 1 {
		t.Errorf("after its event it is %s, %q", got.State, got.Outcome)
	}
}

func lostEvents(t *testing.T, s Store) {
	calls := map[planet.SessionID]bell.Call{}
	for range 3 {
		c := newCall()
		begin(t, s, c)
		calls[c.SessionID] = c
	}
	told := map[planet.SessionID]bool{}
	n := lose(t, s, noon.Add(time.Second), 10, func(c bell.Call) []bell.Event {
		want := recorded(calls[c.SessionID])
		want.State = bell.CallLost
		same(t, "the call of which is told", c, want)
		told[c.SessionID] = true
		return []bell.Event{{ID: fmt.Sprintf("lost-%s", c.SessionID), Type: bell.EventCallEnded, Project: c.Project, At: noon, Data: []byte("{}")}}
	})
	if n != 3 || len(told) != 3 {
		t.Errorf("%d lost, %d told", n, len(told))
	}
}
