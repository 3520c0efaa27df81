//go:build !race

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/planet"
)

// The ways to a device, of which duplicates are counted apart.
const (
	byAPNs    = "apns"
	byFCM     = "fcm"
	plainPoll = "plain poll"        // as LINE's clients do
	ackPoll   = "acknowledged poll" // as an app of one's own
	byStream  = "stream"            // likewise
)

// callee is a user with devices.
type callee struct {
	project nodesProject
	user    string
	devices []*reached
}

// reached is a device, and what it got.
type reached struct {
	way   string
	phone *sim.Phone // of a poller

	mu  sync.Mutex
	got map[string]*got // by cc_param
}

// got is a call that a device got.
type got struct {
	first, last time.Time
	times       int
	ids         map[string]bool // the apns-ids
}

func (d *reached) count(param, id string) {
	now := time.Now()
	d.mu.Lock()
	defer d.mu.Unlock()
	g := d.got[param]
	if g == nil {
		g = &got{first: now, ids: map[string]bool{}}
		d.got[param] = g
	}
	g.times++
	g.last = now
	if id != "" {
		g.ids[id] = true
	}
}

// fleet is all users.
type fleet struct {
	n       *nodes
	callees []*callee
}

// addFleet makes users: iPhones, Android phones, and PCs that poll, through whatever node is next.
// One user of eight is of the project whose calls are told.
func (n *nodes) addFleet(users int) *fleet {
	n.t.Helper()
	f := &fleet{n: n}
	for i := range users {
		c := &callee{project: n.projects[0], user: fmt.Sprintf("user%d", i)}
		if i%8 == 7 {
			c.project = n.projects[1]
		}
		switch i % 4 {
		case 0:
			f.addIPhone(c, i)
			f.addPoller(c, plainPoll)
		case 1:
			f.addAndroid(c, i)
			f.addPoller(c, []string{ackPoll, byStream}[i/4%2])
		case 2:
			f.addIPhone(c, i)
		case 3:
			f.addAndroid(c, i)
		}
		f.callees = append(f.callees, c)
	}
	n.t.Cleanup(f.close)
	return f
}

func (f *fleet) addIPhone(c *callee, i int) {
	d := &reached{way: byAPNs, got: map[string]*got{}}
	token := fmt.Sprintf("%s%052x", sim.APNsTokenPrefix, i)
	f.n.world.Production.Register(token, f.n.world.Settings().BundleID+".voip", func(push sim.APNsPush) {
		call, err := clients.AppleVoIP(push.Body)
		if err != nil {
			f.n.t.Errorf("an iPhone cannot read a push: %v", err)
		}
		d.count(call.CCParam, push.ID)
	})
	f.register(c, d, map[string]string{"channel": "apns_voip", "push_token": token, "apns_server": "production"})
}

func (f *fleet) addAndroid(c *callee, i int) {
	d := &reached{way: byFCM, got: map[string]*got{}}
	token := fmt.Sprintf("%s:%0140d", sim.FCMTokenPrefix, i)
	f.n.world.FCM.Register(token, func(m sim.FCMMessage) {
		call, err := clients.AndroidData(m.Data)
		if err != nil {
			f.n.t.Errorf("an Android phone cannot read a message: %v", err)
		}
		d.count(call.CCParam, "")
	})
	f.register(c, d, map[string]string{"channel": "fcm", "push_token": token})
}

// register adds a device as an operator, on whatever node.
func (f *fleet) register(c *callee, d *reached, fields map[string]string) {
	f.n.t.Helper()
	fields["project"], fields["user_id"] = c.project.Name, c.user
	body, err := json.Marshal(fields)
	if err != nil {
		f.n.t.Fatal(err)
	}
	at := f.n.list[len(f.callees)%len(f.n.list)]
	r, err := http.NewRequestWithContext(f.n.ctx, http.MethodPost, "http://"+at.admin+"/admin/v1/devices", strings.NewReader(string(body)))
	if err != nil {
		f.n.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+secret("admin-token", 64))
	resp, err := f.n.watch.client.Do(r)
	if err != nil {
		f.n.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		f.n.t.Fatalf("add a device by %s: %d", d.way, resp.StatusCode)
	}
	c.devices = append(c.devices, d)
}

// addPoller adds a device that polls or holds a stream, and registers as LINE's Android app does.
func (f *fleet) addPoller(c *callee, way string) {
	f.n.t.Helper()
	d := &reached{way: way, got: map[string]*got{}}
	var err error
	d.phone, err = sim.NewPhone(sim.AndroidLP, sim.PhoneOptions{
		Name: c.user + "'s " + d.way, BaseURL: front, User: planet.UserRef{ServiceID: c.project.service(), UserID: c.user},
		APIKey: secret(c.project.Name+"-client-key", 32), Client: f.n.client, Acknowledges: way == ackPoll, Streams: way == byStream, Recent: 1 << 20,
	})
	if err != nil {
		f.n.t.Fatal(err)
	}
	// Nodes that have just started beside others, on a small machine, may say 503; an app asks again.
	for try := 1; ; try++ {
		err := d.phone.Start(f.n.ctx)
		if err == nil {
			break
		}
		if try == 5 {
			f.n.t.Fatal(err)
		}
		f.n.t.Logf("%s registers again: %v", d.way, err)
		_ = rest(f.n.ctx, time.Second)
	}
	c.devices = append(c.devices, d)
}

// close switches the pollers off, and takes down what they got.
func (f *fleet) close() {
	for _, c := range f.callees {
		for _, d := range c.devices {
			if d.phone != nil {
				d.phone.Close()
			}
		}
	}
}

// collect takes down what pollers got, from their receipts.
func (f *fleet) collect() {
	f.close()
	for _, c := range f.callees {
		for _, d := range c.devices {
			if d.phone == nil {
				continue
			}
			for _, r := range d.phone.Received() {
				if r.Err != nil {
					f.n.t.Errorf("a poll's answer cannot be used: %v", r.Err)
					continue
				}
				g := d.got[r.Call.CCParam]
				if g == nil {
					g = &got{first: r.At}
					d.got[r.Call.CCParam] = g
				}
				g.times++
				g.last = r.At
			}
		}
	}
}

// repeats is how often those of a way that acknowledges were handed a call that they had, and how many of
// their receipts were not answered 200.
func (f *fleet) repeats(way string, got int) (repeats, refused int) {
	taken := 0
	for _, c := range f.callees {
		for _, d := range c.devices {
			if d.way == way {
				stats := d.phone.Stats()
				repeats += stats.Repeats
				taken += stats.Acknowledged
			}
		}
	}
	return repeats, max(0, got+repeats-taken)
}
