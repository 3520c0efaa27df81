// Package bustest is the suite that every form of the bus must pass.
package bustest

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/bus"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// Form is one form of the bus.
type Form struct {
	// Join makes the bus of one more node, which reaches the server at addr.
	Join func(tb testing.TB, c bus.Config, addr string) bus.Bus
	// Addr is the server's; empty for a form without one. The rest is for those that have one.
	Addr string
	// Inject sends any text on the bus, as somebody else who can write to it.
	Inject func(tb testing.TB, text string)
}

// Run runs the suite. make is called for each test, and makes a network that has no nodes
// yet.
func Run(t *testing.T, form func(t *testing.T) Form) {
	for name, test := range map[string]func(*testing.T, Form){
		"every kind reaches all others":          everyKind,
		"a flood arrives whole":                  flood,
		"equal hints travel once":                coalesced,
		"what cannot travel is dropped":          invalid,
		"a slow handler is told of the gap":      slowHandler,
		"the last words are heard":               lastWords,
		"a node says how it is":                  state,
		"a cut connection comes back with a gap": cut,
		"a frozen connection is noticed":         frozen,
		"publishing never waits":                 neverWaits,
		"damaged messages are counted":           damaged,
		"a missing message is noticed":           missing,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, form(t))
		})
	}
}

// up starts nodes and waits until they are connected.
func up(tb testing.TB, f Form, names ...string) (members []*Member) {
	tb.Helper()
	for _, name := range names {
		members = append(members, Start(tb, f, name, f.Addr))
	}
	for _, m := range members {
		connected(tb, m)
	}
	return members
}

func connected(tb testing.TB, m *Member) {
	tb.Helper()
	m.Until(tb, "connected, and told to look through the database", func() bool { return m.State().Connected && m.Gaps() > 0 })
}

func mail(n int) cluster.Hint { return mailbox(fmt.Sprintf("0199d0c4-5c1e-7000-8000-%012d", n)) }

func mailbox(device string) cluster.Hint {
	return cluster.Hint{Kind: cluster.HintMailbox, DeviceID: device}
}

func over(e planet.Environment, session planet.SessionID) cluster.Hint {
	return cluster.Hint{Kind: cluster.HintOver, Environment: e, SessionID: session}
}

func received(e planet.Environment, session planet.SessionID, device string) cluster.Hint {
	return cluster.Hint{Kind: cluster.HintReceived, Environment: e, SessionID: session, DeviceID: device}
}

func devices(e planet.Environment, service, user string) cluster.Hint {
	owner := bell.Owner{Environment: e, User: planet.UserRef{ServiceID: service, UserID: user}}
	return cluster.Hint{Kind: cluster.HintDevices, Owner: owner}
}

func arrives(tb testing.TB, at *Member, h cluster.Hint) {
	tb.Helper()
	at.Until(tb, fmt.Sprintf("%+v", h), func() bool { return at.Heard(h) > 0 })
}

func everyKind(t *testing.T, f Form) {
	nodes := up(t, f, "tokyo-1", "tokyo-2", "osaka-1")
	sent := make(map[*Member][]cluster.Hint)
	for i, sender := range nodes {
		session := planet.SessionID(fmt.Sprintf("8b1d0b80-0d3c-4f0a-9b6e-%012d", i))
		sent[sender] = []cluster.Hint{
			mail(i), over(planet.Evaluation, session), received(planet.Real, session, "0199d0c4-5c1e-7000-8000-000000000002"),
			devices(planet.Real, "planet.test-svc", fmt.Sprint("Bob_the-", i)),
		}
		for _, h := range sent[sender] {
			sender.Publish(h)
		}
	}
	for _, receiver := range nodes {
		for _, sender := range nodes {
			for _, h := range sent[sender] {
				if sender != receiver {
					arrives(t, receiver, h)
				}
			}
		}
	}
	for _, n := range nodes {
		if got := n.Different(); got != 8 { // not its own
			t.Errorf("%s heard %d different hints, want 8", n.Name, got)
		}
		// What is sent is counted when the database has said so, and others may have heard it by then.
		n.Until(t, "what it published is counted", func() bool { return n.Metric(t, "planetbell_bus_published_total") >= 4 })
		if got := n.Metric(t, "planetbell_bus_published_total"); got != 4 {
			t.Errorf("%s published %v hints", n.Name, got)
		}
		if got := n.Metric(t, "planetbell_bus_received_total"); got != 8 {
			t.Errorf("%s received %v hints", n.Name, got)
		}
	}
}

func flood(t *testing.T, f Form) {
	const publishers, each = 8, 1000 // below the bounds of all queues
	nodes := up(t, f, "a", "b", "c")
	var wait sync.WaitGroup
	for p := range publishers {
		wait.Go(func() {
			for i := range each {
				nodes[0].Publish(mail(p*each + i))
			}
		})
	}
	wait.Wait()
	for _, n := range nodes[1:] {
		n.Until(t, "all hints", func() bool { return n.Different() == publishers*each })
		if d := n.Metric(t, "planetbell_bus_dropped_total"); d != 0 {
			t.Errorf("%s dropped %v", n.Name, d)
		}
	}
	if nodes[0].Different() != 0 {
		t.Error("the publisher heard itself")
	}
}

// coalesced: while the receiver's handler is busy, equal hints wait as one.
func coalesced(t *testing.T, f Form) {
	nodes := up(t, f, "a", "b")
	a, b := nodes[0], nodes[1]
	b.Hold()
	a.Publish(mail(0))
	b.Until(t, "busy", b.Held)
	for range 5000 {
		a.Publish(mail(1))
	}
	a.Publish(mail(2))
	b.Until(t, "what was sent came", func() bool {
		return a.Metric(t, "planetbell_bus_published_total") == b.Metric(t, "planetbell_bus_received_total")
	})
	b.Release()
	arrives(t, b, mail(2))
	if got := b.Heard(mail(1)); got < 1 || got > 3 {
		t.Errorf("a hint that was published 5,000 times came %d times", got)
	}
}

func invalid(t *testing.T, f Form) {
	nodes := up(t, f, "a", "b")
	a, b := nodes[0], nodes[1]
	bad := []cluster.Hint{
		{},
		{Kind: "other", DeviceID: "x"},
		mailbox(""), mailbox("two words"), mailbox("tab\tbed"), mailbox("line\nm\tother"),
		mailbox("\x00"), mailbox("フォン"), mailbox(strings.Repeat("x", 200)), over("moon", "s"), over(planet.Real, ""),
		received(planet.Real, "s", ""), devices(planet.Real, "", "bob"),
	}
	for _, h := range append(bad, mail(1)) {
		a.Publish(h)
	}
	arrives(t, b, mail(1))
	if got := a.Metric(t, "planetbell_bus_dropped_total"); got != float64(len(bad)) {
		t.Errorf("%v hints were dropped, want %d", got, len(bad))
	}
	if got := b.Different(); got != 1 {
		t.Errorf("%d hints came, want the good one only", got)
	}
	if got := b.Metric(t, "planetbell_bus_damaged_total"); got != 0 {
		t.Errorf("%v damaged messages were sent", got)
	}
}

func slowHandler(t *testing.T, f Form) {
	const many = 15000 // more than wait for a handler
	nodes := up(t, f, "a", "b", "c")
	a, b, c := nodes[0], nodes[1], nodes[2]
	b.Hold()
	a.Publish(mail(many + 1))
	b.Until(t, "busy", b.Held)
	gaps := b.Gaps()
	for n := 0; n < many; n += 500 { // as fast as they go, but no faster
		for i := range 500 {
			a.Publish(mail(n + i))
		}
		arrives(t, c, mail(n+499))
	}
	b.Until(t, "all came", func() bool { return b.Metric(t, "planetbell_bus_received_total") == many+1 })
	b.Release()
	arrives(t, b, mail(many-1)) // the newest is kept
	if b.Gaps() == gaps {
		t.Error("the handler was not told of the gap")
	}
	if got := b.Metric(t, "planetbell_bus_dropped_total"); got < many/4 {
		t.Errorf("%v hints were dropped", got)
	}
	if got := c.Different(); got != many+1 {
		t.Errorf("a slow node cost another one hints: it has %d", got)
	}
}

func lastWords(t *testing.T, f Form) {
	nodes := up(t, f, "a", "b")
	for i := range 300 {
		nodes[0].Publish(mail(i))
	}
	nodes[0].Stop()
	nodes[1].Until(t, "all hints", func() bool { return nodes[1].Different() == 300 })
	if s := nodes[0].State(); s.Connected || s.Trouble == "" {
		t.Errorf("a stopped node says %+v", s)
	}
	nodes[0].Publish(mail(1)) // harmless
}

func state(t *testing.T, f Form) {
	nodes := up(t, f, "a", "b", "c")
	for _, n := range nodes {
		n.Until(t, "two peers", func() bool { return n.State().Peers == 2 })
		s := n.State()
		if !s.Connected || s.Since.IsZero() || s.Trouble != "" || f.Addr != "" && s.Lag <= 0 {
			t.Errorf("%s: %+v", n.Name, s)
		}
		if n.Metric(t, "planetbell_bus_connected") != 1 {
			t.Errorf("%s: the metric says that it is not connected", n.Name)
		}
	}
	nodes[2].Stop()
	nodes[0].Until(t, "one peer", func() bool { return nodes[0].State().Peers == 1 })
}

// keep gives what the node's operator would see to the search for secrets.
func keep(t *testing.T, m *Member) {
	testlog.Keep(t, "state", fmt.Sprintf("%+v", m.State()))
}
