package bustest

import (
	"slices"
	"testing"
	"time"
)

// Bench measures two nodes: how soon a hint wakes the other, and how many hints arrive in
// a second.
func Bench(b *testing.B, f Form) {
	nodes := up(b, f, "a", "b")
	sender, receiver := nodes[0], nodes[1]
	n := 0
	wake := func(pause time.Duration) func(*testing.B) {
		return func(b *testing.B) {
			var took []time.Duration
			for b.Loop() {
				if pause > 0 {
					<-time.After(pause)
				}
				n++
				began := time.Now()
				sender.Publish(mail(n))
				arrives(b, receiver, mail(n))
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(0, "ns/op") // holds the pause, too
		}
	}
	b.Run("wake-up after a pause", wake(10*time.Millisecond))
	b.Run("wake-up in a row", wake(0))
	b.Run("hints", func(b *testing.B) {
		for b.Loop() {
			for range 4000 { // below the bounds of the queues
				n++
				sender.Publish(mail(n))
			}
			arrives(b, receiver, mail(n))
		}
		b.ReportMetric(float64(b.N)*4000/b.Elapsed().Seconds(), "hints/s")
		if d := receiver.Metric(b, "planetbell_bus_dropped_total"); d > 0 {
			b.Errorf("%v hints were dropped", d)
		}
	})
}
