package e2e

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// phone adds a registered phone.
func (s *scene) phone(user string, kind sim.PhoneKind, name string) *sim.Phone {
	s.t.Helper()
	return s.phoneOf(sim.PhoneRequest{UserID: user, DisplayName: strings.ToUpper(user), Kind: kind, Name: name})
}

func (s *scene) phoneOf(r sim.PhoneRequest) *sim.Phone {
	s.t.Helper()
	before := s.reachable(r.UserID)
	p, err := s.World.AddPhone(s.ctx, r)
	if err != nil {
		s.t.Fatalf("add %s: %v", r.Name, err)
	}
	// The Apple app sends its push token beside everything else.
	s.await(r.Name+" can ring", func() bool { return r.Kind == sim.Web || s.reachable(r.UserID) == before+1 })
	return p
}

// leave makes the only phone that polls stop, and waits until the server knows.
func (s *scene) leave(p *sim.Phone) {
	s.t.Helper()
	p.StopPolling()
	s.await("the server knows that nobody polls", func() bool { return s.metric("planetbell_http_polls_waiting") == 0 })
}

// reachable is how many of a user's devices can ring.
func (s *scene) reachable(user string) int {
	n := 0
	for _, d := range s.devices(user) {
		if d.Reachable {
			n++
		}
	}
	return n
}

// call places a call and waits until its Notify was answered.
func (s *scene) call(from, to string, plan sim.Plan) *sim.Call {
	s.t.Helper()
	c, err := s.World.Call(s.ctx, from, to, sim.CallRequest{Plan: plan, AppServerData: "ticket-7"})
	if err != nil {
		s.t.Fatalf("%s calls %s: %v", from, to, err)
	}
	if plan.Kind != sim.PlanBusy {
		s.await("Notify is answered", func() bool { return len(c.Report().Notifies) > 0 })
	}
	return c
}

// over waits for the end of a call and its Call Event.
func (s *scene) over(c *sim.Call) sim.CallReport {
	s.t.Helper()
	select {
	case <-c.Done():
	case <-s.ctx.Done():
		s.t.Fatal("waited in vain for the end of the call")
	}
	return c.Report()
}

// rang waits until a phone got n calls, and returns them.
func (s *scene) rang(p *sim.Phone, n int) []sim.Receipt {
	s.t.Helper()
	receipts, err := p.AwaitReceived(s.ctx, n)
	if err != nil {
		s.t.Fatalf("%s got %d calls, want %d", p.Name(), len(receipts), n)
	}
	return receipts
}

// settled waits until nothing of a call is pending, and returns its story.
func (s *scene) settled(sid planet.SessionID) console.CallStory {
	s.t.Helper()
	var story console.CallStory
	s.await("every delivery of the call has ended", func() bool {
		story = s.story(sid)
		for _, d := range story.Deliveries {
			if !d.State.Final() {
				return false
			}
		}
		return true
	})
	return story
}

// states counts a story's deliveries by state.
func states(story console.CallStory) map[bell.DeliveryState]int {
	n := map[bell.DeliveryState]int{}
	for _, d := range story.Deliveries {
		n[d.State]++
	}
	return n
}

// project is the project that the simulator knows.
func (s *scene) project() *config.Project { return &s.Config.Projects[0] }

// callback sends a callback as Planet Cloud would.
func (s *scene) callback(p *config.Project, name string, values url.Values) answer {
	s.t.Helper()
	return s.do(s.request(http.MethodGet, s.callbackURL(p, name)+"?"+values.Encode(), ""))
}

func (s *scene) callbackURL(p *config.Project, name string) string {
	return s.App.PublicURL() + "/cb/" + p.CallbackSecret.Reveal() + "/" + name
}

// notify is the Notify of a call that the simulator knows nothing of.
func notify(sid, service, callee string) url.Values {
	return url.Values{
		"sid": {sid}, "from_service_id": {service}, "from_user_id": {"alice"},
		"to_service_id": {service}, "to_user_id": {callee}, "type": {"A"}, "param": {testlog.CCParam(1)},
	}
}

// callEvent is the Call Event of a call that was canceled.
func callEvent(sid, service, callee string) url.Values {
	return url.Values{
		"sid": {sid}, "from_service_id": {service}, "from_user_id": {"alice"},
		"to_service_id": {service}, "to_user_id": {callee}, "type": {"A"},
		"setup_time": {"1700000000"}, "start_time": {"0"}, "end_time": {"1700000005"}, "duration": {"0"},
		"terminate": {"77"}, "rel_code": {"2"}, "rel_code_str": {"CANCEL"}, "disconnect_reason": {"1201"}, "releaser_type": {"2"},
	}
}

// pushes is how many pushes the push services ever accepted.
func (s *scene) pushes() int {
	w := s.World
	return int(w.Sandbox.Stats().Accepted + w.Production.Stats().Accepted + w.FCM.Stats().Accepted)
}
