package device

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// sickStore is a store in trouble: reads fail with one error, writes with another, or hang
// until their caller leaves.
type sickStore struct {
	*fakeStore
	reads, writes error
	hangs         bool
}

func (s *sickStore) DeviceBySession(ctx context.Context, id string) (bell.Device, error) {
	if s.reads != nil {
		return bell.Device{}, s.reads
	}
	return s.fakeStore.DeviceBySession(ctx, id)
}

func (s *sickStore) ChangeDevice(ctx context.Context, key Key, change func(Known) (bell.Device, error)) (bell.Device, error) {
	if s.hangs {
		<-ctx.Done()
		return bell.Device{}, bell.E(bell.Unavailable, "The database took too long.", ctx.Err())
	}
	if s.writes != nil {
		return bell.Device{}, s.writes
	}
	return s.fakeStore.ChangeDevice(ctx, key, change)
}

// A device that polls goes on to poll while the store is in trouble, and so does a Windows
// client that says so before each time. Whoever is not known is refused.
func TestPollingWhileTheStoreIsSick(t *testing.T) {
	away := bell.E(bell.Unavailable, "The disk is gone.", nil)
	full := bell.E(bell.Overload, "Too many writes.", nil)
	lp := Address{NotificationType: "lp"}
	for name, test := range map[string]struct {
		reads, writes error
		hangs         bool
		later         time.Duration
		known         bool
	}{
		"no write":                {writes: away, later: time.Hour, known: true},
		"too many writes":         {writes: full, later: time.Hour, known: true},
		"writes hang":             {hangs: true, later: time.Hour, known: true},
		"no read, no write":       {reads: away, writes: away, later: time.Minute, known: true},
		"no read for a long time": {reads: away, writes: away, later: 11 * time.Minute, known: false},
		"another failure":         {writes: errDisk, later: time.Hour, known: false},
		"the device is gone":      {reads: bell.NotFound, writes: away, later: time.Minute, known: false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &sickStore{fakeStore: &fakeStore{devices: map[string]bell.Device{}}}
				s := New(Config{Store: store})
				id := identity("session", "bob")
				id.ExpiresAt = time.Now().Add(24 * time.Hour)
				if _, err := s.UpdateToken(t.Context(), id, lp); err != nil {
					t.Fatal(err)
				}
				want, err := s.Polling(t.Context(), id, false)
				if err != nil {
					t.Fatal(err)
				}
				<-time.After(test.later)
				store.reads, store.writes, store.hangs = test.reads, test.writes, test.hangs
				start := time.Now()
				got, err := s.Polling(t.Context(), id, false)
				if test.known != (err == nil) || test.known && got != want {
					t.Errorf("Polling = %q, %v; want %q: %v", got, err, want, test.known)
				}
				if _, err := s.UpdateToken(t.Context(), id, lp); test.known != (err == nil) {
					t.Errorf("UpdateToken = %v, want it answered: %v", err, test.known)
				}
				if took := time.Since(start); took > 2*refreshBudget {
					t.Errorf("it took %v", took)
				}
				if _, err := s.Polling(t.Context(), identity("nobody's", "bob"), false); err == nil {
					t.Error("a session that never polled polls")
				}
				push := Address{NotificationType: "fcm", Token: "a-push-token-that-is-long-enough"}
				if _, err := s.UpdateToken(bounded(t), id, push); err == nil || errors.Is(err, bell.Invalid) {
					t.Errorf("a push token that is not written: %v", err)
				}
			})
		})
	}
}

// bounded is a context that ends: what a push token says must be written, however long it takes.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}
