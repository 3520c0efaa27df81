package storetest

import (
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/planet"
)

// What is known to have reached the device stays known. These tests hold the order of
// states that bell.DeliveryState describes.

// finals are the states after which nothing is sent.
var finals = []bell.DeliveryState{
	bell.DeliveryAccepted, bell.DeliveryReceived, bell.DeliveryFailed, bell.DeliveryExpired, bell.DeliveryWithdrawn,
}

// attemptAfterEnd: the outcome is committed after the Call Event.
func attemptAfterEnd(t *testing.T, s Store) {
	for _, outcome := range []struct{ is, want bell.DeliveryState }{
		{bell.DeliveryAccepted, bell.DeliveryAccepted},
		{bell.DeliveryFailed, bell.DeliveryWithdrawn},
		{bell.DeliveryPending, bell.DeliveryWithdrawn},
		{bell.DeliveryExpired, bell.DeliveryWithdrawn},
	} {
		c := newCall()
		d := begin(t, s, c, newDevice("bob", 1))[0]
		e, entry := ended(c)
		ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
		late := d
		late.State, late.Attempts, late.Reason, late.UpdatedAt = outcome.is, 1, "late", noon.Add(12*time.Second)
		ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), late, attempt(d, 1)))
		got := state(t, s, d)
		if got.State != outcome.want || got.Attempts != 1 || (got.Reason == "late") != (outcome.is == outcome.want) {
			t.Errorf("%s after the Call Event: delivery is %s (%s) with %d attempts, want %s with 1",
				outcome.is, got.State, got.Reason, got.Attempts, outcome.want)
		}
		same(t, "attempts", attempts(t, s, d), []bell.Attempt{attempt(d, 1)})
	}
}

// attemptAfterDeadline: the outcome is committed after the sweep.
func attemptAfterDeadline(t *testing.T, s Store) {
	d := begin(t, s, newCall(), newDevice("bob", 1))[0]
	_, err := s.ExpireDeliveries(t.Context(), noon.Add(time.Hour))
	ok(t, "ExpireDeliveries", err)
	stateIs(t, s, d, bell.DeliveryExpired)
	late := d
	late.State, late.Attempts = bell.DeliveryAccepted, 1
	ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), late, attempt(d, 1)))
	stateIs(t, s, d, bell.DeliveryAccepted)
}

func attemptAfterFinal(t *testing.T, s Store) {
	for _, is := range finals {
		for _, next := range append(finals, bell.DeliveryPending, bell.DeliverySending) {
			d := begin(t, s, newCall(), newDevice("bob", 1))[0]
			move(t, s, d, is)
			late := d
			late.State = next
			ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), late, bell.Attempt{}))
			want := is
			if next == bell.DeliveryAccepted && is != bell.DeliveryReceived {
				want = next
			}
			stateIs(t, s, d, want)
		}
	}
}

var receiptTests = map[string]func(*testing.T, Store){
	"round trip":                  receiptRoundTrip,
	"only the session ID":         receiptBare,
	"after every state":           receiptAfterAll,
	"nothing comes after it":      receiptStays,
	"repeated":                    receiptRepeated,
	"at once":                     receiptsAtOnce,
	"of a call for somebody else": receiptUnknown,
	"of a device that is gone":    receiptDeviceGone,
	"the device acknowledges":     receiptDeviceAcknowledges,
	"a problem comes later":       receiptProblemLater,
	"the first acceptance counts": receiptAcceptedAt,
}

// receiptOf is a receipt with everything in it that one can have.
func receiptOf(d bell.Delivery) bell.Receipt {
	return bell.Receipt{
		Environment: d.Environment, SessionID: d.SessionID, DeviceID: d.DeviceID, Channel: bell.FCM,
		ReceivedAt: noon.Add(-time.Hour), At: noon.Add(3 * time.Second), Priority: "normal", OriginalPriority: "high", Problem: "DECODE_CALL_PARAM",
	}
}

func receive(t *testing.T, s Store, r bell.Receipt) delivery.Received {
	t.Helper()
	got, err := s.RecordReceipt(t.Context(), r)
	ok(t, "RecordReceipt", err)
	return got
}

func receiptIn(t *testing.T, s Store, d bell.Delivery) bell.Receipt {
	t.Helper()
	for _, r := range record(t, s, bell.Call{Environment: d.Environment, SessionID: d.SessionID}).Deliveries {
		if r.Delivery.ID == d.ID {
			return r.Receipt
		}
	}
	return bell.Receipt{}
}

func receiptRoundTrip(t *testing.T, s Store) {
	deliveries := begin(t, s, newCall(), newDevice("bob", 1), newDevice("bob", 2))
	d := deliveries[0]
	got := receive(t, s, receiptOf(d))
	same(t, "received", got, delivery.Received{DeliveryID: d.ID, Channel: d.Channel, NotifiedAt: noon, Deadline: d.Deadline})
	same(t, "receipt", receiptIn(t, s, d), receiptOf(d))
	d.State, d.LeaseOwner, d.LeaseUntil, d.UpdatedAt = bell.DeliveryReceived, "", time.Time{}, noon.Add(3*time.Second)
	same(t, "delivery", state(t, s, d), d)
	same(t, "the other delivery", state(t, s, deliveries[1]), deliveries[1])
	same(t, "the other receipt", receiptIn(t, s, deliveries[1]), bell.Receipt{})
}

// From its first receipt on, a device is known to send them; whatever else is written to it.
func receiptDeviceAcknowledges(t *testing.T, s Store) {
	device := newDevice("bob", 1)
	add(t, s, device)
	for i := range 2 {
		r := receiptOf(begin(t, s, newCall(), device)[0])
		r.At = r.At.Add(time.Duration(i) * time.Hour)
		receive(t, s, r)
		add(t, s, device) // as when the app registers again
		got, err := s.Device(t.Context(), device.ID)
		ok(t, "Device", err)
		if want := receiptOf(bell.Delivery{}).At; !got.AcknowledgesSince.Equal(want) {
			t.Errorf("after receipt %d the device acknowledges since %v, want %v", i+1, got.AcknowledgesSince, want)
		}
	}
}

// A repeat adds a problem to a receipt without one, and replaces none.
func receiptProblemLater(t *testing.T, s Store) {
	d := begin(t, s, newCall(), newDevice("bob", 1))[0]
	r := receiptOf(d)
	for _, step := range []struct{ says, want string }{{"", ""}, {"DECODE_CALL_PARAM", "DECODE_CALL_PARAM"}, {"OTHER", "DECODE_CALL_PARAM"}} {
		r.Problem = step.says
		receive(t, s, r)
		if got := receiptIn(t, s, d).Problem; got != step.want {
			t.Errorf("after a receipt with the problem %q it is %q, want %q", step.says, got, step.want)
		}
	}
}

func receiptBare(t *testing.T, s Store) {
	d := begin(t, s, newCall(), newDevice("bob", 1))[0]
	bare := bell.Receipt{Environment: d.Environment, SessionID: d.SessionID, DeviceID: d.DeviceID, At: noon}
	receive(t, s, bare)
	same(t, "receipt", receiptIn(t, s, d), bare)
}

func receiptAfterAll(t *testing.T, s Store) {
	for _, is := range append(finals, bell.DeliveryPending, bell.DeliverySending) {
		d := begin(t, s, newCall(), newDevice("bob", 1))[0]
		move(t, s, d, is)
		if got := receive(t, s, receiptOf(d)); got.Repeated {
			t.Errorf("the first receipt of a delivery that is %s is taken for a repeat", is)
		}
		stateIs(t, s, d, bell.DeliveryReceived)
	}
	c := newCall()
	d := begin(t, s, c, newDevice("bob", 1))[0]
	e, entry := ended(c)
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	if got := receive(t, s, receiptOf(d)); !got.Over || !got.Deadline.Equal(d.Deadline) {
		t.Errorf("the receipt of a call that has ended says over: %t, deadline %v", got.Over, got.Deadline)
	}
	stateIs(t, s, d, bell.DeliveryReceived)
}

func receiptStays(t *testing.T, s Store) {
	c, device := newCall(), newDevice("bob", 1)
	add(t, s, device)
	d := begin(t, s, c, device)[0]
	receive(t, s, receiptOf(d))
	for n, next := range append(finals, bell.DeliveryPending, bell.DeliverySending) {
		late := d
		late.State, late.Attempts = next, n+1
		ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), late, attempt(d, n+1)))
		stateIs(t, s, d, bell.DeliveryReceived)
	}
	if n := len(attempts(t, s, d)); n != 7 {
		t.Errorf("%d attempts are kept, want 7", n)
	}
	if rings := claim(t, s, everything); len(rings) != 0 {
		t.Errorf("%d rings of a delivery that was received", len(rings))
	}
	e, entry := ended(c)
	ok(t, "EndCall", s.EndCall(t.Context(), e, entry))
	_, err := s.ExpireDeliveries(t.Context(), noon.Add(time.Hour))
	ok(t, "ExpireDeliveries", err)
	stateIs(t, s, d, bell.DeliveryReceived)
}

func receiptRepeated(t *testing.T, s Store) {
	d := begin(t, s, newCall(), newDevice("bob", 1))[0]
	first := receive(t, s, receiptOf(d))
	before := state(t, s, d)
	again := receiptOf(d)
	again.At, again.ReceivedAt, again.Channel, again.Priority = noon.Add(time.Hour), noon, bell.LongPoll, "high"
	got := receive(t, s, again)
	first.Repeated = true
	same(t, "received", got, first)
	same(t, "receipt", receiptIn(t, s, d), receiptOf(d))
	same(t, "delivery", state(t, s, d), before)
}

func receiptsAtOnce(t *testing.T, s Store) {
	d := begin(t, s, newCall(), newDevice("bob", 1))[0]
	firsts := make([]bool, 20)
	together(len(firsts), func(i int) {
		got, err := s.RecordReceipt(t.Context(), receiptOf(d))
		if err != nil {
			t.Errorf("RecordReceipt: %v", err)
		}
		firsts[i] = !got.Repeated
	})
	n := 0
	for _, first := range firsts {
		if first {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d receipts were the first", n)
	}
}

func receiptUnknown(t *testing.T, s Store) {
	d := begin(t, s, newCall(), newDevice("bob", 1))[0]
	other := begin(t, s, newCall(), newDevice("eve", 2))[0]
	for what, change := range map[string]func(*bell.Receipt){
		"another device":      func(r *bell.Receipt) { r.DeviceID = other.DeviceID },
		"another call":        func(r *bell.Receipt) { r.SessionID = other.SessionID },
		"no call":             func(r *bell.Receipt) { r.SessionID = "11111111-1111-4111-8111-111111111111" },
		"another environment": func(r *bell.Receipt) { r.Environment = planet.Real },
		"no device":           func(r *bell.Receipt) { r.DeviceID = "" },
	} {
		r := receiptOf(d)
		change(&r)
		_, err := s.RecordReceipt(t.Context(), r)
		wantKind(t, what, err, bell.NotFound)
	}
	stateIs(t, s, d, bell.DeliveryPending)
	stateIs(t, s, other, bell.DeliveryPending)
}

func receiptDeviceGone(t *testing.T, s Store) {
	d := ringing(t, s, 1, func(*bell.Delivery) {})
	ok(t, "RemoveDevice", s.RemoveDevice(t.Context(), d.DeviceID))
	receive(t, s, receiptOf(d))
	stateIs(t, s, d, bell.DeliveryReceived)
}

func receiptAcceptedAt(t *testing.T, s Store) {
	d := begin(t, s, newCall(), newDevice("bob", 1))[0]
	d.State = bell.DeliverySending
	for n := 1; n <= 3; n++ { // the first is no acceptance
		a := attempt(d, n)
		if n > 1 {
			a.Outcome.Verdict = bell.Accepted
		}
		ok(t, "RecordAttempt", s.RecordAttempt(t.Context(), d, a))
	}
	want := noon.Add(2*time.Second + 12345*time.Microsecond)
	if got := receive(t, s, receiptOf(d)).AcceptedAt; !got.Equal(want) {
		t.Errorf("accepted at %v, want %v", got, want)
	}
}
