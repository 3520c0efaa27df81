package storetest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
)

var deliveryTests = map[string]func(*testing.T, Store){
	"attempts round trip":                 attemptRoundTrip,
	"hostile texts":                       attemptHostile,
	"no attempt, only a move":             attemptNone,
	"a record of another process":         attemptOfAnother,
	"two attempts of one number":          attemptSameNumber,
	"the same attempt twice":              attemptRepeated,
	"attempts at once":                    attemptsAtOnce,
	"an outcome after the Call Event":     attemptAfterEnd,
	"an outcome after the deadline":       attemptAfterDeadline,
	"what a final state gives way to":     attemptAfterFinal,
	"a delivery that nobody made":         attemptUnknown,
	"expire":                              expire,
	"expire erases cc_param":              expireErases,
	"expire leaves ended calls' outcomes": expireLeavesFinal,
	"expire many":                         expireMany,
}

// attempt is the n-th attempt of d, with everything in it that an attempt can have.
func attempt(d bell.Delivery, n int) bell.Attempt {
	return bell.Attempt{
		DeliveryID: d.ID, Number: n, StartedAt: noon.Add(time.Duration(n) * time.Second), Took: 12345 * time.Microsecond, Server: bell.APNsSandbox,
		Outcome: bell.Outcome{
			Verdict: bell.RetryBackoff, Reason: "InternalServerError", Status: 500, Token: bell.TokenCheck, Alarm: bell.AlarmCount,
			RetryAfter: 1500 * time.Millisecond, DeadSince: noon.Add(-time.Hour), ProviderID: "of-" + d.ID, Detail: "It was unwell.",
		},
	}
}

func attempts(t *testing.T, s Store, d bell.Delivery) []bell.Attempt {
	t.Helper()
	for _, r := range record(t, s, bell.Call{Environment: d.Environment, SessionID: d.SessionID}).Deliveries {
		if r.Delivery.ID == d.ID {
			return r.Attempts
		}
	}
	return nil
}

func move(t *testing.T, s Store, d bell.Delivery, state bell.DeliveryState) {
	t.Helper()
	d.State = state
	ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, bell.Attempt{}))
	stateIs(t, s, d, state)
}

func attemptRoundTrip(t *testing.T, s Store) {
	c := newCall()
	deliveries := begin(t, s, c, newDevice("bob", 1), newDevice("bob", 2))
	d := deliveries[0]
	d.State, d.Reason, d.Attempts = bell.DeliverySending, "InternalServerError", 1
	d.LeaseUntil, d.UpdatedAt = noon.Add(9*time.Second), noon.Add(time.Second)
	first, second := attempt(d, 1), bell.Attempt{DeliveryID: d.ID, Number: 2, StartedAt: noon.Add(3 * time.Second)}
	ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, first))
	same(t, "delivery", state(t, s, d), d)

	d.State, d.Reason, d.Attempts, d.LeaseOwner, d.LeaseUntil = bell.DeliveryAccepted, "", 2, "", time.Time{}
	ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, second))
	same(t, "delivery", state(t, s, d), d)
	same(t, "attempts", attempts(t, s, d), []bell.Attempt{first, second})
	same(t, "the other delivery", state(t, s, deliveries[1]), deliveries[1])
	if n := len(attempts(t, s, deliveries[1])); n != 0 {
		t.Errorf("the other delivery has %d attempts", n)
	}
}

// What identifies a delivery never changes with an attempt.
func attemptHostile(t *testing.T, s Store) {
	for _, text := range hostile {
		d := begin(t, s, newCall(), newDevice("bob", 1))[0]
		moved := d
		moved.Reason, moved.LeaseOwner, moved.State = text, text, bell.DeliveryFailed
		moved.DeviceID, moved.Channel, moved.Deadline, moved.CreatedAt = "x", "x", noon, noon.Add(time.Hour)
		a := attempt(d, 1)
		a.Outcome.Reason, a.Outcome.Detail, a.Outcome.ProviderID = text, text, text
		ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), moved, a))
		d.Reason, d.LeaseOwner, d.State = text, text, bell.DeliveryFailed
		same(t, "delivery", state(t, s, d), d)
		same(t, "attempts", attempts(t, s, d), []bell.Attempt{a})
	}
}

// A record that comes late takes a delivery neither from whoever has it now, nor out of a
// mailbox where it waits for a claim. The attempt is kept all the same.
func attemptOfAnother(t *testing.T, s Store) {
	for _, test := range []struct {
		owner   string
		channel bell.Channel
		moves   bool
	}{
		{"node-a", bell.FCM, true},
		{"node-b", bell.FCM, false},
		{"", bell.FCM, true}, // given up: whoever goes on has it
		{"node-a", bell.LongPoll, true},
		{"node-b", bell.LongPoll, false},
		{"", bell.LongPoll, false},
	} {
		c := newCall()
		d := newDelivery(c, newDevice("bob", 1))
		d.Channel, d.LeaseOwner = test.channel, test.owner
		_, err := s.BeginCall(t.Context(), c, []bell.Delivery{d}, nil)
		ok(t, "BeginCall", err)
		late := d
		late.State, late.LeaseOwner, late.LeaseUntil, late.Attempts = bell.DeliveryPending, "node-a", noon.Add(20*time.Second), 1
		ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), late, attempt(d, 1)))
		want := late
		if !test.moves {
			want.LeaseOwner, want.LeaseUntil = d.LeaseOwner, d.LeaseUntil
		}
		same(t, "delivery of "+test.owner, state(t, s, d), want)
		same(t, "attempts", attempts(t, s, d), []bell.Attempt{attempt(d, 1)})
	}
}

func attemptNone(t *testing.T, s Store) {
	d := begin(t, s, newCall(), newDevice("bob", 1))[0]
	d.State, d.Reason = bell.DeliveryFailed, "no_fcm_credential"
	ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, bell.Attempt{DeliveryID: d.ID}))
	same(t, "delivery", state(t, s, d), d)
	if n := len(attempts(t, s, d)); n != 0 {
		t.Errorf("%d attempts, want none", n)
	}
}

// Two processes may both count an attempt as their second; both records are kept.
func attemptSameNumber(t *testing.T, s Store) {
	d := begin(t, s, newCall(), newDevice("bob", 1))[0]
	d.State = bell.DeliverySending
	mine, theirs := attempt(d, 2), attempt(d, 2)
	theirs.StartedAt, theirs.Outcome.Reason = mine.StartedAt.Add(time.Millisecond), "timeout"
	ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, mine))
	ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, theirs))
	same(t, "attempts", attempts(t, s, d), []bell.Attempt{mine, theirs})
}

// A caller that was told "unavailable" may record the same attempt again.
func attemptRepeated(t *testing.T, s Store) {
	d := begin(t, s, newCall(), newDevice("bob", 1))[0]
	d.State = bell.DeliveryAccepted
	for range 2 {
		ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, attempt(d, 1)))
	}
	same(t, "attempts", attempts(t, s, d), []bell.Attempt{attempt(d, 1)})
}

func attemptsAtOnce(t *testing.T, s Store) {
	const devices = 40
	c := newCall()
	var registered []bell.Device
	for n := range devices {
		registered = append(registered, newDevice("bob", n))
	}
	deliveries := begin(t, s, c, registered...)
	together(devices, func(i int) {
		d := deliveries[i]
		d.State, d.Attempts = bell.DeliveryAccepted, 1
		if err := s.RecordAttempt(t.Context(), d, attempt(d, 1)); err != nil {
			t.Errorf("RecordAttempt: %v", err)
		}
	})
	for _, r := range record(t, s, c).Deliveries {
		if r.Delivery.State != bell.DeliveryAccepted || len(r.Attempts) != 1 {
			t.Errorf("delivery is %s with %d attempts", r.Delivery.State, len(r.Attempts))
		}
	}
}

func attemptUnknown(t *testing.T, s Store) {
	d := newDelivery(newCall(), newDevice("bob", 1))
	err := s.RecordAttempt(t.Context(), d, attempt(d, 1))
	wantKind(t, "RecordAttempt", err, bell.NotFound)
}

func expire(t *testing.T, s Store) {
	short, long := newCall(), newCall()
	long.Deadline = noon.Add(time.Minute)
	polls := newDevice("bob", 4)
	polls.Channel = bell.LongPoll
	gone := begin(t, s, short, newDevice("bob", 1), newDevice("bob", 2), polls)
	kept := begin(t, s, long, newDevice("bob", 3))
	tried := gone[1]
	tried.Reason = "timeout"
	move(t, s, tried, bell.DeliverySending)

	for _, c := range []struct {
		after time.Duration
		want  int
	}{{29 * time.Second, 0}, {31 * time.Second, 3}, {32 * time.Second, 0}, {time.Hour, 1}} {
		n, err := s.ExpireDeliveries(t.Context(), noon.Add(c.after))
		if err != nil || n != c.want {
			t.Errorf("after %s: ExpireDeliveries = %d, %v; want %d", c.after, n, err, c.want)
		}
		if c.after == 31*time.Second {
			stateIs(t, s, gone[0], bell.DeliveryExpired)
			stateIs(t, s, gone[1], bell.DeliveryExpired)
			stateIs(t, s, kept[0], bell.DeliveryPending)
			for i, why := range []string{"deadline", "timeout", "not_polled"} {
				if got := state(t, s, gone[i]).Reason; got != why {
					t.Errorf("delivery %d expired for %q, want %q", i, got, why)
				}
			}
		}
	}
	if got := record(t, s, short).Call.State; got != bell.CallRinging {
		t.Errorf("the call is %s: its Call Event has not come", got)
	}
}

// cc_param can be read through a claim only, so the call's second delivery lives on.
func expireErases(t *testing.T, s Store) {
	c := newCall()
	device := newDevice("bob", 1)
	add(t, s, device)
	d := newDelivery(c, device)
	d.Deadline = noon.Add(time.Hour)
	c.Deadline = noon.Add(time.Second)
	if _, err := s.BeginCall(t.Context(), c, []bell.Delivery{d}, nil); err != nil {
		t.Fatalf("BeginCall: %v", err)
	}
	for _, step := range []struct {
		now  time.Duration
		want string
	}{{500 * time.Millisecond, c.CCParam.Reveal()}, {2 * time.Second, ""}} {
		if _, err := s.ExpireDeliveries(t.Context(), noon.Add(step.now)); err != nil {
			t.Fatalf("ExpireDeliveries: %v", err)
		}
		if got := secretOf(t, s, noon); got.Reveal() != step.want {
			t.Errorf("%s after noon: cc_param is kept: %t, want %t", step.now, got != "", step.want != "")
		}
	}
}

func expireLeavesFinal(t *testing.T, s Store) {
	d := begin(t, s, newCall(), newDevice("bob", 1))[0]
	move(t, s, d, bell.DeliveryAccepted)
	n, err := s.ExpireDeliveries(t.Context(), noon.Add(time.Hour))
	if err != nil || n != 0 {
		t.Errorf("ExpireDeliveries = %d, %v; want 0", n, err)
	}
	stateIs(t, s, d, bell.DeliveryAccepted)
}

func expireMany(t *testing.T, s Store) {
	const calls, each = 50, 90
	var devices []bell.Device
	for n := range each {
		devices = append(devices, newDevice("bob", n))
	}
	for range calls {
		begin(t, s, newCall(), devices...)
	}
	n, err := s.ExpireDeliveries(t.Context(), noon.Add(time.Hour))
	if err != nil || n != calls*each {
		t.Errorf("ExpireDeliveries = %d, %v; want %d", n, err, calls*each)
	}
}

var claimTests = map[string]func(*testing.T, Store){
	"whole":                       claimWhole,
	"what is being sent":          claimStates,
	"the lease decides":           claimLease,
	"all but one's own":           claimTakeAll,
	"only what may still ring":    claimOpenOnly,
	"oldest first, at most limit": claimOrder,
	"two at once":                 claimDisjoint,
	"rings of one call":           claimSharedCall,
	"a device that is gone":       claimDeviceGone,
	"a limit of nothing":          claimNoLimit,
}

// everything claims all that can be claimed at noon, whoever holds it.
var everything = delivery.Claim{Owner: "reader", Now: noon, LeaseUntil: noon, TakeAll: true, Limit: 1000}

func claim(t *testing.T, s Store, c delivery.Claim) []bell.Ring {
	t.Helper()
	rings, err := s.ClaimDeliveries(t.Context(), c)
	ok(t, "ClaimDeliveries", err)
	return rings
}

// ringing records a call to one registered device and returns the delivery.
func ringing(t *testing.T, s Store, n int, change func(*bell.Delivery)) bell.Delivery {
	t.Helper()
	c, device := newCall(), newDevice("bob", n)
	add(t, s, device)
	d := newDelivery(c, device)
	change(&d)
	if _, err := s.BeginCall(t.Context(), c, []bell.Delivery{d}, nil); err != nil {
		t.Fatalf("BeginCall: %v", err)
	}
	return d
}

func claimWhole(t *testing.T, s Store) {
	c, device := newCall(), newDevice("bob", 1)
	add(t, s, device)
	d := begin(t, s, c, device)[0]
	d.State, d.Attempts, d.Reason = bell.DeliverySending, 3, "timeout"
	ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, bell.Attempt{}))

	now := noon.Add(10 * time.Second)
	rings := claim(t, s, delivery.Claim{Owner: "node-b", Now: now, LeaseUntil: now.Add(5 * time.Second), Limit: 10})
	if len(rings) != 1 {
		t.Fatalf("%d rings, want 1", len(rings))
	}
	d.LeaseOwner, d.LeaseUntil, d.ContinuedAt = "node-b", now.Add(5*time.Second), now
	d.UpdatedAt = rings[0].Delivery.UpdatedAt // free to follow
	same(t, "ring", rings[0], bell.Ring{Call: &c, Device: device, Delivery: d})
	if rings[0].Call.CCParam != c.CCParam {
		t.Error("cc_param did not come back unchanged")
	}
	same(t, "the kept delivery", state(t, s, d), d)
}

// A claimed push is being sent from then on; in a mailbox it lies as before.
func claimStates(t *testing.T, s Store) {
	for n, test := range []struct {
		channel  bell.Channel
		is, want bell.DeliveryState
	}{
		{bell.APNsVoIP, bell.DeliveryPending, bell.DeliverySending},
		{bell.APNsAlert, bell.DeliveryPending, bell.DeliverySending},
		{bell.FCM, bell.DeliveryPending, bell.DeliverySending},
		{bell.FCM, bell.DeliverySending, bell.DeliverySending},
		{bell.LongPoll, bell.DeliveryPending, bell.DeliveryPending},
	} {
		d := ringing(t, s, n, func(d *bell.Delivery) { d.Channel, d.State = test.channel, test.is })
		rings := claim(t, s, delivery.Claim{Owner: "node-b", Now: noon, LeaseUntil: noon.Add(time.Minute), TakeAll: true, Limit: 10})
		if len(rings) != 1 || rings[0].Delivery.ID != d.ID || rings[0].Delivery.State != test.want {
			t.Fatalf("%s, %s: claimed %d, want one that is %s", test.channel, test.is, len(rings), test.want)
		}
		stateIs(t, s, d, test.want)
	}
}

func claimLease(t *testing.T, s Store) {
	ringing(t, s, 1, func(*bell.Delivery) {}) // leased until 5 s after noon
	ringing(t, s, 2, func(d *bell.Delivery) { d.LeaseOwner, d.LeaseUntil = "", time.Time{} })
	at := func(after time.Duration) delivery.Claim {
		now := noon.Add(after)
		return delivery.Claim{Owner: "node-b", Now: now, LeaseUntil: now.Add(5 * time.Second), Limit: 10}
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{
		{time.Second, 1}, {2 * time.Second, 0}, {5500 * time.Millisecond, 1}, {6500 * time.Millisecond, 1}, {7 * time.Second, 0},
	} {
		if rings := claim(t, s, at(c.after)); len(rings) != c.want {
			t.Errorf("%s after noon: %d rings, want %d", c.after, len(rings), c.want)
		}
	}
}

func claimTakeAll(t *testing.T, s Store) {
	held := ringing(t, s, 1, func(*bell.Delivery) {})
	ringing(t, s, 2, func(d *bell.Delivery) { d.LeaseOwner = "me" })
	mine := delivery.Claim{Owner: "me", Now: noon, LeaseUntil: noon.Add(5 * time.Second), Limit: 10}
	if rings := claim(t, s, mine); len(rings) != 0 {
		t.Errorf("%d rings without TakeAll, want none", len(rings))
	}
	mine.TakeAll = true
	rings := claim(t, s, mine)
	if len(rings) != 1 || rings[0].Delivery.ID != held.ID {
		t.Errorf("%d rings with TakeAll, want the other's", len(rings))
	}
	if rings := claim(t, s, mine); len(rings) != 0 {
		t.Errorf("%d rings with TakeAll again, want none: a starting process must come to an end", len(rings))
	}
}

func claimOpenOnly(t *testing.T, s Store) {
	for n, is := range []bell.DeliveryState{
		bell.DeliveryAccepted, bell.DeliveryReceived, bell.DeliveryFailed, bell.DeliveryExpired, bell.DeliveryWithdrawn,
	} {
		move(t, s, ringing(t, s, n, func(*bell.Delivery) {}), is)
	}
	ringing(t, s, 10, func(d *bell.Delivery) { d.Deadline = noon.Add(-time.Second) })
	open := ringing(t, s, 11, func(d *bell.Delivery) { d.Deadline = noon.Add(time.Millisecond) })
	rings := claim(t, s, everything)
	if len(rings) != 1 || rings[0].Delivery.ID != open.ID {
		t.Errorf("%d rings, want the one that may still ring", len(rings))
	}
}

func claimOrder(t *testing.T, s Store) {
	var want []string
	for n := range 7 {
		d := ringing(t, s, n, func(d *bell.Delivery) {
			d.CreatedAt = noon.Add(-time.Duration(n) * time.Millisecond)
			d.Deadline = noon.Add(time.Duration(1+n%3) * time.Second)
		})
		want = append(want, d.ID)
	}
	slices.Reverse(want)
	var got []string
	for _, size := range []int{3, 3, 1} {
		c := everything
		c.Limit, c.LeaseUntil = 3, noon.Add(time.Second)
		rings := claim(t, s, c)
		if len(rings) != size {
			t.Fatalf("%d rings, want %d", len(rings), size)
		}
		for _, r := range rings {
			got = append(got, r.Delivery.ID)
		}
	}
	same(t, "claimed", got, want)
}

func claimDisjoint(t *testing.T, s Store) {
	const deliveries, claimers = 60, 6
	for n := range deliveries {
		ringing(t, s, n, func(*bell.Delivery) {})
	}
	claimed := make([][]bell.Ring, claimers)
	now := noon.Add(10 * time.Second)
	together(claimers, func(i int) {
		c := delivery.Claim{Owner: strings.Repeat("x", i+1), Now: now, LeaseUntil: now.Add(time.Minute), Limit: 7}
		for {
			rings, err := s.ClaimDeliveries(t.Context(), c)
			if err != nil {
				t.Errorf("ClaimDeliveries: %v", err)
			}
			if len(rings) == 0 {
				return
			}
			claimed[i] = append(claimed[i], rings...)
		}
	})
	seen := map[string]bool{}
	for i, rings := range claimed {
		for _, r := range rings {
			if seen[r.Delivery.ID] {
				t.Errorf("delivery %s was claimed twice", r.Delivery.ID)
			}
			seen[r.Delivery.ID] = true
			if got := state(t, s, r.Delivery).LeaseOwner; got != strings.Repeat("x", i+1) {
				t.Errorf("delivery %s belongs to %q, not to its claimer", r.Delivery.ID, got)
			}
		}
	}
	if len(seen) != deliveries {
		t.Errorf("%d deliveries were claimed, want %d", len(seen), deliveries)
	}
}

func claimSharedCall(t *testing.T, s Store) {
	c := newCall()
	devices := []bell.Device{newDevice("bob", 1), newDevice("bob", 2)}
	for _, d := range devices {
		add(t, s, d)
	}
	begin(t, s, c, devices...)
	rings := claim(t, s, everything)
	if len(rings) != 2 {
		t.Fatalf("%d rings, want 2", len(rings))
	}
	for _, r := range rings {
		same(t, "call", *r.Call, c)
		if r.Device.ID != r.Delivery.DeviceID {
			t.Errorf("delivery to %s comes with device %s", r.Delivery.DeviceID, r.Device.ID)
		}
	}
}

func claimDeviceGone(t *testing.T, s Store) {
	d := ringing(t, s, 1, func(*bell.Delivery) {})
	ok(t, "RemoveDevice", s.RemoveDevice(t.Context(), d.DeviceID))
	if rings := claim(t, s, everything); len(rings) != 0 {
		t.Errorf("%d rings for a device that is gone", len(rings))
	}
	if n, err := s.ExpireDeliveries(t.Context(), noon.Add(time.Hour)); err != nil || n != 1 {
		t.Errorf("ExpireDeliveries = %d, %v; want 1", n, err)
	}
}

func claimNoLimit(t *testing.T, s Store) {
	ringing(t, s, 1, func(*bell.Delivery) {})
	for _, limit := range []int{0, -1} {
		c := everything
		c.Limit = limit
		if rings := claim(t, s, c); len(rings) != 0 {
			t.Errorf("limit %d gave %d rings", limit, len(rings))
		}
	}
}
