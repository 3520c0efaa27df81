package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/planetbell/planetbell/planet"
	"github.com/planetbell/planetbell/planet/serverapi"
)

// What `planetbell init` writes when it is given no LINE credentials. A server with
// them starts and takes callbacks, but LINE Planet refuses the access tokens it issues.
const (
	PlaceholderServiceID = "placeholder-service"
	PlaceholderAPIKey    = "PLACEHOLDER-your-API-key-from-the-LINE-Planet-Console"
	PlaceholderAPISecret = planet.Secret("0000000000000000000000000000000000000000000000000000000000000000")
)

// Placeholders lists which of the project's LINE credentials are still placeholders.
func (p *Project) Placeholders() []string {
	var keys []string
	if p.ServiceID == PlaceholderServiceID {
		keys = append(keys, "service_id")
	}
	if p.APIKey == PlaceholderAPIKey {
		keys = append(keys, "api_key")
	}
	if p.APISecret == PlaceholderAPISecret {
		keys = append(keys, "api_secret")
	}
	return keys
}

const (
	apiSecretLength   = 64
	minClientKey      = 8
	maxClientKey      = 256
	minCallbackSecret = 32
	maxCallbackSecret = 128
)

var projectName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

// ValidateProjectName says what is wrong with a project's name, or "" if nothing.
func ValidateProjectName(name string) string {
	if projectName.MatchString(name) {
		return ""
	}
	return quote(name) + ", want 1 to 32 of a-z, 0-9 and hyphen, beginning with a letter or digit."
}

func (c *checker) projects(cfg *Config) {
	if len(cfg.Projects) == 0 {
		c.wrong("projects", "there is none; add at least one (`planetbell init` writes a file with one).")
	}
	for i := range cfg.Projects {
		at := fmt.Sprintf("projects[%d]", i)
		c.project(&cfg.Projects[i], at)
		c.policyHook(&cfg.Projects[i].PolicyHook, at+".policy_hook")
		c.invitations(&cfg.Projects[i].Invitations, at+".invitations")
		c.pushes(&cfg.Projects[i], at)
		c.events(&cfg.Projects[i], &cfg.Webhooks, at)
	}
	c.distinct(cfg.Projects)
}

func (c *checker) project(p *Project, at string) {
	if message := ValidateProjectName(p.Name); message != "" {
		c.wrong(at+".name", message)
	}
	if err := planet.ValidateServiceID(p.ServiceID); err != nil {
		c.wrong(at+".service_id", err.Error()+".")
	}
	if err := planet.ValidateAPIKey(p.APIKey); err != nil {
		c.wrong(at+".api_key", err.Error()+".")
	}
	c.apiSecret(p.APISecret, at+".api_secret")
	if p.ServerAPIURL != "" {
		if err := serverapi.CheckBaseURL(p.ServerAPIURL); err != nil {
			c.wrong(at+".server_api_url", err.Error()+".")
		}
	}
	if keys := p.Placeholders(); len(keys) > 0 {
		c.warn(at, "placeholders stand in "+strings.Join(keys, ", ")+": the server starts and takes callbacks, but LINE Planet will refuse its access tokens. Put in the values from the LINE Planet Console.")
	}
	length, strange := characters(p.ClientKey, printable)
	switch {
	case length == 0:
		c.wrong(at+".client_key", "is missing; choose what your apps send as apiKey in register_user.")
	case length < minClientKey || length > maxClientKey || strange:
		c.wrong(at+".client_key", fmt.Sprintf("%d characters, want %d to %d printable ASCII characters without spaces.", length, minClientKey, maxClientKey))
	case p.ClientKey.Reveal() == p.APIKey:
		c.warn(at+".client_key", "is LINE's API key, which every copy of your app then carries; choose another one unless your apps cannot be changed.")
	}
	length, strange = characters(p.CallbackSecret, unreserved)
	if length < minCallbackSecret || length > maxCallbackSecret || strange {
		c.wrong(at+".callback_secret", fmt.Sprintf("%d characters, want %d to %d of A-Z, a-z, 0-9, hyphen, underscore; make one with `openssl rand -hex 24`.",
			length, minCallbackSecret, maxCallbackSecret))
	}
}

// apiSecret: the secret is used as text, so its letter case matters (docs/line-planet.md 1.5).
func (c *checker) apiSecret(s planet.Secret, path string) {
	length, strange := characters(s, func(r rune) bool { return strings.ContainsRune("0123456789abcdefABCDEF", r) })
	switch {
	case length == 0:
		c.wrong(path, "is missing; it stands beside the API key in the LINE Planet Console.")
	case length != apiSecretLength:
		c.wrong(path, fmt.Sprintf("%d characters, want %d hexadecimal.", length, apiSecretLength))
	case strange:
		c.wrong(path, fmt.Sprintf("contains other characters, want %d hexadecimal.", apiSecretLength))
	case strings.ToLower(s.Reveal()) != s.Reveal():
		c.wrong(path, "contains upper-case letters; LINE Planet's secret is lower-case hexadecimal and is used as text.")
	}
}

// distinct finds projects that requests could not tell apart.
func (c *checker) distinct(projects []Project) {
	path := func(i int, key string) string { return fmt.Sprintf("projects[%d].%s", i, key) }
	same(projects, func(p *Project) string { return p.Name }, func(i, first int) {
		c.wrong(path(i, "name"), fmt.Sprintf("%s is also the name of projects[%d].", quote(projects[i].Name), first))
	})
	same(projects, func(p *Project) planet.Secret { return p.CallbackSecret }, func(i, first int) {
		c.wrong(path(i, "callback_secret"), fmt.Sprintf("is the same as in projects[%d]; callbacks would not show which project they are for.", first))
	})
	type world struct{ environment, service string }
	same(projects, func(p *Project) world {
		if p.ServiceID == "" {
			return world{}
		}
		return world{string(p.Environment), p.ServiceID}
	}, func(i, first int) {
		c.wrong(path(i, "service_id"), fmt.Sprintf("%s in environment %s is also that of projects[%d].", quote(projects[i].ServiceID), projects[i].Environment, first))
	})
	type sign struct {
		service string
		key     planet.Secret
	}
	same(projects, func(p *Project) sign {
		if p.ClientKey == "" {
			return sign{}
		}
		return sign{p.ServiceID, p.ClientKey}
	}, func(i, first int) {
		c.wrong(path(i, "client_key"), fmt.Sprintf("is the same as in projects[%d], with the same service ID; register_user would not show which project is meant.", first))
	})
}

// pushes checks the project's push credentials.
func (c *checker) pushes(p *Project, at string) {
	switch phones := len(p.APNs) > 0 || p.FCM.Enabled(); {
	case !phones && p.WebPush.Enabled():
		c.warn(at, "has no apns and no fcm: only browsers and clients that poll will ring.")
	case !phones:
		c.warn(at, "has no apns and no fcm: only clients that poll will ring.")
	}
	for i := range p.APNs {
		c.apns(&p.APNs[i], fmt.Sprintf("%s.apns[%d]", at, i))
		for j := range i {
			if both := overlap(&p.APNs[j], &p.APNs[i]); both != "" {
				c.wrong(fmt.Sprintf("%s.apns[%d]", at, i), fmt.Sprintf("rings the same devices as apns[%d] (%s); give them different servers or app_types.", j, both))
			}
		}
	}
	c.fcm(&p.FCM, at+".fcm")
	c.webPush(&p.WebPush, at+".web_push")
}

// overlap names a server and an app type that two credentials of one app both claim.
func overlap(a, b *APNs) string {
	if a.BundleID != b.BundleID {
		return ""
	}
	shared := slices.IndexFunc(a.AppTypes, func(t string) bool { return slices.Contains(b.AppTypes, t) })
	if shared < 0 && (len(a.AppTypes) > 0 || len(b.AppTypes) > 0) {
		return "" // one for all types and one for some is a rule and its exception
	}
	for _, server := range a.Servers {
		if slices.Contains(b.Servers, server) {
			return string(server)
		}
	}
	return ""
}

func printable(r rune) bool { return r > ' ' && r < 0x7f }

// unreserved are the characters that a URL path may hold as they are (RFC 3986 section
// 2.3), without dot and tilde, which some proxies rewrite.
func unreserved(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_'
}
