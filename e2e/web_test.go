package e2e

import (
	"errors"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/planet"
)

// browser is LINE's web demo, loaded from an origin, in a browser that obeys CORS.
func (s *scene) browser(user, origin string) *sim.Phone {
	s.t.Helper()
	p, err := sim.NewPhone(sim.Web, sim.PhoneOptions{
		Name: user + " at " + origin, BaseURL: s.App.PublicURL(), Origin: origin, APIKey: s.project().ClientKey.Reveal(),
		User: planet.UserRef{ServiceID: "demo-service", UserID: user}, Client: s.watch.client, Cloud: s.World.Cloud,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(p.Close)
	return p
}

// A page of a configured origin registers and makes a call; a page of another origin is
// kept out by its browser; and whoever asks for a user ID in use is told so in the way
// that the web app reads.
func TestTheWebApp(t *testing.T) {
	t.Parallel()
	const origin = "https://app.example.com"
	s := play(t, configured(func(c *config.Config) {
		c.Public.WebOrigins = []string{origin}
		c.Projects[0].SharedUserIDs = false
	}))
	iphone := s.phone("bob", sim.IOS, "iPhone")
	page := s.browser("wendy", origin)
	if err := page.Start(s.ctx); err != nil {
		t.Fatalf("the web app does not register: %v", err)
	}
	c, err := page.Dial(s.ctx, sim.CallRequest{Callee: planet.UserRef{ServiceID: "demo-service", UserID: "bob"}})
	if err != nil {
		t.Fatalf("the web app gets no access token that Planet Cloud takes: %v", err)
	}
	if got := s.rang(iphone, 1)[0]; !got.Rang || got.Call.CallerUserID != "wendy" {
		t.Errorf("the iPhone rings: %v, for a call from %q", got.Rang, got.Call.CallerUserID)
	}
	c.Hangup()
	s.over(c)

	if err := s.browser("mallory", "https://evil.example.com").Start(s.ctx); err == nil || !strings.Contains(err.Error(), "CORS") {
		t.Errorf("a page of another origin: %v, want that CORS keeps it out", err)
	}
	if err := s.browser("wendy", origin).Start(s.ctx); !errors.Is(err, clients.ErrTaken) {
		t.Errorf("a second wendy: %v, want that the app says the ID is taken", err)
	}
}
