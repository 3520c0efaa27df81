package e2e

import (
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
)

// Both connections to APNs die silently, as behind a firewall that has forgotten them: the
// push, its hedge included, goes into a black hole. The iPhone rings all the same, over a
// connection that is dialled anew, and the record tells of the attempts before.
func TestSilentConnectionsDoNotCostTheCall(t *testing.T) {
	t.Parallel()
	s := play(t)
	iphone := s.phone("bob", sim.IOS, "iPhone")
	apns := s.World.Production
	s.await("both connections are open", func() bool { return apns.Stats().Connections == 2 })
	if err := s.World.AddFault("apns-production", sim.Fault{Kind: sim.FaultSilence, Scope: sim.ScopeOpen}); err != nil {
		t.Fatal(err)
	}
	if n := apns.Faults().Struck()[sim.FaultSilence]; n != 2 {
		t.Fatalf("%d connections fell silent, want 2", n)
	}
	c := s.call("alice", "bob", sim.Plan{})
	if got := s.rang(iphone, 1)[0]; got.Err != nil || !got.Rang {
		t.Errorf("the iPhone did not ring: %v", got.Err)
	}
	d := deliveryBy(t, s.settled(c.SessionID()), bell.APNsVoIP)
	if d.State != bell.DeliveryAccepted || len(d.Attempts) < 2 {
		t.Fatalf("the delivery is %s after %q, want accepted after more than one attempt", d.State, reasons(d))
	}
	took := 0
	for _, a := range d.Attempts {
		if a.Verdict == bell.Accepted {
			took++
		} else if a.Status != 0 {
			t.Errorf("attempt %d was answered %d by a silent connection", a.Number, a.Status)
		}
	}
	if took != 1 {
		t.Errorf("%d attempts were accepted, want 1", took)
	}
	pushes := apns.Pushes()
	if len(pushes) != 1 {
		t.Fatalf("APNs took %d pushes, want 1", len(pushes))
	}
	if pushes[0].Conn <= 2 {
		t.Errorf("the push came over connection %d, want one that was dialled after the silence", pushes[0].Conn)
	}
	c.Hangup()
	s.over(c)
}
