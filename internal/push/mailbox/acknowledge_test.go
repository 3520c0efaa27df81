package mailbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/planet"
)

// gets checks that a poll of a device that acknowledges got the call after some time, and
// answers it.
func gets(t *testing.T, poll <-chan polled, want planet.SessionID, after time.Duration) {
	t.Helper()
	got := <-poll
	if got.sid() != want || got.err != nil || got.after != after {
		t.Fatalf("got %q after %v, error %v; want %q after %v", got.sid(), got.after, got.err, want, after)
	}
	if got.letter != nil {
		got.letter.Done(true)
	}
}

func TestCallIsHandedOutUntilItIsAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		d.put(t, 1, "d")
		gets(t, d.ask(t, "d"), sid(1), 0)
		gets(t, d.ask(t, "d"), sid(1), unseen) // to a poll that waits
		pass(10 * time.Second)
		gets(t, d.ask(t, "d"), sid(1), 0) // to one that comes later
		d.Acknowledge(planet.Evaluation, sid(1), "d")
		start := time.Now()
		d.work.Wait() // nothing is left of it
		if waited := time.Since(start); waited != 0 {
			t.Errorf("its timer ran on for %v", waited)
		}
		gets(t, d.ask(t, "d"), "", hold)
		synctest.Wait()
		if diff := cmp.Diff([]string{"d/1"}, d.handedOut()); diff != "" {
			t.Errorf("handed out: %s", diff)
		}
		if got := d.reported(); len(got) != 0 {
			t.Errorf("reported as taken: %v", got)
		}
		for result, want := range map[string]float64{"handed_out": 1, "redelivered": 2, "acknowledged": 1, "delivered": 0} {
			if got := d.metric(t, "planetbell_longpoll_delivery_total", result); got != want {
				t.Errorf("%s = %v, want %v", result, got, want)
			}
		}
		d.checkEmpty(t)
	})
}

// An official client and one that acknowledges meet the same box; only the first takes.
func TestAPlainPollStillGetsACallOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		d.put(t, 1, "d")
		gets(t, d.ask(t, "d"), sid(1), 0)
		plain := <-d.poll(t.Context(), "d", hold)
		if plain.sid() != sid(1) || plain.after != unseen {
			t.Fatalf("the plain poll got %q after %v", plain.sid(), plain.after)
		}
		plain.letter.Done(true)
		gets(t, d.ask(t, "d"), "", hold)
		synctest.Wait()
		if diff := cmp.Diff([]string{"d/1"}, d.reported()); diff != "" {
			t.Errorf("reported as taken: %s", diff)
		}
		d.checkEmpty(t)
	})
}

func TestWhatEndsTheHandingOut(t *testing.T) {
	for name, end := range map[string]func(d *desk){
		"the receipt":  func(d *desk) { d.Acknowledge(planet.Evaluation, sid(1), "d") },
		"the call":     func(d *desk) { d.Withdraw(planet.Evaluation, sid(1)) },
		"the deadline": func(*desk) { pass(time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, invisible := range []bool{true, false} {
				synctest.Test(t, func(t *testing.T) {
					d := newDesk(Config{})
					d.put(t, 1, "d")
					gets(t, d.ask(t, "d"), sid(1), 0)
					if !invisible {
						pass(unseen)
					}
					synctest.Wait()
					end(d)
					gets(t, d.ask(t, "d"), "", hold)
					d.clean(time.Now())
					d.checkEmpty(t)
					d.Close(0)
				})
			}
		})
	}
}

// The receipt, and the end of the call, may overtake the answer's own end.
func TestReceiptWhileTheAnswerIsWritten(t *testing.T) {
	for _, written := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(Config{})
			d.put(t, 1, "d")
			got := <-d.ask(t, "d")
			d.Acknowledge(planet.Evaluation, sid(1), "d")
			got.letter.Done(written)
			gets(t, d.ask(t, "d"), "", hold)
			synctest.Wait()
			if n := len(d.handedOut()); (n == 1) != written {
				t.Errorf("written %t: %d times reported as handed out", written, n)
			}
			d.checkEmpty(t)
			d.Close(0)
		})
	}
}

func TestAcknowledgeMeansOneCallOfOneDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		d.put(t, 1, "d")
		d.put(t, 1, "e")
		d.put(t, 2, "d")
		d.Acknowledge(planet.Real, sid(1), "d")
		d.Acknowledge(planet.Evaluation, sid(1), "e")
		d.Acknowledge(planet.Evaluation, sid(3), "d")
		gets(t, d.ask(t, "d"), sid(1), 0)
		gets(t, d.ask(t, "d"), sid(2), 0)
		gets(t, d.ask(t, "e"), "", hold)
		d.Withdraw(planet.Evaluation, sid(1))
		d.Withdraw(planet.Evaluation, sid(2))
		d.checkEmpty(t)
	})
}

// An answer that could not be written comes back at once, not after the invisible time.
func TestUnwrittenAnswerOfAPollThatAcknowledges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		d.put(t, 1, "d")
		(<-d.ask(t, "d")).letter.Done(false)
		synctest.Wait()
		if n := len(d.handedOut()); n != 0 {
			t.Errorf("%d reported as handed out", n)
		}
		gets(t, d.ask(t, "d"), sid(1), 0)
		d.Acknowledge(planet.Evaluation, sid(1), "d")
		d.checkEmpty(t)
	})
}

// A mailbox that is closed has no timer left, and hands nothing out: what was not
// acknowledged is the next process's.
func TestCloseLeavesUnacknowledgedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{Random: func() float64 { return 1 }})
		d.put(t, 1, "d")
		d.put(t, 2, "e")
		gets(t, d.ask(t, "d"), sid(1), 0)
		inHand := <-d.ask(t, "e")
		waiting := d.ask(t, "d")
		synctest.Wait()
		start := time.Now()
		closed := make(chan struct{})
		go func() { d.Close(time.Second); close(closed) }()
		synctest.Wait()
		inHand.letter.Done(true)
		gets(t, waiting, "", time.Second)
		<-closed
		if took := time.Since(start); took != time.Second {
			t.Errorf("Close took %v", took)
		}
		if d.letters != 2 || len(d.handedOut()) != 2 {
			t.Errorf("%d letters are left, %d were reported as handed out", d.letters, len(d.handedOut()))
		}
		d.Withdraw(planet.Evaluation, sid(1))
		d.Withdraw(planet.Evaluation, sid(2))
		d.checkEmpty(t)
	})
}

// A timer that runs when its letter ends must not bring it back.
func TestReceiptInTheMomentOfTheNextHandOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		for call := range 50 {
			d.put(t, call, "d")
			gets(t, d.ask(t, "d"), sid(call), 0)
			pass(unseen)
			d.Acknowledge(planet.Evaluation, sid(call), "d")
			d.Withdraw(planet.Evaluation, sid(call))
			synctest.Wait()
			d.checkEmpty(t)
		}
		d.Close(0)
	})
}
