package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// events checks the project's endpoints.
func (c *checker) events(p *Project, w *Webhooks, at string) {
	for i := range p.Events {
		e, here := &p.Events[i], fmt.Sprintf("%s.events[%d]", at, i)
		if message := ValidateProjectName(e.Name); message != "" {
			c.wrong(here+".name", message)
		}
		c.endpointURL(e.URL, w, here+".url", "is missing; say where events are to be told.")
		c.endpointURL(e.FallbackURL, w, here+".fallback_url", "")
		if e.FallbackURL != "" && e.FallbackURL == e.URL {
			c.wrong(here+".fallback_url", "is the same as url; it must be another way.")
		}
		if e.Secret == "" {
			c.wrong(here+".secret", "is missing; make one with `planetbell event secret`.")
		}
		c.signing(e.Secret, here+".secret")
		c.signing(e.PreviousSecret, here+".previous_secret")
	}
	same(p.Events, func(e *Endpoint) string { return e.Name }, func(i, first int) {
		c.wrong(fmt.Sprintf("%s.events[%d].name", at, i), fmt.Sprintf("%s is also the name of events[%d]; give each endpoint its own.", quote(p.Events[i].Name), first))
	})
}

func (c *checker) signing(s planet.Secret, path string) {
	if s == "" {
		return
	}
	if _, err := bell.ParseSigningKey(s); err != nil {
		c.wrong(path, err.Error()+".")
	}
}

// endpointURL never repeats an address: it may hold a secret.
func (c *checker) endpointURL(s planet.Secret, w *Webhooks, path, missing string) {
	if s == "" {
		if missing != "" {
			c.wrong(path, missing)
		}
		return
	}
	u, err := url.Parse(s.Reveal())
	switch {
	case err != nil || u.Hostname() == "" || u.Opaque != "" || u.Scheme != "https" && u.Scheme != "http":
		c.wrong(path, "want an address such as https://backend.example.com/events.")
		return
	case u.User != nil || u.Fragment != "":
		c.wrong(path, "want an address without user name, password and #; put a secret into the path or the query.")
	case u.Scheme == "http" && !w.AllowHTTP:
		c.wrong(path, "is http://, which anybody on the way can read; use https://, or set webhooks.allow_http.")
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			c.wrong(path, "has no valid port.")
		}
	}
	c.endpointHost(u.Hostname(), w, path)
}

// endpointHost finds addresses that will be refused when events are told. What a name leads
// to is looked at then.
func (c *checker) endpointHost(host string, w *Webhooks, path string) {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		last := host[strings.LastIndexByte(strings.TrimSuffix(host, "."), '.')+1:]
		if last != "" && strings.Trim(last, "0123456789.") == "" || strings.HasPrefix(strings.ToLower(last), "0x") {
			c.wrong(path, "has a number for a host; write the address as 192.0.2.1, or a name.")
		}
		return
	}
	addr = addr.Unmap().WithZone("")
	allowed := slices.ContainsFunc(w.AllowPrivate, func(r netip.Prefix) bool { return r.Contains(addr) })
	if (!addr.IsGlobalUnicast() || addr.IsPrivate()) && !allowed {
		c.wrong(path, "has an address that is not public; name it in webhooks.allow_private if it is meant.")
	}
}
