package app

import (
	"context"

	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/policy"
)

// buildPolicy makes what calls are asked about before they ring. Without a project that wants
// it, calls are not asked at all.
func (a *App) buildPolicy() error {
	settings := map[string]policy.Settings{}
	for i := range a.cfg.Projects {
		p := &a.cfg.Projects[i]
		settings[p.Name] = policy.Settings{
			Rules: p.CallRules, Names: p.CallerNames,
			Hook: policy.Hook{
				URL: p.PolicyHook.URL, Secret: p.PolicyHook.Secret,
				Timeout: p.PolicyHook.Timeout, CacheMax: p.PolicyHook.CacheMax,
			},
		}
	}
	roots, err := ProviderRoots(a.cfg.CAFile)
	if err != nil {
		return err
	}
	a.policy, err = policy.New(policy.Config{
		Store: a.store, Settings: settings, RootCAs: roots, Now: a.nodes.now(),
		Log: a.log.With("component", "policy"), Metrics: policy.NewMetrics(a.registry), Traceparent: a.traceparent(),
	})
	if err != nil {
		return err
	}
	a.cleanups.push("close the policy hooks", func(context.Context) error { a.policy.Close(); return nil })
	return nil
}

// callPolicy is the policy that calls ask; nil when there is nothing to be asked.
func (a *App) callPolicy() call.Policy {
	if !a.policy.Needed() {
		return nil
	}
	return a.policy
}
