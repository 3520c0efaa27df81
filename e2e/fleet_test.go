package e2e

import (
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
)

// One user has two iPhones, one of them with a development build, two Android devices and
// two computers that poll. One push service is down, in whatever way: all other devices
// ring, at the first attempt.
func TestFleetWithOneProviderDown(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		target string
		down   []string
		fault  sim.Fault
	}{
		{"apns-production", []string{"iPhone"}, sim.Fault{Kind: sim.FaultSilence}},
		{"apns-sandbox", []string{"test iPhone"}, sim.Fault{Kind: sim.FaultUnavailable}},
		{"fcm", []string{"Android", "tablet"}, sim.Fault{Kind: sim.FaultHang}},
	} {
		t.Run(row.target+" "+string(row.fault.Kind), func(t *testing.T) {
			t.Parallel()
			s := play(t)
			phones := s.sixPhones()
			if err := s.World.AddFault(row.target, row.fault); err != nil {
				t.Fatal(err)
			}
			c := s.call("alice", "bob", sim.Plan{})
			down := map[string]bool{}
			for _, name := range row.down {
				down[name] = true
			}
			for _, p := range phones {
				if !down[p.Name()] {
					s.rang(p, 1)
				}
			}
			well := len(phones) - len(down)
			s.await("the others' deliveries are recorded", func() bool {
				return states(s.story(c.SessionID()))[bell.DeliveryAccepted] == well
			})
			c.Hangup()
			s.over(c)
			accepted := 0
			for _, d := range s.settled(c.SessionID()).Deliveries {
				if d.State == bell.DeliveryAccepted {
					accepted++
					if len(d.Attempts) != 1 && d.Channel != bell.APNsVoIP { // which is hedged on a slow machine
						t.Errorf("a healthy device of %s took %d attempts: %q", d.Channel, len(d.Attempts), reasons(d))
					}
				}
			}
			if accepted != well {
				t.Errorf("%d deliveries were accepted, want %d", accepted, well)
			}
			for _, p := range phones {
				if n := len(p.Received()); down[p.Name()] && n != 0 {
					t.Errorf("%s, behind the push service that is down, got %d calls", p.Name(), n)
				}
			}
		})
	}
}
