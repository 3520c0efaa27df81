package console_test

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console/window"
	"github.com/planetbell/planetbell/internal/delivery"
)

// fakeFigures are the services behind the overview and the pages of devices.
type fakeFigures struct {
	owned   []bell.Device // of every user
	minutes []call.Minute
	failing []call.FailingGroup

	tallies, failings atomic.Int32 // how often they were asked for

	rung    []call.RungCall
	look    window.Look
	routes  map[string]string // why nothing leads to a device
	trials  []delivery.Trial
	result  delivery.TrialResult
	refused error // of trials
}

func (f *fakeFigures) Show(_ context.Context, id string) (bell.Device, error) {
	for _, d := range f.owned {
		if d.ID == id {
			return d, nil
		}
	}
	return bell.Device{}, bell.E(bell.NotFound, "", nil)
}

func (f *fakeFigures) Of(context.Context, bell.Owner) ([]bell.Device, error) { return f.owned, nil }

func (f *fakeFigures) Tally(context.Context, time.Time, int) ([]call.Minute, bool, error) {
	f.tallies.Add(1)
	return f.minutes, false, nil
}

func (f *fakeFigures) Failing(context.Context, time.Time, int) ([]call.FailingGroup, error) {
	f.failings.Add(1)
	return f.failing, nil
}

func (f *fakeFigures) Rung(context.Context, bell.Device, int) ([]call.RungCall, error) {
	return f.rung, nil
}

func (f *fakeFigures) Look() window.Look { return f.look }

func (f *fakeFigures) Try(_ context.Context, t delivery.Trial) (delivery.TrialResult, error) {
	f.trials = append(f.trials, t)
	return f.result, f.refused
}
