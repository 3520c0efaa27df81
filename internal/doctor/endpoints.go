package doctor

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"

	"github.com/planetbell/planetbell/internal/egress"
	"github.com/planetbell/planetbell/internal/push/transport"
)

// endpoint is one of the customer's own systems.
type endpoint struct {
	subject string
	address string // may hold a secret
	public  bool   // must have a public address, or one of webhooks.allow_private
}

// events looks at the endpoints that are told events.
func (e *exam) events(ctx context.Context) {
	var all []endpoint
	for i := range e.cfg.Projects {
		p := &e.cfg.Projects[i]
		for j := range p.Events {
			to := &p.Events[j]
			all = append(all, endpoint{p.Name + ": " + to.Name, to.URL.Reveal(), true})
			if to.FallbackURL != "" {
				all = append(all, endpoint{p.Name + ": " + to.Name + " (fallback)", to.FallbackURL.Reveal(), true})
			}
		}
	}
	e.endpoints(ctx, all, "no project has an endpoint of events")
}

// hooks looks at what is asked before calls ring, and when rooms start.
func (e *exam) hooks(ctx context.Context) {
	var all []endpoint
	for i := range e.cfg.Projects {
		p := &e.cfg.Projects[i]
		if p.PolicyHook.URL != "" {
			all = append(all, endpoint{p.Name + ": policy hook", p.PolicyHook.URL, false})
		}
		if p.Invitations.MembersURL != "" {
			all = append(all, endpoint{p.Name + ": members_url", p.Invitations.MembersURL, false})
		}
	}
	e.endpoints(ctx, all, "no project has a policy hook or members_url")
}

func (e *exam) endpoints(ctx context.Context, all []endpoint, none string) {
	if len(all) == 0 {
		e.skip("", "%s", none)
		return
	}
	roots, ok := e.roots()
	if !ok {
		return
	}
	policy := egress.Policy{Private: e.cfg.Webhooks.AllowPrivate}
	guarded, free := newGuarded(roots, policy), newCaller(roots, nil)
	defer guarded.close()
	defer free.close()
	var group sync.WaitGroup
	for _, to := range all {
		c := free
		if to.public {
			c = guarded
		}
		group.Go(func() { e.endpoint(ctx, c, policy, to) })
	}
	group.Wait()
}

// endpoint asks with HEAD, without a body or signature: nothing is told, and any answer shows
// that the way is open.
func (e *exam) endpoint(ctx context.Context, c *caller, policy egress.Policy, to endpoint) {
	u, err := url.Parse(to.address)
	if err != nil {
		e.fault(to.subject, "endpoint-unreachable", "Its address cannot be read.")
		return
	}
	if to.public {
		found, err := e.addresses(ctx, u.Hostname())
		if err != nil {
			e.fault(to.subject, "endpoint-unreachable", "The name %s does not resolve.", u.Hostname())
			return
		}
		if i := slices.IndexFunc(found, func(a netip.Addr) bool { return !policy.Allows(a) }); i >= 0 {
			e.fault(to.subject, "endpoint-private", "%s leads to %s, which is not public: events are not told there.", u.Hostname(), found[i])
			return
		}
	}
	response, err := c.ask(ctx, http.MethodHead, to.address, nil)
	switch {
	case err != nil && transport.Reason(err) == transport.TLS:
		e.fault(to.subject, "endpoint-tls", "%s: %s.", u.Host, why(err))
		return
	case err != nil:
		e.fault(to.subject, "endpoint-unreachable", "%s: %s.", u.Host, why(err))
		return
	}
	_ = response.Body.Close()
	if response.StatusCode >= 500 && response.StatusCode != http.StatusNotImplemented {
		e.fault(to.subject, "endpoint-failing", "%s answers %d.", u.Host, response.StatusCode)
		return
	}
	e.ok(to.subject, "%s answers.", u.Host)
}
