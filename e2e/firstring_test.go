package e2e

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

// sixDevices are bob's: every kind that can ring, on both of Apple's servers.
var sixDevices = []sim.PhoneRequest{
	{UserID: "bob", Kind: sim.IOS, Name: "iPhone"},
	{UserID: "bob", Kind: sim.IOS, Name: "test iPhone", Sandbox: true},
	{UserID: "bob", Kind: sim.Android, Name: "Android"},
	{UserID: "bob", Kind: sim.Android, Name: "tablet"},
	{UserID: "bob", Kind: sim.Windows, Name: "PC"},
	{UserID: "bob", Kind: sim.MacOS, Name: "Mac"},
}

func (s *scene) sixPhones() []*sim.Phone {
	s.t.Helper()
	phones := make([]*sim.Phone, len(sixDevices))
	for i, r := range sixDevices {
		phones[i] = s.phoneOf(r)
	}
	return phones
}

// One call rings every device of the callee, and each gets cc_param as it was issued.
// alice dials with an access token of our server, which Planet Cloud verifies.
func TestOneCallRingsEveryDevice(t *testing.T) {
	t.Parallel()
	s := play(t)
	s.phone("alice", sim.IOS, "alice's iPhone")
	phones := s.sixPhones()

	c := s.call("alice", "bob", sim.Plan{})
	for _, p := range phones {
		got := s.rang(p, 1)[0]
		if got.Err != nil || !got.Rang {
			t.Errorf("%s did not ring: %v", p.Name(), got.Err)
		}
		if got.Call.CCParam != c.CCParam().Reveal() {
			t.Errorf("%s got another cc_param than Planet Cloud issued", p.Name())
		}
		if got.Call.CallerUserID != "alice" {
			t.Errorf("%s was told that %q calls", p.Name(), got.Call.CallerUserID)
		}
	}
	story := s.settled(c.SessionID())
	if got := states(story); !maps.Equal(got, map[bell.DeliveryState]int{bell.DeliveryAccepted: 6}) {
		t.Errorf("the record has deliveries %v, want 6 accepted", got)
	}
	channels := map[bell.Channel]int{}
	for _, d := range story.Deliveries {
		channels[d.Channel]++
		if len(d.Attempts) != 1 || d.Attempts[0].Verdict != bell.Accepted {
			t.Errorf("a delivery by %s has attempts %+v, want one, accepted", d.Channel, d.Attempts)
		}
	}
	if want := map[bell.Channel]int{bell.APNsVoIP: 2, bell.FCM: 2, bell.LongPoll: 2}; !maps.Equal(channels, want) {
		t.Errorf("deliveries by channel: %v, want %v", channels, want)
	}
	if s.World.Sandbox.Stats().Accepted != 1 || s.World.Production.Stats().Accepted != 1 {
		t.Error("the two iPhones were not each rung by its own APNs server")
	}
	c.Hangup()
	s.over(c)
	if story := s.story(c.SessionID()); story.Call.Outcome != planet.OutcomeCanceled {
		t.Errorf("the outcome is %q, want canceled", story.Call.Outcome)
	}
	if r := slices.Concat(s.World.Sandbox.Rejections(), s.World.Production.Rejections()); len(r) > 0 {
		t.Errorf("APNs refused %d pushes, the first: %s", len(r), r[0].Why)
	}
	if r := s.World.FCM.Rejections(); len(r) > 0 {
		t.Errorf("FCM refused %d sends, the first: %s", len(r), r[0].Why)
	}
}

// A repeated Notify rings nobody again, whatever the letter case of its session ID, and
// however many come at once.
func TestARepeatedNotifyRingsOnce(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly)
	phones := s.sixPhones()
	c := s.call("alice", "bob", sim.Plan{})
	for _, p := range phones {
		s.rang(p, 1)
	}
	again := url.Values{}
	for _, p := range c.Report().Notifies[0].Params {
		again.Set(p.Name, p.Value)
	}
	upper := maps.Clone(again)
	upper.Set("sid", strings.ToUpper(again.Get("sid")))
	if a := s.callback(s.project(), "notify", upper); a.status != http.StatusOK {
		t.Errorf("the repeat in capitals was answered %d", a.status)
	}

	var crowd sync.WaitGroup
	for i := range 50 {
		values := []url.Values{again, upper}[i%2]
		r := s.request(http.MethodGet, s.callbackURL(s.project(), "notify")+"?"+values.Encode(), "")
		crowd.Go(func() {
			if a, err := s.send(r); err != nil || a.status != http.StatusOK {
				t.Errorf("a repeat was answered %d: %v", a.status, err)
			}
		})
	}
	crowd.Wait()
	s.ringsOnce(phones, c)
}

// A new call is not taken for a repeat when 50 copies of its Notify come at once: the
// first rings, whichever that is.
func TestManyCopiesAtOnceRingOnce(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly)
	phones := s.sixPhones()
	c := s.call("alice", "bob", sim.Plan{Duplicates: 49, UpperCase: true})
	for _, n := range c.Report().Notifies {
		if !n.OK() {
			t.Errorf("a copy was answered %d %s", n.Status, n.Err)
		}
	}
	for _, p := range phones {
		s.rang(p, 1)
	}
	s.ringsOnce(phones, c)
}

// ringsOnce lets a second call follow, which comes after everything of the first, and
// counts.
func (s *scene) ringsOnce(phones []*sim.Phone, first *sim.Call) {
	s.t.Helper()
	first.Hangup()
	s.over(first)
	s.settled(first.SessionID())
	second := s.call("alice", "bob", sim.Plan{})
	for _, p := range phones {
		if got := s.rang(p, 2); len(got) != 2 || got[1].Call.CCParam != second.CCParam().Reveal() {
			s.t.Errorf("%s got %d calls, want one of each call", p.Name(), len(got))
		}
	}
	if n := s.pushes(); n != 8 {
		s.t.Errorf("the push services took %d pushes for two calls to 4 devices, want 8", n)
	}
	for _, leg := range first.Report().Legs {
		if leg.Verifications != 1 {
			s.t.Errorf("%s rang %d times for one call", leg.Phone, leg.Verifications)
		}
	}
	second.Hangup()
	s.over(second)
}
