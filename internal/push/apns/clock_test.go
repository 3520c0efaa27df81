package apns

import (
	"crypto/ecdsa"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testlog"
)

// times are the clocks of a test: APNs' is right, ours may be set and may stop.
type times struct {
	mu    sync.Mutex
	wrong time.Duration // how far our wall clock is ahead
	slept time.Duration // how far our monotonic clock is behind
	right *sim.ManualClock
	start time.Time
}

func (c *times) wall() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.right.Now().Add(c.wrong)
}

func (c *times) mono() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.right.Now().Sub(c.start) - c.slept
}

func (c *times) set(wrong time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wrong = wrong
}

func (c *times) sleep(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.right.Advance(d)
	c.slept += d
}

// clocked is a client of a strict APNs with such clocks, five minutes into a window.
type clocked struct {
	*times
	fake   *sim.APNs
	sender *Sender
}

func newClocked(t *testing.T) *clocked {
	t.Helper()
	start := time.Unix(1767225600-1767225600%int64(tokenWindow/time.Second), 0).Add(5 * time.Minute)
	c := &clocked{times: &times{right: sim.NewManualClock(start), start: start}}
	ca, err := sim.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	c.fake = sim.NewAPNs(sim.APNsOptions{CA: ca, Strict: true, Environment: sim.APNsSandbox, Clock: c.right})
	if err := c.fake.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.fake.Close() })
	credential := tokenCredential(t)
	c.fake.TrustKey(sim.APNsKey{ID: "KEY1234567", TeamID: "TEAM123456", Public: credential.key.Public().(*ecdsa.PublicKey)})
	c.fake.Register(pushToken.Reveal(), bundle+".voip", nil)
	client := newClient(t, pushtest.Target{URL: c.fake.URL(), Roots: ca.Pool(), Timeout: patience, Log: testlog.New(t)}, func(cfg *Config) {
		cfg.Credential, cfg.Clock = credential, c.wall
	})
	client.tokens.mono = c.mono
	mustWarm(t, client)
	c.sender = newSender(t, client, bell.APNsVoIP)
	return c
}

// storm sends a hundred pushes at once and returns how many came to each reason.
func (c *clocked) storm(t *testing.T) map[string]int {
	t.Helper()
	var mu sync.Mutex
	reasons := map[string]int{}
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			o := send(t, c.sender, i, false)
			mu.Lock()
			defer mu.Unlock()
			reasons[o.Reason]++
		})
	}
	wg.Wait()
	return reasons
}

// accepted are the different provider tokens of accepted pushes, in their order.
func (c *clocked) accepted(t *testing.T) []string {
	t.Helper()
	pushes, err := c.fake.AwaitPushes(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	for _, p := range pushes {
		if token := p.Header.Get("authorization"); !slices.Contains(seen, token) {
			seen = append(seen, token)
		}
	}
	return seen
}

// TestClockJumps is row 6 of the matrix: our clock is set two hours ahead or back, and set
// right again a quarter of an hour later. No push is refused, then or in the hours after.
func TestClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"ahead": 2 * time.Hour, "back": -2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			c := newClocked(t)
			for minute := range 200 {
				switch minute {
				case 5:
					c.set(jump)
				case 20:
					c.set(0)
				}
				want(t, send(t, c.sender, minute, minute%2 == 0), bell.Accepted, "")
				c.right.Advance(time.Minute)
			}
			if r := c.fake.Stats().Rejected; len(r) != 0 {
				t.Errorf("APNs refused %v", r)
			}
			if n := len(c.accepted(t)); n < 4 || n > 7 {
				t.Errorf("%d provider tokens in 200 minutes", n)
			}
		})
	}
}

// TestMachineThatSlept: the clocks of a machine that was suspended disagree about how old
// the token is. APNs says that it has expired, and one other is made at once, for new
// connections: on the old ones it would come too soon.
func TestMachineThatSlept(t *testing.T) {
	c := newClocked(t)
	want(t, send(t, c.sender, 1, false), bell.Accepted, "")
	want(t, send(t, c.sender, 1, true), bell.Accepted, "")
	before := c.fake.Stats().Connections
	c.sleep(2 * time.Hour)
	if got := c.storm(t); got["ExpiredProviderToken"] == 0 || got["ExpiredProviderToken"]+got[""] != 100 {
		t.Errorf("reasons %v, want ExpiredProviderToken, or accepted", got)
	}
	if got := c.storm(t); got[""] != 100 {
		t.Errorf("reasons %v, want all accepted", got)
	}
	if n := len(c.accepted(t)); n != 2 {
		t.Errorf("%d provider tokens were sent, want the old and one other", n)
	}
	s := c.fake.Stats()
	if len(s.Rejected) != 1 || s.Connections <= before {
		t.Errorf("the fake saw %+v, want only expired tokens and new connections", s)
	}
}

// TestExpiredStorm: a hundred pushes at once learn that the token has expired. One other is
// made, and no more when the next storm comes too soon.
func TestExpiredStorm(t *testing.T) {
	c := newClocked(t)
	want(t, send(t, c.sender, 1, false), bell.Accepted, "")
	c.right.Advance(21 * time.Minute) // past the floor, and 26 minutes old
	c.sleep(30 * time.Minute)         // both of our clocks stood still
	c.set(-30 * time.Minute)
	c.right.Advance(5 * time.Minute)
	if got := c.storm(t); got["ExpiredProviderToken"] == 0 || got["ExpiredProviderToken"]+got[""] != 100 {
		t.Errorf("reasons %v, want ExpiredProviderToken, or accepted", got)
	}
	if got := c.storm(t); got[""] != 100 {
		t.Errorf("reasons %v, want all accepted", got)
	}
	if n := len(c.accepted(t)); n != 2 {
		t.Errorf("%d provider tokens were sent, want the old and one other", n)
	}
}
