package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/stage"
	"github.com/planetbell/planetbell/internal/testlog"
)

// The figures of the chaos. It lasts chaosShort, or as long as PLANETBELL_CHAOS says.
const (
	chaosShort    = 30 * time.Second
	longChaos     = 5 * time.Minute // from which on memory must be flat
	chaosCalls    = 200             // a second
	chaosRing     = 10 * time.Second
	chaosUsers    = 40
	chaosTroubles = 700 * time.Millisecond // between one trouble and the next
)

// chaos is a server at work while everything around it goes wrong.
type chaos struct {
	*scene
	random *rand.Rand // of the troubles
	calls  sync.WaitGroup

	mu       sync.Mutex
	answered map[string]bool // session IDs of the Notifies answered 200
	refused  map[int]int     // other answers, by status
	troubles map[string]int  // by kind
}

// While providers, connections, certificates and the disk fail at random, no accepted call
// is lost: each of its deliveries comes to an end, and the record says which and why. What is
// held in memory and how many goroutines there are does not grow.
func TestChaos(t *testing.T) {
	span := chaosShort
	if text := os.Getenv("PLANETBELL_CHAOS"); text != "" {
		var err error
		if span, err = time.ParseDuration(text); err != nil {
			t.Fatalf("PLANETBELL_CHAOS: %v", err)
		}
	}
	c := newChaos(t, span)
	c.addDevices()
	c.call(200) // warm
	c.calls.Wait()
	first := c.memory()
	t.Logf("at the start: %s", first)

	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	var begun, troubled time.Time = time.Now(), time.Now()
	middle, called := memory{}, 0
	for time.Since(begun) < span {
		<-ticker.C
		due := int(time.Since(begun).Seconds() * chaosCalls) // also what a slow moment has missed
		c.call(due - called)
		called = due
		if time.Since(troubled) > chaosTroubles {
			troubled = time.Now()
			c.trouble()
		}
		if middle.goroutines == 0 && time.Since(begun) > span/2 {
			middle = c.memory()
			t.Logf("in the middle: %s", middle)
		}
	}
	c.World.ClearFaults()
	c.calls.Wait()
	c.await("the backlog is empty", func() bool { return c.metric("planetbell_backlog_items") == 0 })
	c.await("every ring is over and recorded", func() bool { return c.open() == 0 })
	c.settle(span, first, middle)
	c.report(span)
}

func newChaos(t *testing.T, span time.Duration) *chaos {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), span+3*time.Minute)
	t.Cleanup(cancel)
	w := newWatch(t)
	w.stream = true
	o := stage.Options{Dir: t.TempDir(), Log: w.log, Secret: secret, Version: "e2e", RingTime: chaosRing}
	simulated(func(o *sim.WorldOptions) { o.Recent, o.RingTime = 500, chaosRing })(&o)
	configured(func(c *config.Config) { c.Calls.Safety = time.Second })(&o)
	set, err := stage.New(ctx, o)
	if err != nil {
		t.Fatalf("set the stage: %v", err)
	}
	s := &scene{Stage: set, t: t, ctx: ctx, options: o, watch: w}
	t.Cleanup(s.close)
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed of the troubles is %d", seed)
	return &chaos{
		scene: s, random: rand.New(rand.NewPCG(seed, 1)),
		answered: map[string]bool{}, refused: map[int]int{}, troubles: map[string]int{},
	}
}

// addDevices gives every user an iPhone, of one of Apple's two worlds, and an Android
// phone, and some a PC that polls.
func (c *chaos) addDevices() {
	c.t.Helper()
	topic := c.World.Settings().BundleID + ".voip"
	for n := range chaosUsers {
		user := fmt.Sprintf("user%d", n)
		iphone, android := fmt.Sprintf("%s%052x", sim.APNsTokenPrefix, n), fmt.Sprintf("%s:%0140d", sim.FCMTokenPrefix, n)
		apple, server := c.World.Production, "production"
		if n%4 == 0 {
			apple, server = c.World.Sandbox, "sandbox"
		}
		apple.Register(iphone, topic, nil)
		c.World.FCM.Register(android, nil)
		for _, body := range []string{
			fmt.Sprintf(`{"project":"demo","user_id":%q,"channel":"apns_voip","push_token":%q,"apns_server":%q}`, user, iphone, server),
			fmt.Sprintf(`{"project":"demo","user_id":%q,"channel":"fcm","push_token":%q}`, user, android),
		} {
			if status := c.admin(http.MethodPost, "/admin/v1/devices", body, nil); status != http.StatusCreated {
				c.t.Fatalf("add a device: %d", status)
			}
		}
		if n%8 == 0 {
			c.phone(user, sim.Windows, user+"'s PC").SetBehavior(sim.Behavior{Kind: sim.BehaviorDeaf})
		}
	}
}

// call begins n calls. Half of them are ended by the caller after a while.
func (c *chaos) call(n int) {
	for range n {
		user := fmt.Sprintf("user%d", rand.IntN(chaosUsers))
		c.calls.Go(func() {
			sid := uuid.NewString()
			values := notify(sid, "demo-service", user)
			values.Set("param", testlog.CCParam(rand.IntN(1_000_000)))
			status := c.tell("notify", values.Encode())
			c.mu.Lock()
			if status == http.StatusOK {
				c.answered[sid] = true
			} else {
				c.refused[status]++
			}
			c.mu.Unlock()
			if rand.IntN(2) == 0 {
				return
			}
			after := time.NewTimer(rand.N(chaosRing))
			defer after.Stop()
			<-after.C
			values.Del("param")
			values.Set("disconnect_reason", "1201")
			if status := c.tell("call-event", values.Encode()); status != http.StatusOK {
				c.mu.Lock()
				c.refused[status]++
				c.mu.Unlock()
			}
		})
	}
}

// tell sends a callback and returns how it was answered; 0 when it was not.
func (c *chaos) tell(name, query string) int {
	r, err := http.NewRequestWithContext(c.ctx, http.MethodGet, c.callbackURL(c.project(), name)+"?"+query, http.NoBody)
	if err != nil {
		return 0
	}
	a, err := c.send(r)
	if err != nil {
		return 0
	}
	return a.status
}

// trouble makes one thing go wrong, for a while.
func (c *chaos) trouble() {
	c.t.Helper()
	if c.random.IntN(30) == 0 {
		c.note("database locked")
		c.calls.Go(func() { c.lockDatabase(time.Duration(200+rand.IntN(2500)) * time.Millisecond) })
		return
	}
	targets := slices.DeleteFunc(sim.FaultTargets(), func(t string) bool { return t == "server-api" }) // nobody asks it here
	target := targets[c.random.IntN(len(targets))]
	kinds := sim.FaultKinds()
	kind := kinds[c.random.IntN(len(kinds))]
	f := sim.Fault{Kind: kind.Kind, For: time.Duration(200+c.random.IntN(4000)) * time.Millisecond}
	switch {
	case f.Kind == sim.FaultRefuse:
	case f.Kind == sim.FaultSilence:
		f.Scope = sim.ScopeNew
	default:
		f.Share = []float64{0.05, 0.3, 1}[c.random.IntN(3)]
	}
	if slices.Contains(strings.Fields(kind.Fields), "delay") && f.Kind != sim.FaultDrip {
		f.Delay = time.Duration(1+c.random.IntN(1500)) * time.Millisecond
	}
	if slices.Contains(strings.Fields(kind.Fields), "deliver") {
		f.Deliver = c.random.IntN(2) == 0
	}
	if f.Kind == sim.FaultAnswer {
		f.Answer = sim.Answer{Status: 503}
	}
	if err := c.World.AddFault(target, f); err != nil {
		return // not a kind of this target
	}
	c.note(target + " " + string(f.Kind))
}

func (c *chaos) note(trouble string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.troubles[trouble]++
}

// lockDatabase holds the database's only write lock from outside.
func (c *chaos) lockDatabase(span time.Duration) {
	db, err := sql.Open("sqlite", "file:"+c.Config.Database.Path+"?_pragma=busy_timeout(5000)")
	if err != nil {
		c.t.Error(err)
		return
	}
	defer db.Close()
	conn, err := db.Conn(c.ctx)
	if err != nil {
		c.t.Error(err)
		return
	}
	defer conn.Close()
	if _, err := conn.ExecContext(c.ctx, "BEGIN IMMEDIATE"); err != nil {
		return // somebody else has it
	}
	end := time.NewTimer(span)
	defer end.Stop()
	<-end.C
	if _, err := conn.ExecContext(c.ctx, "ROLLBACK"); err != nil {
		c.t.Error(err)
	}
}

// query reads one number from the database.
func (c *chaos) query(text string) (n int) {
	c.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Clean(c.Config.Database.Path)+"?mode=ro&_pragma=busy_timeout(5000)")
	if err != nil {
		c.t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRowContext(c.ctx, text).Scan(&n); err != nil {
		c.t.Fatal(err)
	}
	return n
}

// open is how many deliveries have no end yet, and how many calls still hold a secret.
func (c *chaos) open() int {
	return c.query(`SELECT (SELECT count(*) FROM deliveries WHERE state IN ('pending', 'sending')) + (SELECT count(*) FROM calls WHERE cc_param <> '')`)
}

// memory is what the process holds.
type memory struct {
	heap       uint64
	goroutines int
}

func (m memory) String() string {
	return fmt.Sprintf("%d MB of heap, %d goroutines", m.heap>>20, m.goroutines)
}

func (c *chaos) memory() memory {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memory{m.HeapAlloc, runtime.NumGoroutine()}
}

// settle waits until what the chaos needed has been given back.
func (c *chaos) settle(span time.Duration, first, middle memory) {
	c.t.Helper()
	var last memory
	deadline := time.Now().Add(time.Minute)
	c.await("the goroutines of the chaos have ended", func() bool {
		c.watch.client.CloseIdleConnections()
		last = c.memory()
		return last.goroutines < first.goroutines+100 || time.Now().After(deadline)
	})
	c.t.Logf("at the end: %s", last)
	if last.goroutines >= first.goroutines+100 {
		c.t.Errorf("%d goroutines, there were %d", last.goroutines, first.goroutines)
	}
	// What is remembered on purpose is bounded, and so is there in the middle already, or is
	// some hundred bytes a call: those of the last minutes, and the test's own list.
	// A short run is over before they are full: it can only tell that nothing gets out of hand.
	most := middle.heap + 20<<20 + uint64(len(c.answered))*400
	if span < longChaos {
		most = 200 << 20
	}
	if last.heap > most {
		c.t.Errorf("the heap has grown from %d MB in the middle to %d MB, at most %d MB are wanted", middle.heap>>20, last.heap>>20, most>>20)
	}
}

// report checks the record against what was answered.
func (c *chaos) report(span time.Duration) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t.Logf("%d calls in %v: %d were taken, others were answered %v", c.query(`SELECT count(*) FROM calls`), span, len(c.answered), c.refused)
	var kinds []string
	for kind, n := range c.troubles {
		kinds = append(kinds, fmt.Sprintf("%s %d", kind, n))
	}
	slices.Sort(kinds)
	c.t.Logf("troubles: %s", strings.Join(kinds, ", "))
	if want := int(span/time.Second) * chaosCalls / 4; len(c.answered) < want {
		c.t.Errorf("only %d calls were taken; that proves little", len(c.answered))
	}
	if err := c.recorded(); err != nil {
		c.t.Error(err)
	}
}

// recorded looks for calls that were answered 200 and are not in the record, for
// deliveries without an end, and for ends without a reason.
func (c *chaos) recorded() error {
	db, err := sql.Open("sqlite", "file:"+c.Config.Database.Path+"?mode=ro")
	if err != nil {
		return err
	}
	defer db.Close()
	rows, err := db.QueryContext(c.ctx, `SELECT c.session_id, d.state, d.channel, d.reason, d.attempts FROM calls c JOIN deliveries d ON d.call_id = c.id`)
	if err != nil {
		return err
	}
	defer rows.Close()
	found, states, ends := map[string]int{}, map[string]int{}, map[string]int{}
	for rows.Next() {
		var sid, state, channel, reason string
		var attempts int
		if err := rows.Scan(&sid, &state, &channel, &reason, &attempts); err != nil {
			return err
		}
		found[sid]++
		states[channel+" "+state]++
		if state == "failed" || state == "expired" {
			ends[channel+" "+state+": "+reason]++
		}
		if reason == "" && (state == "failed" || state == "expired") {
			err = errors.Join(err, fmt.Errorf("call %s: a delivery by %s is %s, and nobody knows why", sid, channel, state))
		}
	}
	c.t.Logf("deliveries: %v", states)
	c.t.Logf("reasons: %v", ends)
	for sid := range c.answered {
		if found[sid] < 2 {
			err = errors.Join(err, fmt.Errorf("call %s was answered 200, and has %d deliveries in the record", sid, found[sid]))
		}
	}
	return errors.Join(err, rows.Err())
}
