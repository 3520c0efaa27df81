package web

import (
	"strings"
	"testing"
)

// The policy lets the page load PlanetKit from where the configuration says, and from nowhere else.
func TestThePolicyAllowsWhatIsConfigured(t *testing.T) {
	for planetKit, want := range map[string]string{
		"":                                 "script-src 'self';",
		"vendor/other.js":                  "script-src 'self';",
		"https://cdn.example.com/x/kit.js": "script-src 'self' https://cdn.example.com;",
	} {
		c := Config{Server: "https://bell.example.com", Cloud: "planetkit", PlanetKit: planetKit}
		policy, err := c.policy()
		if err != nil || !strings.Contains(policy, want) || strings.Contains(policy, "connect-src 'self' https://cdn") {
			t.Errorf("PlanetKit at %q: policy %s, error %v; want %s", planetKit, policy, err, want)
		}
	}
	for _, wrong := range []string{"//cdn.example.com/kit.js", "data:text/javascript,1", "javascript:1", "https://cdn.example.com/; script-src *", "https:kit.js"} {
		c := Config{Server: "https://bell.example.com", Cloud: "planetkit", PlanetKit: wrong}
		if policy, err := c.policy(); err == nil {
			t.Errorf("PlanetKit at %q is taken: %s", wrong, policy)
		}
	}
}
