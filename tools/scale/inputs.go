package main

import (
	"math"
	"math/rand/v2"
)

// input is one figure that everything is computed from, and where it comes from.
type input struct {
	value  float64
	unit   string
	source string
}

// inputs are all of them. To bring the tables up to date, change the values here and run
// "make scale"; nothing else holds a figure.
type inputs struct {
	// Work of a node's processor, in microseconds of one core.
	notifyCPU, pushCPU, eventCPU, pollCPU input
	// Work of PostgreSQL's processors, in microseconds of one core.
	commitCPU, rowCPU, readCPU input
	// What a call leaves behind.
	walPerRow, diskPerCall input
	walLimit               input
	// Memory.
	pollMemory, pollKernel, nodeMemory, natsMemory, natsInterest input
	// Limits of others.
	fcmQuota, apnsStreams, notifyLimit, natsLimit input
	// Latencies, in milliseconds.
	roundTrip, flush, provider, notifyBus, natsBus spread
	// How far the work of one request is from its mean: the 99th hundredth over the median.
	work input
}

// spread is a latency by its median and its 99th hundredth, taken for log-normal.
type spread struct {
	p50, p99 float64 // milliseconds
	source   string
}

const (
	perf      = "docs/performance.md"
	assumed   = "ASSUMED, not measured: "
	micro     = "µs of a core"
	twoShared = "; 2 shared cores"
)

// known are today's figures. "Own measurement" is a table set like ours in PostgreSQL 15 on 2
// shared cores that others used too: 40,000 calls with two devices, three transactions each, made
// inside the server, so without the work of its protocol.
var known = inputs{
	notifyCPU: input{174, micro, perf + ", First figures: 2 cores / 7,300 calls/s = 274 µs, generator and provider included; less the push" + twoShared},
	pushCPU:   input{100, micro, perf + ", What it costs: engine, sender, provider and HTTP/2 of one push" + twoShared},
	eventCPU:  input{150, micro, perf + ", Group calls: half of 2 cores / 6,600 events/s = 303 µs, generator included" + twoShared},
	pollCPU:   input{60, micro, "a poll's start or its answer; bare net/http has 9.5 µs, the log line and routing as in Notify without its rows"},

	commitCPU: input{457, micro, "own measurement: 1,644 µs a call alone, 299 µs in groups of 50, three commits each" + twoShared},
	rowCPU:    input{27, micro, "own measurement: 271 µs a call of 10 rows written or changed, beside the commits" + twoShared},
	readCPU:   input{27, micro, "73,200 point reads/s on 2 shared cores, client included"},

	walPerRow:   input{783, "bytes", "own measurement: 7,833 bytes of WAL a call of 10 rows, after a checkpoint"},
	diskPerCall: input{4856, "bytes", "own measurement: tables and indexes, for one call"},
	walLimit:    input{200e6, "bytes/s", assumed + "what one primary, its disk, its replicas and its archive take for hours"},

	pollMemory:   input{27.5, "KiB", perf + ", Waiting polls"},
	pollKernel:   input{3.1, "KiB", "kernel memory of a socket, one clean sample"},
	nodeMemory:   input{300, "MiB", assumed + "caches of devices and users, and room for a burst; 23 MB idle"},
	natsMemory:   input{30, "MB", "NATS server under 10,000 messages/s to 50 subscribers"},
	natsInterest: input{0.9, "KiB", "a subscription; nodes subscribe once, users never"},

	fcmQuota:    input{10000, "messages/s", "Google's default of 600,000 a minute and project (docs/push-providers.md 2.4)"},
	apnsStreams: input{1000, "streams", "two connections of 500 for each node and credential (docs/push-providers.md 1.5)"},
	notifyLimit: input{10000, "hints/s", "NOTIFY after commit: 10,000/s to 50 listeners, p99 2.8 ms"},
	natsLimit:   input{3.5e6, "deliveries/s", "core NATS, flat out, to 50 subscribers" + twoShared},

	roundTrip: spread{0.3, 1, assumed + "two machines of one zone"},
	flush:     spread{1, 4, assumed + "a network disk; the disk of the measurements has 0.13 ms"},
	provider:  spread{50, 300, assumed + "APNs and FCM; the benchmark's provider takes 50 ms"},
	notifyBus: spread{1.2, 2.8, "NOTIFY, 10,000 hints/s to 50 listeners"},
	natsBus:   spread{0.49, 3.3, "core NATS over TCP, 10,000 messages/s to 50 subscribers"},

	work: input{5.9, "times", perf + ", First figures: callback answered, p99 over p50"},
}

// sigma is the log-normal's for a ratio of the 99th hundredth to the median.
func sigma(ratio float64) float64 { return math.Log(ratio) / 2.3263 }

// sample draws a latency in seconds.
func (s spread) sample(r *rand.Rand) float64 {
	return s.p50 / 1e3 * math.Exp(sigma(s.p99/s.p50)*r.NormFloat64())
}

// workOf draws the work of one request in seconds, around a mean in microseconds.
func (in *inputs) workOf(mean float64, r *rand.Rand) float64 {
	s := sigma(in.work.value)
	return mean / 1e6 * math.Exp(s*r.NormFloat64()-s*s/2)
}
