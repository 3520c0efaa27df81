package device

import (
	"context"
	"errors"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// firstPrune leaves the minute after a start to what rings.
	firstPrune = time.Minute
	pruneEvery = time.Hour
	// pruneBatch is how many devices one transaction removes: others' writes wait for it.
	pruneBatch = 100
)

// Run forgets devices that made no contact for long, soon after its start and then every
// hour, and takes strikes back that turned out to be the configuration's fault. It returns
// when ctx ends. Run it once.
func (s *Service) Run(ctx context.Context) {
	timer := time.NewTimer(firstPrune)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.shares.wake:
			s.lift(ctx)
		case <-timer.C:
			s.prune(ctx)
			timer.Reset(pruneEvery)
		}
	}
}

// prune removes devices that are gone, in transactions so small that no ring waits.
func (s *Service) prune(ctx context.Context) {
	unseenSince := s.Now().Add(-s.ForgetUnseen)
	for ctx.Err() == nil {
		gone, err := s.Store.PruneDevices(ctx, unseenSince, pruneBatch)
		if err != nil {
			s.Log.Error("devices that made no contact for long could not be removed; tried again in an hour", "error", err)
			return
		}
		for i := range gone {
			s.Metrics.forgotten(gone[i].Channel, unseen)
		}
		if len(gone) > 0 {
			s.Log.Info("devices were removed that made no contact for long", "devices", len(gone), "since", unseenSince)
		}
		if len(gone) < pruneBatch {
			return
		}
	}
}

// lift takes back the strikes that a misconfigured route has caused before there were
// enough of them to tell: no device stays suspended for a mistake in the configuration.
func (s *Service) lift(ctx context.Context) {
	lifted := 0
	for _, strike := range s.shares.takeBack() {
		err := s.Store.AmendDevice(ctx, strike.device, func(current bell.Device) (bell.Device, bool) {
			next := current
			acquit(&next)
			return next, current.PushToken == strike.token && current.Strikes > 0
		})
		switch {
		case errors.Is(err, bell.NotFound):
		case err != nil:
			s.Log.Error("a suspension was not lifted; it ends by itself", "device", strike.device, "error", err)
		default:
			lifted++
		}
	}
	s.Log.Warn("devices are no longer held responsible for what the configuration must have caused", "strikes", lifted)
}
