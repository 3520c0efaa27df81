package e2e

import (
	"net/http"
	"testing"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

// manyProjects adds to the demo project one of another service, and one of the same
// service in the other environment.
func manyProjects(c *config.Config) {
	demo := &c.Projects[0]
	demo.EnvironmentLabel = "demo-label"
	add := func(name, service string, environment planet.Environment) *config.Project {
		p := c.Projects[0]
		p.Name, p.ServiceID, p.Environment, p.EnvironmentLabel = name, service, environment, name+"-label"
		p.APIKey = name + "-api-key"
		p.APISecret = planet.Secret(secret(name+" api secret", 64))
		p.ClientKey = planet.Secret(secret(name+" client key", 32))
		p.CallbackSecret = planet.Secret(secret(name+" callback secret", 40))
		c.Projects = append(c.Projects, p)
		return &c.Projects[len(c.Projects)-1]
	}
	add("other", "other-service", planet.Evaluation)
	add("live", "demo-service", planet.Real).UnknownCallee = config.Refuse
}

// phoneIn makes a phone of another project than the simulator's. It rings nowhere: it
// records what it gets.
func (s *scene) phoneIn(p *config.Project, user string) *sim.Phone {
	s.t.Helper()
	phone, err := sim.NewPhone(sim.IOS, sim.PhoneOptions{
		Name: user + " in " + p.Name, BaseURL: s.App.PublicURL(), APIKey: p.ClientKey.Reveal(),
		User: planet.UserRef{ServiceID: p.ServiceID, UserID: user}, DisplayName: user,
		Client: s.watch.client, APNs: s.World.Production,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(phone.Close)
	before := s.reachable(user)
	if err := phone.Start(s.ctx); err != nil {
		s.t.Fatal(err)
	}
	s.await(phone.Name()+" can ring", func() bool { return s.reachable(user) == before+1 })
	return phone
}

// One process serves several projects. A call may cross services, and never
// environments: the same user ID, and even the same session ID, are two in two.
func TestSeveralProjects(t *testing.T) {
	t.Parallel()
	s := play(t, configured(manyProjects))
	other, live := &s.Config.Projects[1], &s.Config.Projects[2]
	demoBob := s.phone("bob", sim.IOS, "bob's iPhone")
	liveBob := s.phoneIn(live, "bob")

	// eve, of the other service, calls bob.
	if err := s.World.Cloud.AddProject(sim.Project{
		ServiceID: other.ServiceID, CallbackURL: s.App.PublicURL() + "/cb/" + other.CallbackSecret.Reveal(),
		APIKey: other.APIKey, APISecret: other.APISecret,
	}); err != nil {
		t.Fatal(err)
	}
	c, err := s.World.Cloud.Place(sim.CallRequest{
		Caller: planet.UserRef{ServiceID: "other-service", UserID: "eve"},
		Callee: planet.UserRef{ServiceID: "demo-service", UserID: "bob"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := s.rang(demoBob, 1)[0]
	if !got.Rang || got.Call.CallerServiceID != "other-service" || got.Call.CallerUserID != "eve" {
		t.Errorf("bob's iPhone rings: %v, for a call from %s/%s", got.Rang, got.Call.CallerServiceID, got.Call.CallerUserID)
	}
	if got.Call.Environment != "demo-label" {
		t.Errorf("bob's iPhone is told the environment %q, want its own project's label", got.Call.Environment)
	}
	story := s.settled(c.SessionID())
	if story.Call.Project != "other" || len(story.Deliveries) != 1 {
		t.Errorf("the record says project %s and %d deliveries, want other and 1", story.Call.Project, len(story.Deliveries))
	}
	c.Hangup()
	s.over(c)

	// The same session ID in the other environment is another call.
	if a := s.callback(live, "notify", notify(string(c.SessionID()), "demo-service", "bob")); a.status != http.StatusOK {
		t.Errorf("Notify in the other environment was answered %d", a.status)
	}
	if got := s.rang(liveBob, 1)[0]; got.Call.Environment != "live-label" {
		t.Errorf("live bob's phone is told the environment %q", got.Call.Environment)
	}
	if n := len(demoBob.Received()); n != 1 {
		t.Errorf("bob in Evaluation got %d calls, want 1: calls crossed environments", n)
	}
}

// What a caller of an unknown callee hears is the project's choice. A callee of a
// service that nobody configured is a mistake in the Console, and is told so.
func TestUnknownCallees(t *testing.T) {
	t.Parallel()
	s := play(t, configured(manyProjects))
	demo, live := &s.Config.Projects[0], &s.Config.Projects[2]
	for _, c := range []struct {
		project *config.Project
		service string
		status  int
	}{
		{demo, "demo-service", http.StatusOK},
		{live, "demo-service", http.StatusNotFound},
		{demo, "unheard-of-service", http.StatusBadRequest},
		{live, "other-service", http.StatusBadRequest}, // configured in Evaluation only
	} {
		a := s.callback(c.project, "notify", notify("7d0a3c52-0d5f-4a44-9b5e-0b0b6f3f9a30", c.service, "nobody"))
		if a.status != c.status {
			t.Errorf("%s, callee of %s: answered %d, want %d", c.project.Name, c.service, a.status, c.status)
		}
	}
	// The refusal ends the call at once, and the record knows.
	if err := s.World.Cloud.AddProject(sim.Project{
		ServiceID: live.ServiceID, CallbackURL: s.App.PublicURL() + "/cb/" + live.CallbackSecret.Reveal(),
	}); err != nil {
		t.Fatal(err)
	}
	c := s.call("alice", "nobody", sim.Plan{})
	s.over(c)
	if got := s.story(c.SessionID()).Call.Outcome; got != planet.OutcomePushFailed {
		t.Errorf("the outcome is %q, want push_failed", got)
	}
}
