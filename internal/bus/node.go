package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	randv2 "math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/cluster"
)

// The times of a [Node].
const (
	// flushEvery is how long hints are gathered while many come. The first after a pause
	// goes at once.
	flushEvery = 5 * time.Millisecond
	// flushAt hints are not made to wait for that.
	flushAt = 200
	// sendMost bounds the hints of one flush: about 25 messages.
	sendMost = 2000
	// queueSize bounds what waits, in each direction. At 2,000 calls/s it is some seconds;
	// who comes back later has to look through the database anyway.
	queueSize = 10000

	// beatEvery is how often a node says that it is there, to itself too.
	beatEvery = 2 * time.Second
	// deafAfter is how long a node may hear nothing of itself before it connects again: a
	// connection that only seems to live gives no error.
	deafAfter = 3 * beatEvery
	// dialWithin bounds making a connection, sendWithin sending one flush.
	dialWithin, sendWithin = 10 * time.Second, 5 * time.Second
	// lastWords bounds the flush at the end of Run: a node that is drained tells the others
	// what it did last.
	lastWords = time.Second

	// The pause before connecting again doubles from the first to the last; it starts
	// again after a connection that held for steady.
	firstPause, lastPause, steady = 100 * time.Millisecond, 5 * time.Second, 10 * time.Second

	// complainEvery is how often the log repeats the same trouble.
	complainEvery = time.Minute
)

// Link is a connection to the other nodes. What is sent over it comes to all links of all
// nodes, the sender's own too, in the sender's order, unless it is lost. Send and Receive
// are called by one goroutine each. Close is called last, when neither runs.
type Link interface {
	// Send sends messages, each valid UTF-8 without control characters but tab and newline
	// and below 8,000 bytes. When it returns they are on their way, no more.
	Send(ctx context.Context, messages []string) error
	// Receive waits for the next message, from whomever. It returns when ctx is done. The
	// error [ErrMissed] says that the link goes on but lost messages.
	Receive(ctx context.Context) (message string, err error)
	// Close ends the link, within a second or two.
	Close()
}

// ErrMissed is what [Link.Receive] returns when it lost messages and goes on.
var ErrMissed = errors.New("messages were lost")

// Dialer makes links.
type Dialer interface {
	// Dial connects, or says in a sentence without secrets why not.
	Dial(ctx context.Context) (Link, error)
	// Deaf is a sentence on what to look at when a new link works but nothing comes back.
	Deaf() string
}

// Config is what a [Node] is made of.
type Config struct {
	Name    string       // the node's own, other than that of all others: 1 to [MaxNode] printable characters
	Metrics *Metrics     // its own
	Log     *slog.Logger // not nil
}

// Node is a [Bus] over a [Dialer]'s links: it gathers hints, connects for ever, and
// notices that a link is dead or that a message is missing.
type Node struct {
	Config
	dialer Dialer
	run    string // tells this run from an earlier one with the same name
	out    *queue
	in     *inbox
	echoed chan struct{} // has one when a message of our own came back

	seq uint64 // of the last message; only the sending goroutine uses it

	mu      sync.Mutex
	state   State
	links   int
	beats   []beat // sent and not come back
	heard   time.Time
	senders map[sender]last
	pruned  time.Time
}

type beat struct {
	seq uint64
	at  time.Time
}

// sender is one run of another node.
type sender struct{ node, run string }

type last struct {
	seq uint64
	at  time.Time
}

// maxSenders bounds what is remembered of others. Those past it are heard all the same,
// but messages of theirs that are missing are not noticed.
const maxSenders = 1000

// NewNode makes a node. It fails if the name cannot travel.
func NewNode(c Config, d Dialer) (*Node, error) {
	if !plain(c.Name, MaxNode) {
		return nil, fmt.Errorf("the node's name has %d bytes or strange characters: want 1 to %d printable ASCII characters without spaces", len(c.Name), MaxNode)
	}
	return &Node{
		Config: c, dialer: d, run: rand.Text()[:16],
		out: newQueue(queueSize, flushAt), in: newInbox(queueSize),
		echoed: make(chan struct{}, 1), senders: make(map[sender]last),
	}, nil
}

// Publish implements [Bus].
func (n *Node) Publish(h cluster.Hint) {
	if n.Metrics.sendable(h) {
		n.Metrics.drop(dropFull, n.out.add(h))
	}
}

// State implements [Bus].
func (n *Node) State() State {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.state
	s.Peers = n.peers(time.Now())
	return s
}

// peers counts the nodes heard of late. The mutex is held.
func (n *Node) peers(now time.Time) int {
	names := make(map[string]struct{}, len(n.senders))
	for s, l := range n.senders {
		if now.Sub(l.at) < deafAfter {
			names[s.node] = struct{}{}
		}
	}
	return len(names)
}

// Run implements [Bus].
func (n *Node) Run(ctx context.Context, h Handler) {
	var deliver sync.WaitGroup
	deliver.Go(func() { n.in.run(ctx, h, n.Metrics) })
	defer deliver.Wait()

	pause := firstPause
	var said string
	var saidAt time.Time
	for {
		held, err := n.session(ctx)
		n.down(err)
		if ctx.Err() != nil {
			return
		}
		if text := err.Error(); held > 0 || text != said || time.Since(saidAt) > complainEvery {
			n.Log.Warn("the bus to the other nodes is down: what happens there is noticed about a second later", "error", text)
			said, saidAt = text, time.Now()
		}
		if held > steady {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + randv2.N(pause)): // nodes that fell together do not come back together
		}
		pause = min(2*pause, lastPause)
	}
}

// session connects and works until the link breaks or the context is done. It returns how
// long the link held, and why it ended.
func (n *Node) session(ctx context.Context) (held time.Duration, err error) {
	dialing, cancel := context.WithTimeout(ctx, dialWithin)
	link, err := n.dialer.Dial(dialing)
	cancel()
	if err != nil {
		return 0, err
	}
	defer link.Close()
	broken, breakIt := context.WithCancelCause(ctx)
	var receive sync.WaitGroup
	receive.Go(func() { breakIt(n.receive(broken, link)) })
	defer receive.Wait()
	defer breakIt(nil)

	if err := n.hello(broken, link); err != nil {
		return 0, err
	}
	// At the end of Run what is being sent is not broken off: that would break the link, too,
	// and it is needed for the last words.
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(broken, func() {
		if ctx.Err() != nil {
			select {
			case <-sending.Done():
			case <-time.After(lastWords):
			}
		}
		cancel()
	})()

	up := time.Now()
	n.up(up)
	err = n.send(broken, sending, link)
	if ctx.Err() != nil { // the link may be well: say what is left
		err = n.flush(sending, link)
	}
	return time.Since(up), err
}

// hello sends a heartbeat and waits until it comes back: only then the link is one.
func (n *Node) hello(ctx context.Context, link Link) error {
	select {
	case <-n.echoed: // of an earlier link
	default:
	}
	if err := n.beat(ctx, link); err != nil {
		return err
	}
	select {
	case <-n.echoed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(sendWithin):
		return fmt.Errorf("it connects, but what is sent does not come back within %s: %s", sendWithin, n.dialer.Deaf())
	}
}

// send sends what is published, and heartbeats, until ctx is done or the link breaks. What
// it sends is bound to sending.
func (n *Node) send(ctx, sending context.Context, link Link) error {
	beats := time.NewTicker(beatEvery)
	defer beats.Stop()
	gather := time.NewTimer(0) // fires when the next flush may be
	defer gather.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-beats.C:
			if n.deaf() {
				return fmt.Errorf("nothing came back for %s; it is as good as broken", deafAfter)
			}
			if err := n.beat(sending, link); err != nil {
				return err
			}
			continue
		case <-n.out.wake:
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-gather.C:
		case <-n.out.rush:
		}
		if err := n.flush(sending, link); err != nil {
			return err
		}
		gather.Reset(flushEvery)
	}
}

// flush sends all that waits.
func (n *Node) flush(ctx context.Context, link Link) error {
	for {
		hints, lost := n.out.take(sendMost)
		if lost > 0 {
			n.seq++ // a number that nobody will see: the others learn that something is missing
		}
		if len(hints) == 0 {
			return nil
		}
		messages := encode(n.Name, n.run, n.seq+1, hints)
		if err := n.transmit(ctx, link, messages); err != nil {
			n.Metrics.drop(dropFull, n.out.add(hints...)) // for the next link; twice is no harm
			return err
		}
		count(n.Metrics.published, hints)
		if len(hints) < sendMost {
			return nil
		}
	}
}

func (n *Node) beat(ctx context.Context, link Link) error {
	n.mu.Lock()
	n.beats = append(n.beats, beat{seq: n.seq + 1, at: time.Now()})
	n.mu.Unlock()
	return n.transmit(ctx, link, encode(n.Name, n.run, n.seq+1, nil))
}

func (n *Node) transmit(ctx context.Context, link Link, messages []string) error {
	n.seq += uint64(len(messages))
	ctx, cancel := context.WithTimeout(ctx, sendWithin)
	defer cancel()
	return link.Send(ctx, messages)
}

// receive reads the link until it breaks. It does nothing that waits.
func (n *Node) receive(ctx context.Context, link Link) error {
	for {
		message, err := link.Receive(ctx)
		switch {
		case errors.Is(err, ErrMissed):
			n.missed(gapSlow)
		case err != nil:
			return err
		default:
			n.hear(message)
		}
	}
}

// hear takes one message, of whomever.
func (n *Node) hear(message string) {
	h, lines, err := decodeHeader(message)
	if err != nil {
		n.Metrics.damaged.Inc()
		return
	}
	if h.run == n.run && h.node == n.Name {
		n.echo(h.seq)
		return
	}
	hints, err := decodeHints(lines)
	if err != nil {
		n.Metrics.damaged.Inc()
		return
	}
	if !n.follows(h) {
		n.missed(gapHole)
	}
	count(n.Metrics.received, hints)
	n.Metrics.drop(dropSlow, n.in.add(hints...))
}

// echo notes that a message of our own came back.
func (n *Node) echo(seq uint64) {
	now := time.Now()
	n.mu.Lock()
	n.heard = now
	for len(n.beats) > 0 && n.beats[0].seq <= seq {
		if n.beats[0].seq == seq {
			n.state.Lag = now.Sub(n.beats[0].at)
			n.Metrics.lag.Observe(n.state.Lag.Seconds())
		}
		n.beats = n.beats[1:]
	}
	n.Metrics.peers.Set(float64(n.peers(now)))
	n.mu.Unlock()
	signal(n.echoed)
}

func (n *Node) deaf() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Since(n.heard) > deafAfter
}

// follows reports whether the message is its sender's next. The same one again is none to
// miss; of a sender that is new to us, the first.
func (n *Node) follows(h header) bool {
	now := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.pruned) > deafAfter {
		n.pruned = now
		for s, l := range n.senders {
			if now.Sub(l.at) > 10*deafAfter {
				delete(n.senders, s)
			}
		}
	}
	key := sender{h.node, h.run}
	before, known := n.senders[key]
	if !known && len(n.senders) >= maxSenders {
		return true
	}
	// The header is part of a message that could be long.
	if !known {
		key = sender{strings.Clone(h.node), strings.Clone(h.run)}
	}
	n.senders[key] = last{h.seq, now}
	return h.seq == before.seq+1 || h.seq == before.seq
}

func (n *Node) missed(cause string) {
	n.Metrics.gap(cause)
	n.in.missed()
}

func (n *Node) up(now time.Time) {
	n.mu.Lock()
	n.state.Connected, n.state.Since, n.state.Trouble = true, now, ""
	n.links++
	again := n.links > 1
	n.mu.Unlock()
	n.Metrics.connected.Set(1)
	if again {
		n.Metrics.connects.Inc()
	}
	n.Log.Info("the bus to the other nodes is up", "again", again)
	n.missed(gapConnected)
}

func (n *Node) down(err error) {
	trouble := "it was stopped"
	if err != nil {
		trouble = err.Error()
	}
	n.mu.Lock()
	if n.state.Connected || n.state.Since.IsZero() {
		n.state.Since = time.Now()
	}
	n.state.Connected, n.state.Trouble, n.state.Lag = false, trouble, 0
	n.beats = nil
	n.mu.Unlock()
	n.Metrics.connected.Set(0)
}
