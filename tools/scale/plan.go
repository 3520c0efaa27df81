package main

import "math"

// size is what somebody needs.
type size struct {
	name    string
	calls   float64 // per second
	polls   float64 // waiting
	devices int     // of a callee
	polling float64 // share of the devices that poll
	hold    float64 // seconds
}

// sizes are those of docs/scale.md.
var sizes = []size{
	{"1,000 calls/s, 20,000 waiting polls", 1_000, 20_000, 2, .1, 25},
	{"10,000 calls/s, 200,000 waiting polls", 10_000, 200_000, 2, .1, 25},
	{"100,000 calls/s, 1,000,000 waiting polls", 100_000, 1_000_000, 2, .1, 25},
	{"1,000,000 waiting polls, 1,000 calls/s", 1_000, 1_000_000, 2, .5, 55},
}

const (
	pollsOfNode = 50_000.0 // sockets and memory: 1.5 GB
	share       = 0.5      // of its processors that a machine should use in a busy hour
	pgLargest   = 32       // cores of one primary
)

// plan is what a size needs.
type plan struct {
	size
	shards              int // databases, each with nodes of its own
	nodes, cores        int // of one shard; of a node
	pgCores             int // of one primary
	nats                bool
	nodeLoad            float64 // cores, of one shard
	pgLoad              float64 // cores, of one primary
	wal, hints, rearms  float64 // per second, of one shard
	apns, fcm           float64 // per second, of all
	pollMemory, perNode float64 // bytes, of all; of one node
}

// planOf computes what a size needs; the simulation then shows whether it is enough.
func planOf(s size, in *inputs) plan {
	p := plan{size: s, shards: 1}
	p.shards = int(math.Ceil(s.calls * walOfCall(s, in) / in.walLimit.value))
	for p.fill(in); p.pgCores > pgLargest; p.fill(in) {
		p.shards++
	}
	pushes := s.calls * float64(s.devices) * (1 - s.polling)
	p.apns, p.fcm = pushes/2, pushes/2
	p.pollMemory = s.polls * (in.pollMemory.value + in.pollKernel.value) * 1024
	p.perNode = p.pollMemory/float64(p.shards)/float64(p.nodes-1) + in.nodeMemory.value*(1<<20)
	return p
}

func walOfCall(s size, in *inputs) float64 { return rowsOfCall(s) * in.walPerRow.value }

func rowsOfCall(s size) float64 {
	d := float64(s.devices)
	return float64(rowsOfNotify(s.devices)+rowsOfEnd) + d*((1-s.polling)*rowsOfPush+s.polling*rowsOfPoll)
}

// fill computes one shard.
func (p *plan) fill(in *inputs) {
	calls, polls, d := p.calls/float64(p.shards), p.polls/float64(p.shards), float64(p.devices)
	p.rearms = polls / p.hold
	ofCall := in.notifyCPU.value + in.eventCPU.value + d*(1-p.polling)*in.pushCPU.value + d*p.polling*in.pollCPU.value
	p.nodeLoad = (calls*ofCall + p.rearms*in.pollCPU.value) / 1e6
	p.cores = 4
	if p.nodeLoad > 8 {
		p.cores = 8
	}
	p.nodes = max(3, 1+ceil(p.nodeLoad/share/float64(p.cores)), 1+ceil(polls/pollsOfNode))
	// A node has so many transactions under way at most, each for a round trip, a flush and a half that it
	// waits for; below that rate each step of a call has its own.
	most := float64(p.nodes*lanes) / ((in.roundTrip.p50 + 1.5*in.flush.p50) / 1e3)
	commits := min(calls*(2+d), most)
	p.pgLoad = (calls*rowsOfCall(p.size)*in.rowCPU.value + commits*in.commitCPU.value + p.rearms*in.readCPU.value) / 1e6
	for p.pgCores = 4; float64(p.pgCores)*share < p.pgLoad; {
		p.pgCores *= 2
	}
	p.wal = calls * walOfCall(p.size, in)
	p.hints = calls * (1 + d*p.polling) // a call's end is told to all; a call to the node of a poll
	p.nats = p.hints > in.notifyLimit.value
}

func ceil(x float64) int { return int(math.Ceil(x)) }

// setting is the plan's one shard, as it is simulated.
func (p *plan) setting(seed uint64, length float64) setting {
	n := float64(p.shards)
	return setting{
		calls: p.calls / n, devices: p.devices, polling: p.polling, polls: p.polls / n, hold: p.hold,
		nodes: p.nodes, cores: p.cores, pgCores: p.pgCores, nats: p.nats, warm: 5, length: length, seed: seed,
	}
}
