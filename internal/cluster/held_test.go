package cluster

import (
	"context"
	"fmt"
	"log/slog"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func heldOf(call, device string) bell.Ring {
	return bell.Ring{
		Call: &bell.Call{Environment: planet.Evaluation, SessionID: planet.SessionID(call)}, Device: bell.Device{ID: device},
		Delivery: bell.Delivery{ID: call + "/" + device},
	}
}

// The end of a call looks at that call's letters only, and leaves no trace in any index.
func TestTheEndOfACallLooksAtThatCallOnly(t *testing.T) {
	w := &Worker{held: newHeld()}
	for i := range 100 {
		for _, device := range []string{"d", "e"} {
			if !w.held.add(heldOf(fmt.Sprint(i), device)) {
				t.Fatal("there is no room")
			}
		}
	}
	looked := 0
	key := bell.CallKey{Environment: planet.Evaluation, SessionID: "7"}
	w.letGo(key, func(r *bell.Ring) bool { looked++; return r.Device.ID == "d" })
	if looked != 2 {
		t.Errorf("it looked at %d letters of a call that has two", looked)
	}
	if w.held.byID["7/d"] != nil || w.held.byID["7/e"] == nil {
		t.Error("another letter was dropped")
	}
	w.letGoOf(key)
	w.letGoOf(bell.CallKey{Environment: planet.Real, SessionID: "8"})
	if len(w.held.byID) != 198 || w.held.byCall[key] != nil {
		t.Errorf("%d letters are left", len(w.held.byID))
	}
	for i := range 100 {
		w.letGoOf(bell.CallKey{Environment: planet.Evaluation, SessionID: planet.SessionID(fmt.Sprint(i))})
	}
	if left := len(w.held.byID) + len(w.held.byCall) + len(w.held.byDevice); left != 0 {
		t.Errorf("%d entries are left in the indexes", left)
	}
}

// endsOnly is all around a worker, as far as the ends of calls go: one call has ended.
type endsOnly struct {
	Store
	Rings
	Mailbox
	key bell.CallKey
}

func (e endsOnly) Untold(int) []bell.CallKey { return []bell.CallKey{e.key} }

func (e endsOnly) Ended(context.Context, []bell.CallKey) ([]bell.CallKey, error) {
	return []bell.CallKey{e.key}, nil
}
func (e endsOnly) Withdraw(planet.Environment, planet.SessionID) {}

// What is on its way out of this node when its call ends, and no hint tells that, is not had here again.
func TestAnEndThatTheSweepFindsLetsGoOfWhatIsHeld(t *testing.T) {
	e := endsOnly{key: bell.CallKey{Environment: planet.Evaluation, SessionID: "over"}}
	w := New(Config{Store: e, Rings: e, Mailbox: e, Log: slog.New(slog.DiscardHandler)})
	w.Idle(heldOf("over", "d"))
	w.Idle(heldOf("rings", "d"))
	w.sweepEnds(t.Context())
	if w.held.byID["over/d"] != nil || w.held.byID["rings/d"] == nil {
		t.Errorf("held are %v", w.held.byID)
	}
}
