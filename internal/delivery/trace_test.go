package delivery

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// tracer notes what it is told.
type tracer struct {
	mu  sync.Mutex
	got []string
}

func (r *tracer) note(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, what)
}

func (r *tracer) Attempt(ring *bell.Ring, via, _ string, a bell.Attempt) string {
	r.note(ring.Device.ID + " " + via + " " + string(a.Outcome.Verdict))
	return "0af7651916cd43dd8448eb211c80319c"
}

func (r *tracer) Receipt(_ *bell.Receipt, delivery string) { r.note("receipt " + delivery) }

func TestAttemptsAreTraced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &tracer{}
		b := newBench(t, func(c *Config) { c.Traces = r })
		b.on("a", script(bell.RetryNow))
		b.begin(t, b.rings(1, bell.FCM, "a"))
		pass(time.Second)
		box := b.rings(1, bell.LongPoll, "c")
		b.store.add(box...)
		b.HandedOut(box[0], time.Now())
		for range 2 { // a repeat is not traced
			if _, err := b.Receive(t.Context(), receipt(1, "c")); err != nil {
				t.Fatal(err)
			}
		}
		if want := []string{"a acme retry_now", "a acme accepted", "c acme accepted", "receipt c/1"}; !slices.Equal(r.got, want) {
			t.Errorf("traced %q, want %q", r.got, want)
		}
		b.finish(t)
	})
}
