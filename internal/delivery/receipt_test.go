package delivery

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// RecordReceipt keeps the state by the rules of Store.
func (s *fakeStore) RecordReceipt(_ context.Context, r bell.Receipt) (Received, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return Received{}, s.fail
	}
	for id, row := range s.rows {
		if row.Call.SessionID != r.SessionID || row.Call.Environment != r.Environment || row.Device.ID != r.DeviceID {
			continue
		}
		got := Received{
			DeliveryID: id, Channel: row.Delivery.Channel, NotifiedAt: row.Call.NotifiedAt,
			Repeated: row.Delivery.State == bell.DeliveryReceived, Over: row.Call.State == bell.CallEnded, Deadline: row.Delivery.Deadline,
		}
		for _, a := range slices.Backward(s.attempts[id]) {
			if a.Outcome.Verdict == bell.Accepted {
				got.AcceptedAt = a.StartedAt.Add(a.Took)
			}
		}
		row.Delivery.State = bell.DeliveryReceived
		return got, nil
	}
	return Received{}, bell.E(bell.NotFound, "No call with this session ID was for this device.", nil)
}

func receipt(call int, device string) bell.Receipt {
	return bell.Receipt{Environment: planet.Evaluation, SessionID: sid(call), DeviceID: device, At: time.Now()}
}

// sum is the sum of a histogram's values of a channel.
func (b *bench) sum(t *testing.T, name string, channel bell.Channel) (sum float64) {
	t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == string(channel) {
				sum += m.GetHistogram().GetSampleSum()
			}
		}
	}
	return sum
}

func TestReceiptIsRecordedAndMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.on("d", slowly(2*time.Second, script()))
		b.begin(t, b.rings(1, bell.FCM, "d"))
		pass(5 * time.Second)
		r := receipt(1, "d")
		r.Priority, r.OriginalPriority = "normal", "high"
		for range 3 { // repeats count nothing
			if _, err := b.Receive(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			pass(time.Second)
		}
		if got := b.store.row("d/1").State; got != bell.DeliveryReceived {
			t.Errorf("the delivery is %s", got)
		}
		if got := b.sum(t, "planetbell_accepted_to_received_seconds", bell.FCM); got != 3 {
			t.Errorf("accepted to received: %v s, want 3", got)
		}
		if got := b.sum(t, "planetbell_call_to_received_seconds", bell.FCM); got != 5 {
			t.Errorf("call to received: %v s, want 5", got)
		}
		for _, name := range []string{"planetbell_accepted_to_received_seconds", "planetbell_call_to_received_seconds", "planetbell_fcm_priority_lowered_total"} {
			if got := b.metric(t, name); got != 1 {
				t.Errorf("%s counts %v, want 1", name, got)
			}
		}
		b.finish(t)
	})
}

// The phone may be faster than its provider's answer, or ring without an acceptance on
// record.
func TestReceiptBeforeTheAcceptance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.on("slow", slowly(5*time.Second, script()))
		b.begin(t, b.rings(1, bell.FCM, "slow"))
		b.begin(t, b.rings(2, bell.APNsVoIP, "quick"))
		early := receipt(2, "quick")
		pass(time.Second)
		early.At = early.At.Add(-time.Second) // by a clock that was set back
		for _, r := range []bell.Receipt{receipt(1, "slow"), early} {
			if _, err := b.Receive(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		if got := b.metric(t, "planetbell_accepted_to_received_seconds", string(bell.FCM)); got != 0 {
			t.Errorf("%v receipts were measured against an acceptance that is not known", got)
		}
		if got := b.sum(t, "planetbell_accepted_to_received_seconds", bell.APNsVoIP); got != 0 {
			t.Errorf("a time of %v s", got)
		}
		if got := b.sum(t, "planetbell_call_to_received_seconds", bell.FCM); got != 1 {
			t.Errorf("call to received: %v s, want 1", got)
		}
		pass(10 * time.Second)
		if got := b.store.row("slow/1").State; got != bell.DeliveryReceived {
			t.Errorf("after the late acceptance the delivery is %s", got)
		}
		b.finish(t)
	})
}

func TestPriorityCountsForFCMOnly(t *testing.T) {
	for _, test := range []struct {
		channel        bell.Channel
		original, seen string
		want           float64
	}{
		{bell.FCM, "high", "normal", 1},
		{bell.FCM, "high", "high", 0},
		{bell.FCM, "normal", "normal", 0},
		{bell.FCM, "", "normal", 0},
		{bell.FCM, "", "", 0},
		{bell.APNsVoIP, "high", "normal", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, nil)
			b.begin(t, b.rings(1, test.channel, "d"))
			synctest.Wait()
			r := receipt(1, "d")
			r.OriginalPriority, r.Priority = test.original, test.seen
			if _, err := b.Receive(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			if got := b.metric(t, "planetbell_fcm_priority_lowered_total"); got != test.want {
				t.Errorf("%+v: counted %v", test, got)
			}
			b.finish(t)
		})
	}
}

func TestReceiptThatIsNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		if _, err := b.Receive(t.Context(), receipt(1, "d")); !errors.Is(err, bell.NotFound) {
			t.Errorf("of an unknown call: %v", err)
		}
		b.begin(t, b.rings(1, bell.FCM, "d"))
		synctest.Wait()
		b.store.breakDown(errDisk)
		if _, err := b.Receive(t.Context(), receipt(1, "d")); !errors.Is(err, errDisk) {
			t.Errorf("with a sick database: %v", err)
		}
		b.store.breakDown(nil)
		if got := b.metric(t, "planetbell_call_to_received_seconds"); got != 0 {
			t.Errorf("%v receipts counted, want none", got)
		}
		b.finish(t)
	})
}

// A call that was handed to a device that acknowledges stays open, for the next process.
func TestHandedOutIsAnAttemptAndNotTheEnd(t *testing.T) {
	for reason, report := range map[string]func(*Engine, bell.Ring, time.Time){"polled": (*Engine).HandedOut, "streamed": (*Engine).Streamed} {
		t.Run(reason, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { handedOut(t, reason, report) }) })
	}
}

func handedOut(t *testing.T, reason string, report func(*Engine, bell.Ring, time.Time)) {
	b := newBench(t, nil)
	b.on("d", script(bell.Deposited))
	rings := b.rings(1, bell.LongPoll, "d")
	b.begin(t, rings)
	pass(2 * time.Second)
	report(b.Engine, rings[0], time.Now())
	d := b.store.row("d/1")
	if d.State != bell.DeliveryPending || d.Attempts != 1 || d.LeaseOwner != "this" || !d.LeaseUntil.Equal(d.Deadline) {
		t.Errorf("the delivery is %+v", d)
	}
	want := []bell.Attempt{{
		DeliveryID: "d/1", Number: 1, StartedAt: b.start.Add(2 * time.Second),
		Outcome: bell.Outcome{Verdict: bell.Accepted, Reason: reason, Token: bell.TokenKeep},
	}}
	if diff := cmp.Diff(want, b.store.attempts["d/1"]); diff != "" {
		t.Error(diff)
	}
	if got := b.sum(t, "planetbell_call_to_accept_seconds", bell.LongPoll); got != 2 {
		t.Errorf("call to accept: %v s, want 2", got)
	}
	pass(time.Second)
	got, err := b.Receive(t.Context(), receipt(1, "d"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Unknown || got.Over || !got.Deadline.Equal(d.Deadline) {
		t.Errorf("the receipt's arrival is %+v", got)
	}
	if got := b.sum(t, "planetbell_accepted_to_received_seconds", bell.LongPoll); got != 1 {
		t.Errorf("accepted to received: %v s, want 1", got)
	}
	b.finish(t)
}

// A device that says that it has its call while the delivery is being claimed is not rung:
// the claim saw the row before the receipt, and answers after it.
func TestReceiptDuringAClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		rings := b.rings(1, bell.FCM, "d")
		rings[0].Delivery.LeaseOwner, rings[0].Delivery.LeaseUntil = "dead", time.Time{}
		b.store.add(rings...)
		b.store.answers = 800 * ms
		end := b.run(t, true)
		pass(400 * ms)
		if _, err := b.Receive(t.Context(), receipt(1, "d")); err != nil {
			t.Fatal(err)
		}
		pass(10 * time.Second)
		synctest.Wait()
		if got := b.times("d"); len(got) != 0 {
			t.Errorf("sent at %v to a device that has the call", got)
		}
		end()
		b.finish(t)
	})
}
