//go:build !race

package e2e

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/internal/testpg"
	"github.com/planetbell/planetbell/planet"
)

// A call that its device has is in no mailbox any more. Its Call Event comes to another node while hints
// cannot go from one to the other: the stream says that it is over, long before it would be by itself.
func TestAStreamIsToldOfAnEndWhileHintsAreLost(t *testing.T) {
	t.Parallel()
	s := nodesScale{}
	d := deploy(t, true, false, testpg.NoFsync)
	o := d.options(t, s)
	o.count, o.level = 2, "info"
	n := newNodes(t, o)
	first, second := n.list[0], n.list[1]
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	p, err := sim.NewPhone(sim.AndroidLP, sim.PhoneOptions{
		Name: "bob's stream", BaseURL: "http://" + second.public, User: planet.UserRef{ServiceID: n.projects[0].service(), UserID: "bob"},
		APIKey: secret(n.projects[0].Name+"-client-key", 32), Client: &http.Client{Transport: transport}, Acknowledges: true, Streams: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Start(n.ctx); err != nil {
		t.Fatal(err)
	}
	n.await("the stream is open", 10*time.Second, func() (bool, string) { return n.metric(second, "planetbell_streams_open") == 1, "none is" })
	sid := uuid.NewString()
	n.callback(first, "notify", notify(sid, n.projects[0].service(), "bob"))
	if got, err := p.AwaitReceived(n.ctx, 1); err != nil || got[0].Via != "stream" {
		t.Fatalf("the phone got %+v, %v", got, err)
	}
	db := n.open()
	defer db.Close()
	n.await("the receipt is on record", 10*time.Second, func() (bool, string) {
		var state string
		err := db.QueryRowContext(n.ctx, `SELECT d.state FROM deliveries d JOIN calls c ON c.id = d.call_id WHERE c.session_id = $1`, sid).Scan(&state)
		return err == nil && state == string(bell.DeliveryReceived), state
	})
	d.nats.stop()
	n.callback(first, "call-event", callEvent(sid, n.projects[0].service(), "bob"))
	ended := time.Now()
	ends, err := p.AwaitEnded(n.ctx, 1)
	if err != nil || ends[0] != (clients.StreamEnd{SessionID: sid, Why: bell.EndedByCall}) {
		t.Errorf("the phone was told %+v, %v", ends, err)
	}
	t.Logf("the end came after %v", time.Since(ended).Round(time.Millisecond))
	const lost = `planetbell_cluster_hints_lost_total{kind="ended"}`
	n.await("it is counted", 10*time.Second, func() (bool, string) { return n.metric(second, lost) == 1, n.ask(second, "/metrics") })
	p.Close()
	n.stopAll()
}

// callback sends a callback to a node, which must answer 200.
func (n *nodes) callback(d *node, kind string, values url.Values) {
	n.t.Helper()
	target := strings.Replace(n.projects[0].callbackURL(kind), front, "http://"+d.public, 1) + "?" + values.Encode()
	r, err := http.NewRequestWithContext(n.ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		n.t.Fatal(err)
	}
	resp, err := n.watch.client.Do(r)
	if err != nil {
		n.t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		n.t.Fatalf("%s is answered %d by %s", kind, resp.StatusCode, d.name)
	}
}
