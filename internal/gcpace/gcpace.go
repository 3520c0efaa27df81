// Package gcpace lets the garbage collector run less often while the server is busy.
//
// Go starts a collection when the heap has doubled. The server keeps so little that under load this
// would be 20 or 30 times a second, for a fifth of the processor. Here the heap may grow further
// before the next collection, by no more than Most, and only as far as it needs to have at most
// four collections a second. An idle server is as small as ever.
package gcpace

import (
	"context"
	"math"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// Most is how many bytes of garbage are let be before a collection, beyond what Go would let be itself.
const Most = 64 << 20

const (
	interval  = time.Second // between two looks at how much is allocated
	perSecond = 4           // collections that are wanted at most
	usual     = 100         // Go's own GOGC
	highest   = 1600        // a heap of 4 MB that may grow by Most
	slack     = 1.2         // a value that differs by less is left, because a change stops the world for a moment
)

// Start sets the pace until stop is called, which waits for its goroutine and leaves the process with
// Go's own pace again. It does nothing if the operator has set GOGC. It is for the process as a
// whole: one is enough. GOMEMLIMIT stays in force: near it the collector runs as often as it must.
func Start() (stop func()) {
	if os.Getenv("GOGC") != "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { run(ctx, heapNow, func(percent int) { debug.SetGCPercent(percent) }) })
	return func() {
		cancel()
		running.Wait()
	}
}

// heap is what the runtime says of the heap.
type heap struct {
	allocated uint64 // bytes since the process began
	live      uint64 // bytes that the last collection left
}

func run(ctx context.Context, now func() heap, set func(percent int)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	defer set(usual)
	at, last := usual, now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h := now()
		want := percent(h.allocated-last.allocated, h.live)
		last = h
		if ratio := float64(want) / float64(at); ratio > slack || ratio < 1/slack || want == usual && at != usual {
			set(want)
			at = want
		}
	}
}

// percent is the GOGC for a server that allocates so many bytes a second and has so many alive.
func percent(rate, live uint64) int {
	if live == 0 {
		return usual
	}
	garbage := min(rate/perSecond, Most)
	return int(math.Round(min(max(100*float64(garbage)/float64(live), usual), highest)))
}

func heapNow() heap {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return heap{allocated: s[0].Value.Uint64(), live: s[1].Value.Uint64()}
}
