package delivery

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// told makes notices of rings.
func told(rings []bell.Ring) []bell.Ring {
	for i := range rings {
		rings[i].Call.Purpose = bell.PurposeMissedCall
	}
	return rings
}

// Notices take at most half of a route's room, and calls find the rest.
func TestNoticesLeaveRoomForCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxInFlight = 4 })
		for _, d := range []string{"a", "b", "d", "e"} {
			b.on(d, slowly(time.Second, script()))
		}
		notices := told(b.rings(1, bell.FCM, "a", "b", "c"))
		b.begin(t, notices)
		if got := notices[2].Delivery; got.State != bell.DeliveryFailed || got.Reason != reasonRouteFull {
			t.Errorf("the third notice is %s", got.State)
		}
		if err := b.Admit(told(b.rings(2, bell.FCM, "x"))); bell.KindOf(err) != bell.Overload {
			t.Errorf("a notice found room: %v", err)
		}
		if full, notices := b.metric(t, "planetbell_deliveries_dropped_total", "full"), b.metric(t, "planetbell_deliveries_dropped_total", "notice_full"); full != 0 || notices != 2 {
			t.Errorf("%v calls and %v notices found no room, want 0 and 2", full, notices)
		}
		b.begin(t, b.rings(3, bell.FCM, "d", "e"))
		b.finish(t)
		for _, id := range []string{"a/1", "b/1", "d/3", "e/3"} {
			if got := b.store.row(id); got.State != bell.DeliveryAccepted {
				t.Errorf("%s is %s", id, got.State)
			}
		}
	})
}

// A provider that hangs on notices has places left for calls; and times to accept are those
// of calls.
func TestNoticesLeavePlacesForCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxPerRoute = 4 })
		for _, d := range []string{"a", "b", "c", "d"} {
			b.on(d, slowly(2*time.Second, script()))
		}
		b.begin(t, told(b.rings(1, bell.FCM, "a", "b", "c", "d")))
		synctest.Wait()
		b.begin(t, b.rings(2, bell.FCM, "e"))
		synctest.Wait()
		if got := b.store.row("e/2"); got.State != bell.DeliveryAccepted {
			t.Errorf("the call waits for notices: it is %s", got.State)
		}
		if b.count() != 2 {
			t.Errorf("%d attempts began, want that of the call and of one notice", b.count())
		}
		b.finish(t)
		for _, id := range []string{"a/1", "b/1", "c/1", "d/1"} {
			if got := b.store.row(id); got.State != bell.DeliveryAccepted {
				t.Errorf("%s is %s", id, got.State)
			}
		}
		if got := b.metric(t, "planetbell_call_to_accept_seconds"); got > 1 {
			t.Errorf("%v calls were measured, want 1: nobody waits for a notice", got)
		}
	})
}
