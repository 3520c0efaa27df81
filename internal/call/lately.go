package call

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Bounds of what is remembered of calls while the store cannot say.
const (
	// latelyMax is how many calls: some 10 MB, and a minute at 800 calls a second.
	latelyMax = 50_000
	// latelyKept is how long: longer than any ring, and so than any repeat of its Notify.
	latelyKept = 2 * time.Minute
)

// callKey is a call's identity.
type callKey struct {
	environment planet.Environment
	id          planet.SessionID
}

// lately remembers which calls began and ended, for the time in which the store cannot be
// asked: a repeat of a Notify that came before the trouble must not ring again.
type lately struct {
	mu    sync.Mutex // guards calls
	calls *simplelru.LRU[callKey, trace]
}

// trace is when a call began and ended, as far as this process was told.
type trace struct {
	began, ended time.Time
	first        time.Time // when its first Notify came
	devices      int       // that rang
	said         bool      // that it ended is in the log
}

func newLately() *lately {
	calls, err := simplelru.NewLRU[callKey, trace](latelyMax, nil)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &lately{calls: calls}
}

func (l *lately) mark(key callKey, change func(*trace)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, _ := l.calls.Get(key)
	change(&t)
	l.calls.Add(key, t)
}

func (l *lately) begin(key callKey, now time.Time) {
	l.mark(key, func(t *trace) {
		if t.began = now; t.first.IsZero() {
			t.first = now
		}
	})
}

func (l *lately) end(key callKey, now time.Time) { l.mark(key, func(t *trace) { t.ended = now }) }

// rang notes how many devices of a call that began rang.
func (l *lately) rang(key callKey, devices int) { l.mark(key, func(t *trace) { t.devices = devices }) }

// say returns what is known of a call that ended, and whether that was said before.
func (l *lately) say(key callKey) (known trace, before bool) {
	l.mark(key, func(t *trace) { known, before, t.said = *t, t.said, true })
	return known, before
}

// what says whether the call began, and whether it ended, in the last time.
func (l *lately) what(key callKey, now time.Time) (began, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, ok := l.calls.Peek(key)
	if !ok {
		return false, false
	}
	return now.Sub(t.began) < latelyKept, now.Sub(t.ended) < latelyKept
}

// flights lets one Notify of a call through at a time: while the store hangs, two copies
// would both find the call unknown, and ring it twice.
type flights struct {
	mu    sync.Mutex // guards under
	under map[callKey]chan struct{}
}

// enter waits for an earlier copy. leave must be called when err is nil.
func (f *flights) enter(ctx context.Context, key callKey) (leave func(), err error) {
	for {
		f.mu.Lock()
		earlier, under := f.under[key]
		if !under {
			mine := make(chan struct{})
			f.under[key] = mine
			f.mu.Unlock()
			return func() {
				f.mu.Lock()
				delete(f.under, key)
				f.mu.Unlock()
				close(mine)
			}, nil
		}
		f.mu.Unlock()
		select {
		case <-earlier:
		case <-ctx.Done():
			return nil, bell.E(bell.Unavailable, "An earlier copy of this Notify is still being recorded.", context.Cause(ctx))
		}
	}
}

// ended waits until no Notify of the call is on its way, and reports whether that was so
// before ctx ended.
func (f *flights) ended(ctx context.Context, key callKey) bool {
	for {
		f.mu.Lock()
		earlier, under := f.under[key]
		f.mu.Unlock()
		if !under {
			return true
		}
		select {
		case <-earlier:
		case <-ctx.Done():
			return false
		}
	}
}
