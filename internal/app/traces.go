package app

import (
	"context"
	"fmt"

	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/httpapi"
	"github.com/planetbell/planetbell/internal/telemetry"
	"github.com/planetbell/planetbell/planet"
)

// openTraces makes what sends traces, if they go anywhere. Without them everybody who writes
// spans has nil, and no goroutine runs.
func (a *App) openTraces(ctx context.Context) error {
	t := a.cfg.Telemetry.Traces
	if t.Endpoint == "" {
		return nil
	}
	roots, err := ProviderRoots(a.cfg.CAFile)
	if err != nil {
		return err
	}
	a.traces, err = telemetry.NewTraces(ctx, telemetry.TraceConfig{
		Endpoint: t.Endpoint, Headers: t.Headers, SampleRatio: t.SampleRatio, RootCAs: roots,
		Version: string(a.version), Node: a.node, Log: a.log.With("component", "traces"), Registerer: a.registry,
	})
	if err != nil {
		return fmt.Errorf("telemetry.traces: %w", err)
	}
	a.cleanups.push("send the last traces", a.traces.Close)
	return nil
}

func (a *App) deliveryTraces() delivery.Traces {
	if a.traces == nil {
		return nil
	}
	return a.traces
}

func (a *App) callbackTraces() httpapi.Traces {
	if a.traces == nil {
		return nil
	}
	return a.traces
}

// traceparent is what the policy hook is sent; nil without traces.
func (a *App) traceparent() func(planet.Environment, planet.SessionID) string {
	if a.traces == nil {
		return nil
	}
	return a.traces.Traceparent
}

// eventParent is what webhooks are sent; nil without traces.
func (a *App) eventParent() func(subject string) string {
	if a.traces == nil {
		return nil
	}
	return a.traces.OfSubject
}
