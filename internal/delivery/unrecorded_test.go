package delivery

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// breaksDisk answers an attempt after the disk has failed.
func (b *bench) breaksDisk(verdict bell.Verdict) reply {
	return func(context.Context, *bell.Ring, Try) bell.Outcome {
		b.store.breakDown(errDisk)
		return answer(verdict)
	}
}

// A phone rings once also when the disk fails between its push and the record of it: the
// process that sent the push knows better than the database.
func TestOutcomeThatCouldNotBeRecordedIsNotRepeated(t *testing.T) {
	for _, c := range []struct {
		verdict bell.Verdict
		want    bell.DeliveryState
	}{{bell.Accepted, bell.DeliveryAccepted}, {bell.Rejected, bell.DeliveryFailed}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, nil)
			end := b.run(t, true)
			synctest.Wait()
			b.on("d", b.breaksDisk(c.verdict))
			b.begin(t, b.rings(1, bell.FCM, "d"))
			pass(DefaultLease + 3*time.Second)
			if got := b.store.row("d/1"); got.State != bell.DeliverySending {
				t.Fatalf("recorded %+v although the disk fails", got)
			}
			b.store.breakDown(nil)
			pass(3 * time.Second)
			synctest.Wait()
			if got := b.times("d"); len(got) != 1 {
				t.Errorf("%s: sent at %v, want once", c.verdict, got)
			}
			got := b.store.row("d/1")
			if got.State != c.want || got.Attempts != 1 || len(b.store.attempts["d/1"]) != 1 {
				t.Errorf("recorded %+v with attempts %+v, want %s", got, b.store.attempts["d/1"], c.want)
			}
			b.checkEmpty(t)
			if n := len(b.unrecorded.byID); n != 0 {
				t.Errorf("%d outcomes are still remembered", n)
			}
			end()
			b.finish(t)
		})
	}
}

// What could not be recorded is remembered for a time, not for ever.
func TestUnrecordedOutcomesAreForgottenInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		end := b.run(t, true)
		synctest.Wait()
		b.on("d", b.breaksDisk(bell.Accepted))
		b.on("e", b.breaksDisk(bell.Accepted))
		b.begin(t, b.rings(1, bell.FCM, "d", "e"))
		pass(time.Second)
		remembered := func() int {
			b.unrecorded.mu.Lock()
			defer b.unrecorded.mu.Unlock()
			return len(b.unrecorded.byID)
		}
		if n := remembered(); n != 2 {
			t.Errorf("%d outcomes are remembered, want 2", n)
		}
		pass(ringTime + time.Second)
		if n := remembered(); n != 2 {
			t.Errorf("%d outcomes are remembered after the ring, want 2: their call may come back with the disk", n)
		}
		pass(unrecordedKept + time.Second)
		if n := remembered(); n != 0 {
			t.Errorf("%d outcomes are remembered for ever", n)
		}
		end()
		b.finish(t)
	})
}

// A stop records what the database did not take before, so that the next process does not
// ring again.
func TestAStopRecordsWhatIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.on("d", b.breaksDisk(bell.Accepted))
		b.begin(t, b.rings(1, bell.FCM, "d"))
		pass(20 * time.Second)
		b.store.breakDown(nil)
		b.Stop(t.Context())
		if got := b.store.row("d/1"); got.State != bell.DeliveryAccepted {
			t.Errorf("the record says %s after the stop, want accepted", got.State)
		}
	})
}
