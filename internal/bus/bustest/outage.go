package bustest

import (
	"fmt"
	"strings"
	"testing"
)

// server skips the test for a form that has none.
func server(t *testing.T, f Form) {
	t.Helper()
	if f.Addr == "" {
		t.Skip("this form has no connection")
	}
}

// pair starts "a" behind a proxy, and "b" without.
func pair(t *testing.T, f Form) (a, b *Member, way *Proxy) {
	t.Helper()
	server(t, f)
	way = NewProxy(t, f.Addr)
	a, b = Start(t, f, "a", way.Addr()), Start(t, f, "b", f.Addr)
	connected(t, a)
	connected(t, b)
	return a, b, way
}

func cut(t *testing.T, f Form) {
	a, b, way := pair(t, f)
	way.Cut()
	a.Until(t, "not connected", func() bool { return !a.State().Connected && a.State().Trouble != "" })
	keep(t, a)
	gaps := a.Gaps()
	b.Publish(mail(1)) // a will not get it
	a.Publish(mail(2)) // waits
	way.Mend()
	a.Until(t, "a gap", func() bool { return a.Gaps() > gaps })
	arrives(t, b, mail(2))
	b.Publish(mail(3))
	arrives(t, a, mail(3))
	if a.Metric(t, "planetbell_bus_reconnects_total") != 1 || a.Metric(t, "planetbell_bus_connected") != 1 {
		t.Error("the metrics do not tell of the new connection")
	}
}

// frozen: a connection that is dead gives no error, since nothing is said on it. Only that
// the own heartbeats are not heard shows it.
func frozen(t *testing.T, f Form) {
	a, b, way := pair(t, f)
	way.Freeze()
	a.Until(t, "not connected", func() bool { return !a.State().Connected })
	keep(t, a)
	gaps := a.Gaps()
	way.Mend()
	a.Until(t, "a gap", func() bool { return a.Gaps() > gaps && a.State().Connected })
	b.Publish(mail(1))
	arrives(t, a, mail(1))
}

func neverWaits(t *testing.T, f Form) {
	const many = 30000 // more than wait to be sent
	a, b, way := pair(t, f)
	way.Cut()
	a.Until(t, "not connected", func() bool { return !a.State().Connected })
	gaps := b.Gaps()
	for i := range many {
		a.Publish(mail(i))
	}
	if got := a.Metric(t, "planetbell_bus_dropped_total"); got < many/2 {
		t.Errorf("%v of %d hints were dropped", got, many)
	}
	way.Mend()
	arrives(t, b, mail(many-1)) // the newest
	b.Until(t, "told of what was dropped at the other node", func() bool { return b.Gaps() > gaps })
}

func damaged(t *testing.T, f Form) {
	server(t, f)
	nodes := up(t, f, "a", "b")
	bad := []string{
		"x", "pb0\ta\trun\t1\n", "pb1\ta\trun\n", "pb1\ta\trun\t0\n", "pb1\ta\trun\t-1\n", "pb1\ta\trun\t1", "pb1\t\trun\t1\n",
		"pb1\ta b\trun\t1\n", "pb1\tevil\trun\t1\nm\n", "pb1\tevil\trun\t1\nm\t\n", "pb1\tevil\trun\t1\nm\tx",
		"pb1\tevil\trun\t1\no\tmoon\ts\n", "pb1\tevil\trun\t1\nm\tgood\nr\treal\ts\n", "pb1\tevil\trun\t1\n\n", strings.Repeat("x", 7999),
		"pb1\t" + strings.Repeat("n", 300) + "\trun\t1\n",
	}
	for _, text := range bad {
		f.Inject(t, text)
	}
	// Newer releases may say more, and it does not harm.
	f.Inject(t, "pb1\tnewer\trun\t1\tmore\nw\tsomething\tnew\nm\tphone\textra\n")
	for _, n := range nodes {
		n.Until(t, "the message of a newer release", func() bool { return n.Different() == 1 })
		if got := n.Metric(t, "planetbell_bus_damaged_total"); got != float64(len(bad)) {
			t.Errorf("%s counted %v damaged messages, want %d", n.Name, got, len(bad))
		}
	}
	nodes[0].Publish(mail(1))
	arrives(t, nodes[1], mail(1))
}

func missing(t *testing.T, f Form) {
	server(t, f)
	node := up(t, f, "a")[0]
	gaps := node.Gaps()
	say := func(seq, device int) {
		f.Inject(t, fmt.Sprintf("pb1\tother\trun\t%d\nm\t%d\n", seq, device))
		node.Until(t, fmt.Sprint("device ", device), func() bool { return node.Different() == device })
	}
	say(1, 1)
	say(2, 2)
	say(2, 3) // again is no harm
	if node.Gaps() != gaps {
		t.Error("a gap where nothing is missing")
	}
	say(4, 4)
	node.Until(t, "a gap", func() bool { return node.Gaps() > gaps })
}

// Restart ends the server of two nodes and starts it again at the same address.
func Restart(t *testing.T, f Form, end, start func() error) {
	nodes := up(t, f, "a", "b")
	if err := end(); err != nil {
		t.Fatal(err)
	}
	gaps := make(map[*Member]int)
	for _, n := range nodes {
		n.Until(t, "not connected", func() bool { return !n.State().Connected })
		keep(t, n)
		gaps[n] = n.Gaps()
	}
	nodes[0].Publish(mail(1))
	if err := start(); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.Until(t, "a gap", func() bool { return n.State().Connected && n.Gaps() > gaps[n] })
	}
	nodes[0].Publish(mail(2))
	arrives(t, nodes[1], mail(2))
}
