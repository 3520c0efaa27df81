package clustertest

import (
	"context"
	"slices"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Ended implements cluster.Store.
func (l *Link) Ended(ctx context.Context, calls []bell.CallKey) (ended []bell.CallKey, err error) {
	err = l.Do(ctx, func() {
		for _, key := range calls {
			if _, over := l.db.ended[key]; over {
				ended = append(ended, key)
			}
		}
	})
	return ended, err
}

// endedAreCallsWhoseEventCame is about calls that nobody has in hand any more: what became of their
// deliveries does not matter.
func endedAreCallsWhoseEventCame(t *testing.T, b bench) {
	one := b.device(t, "one", "u1", bell.LongPoll)
	rings, over, received, second := b.ring(t, one, "me"), b.ring(t, one, "me"), b.ring(t, one, "me"), b.ring(t, one, "other")
	given := b.ring(t, one, "me")
	received.Delivery.State, given.Delivery.State = bell.DeliveryReceived, bell.DeliveryExpired
	b.Record(t, received.Delivery)
	b.Record(t, given.Delivery)
	for _, r := range []bell.Ring{over, received} {
		b.End(t, *r.Call)
	}
	key := func(r bell.Ring) bell.CallKey {
		return bell.CallKey{Environment: r.Call.Environment, SessionID: r.Call.SessionID}
	}
	elsewhere, unknown := key(over), key(rings)
	elsewhere.Environment, unknown.SessionID = planet.Real, "unknown"
	ask := func(what string, calls []bell.CallKey, want ...bell.CallKey) {
		t.Helper()
		ended, err := b.Store.Ended(t.Context(), calls)
		if err != nil {
			t.Fatal(err)
		}
		if len(ended) != len(want) || slices.ContainsFunc(want, func(k bell.CallKey) bool { return !slices.Contains(ended, k) }) {
			t.Errorf("%s: ended are %v, want %v", what, ended, want)
		}
	}
	ask("all", []bell.CallKey{elsewhere, key(rings), key(over), key(received), unknown, key(second), key(given)}, key(over), key(received))
	ask("one that rings", []bell.CallKey{key(rings)})
	ask("nothing", nil)
	b.End(t, *second.Call)
	ask("another", []bell.CallKey{key(second), key(rings)}, key(second))
}
