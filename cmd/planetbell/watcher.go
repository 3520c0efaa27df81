package main

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

const legend = `In each line: the time since the caller pressed call, who, and what happened.
"cloud" is the pretend Planet Cloud.`

// watcher shows people what happens in the simulator, one line for each event. Its
// methods are for one goroutine; apart may be set from another.
type watcher struct {
	out   printer
	apart atomic.Bool // puts an empty line before each call

	placed map[planet.SessionID]time.Time // when the calls that run were placed
}

// event prints an event as it happens: how long after the call was placed, who, what.
func (w *watcher) event(e sim.Event) {
	switch e.Kind {
	case sim.EventVerified:
		return // the phone itself tells it, and how it was woken
	case sim.EventPlaced:
		if w.placed == nil {
			w.placed = map[planet.SessionID]time.Time{}
		}
		w.placed[e.SessionID] = e.At
		if w.apart.Load() {
			w.out.line("")
		}
	}
	since := ""
	if start, ok := w.placed[e.SessionID]; ok {
		since = sinceCall(e.At.Sub(start))
	}
	w.out.line("  %9s  %-18s %s", since, e.Source, eventText(e))
	if e.Kind == sim.EventCallback && strings.HasPrefix(e.Text, "call-event") {
		delete(w.placed, e.SessionID) // nothing follows but phones that are late
	}
}

func eventText(e sim.Event) string {
	switch {
	case e.Kind == sim.EventReceived && e.Latency > 0:
		return "rings: " + e.Text
	case e.Kind == sim.EventCallback && e.Latency > 0:
		return fmt.Sprintf("%s in %.1f ms", e.Text, milliseconds(e.Latency))
	}
	return e.Text
}

// sinceCall writes milliseconds for what the server and the providers do, and seconds for
// what people do.
func sinceCall(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%.3f s", d.Seconds())
	}
	return fmt.Sprintf("%.1f ms", milliseconds(d))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
