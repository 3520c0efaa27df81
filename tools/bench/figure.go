package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// figure is one measurement: a rate, and latencies where they mean something.
type figure struct {
	perSecond float64
	answer    quantiles // request to answer
	push      quantiles // request to push on the wire

	heapBefore, heapAfter uint64        // bytes alive; of room events only
	processor             time.Duration // used for each event by server and client together; of room events only
}

// quantiles are the middle and the slowest hundredth.
type quantiles struct{ p50, p99 time.Duration }

func (f figure) String() string {
	s := fmt.Sprintf("%9.0f/s", f.perSecond)
	if f.answer.p99 > 0 {
		s += fmt.Sprintf("  answer p50 %s p99 %s", round(f.answer.p50), round(f.answer.p99))
	}
	if f.push.p99 > 0 {
		s += fmt.Sprintf("  push p50 %s p99 %s", round(f.push.p50), round(f.push.p99))
	}
	return s
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Microsecond) }

// quantilesOf sorts samples in place.
func quantilesOf(samples []time.Duration) quantiles {
	if len(samples) == 0 {
		return quantiles{}
	}
	slices.Sort(samples)
	at := func(q float64) time.Duration { return samples[min(int(q*float64(len(samples))), len(samples)-1)] }
	return quantiles{p50: at(.5), p99: at(.99)}
}

// results are the figures of all rounds.
type results map[string][]figure

func newResults() results { return results{} }

func (r results) add(name string, f figure) { r[name] = append(r[name], f) }

// median is the middle figure by rate, and for fixed rates by the push's p99.
func (r results) median(name string) figure {
	all := slices.Clone(r[name])
	slices.SortFunc(all, func(a, b figure) int {
		if a.perSecond == b.perSecond { // a fixed rate: the latency is the figure
			return int(a.push.p99 + a.answer.p99 - b.push.p99 - b.answer.p99)
		}
		return int(a.perSecond - b.perSecond)
	})
	return all[len(all)/2]
}

// print writes the report: ours, the bare limit, and the ratio of the two.
func (r results) print(out io.Writer) {
	answer, wire := r.median(bareAnswer), r.median(barePushAnswer)
	handler, commit, push := r.median(bareHandler), r.median(bareCommit), r.median(barePush)
	steady, full, slow := r.median(answer1000), r.median(callsPerSecond), r.median(calls50ms)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(cells ...any) {
		for _, c := range cells {
			fmt.Fprintf(w, "%v\t", c)
		}
		fmt.Fprintln(w)
	}
	rate := func(f float64) string { return fmt.Sprintf("%.0f/s", f) }
	ratio := func(a, b float64) string { return fmt.Sprintf("%.2f", a/b) }
	many := func(a, b time.Duration) string { return fmt.Sprintf("%.1f times", float64(a)/float64(b)) }
	fmt.Fprintln(out)
	row("figure", "planetbell", "bare limit here", "ratio")
	row("callback answered, 1,000 calls/s, p50", round(steady.answer.p50), "net/http "+round(answer.answer.p50).String(), many(steady.answer.p50, answer.answer.p50))
	row("callback answered, 1,000 calls/s, p99", round(steady.answer.p99), "net/http "+round(answer.answer.p99).String(), many(steady.answer.p99, answer.answer.p99))
	bare50, bare99 := answer.answer.p50+wire.push.p50, answer.answer.p99+wire.push.p99
	row("callback in to push on the wire, 1,000 calls/s, p50", round(steady.push.p50), "net/http + HTTP/2 push "+round(bare50).String(), many(steady.push.p50, bare50))
	row("callback in to push on the wire, 1,000 calls/s, p99", round(steady.push.p99), "net/http + HTTP/2 push "+round(bare99).String(), many(steady.push.p99, bare99))
	row("calls/s, durable, provider answers at once", rate(full.perSecond), "net/http "+rate(handler.perSecond), ratio(full.perSecond, handler.perSecond))
	row("", "", "HTTP/2 push "+rate(push.perSecond), ratio(full.perSecond, push.perSecond))
	row("", "", "SQLite commit, grouped "+rate(commit.perSecond), ratio(full.perSecond, commit.perSecond))
	row("callback in to push on the wire at that rate, p99", round(full.push.p99), "", "")
	row("calls/s, durable, provider takes 50 ms", rate(slow.perSecond), "", "")
	row("callback in to push on the wire at that rate, p99", round(slow.push.p99), "", "")
	if err := w.Flush(); err != nil {
		fmt.Fprintln(out, err)
	}
}
