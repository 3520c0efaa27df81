package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table prints a plan and what the simulation of it gave, without and with the death of a node.
func table(w io.Writer, p *plan, well, ill result, in *inputs) {
	_, _ = fmt.Fprintf(w, "\n%s (%d devices a callee, %.0f %% of them poll, %.0f s a poll)\n\n", p.name, p.devices, 100*p.polling, p.hold)
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	line := func(what, format string, args ...any) {
		_, _ = fmt.Fprintf(t, "  %s\t%s\n", what, fmt.Sprintf(format, args...))
	}
	n := float64(p.shards)
	if p.shards > 1 {
		line("databases", "%d, each with its own nodes and bus: shard by service, or a distributed engine; below is one of them", p.shards)
	}
	line("nodes", "%d of %d cores (%s in all), one of them to spare", p.nodes, p.cores, count(float64(p.nodes)*n))
	line("their processors", "%.1f cores of work; %.0f %% busy, %.0f %% after one died", p.nodeLoad, 100*well.nodeBusy, 100*ill.nodeBusy)
	line("memory of a node", "%.1f GB with its share of the polls", p.perNode/1e9)
	line("PostgreSQL", "primary of %d cores, %.0f %% busy; its log is written %.0f %% of the time", p.pgCores, 100*well.pgBusy, 100*well.walBusy)
	line("", "%s commits/s, %s rows/s, %.0f MB/s of WAL, %s GB on disk a day of such load", count(well.commits), count(well.rows), p.wal/1e6,
		count(p.calls/n*86400*in.diskPerCall.value/1e9))
	line("bus", "%s hints/s: %s", count(p.hints), p.busWords(in))
	line("polls", "%s, %.1f GB in all; %s start each second; %s come back at once when a node dies", count(p.polls), p.pollMemory/1e9,
		count(p.polls/p.hold), count(p.polls/n/float64(p.nodes)))
	line("APNs", "%s pushes/s; %s streams open at %.0f ms, of %s that the nodes have", count(p.apns), count(p.apns*in.provider.p50/1e3), in.provider.p50,
		count(float64(p.nodes)*n*in.apnsStreams.value))
	line("FCM", "%s messages/s: %.1f times the default quota of a Firebase project", count(p.fcm), p.fcm/in.fcmQuota.value)
	_ = t.Flush()
	t = tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintf(t, "\n  simulated\tp50\tp99\tone node dies: p50\tp99\tp99.9\tlongest\n")
	for _, l := range []struct {
		what      string
		well, ill latencies
	}{
		{"callback answered", well.answered, ill.answered},
		{"callback to push", well.pushed, ill.pushed},
		{"callback to poll answered", well.polled, ill.polled},
	} {
		_, _ = fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%s\t%s\n", l.what, ms(l.well.before, .5), ms(l.well.before, .99),
			ms(l.ill.after, .5), ms(l.ill.after, .99), ms(l.ill.after, .999), ms(l.ill.after, 1))
	}
	_ = t.Flush()
	_, _ = fmt.Fprintf(w, "  %s\n", verdict(well, ill))
}

// busWords say which bus, and what it carries.
func (p *plan) busWords(in *inputs) string {
	if !p.nats {
		return fmt.Sprintf("PostgreSQL's NOTIFY is enough, its limit is %s", count(in.notifyLimit.value))
	}
	interest := float64(p.nodes) * in.natsInterest.value
	return fmt.Sprintf("NATS; %s deliveries/s if each is sent alone, of %s; %d subscriptions, %.0f KiB; %.0f MB",
		count(p.hints*float64(p.nodes-1)), count(in.natsLimit.value), p.nodes, interest, in.natsMemory.value)
}

// verdict says in a line whether it is enough.
func verdict(well, ill result) string {
	var words []string
	for _, r := range []struct {
		what string
		result
	}{{"", well}, {"with one node dead, ", ill}} {
		if r.overloaded != "" {
			words = append(words, fmt.Sprintf("OVERLOADED: %s%s", r.what, r.overloaded))
		}
	}
	if len(words) > 0 {
		return strings.Join(words, "; ")
	}
	return fmt.Sprintf("enough: %s calls, %s of them ended, once each; the dead node left %d accepted calls to others, %d devices too late, %d lost",
		count(float64(well.calls+ill.calls)), count(float64(well.ended+ill.ended)), ill.taken, well.late+ill.late, well.calls+ill.calls-well.ended-ill.ended)
}

func ms(all []float64, q float64) string {
	v := quantile(all, q)
	switch {
	case v == 0:
		return "-"
	case v >= 1000:
		return fmt.Sprintf("%.1f s", v/1e3)
	case v >= 10:
		return fmt.Sprintf("%.0f ms", v)
	}
	return fmt.Sprintf("%.1f ms", v)
}

// count is a number with commas, to three digits that mean something.
func count(v float64) string {
	scale := 1.0
	for v/scale >= 1000 {
		scale *= 10
	}
	digits := fmt.Sprintf("%.0f", float64(int(v/scale+.5))*scale)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// sources prints what everything was computed from.
func sources(w io.Writer, in *inputs) {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "Inputs\t\t")
	for _, i := range []struct {
		what string
		input
	}{
		{"node: Notify", in.notifyCPU},
		{"node: one push", in.pushCPU},
		{"node: Call Event", in.eventCPU},
		{"node: poll", in.pollCPU},
		{"work, p99 over p50", in.work},
		{"PostgreSQL: a commit", in.commitCPU},
		{"PostgreSQL: a row", in.rowCPU},
		{"PostgreSQL: a look", in.readCPU},
		{"WAL of a row", in.walPerRow},
		{"disk of a call", in.diskPerCall},
		{"WAL of one primary", in.walLimit},
		{"memory of a poll", in.pollMemory},
		{"and in the kernel", in.pollKernel},
		{"memory of a node", in.nodeMemory},
		{"NATS: memory", in.natsMemory},
		{"NATS: interest", in.natsInterest},
		{"NATS: limit", in.natsLimit},
		{"NOTIFY: limit", in.notifyLimit},
		{"FCM: quota", in.fcmQuota},
		{"APNs: streams of a node", in.apnsStreams},
	} {
		_, _ = fmt.Fprintf(t, "  %s\t%g %s\t%s\n", i.what, i.value, i.unit, i.source)
	}
	for _, s := range []struct {
		what string
		spread
	}{
		{"round trip", in.roundTrip},
		{"flush of the WAL", in.flush},
		{"provider", in.provider},
		{"bus: NOTIFY", in.notifyBus},
		{"bus: NATS", in.natsBus},
	} {
		_, _ = fmt.Fprintf(t, "  %s\tp50 %g ms, p99 %g ms\t%s\n", s.what, s.p50, s.p99, s.source)
	}
	_ = t.Flush()
}
