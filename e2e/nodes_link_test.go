//go:build !race

package e2e

import (
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/planetbell/planetbell/internal/bus/bustest"
	"github.com/planetbell/planetbell/internal/testpg"
)

// link is a node's way to PostgreSQL or NATS. It can be cut and frozen, as a proxy can, and slow.
type link struct {
	*bustest.Proxy
	delay *delayer
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	d := &delayer{target: target}
	var err error
	if d.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	d.work.Go(d.accept)
	t.Cleanup(func() { // after the proxy's, which closes all connections
		_ = d.listener.Close()
		d.work.Wait()
	})
	return &link{Proxy: bustest.NewProxy(t, d.listener.Addr().String()), delay: d}
}

// slow makes everything take so long, one way.
func (l *link) slow(d time.Duration) { l.delay.by.Store(int64(d)) }

// through is a URL by way of the link.
func (l *link) through(t *testing.T, target string) string {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal("a server's URL cannot be read")
	}
	u.Host = l.Addr()
	return u.String()
}

// delayer passes bytes on later, in both directions.
type delayer struct {
	target   string
	listener net.Listener
	by       atomic.Int64
	work     sync.WaitGroup
}

func (d *delayer) accept() {
	for {
		client, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.work.Go(func() {
			server, err := net.Dial("tcp", d.target)
			if err != nil {
				_ = client.Close()
				return
			}
			d.work.Go(func() { d.pump(server, client) })
			d.pump(client, server)
		})
	}
}

// parcel is what came at once, and when it is to go on.
type parcel struct {
	due   time.Time
	bytes []byte
}

func (d *delayer) pump(from, to net.Conn) {
	parcels := make(chan parcel, 1000)
	d.work.Go(func() {
		defer func() { _, _ = from.Close(), to.Close() }()
		for p := range parcels {
			if wait := time.Until(p.due); wait > 0 {
				<-time.After(wait)
			}
			if _, err := to.Write(p.bytes); err != nil {
				_ = from.Close()
				for range parcels { //nolint:revive // until the reader has noticed
				}
				return
			}
		}
	})
	defer close(parcels)
	for {
		buffer := make([]byte, 16<<10)
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		parcels <- parcel{time.Now().Add(time.Duration(d.by.Load())), buffer[:n]}
	}
}

// natsServer is a NATS server of the test's own, which can be restarted on its port.
type natsServer struct {
	t    *testing.T
	port int
	s    *server.Server
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	n := &natsServer{t: t, port: server.RANDOM_PORT}
	n.start()
	n.port = n.s.Addr().(*net.TCPAddr).Port
	t.Cleanup(n.stop)
	return n
}

func (n *natsServer) start() {
	n.t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: n.port, NoLog: true, NoSigs: true})
	if err != nil {
		n.t.Fatal(err)
	}
	n.s = s
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		n.t.Fatal("the NATS server does not start")
	}
}

func (n *natsServer) stop() {
	n.s.Shutdown()
	n.s.WaitForShutdown()
}

func (n *natsServer) restart() {
	n.t.Helper()
	n.stop()
	<-time.After(500 * time.Millisecond)
	n.start()
}

func (n *natsServer) url() string { return "nats://" + n.s.Addr().String() }

// deployment is a PostgreSQL server, a NATS server if it is wanted, and the links of three nodes to
// them, if those are wanted.
type deployment struct {
	pg     *testpg.Server
	nats   *natsServer
	source string
	toPG   []*link // by node
	toNATS []*link
}

const nodesCount = 3

// deploy starts what three nodes need. With links, each node has its own way to each server.
func deploy(t *testing.T, nats, links bool, settings ...string) *deployment {
	t.Helper()
	d := &deployment{pg: testpg.Start(t, settings...)}
	d.source = d.pg.Database(t)
	if nats {
		d.nats = startNATS(t)
	}
	for range nodesCount {
		if links {
			d.toPG = append(d.toPG, newLink(t, d.pg.Addr()))
		}
		if links && nats {
			d.toNATS = append(d.toNATS, newLink(t, d.nats.s.Addr().String()))
		}
	}
	return d
}

// options are those of the nodes.
func (d *deployment) options(t *testing.T, s nodesScale) nodesOptions {
	t.Helper()
	o := nodesOptions{count: nodesCount, level: s.level(), limit: s.limit(), source: d.source}
	o.database = func(i int) string {
		if d.toPG == nil {
			return d.source
		}
		return d.toPG[i].through(t, d.source)
	}
	if d.nats != nil {
		o.bus = func(i int) string {
			if d.toNATS == nil {
				return d.nats.url()
			}
			return d.toNATS[i].through(t, d.nats.url())
		}
	}
	return o
}
