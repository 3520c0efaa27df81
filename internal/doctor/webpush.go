package doctor

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/egress"
)

// webPush looks at each VAPID key, its subject, and the push services that pages may name.
func (e *exam) webPush(ctx context.Context) {
	roots, ok := e.roots()
	if !ok {
		return
	}
	var group sync.WaitGroup
	found := false
	for i := range e.cfg.Projects {
		if p := &e.cfg.Projects[i]; p.WebPush.Enabled() {
			found = true
			group.Go(func() {
				policy := egress.Policy{Private: p.WebPush.AllowPrivate}
				c := newGuarded(roots, policy)
				defer c.close()
				e.vapid(ctx, c, policy, p)
			})
		}
	}
	group.Wait()
	if !found {
		e.skip("", "no project has a VAPID key")
	}
}

func (e *exam) vapid(ctx context.Context, c *caller, policy egress.Policy, p *config.Project) {
	w, subject := &p.WebPush, p.Name+": VAPID key"
	key, err := bell.ParseVAPIDKey(w.VAPIDPrivateKey)
	switch {
	case err != nil || key.Public() == "":
		e.fault(subject, "web-push-keys", "vapid_private_key is not a P-256 private key.")
	default:
		e.ok(subject, "It is a P-256 key; browsers subscribe for %s.", key.Public())
	}
	if bell.CheckVAPIDSubject(w.VAPIDSubject) != nil {
		e.fault(p.Name+": vapid_subject", "web-push-subject", "Push services refuse it.")
	}
	for _, host := range w.Hosts {
		here := p.Name + ": " + host
		name, any := strings.CutPrefix(host, "*.")
		switch {
		case any && strings.Count(name, ".") == 0, narrow(name):
			e.fault(here, "web-push-hosts", "It lets pages make this server send to more than push services.")
		case !any && !e.o.Local:
			e.pushService(ctx, c, policy, here, host)
		}
	}
}

// pushService asks one as its sender would.
func (e *exam) pushService(ctx context.Context, c *caller, policy egress.Policy, here, host string) {
	to := url.URL{Scheme: "https", Host: host, Path: "/"}
	found, err := e.addresses(ctx, to.Hostname())
	if err != nil {
		e.fault(here, "web-push-unreachable", "Its name does not resolve.")
		return
	}
	if i := slices.IndexFunc(found, func(a netip.Addr) bool { return !policy.Allows(a) }); i >= 0 {
		e.fault(here, "web-push-private", "It leads to %s, which is not public: no push is sent there.", found[i])
		return
	}
	response, err := c.ask(ctx, http.MethodHead, to.String(), nil)
	if err != nil {
		e.fault(here, "web-push-unreachable", "There is no answer: %s.", why(err))
		return
	}
	_ = response.Body.Close()
	e.ok(here, "The push service answers.")
}

// narrow reports whether a host is one of this machine or its network.
func narrow(host string) bool {
	name, _, _ := strings.Cut(host, ":")
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && !reachable(a) || name == "localhost" || strings.HasSuffix(name, ".localhost") ||
		strings.HasSuffix(name, ".local") || strings.HasSuffix(name, ".internal")
}
