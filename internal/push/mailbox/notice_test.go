package mailbox

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/planet"
)

// tell puts a notice in, and returns what became of it.
func (d *desk) tell(t *testing.T, number int, device string) bell.Outcome {
	r := ring(number, device, time.Now().Add(3*time.Minute))
	r.Call.Purpose, r.Call.CCParam = bell.PurposeMissedCall, ""
	return d.Send(t.Context(), r, delivery.Try{Number: 1})
}

// To a client that does not know notices, the box is empty: it polls on as if nothing had
// come, and calls go past the notice.
func TestNoticesAreForThoseWhoAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		if o := d.tell(t, 1, "pc"); o.Verdict != bell.Deposited {
			t.Fatalf("%+v", o)
		}
		if got := <-d.poll(t.Context(), "pc", hold); got.letter != nil || got.after != hold {
			t.Errorf("a plain poll got %q after %v", got.sid(), got.after)
		}
		if got := <-d.wait(t.Context(), bell.Poll{DeviceID: "pc", Hold: hold, Acknowledges: true}); got.letter != nil {
			t.Errorf("a poll that acknowledges got %q", got.sid())
		}
		waiting := d.poll(t.Context(), "pc", hold)
		synctest.Wait()
		d.put(t, 2, "pc")
		if got := <-waiting; got.sid() != sid(2) {
			t.Errorf("a plain poll got %q, want the call behind the notice", got.sid())
		} else {
			got.letter.Done(true)
		}
		got := <-d.wait(t.Context(), bell.Poll{DeviceID: "pc", Hold: hold, Notices: true})
		if got.sid() != sid(1) || got.after != 0 {
			t.Fatalf("a poll that asks got %q after %v", got.sid(), got.after)
		}
		if n, ok := got.letter.Payload.(planet.Notice); !ok || n.Event != planet.MissedCallEvent || n.ID != sid(1) {
			t.Errorf("%T", got.letter.Payload)
		}
		got.letter.Done(true)
		d.Close(0)
		d.checkEmpty(t)
	})
}

// A call comes before a notice that was there first, and a waiting poll that asks gets a
// notice past one that does not.
func TestCallsComeBeforeNotices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		asks := bell.Poll{DeviceID: "pc", Hold: hold, Notices: true}
		d.tell(t, 1, "pc")
		d.put(t, 2, "pc")
		for _, want := range []int{2, 1} {
			got := <-d.wait(t.Context(), asks)
			if got.sid() != sid(want) {
				t.Fatalf("got %q, want %d", got.sid(), want)
			}
			got.letter.Done(true)
		}
		first := d.wait(t.Context(), asks)
		synctest.Wait()
		plain := d.poll(t.Context(), "pc", hold)
		synctest.Wait()
		d.tell(t, 3, "pc")
		if got := <-first; got.sid() != sid(3) {
			t.Errorf("the poll that asks got %q", got.sid())
		} else {
			got.letter.Done(true)
		}
		if got := <-plain; got.letter != nil {
			t.Errorf("the plain poll got %q", got.sid())
		}
		d.Close(0)
		d.checkEmpty(t)
	})
}

// Notices take at most half of the mailbox: calls always find room.
func TestNoticesLeaveRoomForCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{MaxLetters: 4})
		for i, want := range []bell.Verdict{bell.Deposited, bell.Deposited, bell.Rejected} {
			if o := d.tell(t, i, "pc"); o.Verdict != want || want == bell.Rejected && o.Alarm != bell.AlarmCount {
				t.Errorf("notice %d: %+v", i, o)
			}
		}
		d.put(t, 10, "pc")
		d.put(t, 11, "pc")
		d.Close(0)
	})
}
