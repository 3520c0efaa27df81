package app

import (
	"context"
	"fmt"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/egress"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

// wants says what the customer's systems want to be told of a project. It is nil when that is
// nothing that the store makes itself; then the store does nothing for it.
func wants(cfg *config.Config) func(project string) bell.EventSet {
	made := bell.Events(bell.EventDeliveryFailed, bell.EventDeviceRemoved)
	sets, any := map[string]bell.EventSet{}, false
	for i := range cfg.Projects {
		p := cfg.Projects[i].Domain()
		sets[p.Name] = p.Events
		any = any || p.Events&made != 0
	}
	if !any {
		return nil
	}
	return func(project string) bell.EventSet { return sets[project] }
}

// wants reports whether a project's own systems want to be told a type of event.
func (a *App) wants(project string, t bell.EventType) bool {
	p, ok := a.projects.ByName(project)
	return ok && p.Events.Has(t)
}

// lostEvents are what the customer's systems are told of a call whose Call Event never came.
func (a *App) lostEvents(c bell.Call) []bell.Event {
	p, ok := a.projects.ByName(c.Project)
	if !ok {
		return nil
	}
	return bell.EndedEvents(&c, p.Events)
}

// buildWebhooks makes the worker that tells the customer's systems.
func (a *App) buildWebhooks(context.Context) error {
	endpoints, err := endpointsOf(&a.cfg)
	if err != nil {
		return err
	}
	roots, err := ProviderRoots(a.cfg.CAFile)
	if err != nil {
		return err
	}
	a.webhooks = webhook.New(webhook.Config{
		Store: a.store, Endpoints: endpoints, Owner: a.owner, Alone: a.nodes.alone(), Now: a.nodes.now(),
		Transport:   webhook.NewTransport(egress.Policy{Private: a.cfg.Webhooks.AllowPrivate}, roots),
		Concurrency: a.cfg.Webhooks.Concurrency, Keep: a.cfg.Webhooks.Keep,
		MaxOpen: a.cfg.Webhooks.MaxWaiting, MaxDead: a.cfg.Webhooks.MaxDead,
		Log: a.log.With("component", "webhook"), Metrics: webhook.NewMetrics(a.registry), Traceparent: a.eventParent(),
	})
	return nil
}

// endpointsOf are the endpoints of all projects.
func endpointsOf(cfg *config.Config) ([]*webhook.Endpoint, error) {
	var endpoints []*webhook.Endpoint
	for i := range cfg.Projects {
		p := &cfg.Projects[i]
		for j := range p.Events {
			e := &p.Events[j]
			made := &webhook.Endpoint{Project: p.Name, Name: e.Name, URL: e.URL, Fallback: e.FallbackURL, Types: e.Wanted()}
			for _, secret := range []planet.Secret{e.Secret, e.PreviousSecret} {
				if secret == "" {
					continue
				}
				key, err := bell.ParseSigningKey(secret)
				if err != nil {
					return nil, fmt.Errorf("projects[%d].events[%d]: the signing secret %w", i, j, err)
				}
				made.Keys = append(made.Keys, key)
			}
			endpoints = append(endpoints, made)
		}
	}
	return endpoints, nil
}
