package main

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/cluster"
)

const (
	batchRows = 200 // rows in one transaction at most
	lanes     = 4   // transactions that a node has under way at once, as package store/postgres

	// Seconds until a node that is silent counts as dead, and until the others look.
	takeover = float64(cluster.DeadAfter) / float64(time.Second)
	sweep    = float64(cluster.SweepEvery) / float64(time.Second)

	coalesce = 5.0 // milliseconds that hints are collected, at most
	deadline = 55.0
	talk     = 1.0 // seconds until a call's end: shorter than real ones, which changes no rate
)

// Rows that are written or changed.
const (
	rowsOfPush = 2 // the attempt, and what became of the delivery
	rowsOfPoll = 2 // the delivery is claimed and handed out
	rowsOfEnd  = 2 // the call, and the callback as it came
)

// rowsOfNotify: the call, the callback as it came, a delivery for each device.
func rowsOfNotify(devices int) int { return 2 + devices }

// setting is what is simulated: one database with its nodes. Where a size needs several databases,
// each has its own nodes, and one of them is looked at.
type setting struct {
	calls   float64 // per second
	devices int
	polling float64 // share of the devices that poll
	polls   float64 // waiting, over all nodes
	hold    float64 // seconds
	nodes   int
	cores   int // of a node
	pgCores int
	nats    bool
	warm    float64 // seconds before anything is measured
	length  float64 // seconds that are measured
	dies    float64 // seconds after the start when a node dies; 0: none does
	seed    uint64
}

// call is one call on its way. life counts the nodes that had it: what a dead one still meant to do
// is not done.
type call struct {
	at       float64
	life     int
	writing  bool // its rows may be in the database already
	accepted bool
	pushed   int    // devices that have been served
	devices  []bool // whether it polls
	ending   bool
	ended    int
	owner    *machine
}

// machine is a node.
type machine struct {
	cpu     *station
	dead    bool
	pending []write
	free    int // lanes
	open    map[*call]struct{}
}

type write struct {
	rows int
	done func()
	lost func() // if the node dies before; nil: whoever waits is told otherwise
}

// model is the simulation's state.
type model struct {
	setting
	in      *inputs
	clock   clock
	random  *rand.Rand
	nodes   []*machine
	pg      *station
	wal     *group
	turn    int
	commits int
	rows    int
	opened  []*call
	seen    result
	closed  bool // no more arrivals
}

func newModel(s setting, in *inputs) *model {
	c := &model{setting: s, in: in, random: rand.New(rand.NewPCG(s.seed, 0x70b))}
	for range s.nodes {
		c.nodes = append(c.nodes, &machine{cpu: &station{clock: &c.clock, servers: s.cores}, free: lanes, open: map[*call]struct{}{}})
	}
	c.pg = &station{clock: &c.clock, servers: s.pgCores}
	c.wal = &group{clock: &c.clock, length: func() float64 { return in.flush.sample(c.random) }}
	return c
}

// pick is the load balancer's choice: the next node that is alive. That a connection to a dead one is
// refused, and tried at another, is in the round trip.
func (c *model) pick() *machine {
	for {
		c.turn++
		if m := c.nodes[c.turn%len(c.nodes)]; !m.dead {
			return m
		}
	}
}

// trip is a round trip to the database or the other way from the load balancer.
func (c *model) trip() float64 { return c.in.roundTrip.sample(c.random) }

// write adds rows to what a node's next transaction has.
func (c *model) write(m *machine, rows int, done func()) {
	m.pending = append(m.pending, write{rows: rows, done: done})
	c.commit(m)
}

func (c *model) commit(m *machine) {
	if m.free == 0 || len(m.pending) == 0 || m.dead {
		return
	}
	rows, n := 0, 0
	for n < len(m.pending) && (n == 0 || rows+m.pending[n].rows <= batchRows) {
		rows += m.pending[n].rows
		n++
	}
	batch := m.pending[:n:n]
	m.pending = m.pending[n:]
	m.free--
	trip := c.trip()
	work := c.in.workOf(c.in.commitCPU.value, c.random) + c.in.workOf(c.in.rowCPU.value*float64(rows), c.random)
	c.clock.after(trip/2, func() {
		c.pg.submit(work, func() {
			c.wal.submit(func() {
				c.commits, c.rows = c.commits+1, c.rows+rows
				c.clock.after(trip/2, func() {
					m.free++
					for _, w := range batch {
						w.done()
					}
					c.commit(m)
				})
			})
		})
	})
}

// arrivals lets something happen at random, so often a second, while the simulation is open.
func (c *model) arrivals(perSecond float64, do func()) {
	if perSecond <= 0 {
		return
	}
	var next func()
	next = func() {
		if c.closed {
			return
		}
		do()
		c.clock.after(c.random.ExpFloat64()/perSecond, next)
	}
	c.clock.after(c.random.ExpFloat64()/perSecond, next)
}

// on does a call's next step, unless its node died meanwhile and another one has it.
func (c *model) on(k *call, do func()) func() {
	life := k.life
	return func() {
		if k.life == life {
			do()
		}
	}
}

func (c *model) newCall() {
	k := &call{at: c.clock.now, devices: make([]bool, c.devices)}
	for i := range k.devices {
		k.devices[i] = c.random.Float64() < c.polling
	}
	c.opened = append(c.opened, k)
	c.notify(k)
}

// own gives a call, at its start or after its node's death, to a node.
func (c *model) own(k *call) *machine {
	k.owner = c.pick()
	k.owner.open[k] = struct{}{}
	return k.owner
}

// notify is the callback: parsed, written, answered.
func (c *model) notify(k *call) {
	m := c.own(k)
	m.cpu.submit(c.in.workOf(c.in.notifyCPU.value, c.random), c.on(k, func() {
		k.writing = true
		c.write(m, rowsOfNotify(c.devices), c.on(k, func() {
			k.accepted = true
			c.seen.answered.add(c, k.at, c.clock.now-k.at)
			c.ring(k, m)
		}))
	}))
}

// ring serves the devices that were not served yet.
func (c *model) ring(k *call, m *machine) {
	for _, polls := range k.devices[k.pushed:] {
		if polls {
			c.wake(k)
			continue
		}
		m.cpu.submit(c.in.workOf(c.in.pushCPU.value, c.random), c.on(k, func() {
			c.seen.pushed.add(c, k.at, c.clock.now-k.at)
			c.served(k)
			c.clock.after(c.in.provider.sample(c.random), func() {
				if !m.dead {
					c.write(m, rowsOfPush, func() {})
				}
			})
		}))
	}
}

// wake is a hint to the node where the device polls, which takes the row and answers the poll.
func (c *model) wake(k *call) {
	bus := c.in.notifyBus
	if c.nats {
		bus = c.in.natsBus
	}
	c.clock.after(bus.sample(c.random)+c.random.Float64()*coalesce/1e3, c.on(k, func() {
		there := c.pick()
		again := c.on(k, func() { c.wake(k) }) // the device polls elsewhere, and is found there
		there.cpu.submit(c.in.workOf(c.in.pollCPU.value, c.random), c.on(k, func() {
			if there.dead {
				again()
				return
			}
			there.pending = append(there.pending, write{rowsOfPoll, c.on(k, func() {
				c.seen.polled.add(c, k.at, c.clock.now-k.at)
				c.served(k)
			}), again})
			c.commit(there)
		}))
	}))
}

// served counts a device; after the last one the call goes on and ends some time later.
func (c *model) served(k *call) {
	if k.pushed++; k.pushed < len(k.devices) {
		return
	}
	delete(k.owner.open, k)
	c.clock.after(c.random.ExpFloat64()*talk, func() { c.end(k) })
}

// end is the Call Event, at any node.
func (c *model) end(k *call) {
	m := c.own(k)
	k.ending = true
	m.cpu.submit(c.in.workOf(c.in.eventCPU.value, c.random), c.on(k, func() {
		c.write(m, rowsOfEnd, c.on(k, func() {
			k.ended++
			delete(k.owner.open, k)
		}))
	}))
}

// poll starts a poll: the node looks once whether something waits for it.
func (c *model) poll() {
	m := c.pick()
	m.cpu.submit(c.in.workOf(c.in.pollCPU.value, c.random), func() {
		c.clock.after(c.trip()/2, func() { c.pg.submit(c.in.workOf(c.in.readCPU.value, c.random), func() {}) })
	})
}

// die is SIGKILL to one node. Callbacks without an answer are sent again by the load balancer; what was
// accepted is taken over when the dead node's heartbeat is old; its polls come back at once.
func (c *model) die() {
	m := c.nodes[0]
	m.dead = true
	for _, w := range m.pending {
		if w.lost != nil {
			c.clock.after(c.trip(), w.lost)
		}
	}
	var left []*call
	for k := range m.open {
		left = append(left, k)
	}
	slices.SortFunc(left, func(a, b *call) int { return cmp.Compare(a.at, b.at) }) // not in the map's order
	for _, k := range left {
		k.life++
		switch {
		case k.ending:
			c.clock.after(c.trip(), c.on(k, func() { c.end(k) }))
		case !k.accepted && !k.writing:
			c.clock.after(c.trip(), c.on(k, func() { c.notify(k) }))
		default:
			c.seen.taken++
			if !k.accepted { // perhaps it is in the database: then the repeat is answered, and rings nobody
				k.accepted = true
				c.seen.answered.add(c, k.at, c.clock.now-k.at+c.trip())
			}
			c.clock.after(takeover+c.random.Float64()*sweep, c.on(k, func() {
				there := c.own(k)
				c.write(there, 1, c.on(k, func() { c.ring(k, there) }))
			}))
		}
	}
	herd := int(c.polls / float64(len(c.nodes)))
	for range herd {
		c.clock.after(c.trip(), c.poll)
	}
	c.seen.herd = herd
}
