package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/bus"
	"github.com/planetbell/planetbell/internal/bus/natsbus"
	"github.com/planetbell/planetbell/internal/bus/pgbus"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/mailbox"
	"github.com/planetbell/planetbell/planet"
)

// nodes is what makes this process one of several on a database. A nil one says that it is
// the only one: then every method does what a single process does, at no cost.
type nodes struct {
	worker *cluster.Worker
	cache  *cluster.DeviceCache
	bus    bus.Bus
}

// nodeName is how this process is called.
func nodeName(configured string) string {
	if configured != "" {
		return configured
	}
	host, err := os.Hostname()
	if err != nil || host == "" {
		return "node"
	}
	return host
}

// joinNodes makes this process one of several. Whatever it needs of the others is made later.
func (a *App) joinNodes(ctx context.Context, store cluster.Store) error {
	b, err := a.newBus()
	if err != nil {
		return err
	}
	named := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "planetbell_node_info", Help: "1, with the name of this node.",
	}, []string{"node"})
	named.WithLabelValues(a.node).Set(1)
	a.registry.MustRegister(named)
	metrics := cluster.NewMetrics(a.registry)
	a.nodes = &nodes{bus: b, cache: cluster.NewDeviceCache(cluster.CacheConfig{Read: a.store.DevicesOf, Metrics: metrics})}
	a.nodes.worker = cluster.New(cluster.Config{
		Store: store, Hints: b, Rings: here{a}, Mailbox: mailboxOf{a}, Devices: devicesOf{a.nodes.cache, a},
		Node: cluster.Node{Owner: a.owner, Host: a.node, Version: string(a.version), StartedAt: time.Now()},
		Log:  a.log.With("component", "cluster"), Metrics: metrics,
	})
	ctx, cancel := context.WithTimeoutCause(ctx, joinTimeout, errSlowJoin)
	defer cancel()
	if err := a.nodes.worker.Join(ctx); err != nil {
		return err
	}
	a.cleanups.push("leave the other nodes", func(ctx context.Context) error {
		// A stop that has taken all of its time must still tell the others that it is over.
		ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), leaveTimeout, errShutdown)
		defer cancel()
		return a.nodes.worker.Leave(ctx)
	})
	return nil
}

// joinTimeout bounds the first word with the other nodes, leaveTimeout the last.
const (
	joinTimeout  = 10 * time.Second
	leaveTimeout = 2 * time.Second
)

var errSlowJoin = errors.New("the database did not answer in time")

func (a *App) newBus() (bus.Bus, error) {
	c := bus.Config{Name: a.owner, Metrics: bus.NewMetrics(a.registry), Log: a.log.With("component", "bus")}
	if a.cfg.Bus.URL == "" {
		b, err := pgbus.New(pgbus.Config{Config: c, URL: a.cfg.Database.URL})
		if err != nil {
			return nil, fmt.Errorf("database.url: %w", err)
		}
		return b, nil
	}
	b, err := natsbus.New(natsbus.Config{Config: c, URL: a.cfg.Bus.URL, Subject: a.cfg.Bus.Subject, CredentialsFile: a.cfg.Bus.CredentialsFile, CAFile: a.cfg.CAFile})
	if err != nil {
		return nil, fmt.Errorf("bus.url: %w", err)
	}
	return b, nil
}

// alone reports whether there is no other node.
func (n *nodes) alone() bool { return n == nil }

// name is what this process is called, if there are others.
func (n *nodes) name(name string) string {
	if n == nil {
		return ""
	}
	return name
}

// now is the clock of all that is written to the database: that of the database where
// several nodes write. Nil is time.Now.
func (n *nodes) now() func() time.Time {
	if n == nil {
		return nil
	}
	return n.worker.Now
}

// cutOff says whether this node hears of no calls that come to others; nil when there are none.
func (n *nodes) cutOff() func() bool {
	if n == nil {
		return nil
	}
	return n.worker.CutOff
}

// over tells the other nodes that a call has ended.
func (n *nodes) over(environment planet.Environment, id planet.SessionID) {
	if n != nil {
		n.worker.Over(environment, id)
	}
}

// received tells the other nodes that a device has a call.
func (n *nodes) received(r *bell.Receipt) {
	if n != nil {
		n.worker.Received(r.Environment, r.SessionID, r.DeviceID)
	}
}

// changed forgets what is remembered of an owner's devices, here and elsewhere.
func (n *nodes) changed(owner bell.Owner) {
	if n != nil {
		n.worker.DevicesChanged(owner)
	}
}

// began tells the nodes where devices poll what they have to fetch.
func (n *nodes) began(rings []bell.Ring) {
	if n == nil {
		return
	}
	for i := range rings {
		if d := &rings[i].Delivery; delivery.Unheld(d) {
			n.worker.Posted(d.DeviceID)
		}
	}
}

// callStore is the store of package call: on one of several nodes devices are remembered.
func (a *App) callStore() call.Store {
	if a.nodes == nil {
		return a.store
	}
	return remembered{a.store, a.nodes.cache}
}

type remembered struct {
	call.Store
	cache *cluster.DeviceCache
}

// DevicesOf implements call.Store.
func (r remembered) DevicesOf(ctx context.Context, owner bell.Owner) ([]bell.Device, error) {
	return r.cache.DevicesOf(ctx, owner)
}

// join sets what a mailbox does that is one of several.
func (n *nodes) join(c *mailbox.Config) {
	if n != nil {
		c.Entered, c.Idle, c.Now = n.worker.Entered, n.worker.Idle, n.worker.Now
	}
}

// run hears and tells hints, and does what several nodes need, until ctx ends.
func (n *nodes) run(ctx context.Context) error {
	if n == nil {
		return nil
	}
	heard := make(chan struct{})
	hearing, deafen := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(heard)
		n.bus.Run(hearing, bus.Handler{Hints: n.worker.Heard, Gap: n.worker.Gap})
	}()
	n.worker.Run(ctx) // what it gives back at its end it tells the others
	deafen()
	<-heard
	return nil
}

// devicesOf is what is remembered of devices here: for speed, and for a database in trouble.
type devicesOf struct {
	*cluster.DeviceCache
	a *App
}

// Forget implements cluster.Devices.
func (d devicesOf) Forget(owner bell.Owner) {
	d.DeviceCache.Forget(owner)
	d.a.calls.DevicesChanged(owner)
}

// Clear implements cluster.Devices.
func (d devicesOf) Clear() {
	d.DeviceCache.Clear()
	d.a.calls.ForgetDevices()
}

// here is what rings on this node. Engine and mailbox are made later than the worker.
type here struct{ a *App }

// Take implements cluster.Rings. What finds no room is given back.
func (h here) Take(rings []bell.Ring) {
	for _, r := range h.a.engine.Take(rings) {
		h.a.nodes.worker.Idle(r)
	}
}

// Withdraw implements cluster.Rings: other nodes know it already.
func (h here) Withdraw(environment planet.Environment, id planet.SessionID) {
	h.a.engine.Withdraw(environment, id)
	h.a.mailbox.Withdraw(environment, id)
}

// Received implements cluster.Rings.
func (h here) Received(environment planet.Environment, id planet.SessionID, device string) {
	h.a.engine.Received(environment, id, device)
}

// Open implements cluster.Rings.
func (h here) Open(since time.Time) []string { return h.a.engine.Open(since) }

// Drop implements cluster.Rings.
func (h here) Drop(delivery string, state bell.DeliveryState) { h.a.engine.Drop(delivery, state) }

// mailboxOf is this node's mailbox.
type mailboxOf struct{ a *App }

// Waits implements cluster.Mailbox.
func (m mailboxOf) Waits(device string) bool { return m.a.mailbox.Waits(device) }

// Letters implements cluster.Mailbox.
func (m mailboxOf) Letters(since time.Time) []string { return m.a.mailbox.Letters(since) }

// Untold implements cluster.Mailbox.
func (m mailboxOf) Untold(most int) []bell.CallKey { return m.a.mailbox.Untold(most) }

// EndPolls implements cluster.Mailbox.
func (m mailboxOf) EndPolls() { m.a.mailbox.EndPolls() }

// Had implements cluster.Mailbox.
func (m mailboxOf) Had(delivery string) bool { return m.a.mailbox.Had(delivery) }

// Remove implements cluster.Mailbox.
func (m mailboxOf) Remove(delivery string) { m.a.mailbox.Remove(delivery) }

// Acknowledge implements cluster.Mailbox.
func (m mailboxOf) Acknowledge(environment planet.Environment, id planet.SessionID, device string) {
	m.a.mailbox.Acknowledge(environment, id, device)
}
