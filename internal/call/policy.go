package call

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// policyBudget is how long a Notify waits for the policy, beside the callee's devices. The
// policy bounds itself to less; this holds whatever becomes of it, and leaves room for the
// store within what a Notify may take.
const policyBudget = 1300 * time.Millisecond

// Policy says before a call rings whether it may, and what the callee is shown of the caller.
// It is asked for calls that are new as far as the service knows, and for repeats after a
// restart too; and for invitations into rooms, which say so by their purpose. Whenever it cannot say, it must let the call ring: a lost call is worse than
// an unwanted one.
type Policy interface {
	// Decide is called while the callee's devices are read. project is the callee's, or, if
	// that is not configured, the one that was called. c is a copy without cc_param. It
	// should return soon after ctx ends; it is not waited for any longer.
	Decide(ctx context.Context, project *bell.Project, c bell.Call) bell.Decision
}

// ask asks the policy. The returned function waits for its decision, puts what devices are
// shown into the call, and says whether it is suppressed; it must be called. Without a policy
// nothing is done.
func (s *Service) ask(ctx context.Context, called *bell.Project, c *bell.Call) func(*bell.Call) bell.Suppression {
	if s.policy == nil {
		return func(*bell.Call) bell.Suppression { return bell.RingsAll }
	}
	project := called
	if p, ok := s.projects.Reaching(called.Environment, c.Callee.ServiceID); ok {
		project = p
	}
	asked := *c
	asked.CCParam = ""
	ctx, cancel := context.WithTimeoutCause(ctx, policyBudget, errPolicySlow)
	answered := make(chan bell.Decision, 1)
	s.reads.Go(func() { answered <- s.policy.Decide(ctx, project, asked) })
	return func(c *bell.Call) bell.Suppression {
		defer cancel()
		select {
		case d := <-answered:
			c.CallerName, c.AppFields = d.CallerName, d.AppFields
			return d.Suppress
		case <-ctx.Done():
			return bell.RingsAll
		}
	}
}

// suppress records a call that is not to ring, so that history and the operator see it. Its
// devices need not be known for that; silenced says that it has some, or may have. cc_param is
// of no use to anybody then.
func (s *Service) suppress(ctx context.Context, c *bell.Call, silenced bool, raw []planet.RawParam) (RingResult, error) {
	raw = withoutCCParam(raw, c.CCParam)
	c.CCParam = ""
	result, err := s.record(ctx, c, nil, raw)
	if err != nil || result.Repeated {
		return result, err
	}
	s.metrics.suppressed.WithLabelValues(string(c.Suppressed)).Inc()
	if silenced {
		result.Suppressed = c.Suppressed
	}
	return result, nil
}
