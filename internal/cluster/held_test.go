package cluster

import (
	"fmt"
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
	key := callKey{planet.Evaluation, "7"}
	w.letGo(key, func(r *bell.Ring) bool { looked++; return r.Device.ID == "d" })
	if looked != 2 {
		t.Errorf("it looked at %d letters of a call that has two", looked)
	}
	if w.held.byID["7/d"] != nil || w.held.byID["7/e"] == nil {
		t.Error("another letter was dropped")
	}
	w.letGoOf(key)
	w.letGoOf(callKey{planet.Real, "8"})
	if len(w.held.byID) != 198 || w.held.byCall[key] != nil {
		t.Errorf("%d letters are left", len(w.held.byID))
	}
	for i := range 100 {
		w.letGoOf(callKey{planet.Evaluation, planet.SessionID(fmt.Sprint(i))})
	}
	if left := len(w.held.byID) + len(w.held.byCall) + len(w.held.byDevice); left != 0 {
		t.Errorf("%d entries are left in the indexes", left)
	}
}
