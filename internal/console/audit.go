package console

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/console/signin"
)

const (
	// auditTime bounds the writing of an entry, which the answer waits for.
	auditTime = 5 * time.Second

	// Refusals beyond this, and whatever else is done by nobody in particular, are not recorded,
	// but counted in the next that is: anybody can cause them, and nobody shall fill the database.
	auditedRefusalRate  = rate.Limit(1.0 / 60) // per second
	auditedRefusalBurst = 20

	// refusedAccess is the action of somebody who may not ask, where the route has none.
	refusedAccess = "access.refuse"
)

// audited records what a route does, whatever becomes of it. It is put around every route that
// has an action or wants a role, so that no handler has to think of it; what was acted on is
// what the handler noted for the log.
func (c *console) audited(rt route, h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) (err error) {
		finished := false
		defer func() {
			outcome := outcomeOf(w, r, err)
			if !finished { // it panics
				outcome = audit.Failed
			}
			c.audit(r, rt, outcome)
		}()
		err = h(w, r)
		finished = true
		return err
	}
}

// outcomeOf takes nothing for a refusal but what authorized, refuse and arrived mark as one: a
// project without call rules forbids something to everybody, whoever asks.
func outcomeOf(w http.ResponseWriter, r *http.Request, err error) audit.Outcome {
	rec, ok := w.(*recorder)
	switch {
	case eventOf(r.Context()).refused:
		return audit.Refused
	case err == nil && (!ok || rec.code() < http.StatusBadRequest):
		return audit.Done
	}
	return audit.Failed
}

func (c *console) audit(r *http.Request, rt route, outcome audit.Outcome) {
	e := eventOf(r.Context())
	action, object := rt.action, objectOf(e)
	if e.unrecorded {
		return
	}
	if action == "" {
		if outcome != audit.Refused || rt.kind == pageRoute && e.who == (signin.Principal{}) {
			return // it only reads; who has no session yet is on the way to signing in
		}
		action = refusedAccess
	}
	// Whose name stands in a sign-in that failed need not be who sent it.
	if outcome == audit.Refused || e.who.Name == "" || rt.kind == signInRoute && outcome != audit.Done {
		if e.quiet || !c.auditRefusals.AllowN(c.Now(), 1) {
			c.unaudited.Add(1)
			return
		}
		object = "route=" + rt.pattern
		if n := c.unaudited.Swap(0); n > 0 {
			object += " and_unrecorded=" + strconv.FormatInt(n, 10)
		}
	}
	remote := ""
	if client := c.signin.Client(r); client.IsValid() {
		remote = client.String()
	}
	entry := audit.New(audit.Entry{
		At: c.Now(), Who: e.who.Name, Role: e.who.Role, Via: string(e.who.Via), Remote: remote,
		Action: action, Object: object, Outcome: outcome,
	})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), auditTime)
	defer cancel()
	if err := c.services.Audit.Audit(ctx, entry); err != nil {
		c.log.Error("what somebody did could not be written to the audit log; this line stands for it", "who", entry.Who, "role", entry.Role,
			"via", entry.Via, "remote", entry.Remote, "action", entry.Action, "object", entry.Object, "outcome", entry.Outcome, "error", err)
	}
}

// objectOf writes what a handler noted.
func objectOf(e *event) string {
	parts := make([]string, 0, len(e.attrs))
	for _, a := range e.attrs {
		parts = append(parts, a.Key+"="+a.Value.String())
	}
	return strings.Join(parts, " ")
}

// noteWho notes who asks, for the log and the audit log.
func noteWho(ctx context.Context, p signin.Principal) { eventOf(ctx).who = p }

// whoAttrs say who asked in the log line of a request.
func whoAttrs(p signin.Principal) []slog.Attr {
	if p.Name == "" {
		return nil
	}
	return []slog.Attr{slog.String("who", p.Name), slog.String("role", string(p.Role))}
}
