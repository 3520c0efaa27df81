package app

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/internal/store/sqlite"
	"github.com/planetbell/planetbell/planet"
)

// BenchmarkRing is a Notify from its parameters to the disk, for 5,000 callees with a phone
// each, as it is and with what can be asked about it. Callers have rules and names of their
// own, so nothing is remembered from one call to the next.
func BenchmarkRing(b *testing.B) {
	for name, settings := range map[string]*policy.Settings{
		"bare": nil, "names": {Names: true}, "rules": {Rules: true}, "both": {Rules: true, Names: true},
	} {
		b.Run(name, func(b *testing.B) { benchmarkRing(b, settings) })
	}
}

func benchmarkRing(b *testing.B, settings *policy.Settings) {
	const users = 5000
	log := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(b.Context(), sqlite.Config{Path: filepath.Join(b.TempDir(), "bench.db"), Log: log})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	acme := &bell.Project{Name: "acme", Environment: planet.Evaluation, ServiceID: "svc", CallbackSecret: "a"}
	projects, err := bell.NewProjects([]*bell.Project{acme})
	if err != nil {
		b.Fatal(err)
	}
	config := call.Config{Store: store, Bells: silent{}, Projects: projects}
	if settings != nil {
		p, err := policy.New(policy.Config{Store: store, Settings: map[string]policy.Settings{"acme": *settings}})
		if err != nil {
			b.Fatal(err)
		}
		defer p.Close()
		config.Policy = p
	}
	calls := call.New(config)
	user := func(n int64) planet.UserRef {
		return planet.UserRef{ServiceID: "svc", UserID: fmt.Sprintf("user-%d", n%users)}
	}
	for n := range int64(users) {
		owner := bell.Owner{Environment: planet.Evaluation, User: user(n)}
		device := bell.Device{ID: uuid.NewString(), Owner: owner, Project: "acme", Channel: bell.FCM, PushToken: planet.Secret(fmt.Sprint(n))}
		if err := store.AddDevice(b.Context(), device); err != nil {
			b.Fatal(err)
		}
		if n%10 == 0 {
			if err := store.Block(b.Context(), owner, policy.Blocked{User: planet.UserRef{ServiceID: "svc", UserID: "eve"}}, 10); err != nil {
				b.Fatal(err)
			}
		}
	}
	const callers = 256
	b.SetParallelism((callers + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
	var n atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			notify := planet.NotifyCallback{
				SessionID: planet.SessionID(uuid.NewString()), Caller: user(i * 7), Callee: user(i), Type: planet.AudioCall,
				CCParam: planet.CCParam("param"), Raw: []planet.RawParam{{Name: "sid", Value: "x"}, {Name: "type", Value: "A"}},
			}
			if _, err := calls.Ring(context.Background(), acme, notify); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

// silent are bells that ring nothing.
type silent struct{ *quiet }

func (silent) Start([]bell.Ring) {}

func (silent) Hold(_ *bell.Device, now, _ time.Time) (bell.DeliveryState, string, time.Time) {
	return bell.DeliverySending, "this", now
}
