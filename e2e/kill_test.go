//go:build !race

// Under the race detector the pretend services would answer so slowly that what a kill
// leaves open is mostly theirs. The program that is killed is built without it anyway.

package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "modernc.org/sqlite"

	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/internal/testlog"
)

// slow is how long the push services take.
const slow = 20 * time.Millisecond

// flood is a crowd of callers at a server that is ended again and again.
type flood struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // of the story
	watch  *watch
	world  *sim.World
	dir    string
	config string
	client *http.Client // of the callers

	mu       sync.Mutex
	sent     int
	answered map[string]bool            // cc_param of the callbacks answered 200
	pushed   map[string]map[string]int  // by service and cc_param: how often
	ids      map[string]map[string]bool // by cc_param: the apns-ids
}

// A callback that was answered 200 is never lost: wherever the process is ended, and
// however, the next one rings for it within the ring. What a kill leaves open is sent again
// under the same ID, and that is rare.
func TestAFloodSurvivesEveryEnd(t *testing.T) {
	for _, c := range []struct {
		name   string
		rounds int
		calls  int
		end    func(f *flood, p *process)
	}{
		{"SIGKILL at any instant", 6, 5000, func(f *flood, p *process) { p.kill() }},
		{"SIGTERM at any instant", 6, 5000, func(f *flood, p *process) { p.terminate(f.t) }},
		{"SIGKILL in a commit", 6, 5000, (*flood).killInCommit},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFlood(t)
			p := serve(f.ctx, t, f.watch, f.config)
			f.addDevices(p)
			for i := range c.rounds { // one end in each part of the flood, so that no run has only early ones
				part := c.calls / c.rounds
				f.untilEnded(c.calls, 1+i*part+rand.IntN(part-1), p, c.end)
				p = serve(f.ctx, t, f.watch, f.config)
			}
			f.allRang()
			p.terminate(t)
			f.report(c.rounds)
		})
	}
}

func newFlood(t *testing.T) *flood {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	t.Cleanup(cancel)
	w := newWatch(t)
	dir := t.TempDir()
	world, err := sim.NewWorld(sim.WorldOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	file := servedValues{Dir: dir, W: world.Settings()}.file(t)
	for _, service := range []string{"apns-production", "fcm"} {
		if err := world.SetFault(service, sim.Answer{Delay: slow}, 0); err != nil {
			t.Fatal(err)
		}
	}
	f := &flood{
		t: t, ctx: ctx, watch: w, world: world, dir: dir, config: file, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
		answered: map[string]bool{}, pushed: map[string]map[string]int{"apns": {}, "fcm": {}}, ids: map[string]map[string]bool{},
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Errorf("close the simulator: %v", err)
		}
		f.client.CloseIdleConnections()
		w.client.CloseIdleConnections()
		w.search(t)
	})
	return f
}

// addDevices gives bob an iPhone and an Android phone.
func (f *flood) addDevices(p *process) {
	f.t.Helper()
	iphone := sim.APNsTokenPrefix + strings.Repeat("0a", 26)
	android := sim.FCMTokenPrefix + ":" + strings.Repeat("x", 140)
	f.world.Production.Register(iphone, f.world.Settings().BundleID+".voip", func(push sim.APNsPush) {
		call, err := clients.AppleVoIP(push.Body)
		if err != nil {
			f.t.Errorf("the iPhone cannot read a push: %v", err)
		}
		f.count("apns", call.CCParam, push.ID)
	})
	f.world.FCM.Register(android, func(m sim.FCMMessage) {
		call, err := clients.AndroidData(m.Data)
		if err != nil {
			f.t.Errorf("the Android phone cannot read a message: %v", err)
		}
		f.count("fcm", call.CCParam, "")
	})
	for _, d := range []map[string]string{
		{"project": "demo", "user_id": "bob", "channel": "apns_voip", "push_token": iphone, "apns_server": "production"},
		{"project": "demo", "user_id": "bob", "channel": "fcm", "push_token": android},
	} {
		body, err := json.Marshal(d)
		if err != nil {
			f.t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(f.ctx, http.MethodPost, p.admin+"/admin/v1/devices", strings.NewReader(string(body)))
		if err != nil {
			f.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+secret("admin-token", 64))
		resp, err := f.watch.client.Do(r)
		if err != nil {
			f.t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			f.t.Fatalf("add a device by %s: %d", d["channel"], resp.StatusCode)
		}
	}
}

// count notes a push that a phone got.
func (f *flood) count(service, param, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pushed[service][param]++
	if id == "" {
		return
	}
	if f.ids[param] == nil {
		f.ids[param] = map[string]bool{}
	}
	f.ids[param][id] = true
}

// untilEnded sends n callbacks, 64 at a time, and ends the server after so many answers,
// in the middle of the others.
func (f *flood) untilEnded(n, after int, p *process, end func(*flood, *process)) {
	numbers := make(chan int)
	enough := make(chan struct{})
	var once sync.Once
	var answers atomic.Int64
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			for i := range numbers {
				if f.call(p, i) && answers.Add(1) >= int64(after) {
					once.Do(func() { close(enough) })
				}
			}
		})
	}
	var killer sync.WaitGroup
	killer.Go(func() {
		<-enough
		end(f, p)
	})
	// At a pace that the machine keeps up with: what is measured is how much a kill leaves
	// open, not how long the pretend services make an answer wait for a processor.
	ticker := time.NewTicker(time.Second / callsPerSecond)
	defer ticker.Stop()
	for range n {
		<-ticker.C
		f.sent++
		numbers <- f.sent
		if f.ended(p) {
			break
		}
	}
	close(numbers)
	callers.Wait()
	once.Do(func() { close(enough) })
	killer.Wait()
}

// callsPerSecond is how many callbacks come in.
const callsPerSecond = 1000

// ended reports whether the server has ended, so that further callbacks would prove nothing.
func (f *flood) ended(p *process) bool {
	select {
	case <-p.read:
		return true
	default:
		return false
	}
}

// call sends one Notify, and reports whether it was answered 200.
func (f *flood) call(p *process, i int) bool {
	values := notify(uuid.NewString(), "demo-service", "bob")
	values.Set("param", testlog.CCParam(i))
	url := p.public + "/cb/" + secret("callback-secret", 40) + "/notify?" + values.Encode()
	r, err := http.NewRequestWithContext(f.ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := f.client.Do(r)
	if err != nil {
		return false // ended
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answered[values.Get("param")] = true
	return true
}

// killInCommit kills the server the moment its write-ahead log is written: the commit has
// not been synced yet, or is just being answered.
func (f *flood) killInCommit(p *process) {
	written := func() time.Time {
		info, err := os.Stat(filepath.Join(f.dir, "planetbell.db-wal"))
		if err != nil {
			return time.Time{}
		}
		return info.ModTime()
	}
	for before := written(); f.ctx.Err() == nil && written().Equal(before); {
	}
	p.kill()
}

// allRang waits until both devices got a push for every answered callback.
func (f *flood) allRang() {
	f.t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		missing := f.missing()
		if missing == "" {
			return
		}
		select {
		case <-ticker.C:
		case <-f.ctx.Done():
			f.t.Fatalf("answered 200 and lost: %s", missing)
		}
	}
}

// missing says which answered callbacks have not rung, or "".
func (f *flood) missing() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	missing := map[string]int{}
	for param := range f.answered {
		for service, pushed := range f.pushed {
			if pushed[param] == 0 {
				missing[service]++
			}
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("%v of %d", missing, len(f.answered))
}

// report checks that pushes which came twice were few and had one ID, and that the record
// has an end for every delivery.
func (f *flood) report(rounds int) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.answered) < rounds*10 {
		f.t.Fatalf("only %d callbacks were answered; that proves nothing", len(f.answered))
	}
	pushes, twice := 0, 0
	for service, pushed := range f.pushed {
		before := twice
		for _, n := range pushed {
			pushes += n
			twice += n - 1
		}
		f.t.Logf("%s: %d calls rang, %d times twice", service, len(pushed), twice-before)
	}
	for param, ids := range f.ids {
		if len(ids) > 1 {
			f.t.Errorf("one call was pushed under %d IDs (%d pushes)", len(ids), f.pushed["apns"][param])
		}
	}
	f.t.Logf("%d of %d callbacks were answered 200 in %d rounds; %d pushes, %d of them (%.2f %%) repeats",
		len(f.answered), f.sent, rounds, pushes, twice, 100*float64(twice)/float64(pushes))
	if twice*100 > pushes {
		f.t.Errorf("%d of %d pushes are repeats, more than 1 %%", twice, pushes)
	}
	for state, n := range f.states() {
		f.t.Logf("%d deliveries are recorded as %s", n, state)
		if state != "accepted" {
			f.t.Errorf("%d deliveries are recorded as %s, and all of them rang", n, state)
		}
	}
}

// states counts the deliveries of the stopped server's database.
func (f *flood) states() map[string]int {
	f.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(f.dir, "planetbell.db"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(f.ctx, `SELECT state, count(*) FROM deliveries GROUP BY state`)
	if err != nil {
		f.t.Fatal(err)
	}
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var state string
		var n int
		if err := rows.Scan(&state, &n); err != nil {
			f.t.Fatal(err)
		}
		counts[state] = n
	}
	var verdict string
	if err := db.QueryRowContext(f.ctx, `PRAGMA integrity_check`).Scan(&verdict); err != nil || verdict != "ok" {
		f.t.Errorf("the database is damaged: %s, %v", verdict, err)
	}
	return counts
}

// terminate asks the program to stop, and checks that it does so without complaint.
func (p *process) terminate(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("ask the server to stop: %v", err)
	}
	<-p.read
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("a server that was asked to stop: %v", err)
	}
}
