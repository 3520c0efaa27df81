package webhook_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

// An event is tried on the recommended schedule, somewhat later each time, then it is a dead
// letter, and what comes after it of the same call goes on.
func TestScheduleAndDeadLetters(t *testing.T) {
	story(t, func(c *webhook.Config) { c.Keep, c.Poll = 200*time.Hour, 10*time.Second }, func(t *testing.T, w *world) {
		w.set(host, status(http.StatusInternalServerError))
		w.rings(1)
		w.missed(1)
		pass(83*time.Hour + 40*time.Minute)
		tries, _ := w.seen()
		want := []time.Duration{
			0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour,
			10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
		}
		var before time.Duration
		ringing := 0
		for _, g := range tries {
			if !strings.Contains(g.body, "call.ringing") {
				continue
			}
			if ringing >= len(want) {
				t.Fatalf("tried more than %d times", len(want))
			}
			pause := g.at - before
			if slack := want[ringing]/9 + 90*time.Second; pause < want[ringing] || pause > want[ringing]+slack {
				t.Errorf("try %d came %v after the one before, want %v and at most %v more", ringing+1, pause, want[ringing], slack)
			}
			before = g.at
			ringing++
		}
		dead := w.listed(webhook.Dead)
		if ringing != len(want) || len(dead) != 1 || dead[0].Attempts != len(want) || dead[0].Reason != "status" || dead[0].Status != 500 {
			t.Fatalf("%d tries, dead letters %+v", ringing, dead)
		}
		if typesOf(tries, 1) == strings.Repeat("call.ringing ", len(want)-1)+"call.ringing" {
			t.Error("what comes after a dead letter is not told")
		}

		w.set(host, nil)
		pass(10 * time.Minute)
		if n, more, err := w.worker.ReplayDead(t.Context(), "acme/main"); n != 1 || more || err != nil {
			t.Errorf("ReplayDead = %d, %v, %v", n, more, err)
		}
		pass(12 * time.Hour)
		if _, taken := w.seen(); typesOf(taken, 1) == "" || len(taken) != 3 {
			t.Errorf("%d events arrived in the end, want all three", len(taken))
		}
	})
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for name, header := range map[string]string{"seconds": "600", "date": time.Date(2000, 1, 1, 0, 10, 0, 0, time.UTC).Format(http.TimeFormat)} {
		t.Run(name, func(t *testing.T) {
			story(t, nil, func(t *testing.T, w *world) {
				w.set(host, status(http.StatusTooManyRequests, "Retry-After", header))
				w.rings(1)
				pass(2 * time.Second)
				w.rings(2) // the pause is the endpoint's
				pass(9 * time.Minute)
				if tries, _ := w.seen(); len(tries) != 1 {
					t.Errorf("%d tries within the pause that the receiver asked for", len(tries))
				}
				w.set(host, nil)
				pass(2 * time.Minute)
				w.wantTaken(2)
			})
		})
	}
}

// oldStore says late, and by then wrongly, which endpoints are gone.
type oldStore struct {
	webhook.Store
	late time.Duration
}

func (s oldStore) GoneEndpoints(ctx context.Context) (map[string]string, error) {
	gone, err := s.Store.GoneEndpoints(ctx)
	<-time.After(s.late)
	return gone, err
}

// A look at the record that began before the endpoint said that it is gone does not bring it back.
func TestGoneWhileTheRecordIsRead(t *testing.T) {
	late := func(c *webhook.Config) { c.Store = oldStore{c.Store, 5 * time.Second} }
	story(t, late, func(t *testing.T, w *world) {
		w.set(host, status(http.StatusGone))
		pass(6 * time.Second) // it has started
		for n := range 30 {   // whenever a look begins
			w.rings(n + 1)
			pass(time.Second)
		}
		if tries, _ := w.seen(); len(tries) != 1 {
			t.Fatalf("an endpoint that is gone was told %d times", len(tries))
		}
	})
}

func TestGoneEndpoint(t *testing.T) {
	story(t, nil, func(t *testing.T, w *world) {
		w.set(host, status(http.StatusGone))
		w.rings(1)
		pass(time.Second)
		w.rings(2)
		w.set(host, nil)
		pass(time.Hour)
		w.restart() // it is remembered
		pass(time.Hour)
		if tries, _ := w.seen(); len(tries) != 1 {
			t.Fatalf("an endpoint that is gone was told %d times", len(tries))
		}
		if err := w.worker.Enable(t.Context(), "acme/main"); err != nil {
			t.Fatal(err)
		}
		pass(2 * time.Second)
		w.wantTaken(2)
		if err := w.worker.Enable(t.Context(), "acme/main"); bell.KindOf(err) != bell.NotFound {
			t.Errorf("an endpoint that is not gone can be enabled: %v", err)
		}
		w.restart()
		w.rings(3)
		pass(2 * time.Second)
		w.wantTaken(3)

		w.set(host, status(http.StatusGone))
		w.rings(4)
		pass(2 * time.Second)
		w.change = func(c *webhook.Config) { c.Endpoints[0].URL = "https://new.example.com/" }
		w.restart() // another address is another endpoint
		pass(2 * time.Second)
		w.wantTaken(4)
	})
}

func TestFallback(t *testing.T) {
	const other = "fallback.example.com"
	fallback := func(c *webhook.Config) { c.Endpoints[0].Fallback = planet.Secret("https://" + other + "/") }
	count := func(of []got, host string) (n int) {
		for _, g := range of {
			if g.host == host {
				n++
			}
		}
		return n
	}
	t.Run("of one event that fails", func(t *testing.T) {
		story(t, fallback, func(t *testing.T, w *world) {
			w.set(host, status(http.StatusBadRequest))
			w.rings(1)
			pass(6 * time.Minute)
			w.wantTaken(0) // three tries are the endpoint's own
			pass(40 * time.Minute)
			if tries, taken := w.seen(); len(tries) != 5 || count(taken, other) != 1 {
				t.Errorf("%d tries, %d taken by the fallback", len(tries), count(taken, other))
			}
		})
	})
	t.Run("while the endpoint is down", func(t *testing.T) {
		story(t, fallback, func(t *testing.T, w *world) {
			w.set(host, status(http.StatusBadGateway))
			for n := range 100 {
				w.rings(n)
				pass(time.Second)
			}
			pass(10 * time.Second)
			tries, taken := w.seen()
			if n := count(taken, other); n < 94 {
				t.Errorf("the fallback took %d of 100 events soon", n)
			}
			if n := count(tries, host); n > 20 {
				t.Errorf("an endpoint that is down was tried %d times", n)
			}
			w.set(host, nil)
			for n := 100; n < 300; n++ {
				w.rings(n)
				pass(time.Second)
			}
			pass(40 * time.Minute)
			if _, taken := w.seen(); len(taken) != 300 || count(taken, host) < 130 {
				t.Errorf("%d arrived, %d of them at an endpoint that is back", len(taken), count(taken, host))
			}
		})
	})
	t.Run("of an endpoint that is gone", func(t *testing.T) {
		story(t, fallback, func(t *testing.T, w *world) {
			w.set(host, status(http.StatusGone))
			for n := range 10 {
				w.rings(n)
				pass(10 * time.Second)
			}
			if tries, taken := w.seen(); len(taken) != 10 || count(tries, host) != 1 {
				t.Errorf("%d arrived, %d at the endpoint that is gone", len(taken), count(tries, host))
			}
		})
	})
}

// One endpoint that swallows everything holds nobody else up, and only so many connections.
func TestBlackHole(t *testing.T) {
	const hole = "hole.example.com"
	story(t, func(c *webhook.Config) {
		c.Concurrency = 4
		c.Endpoints = append(c.Endpoints, endpoint("hole"), endpoint("missed", bell.EventCallMissed))
		c.Endpoints[1].URL = "https://" + hole + "/"
		c.Endpoints[2].URL = "https://missed.example.com/"
	}, func(t *testing.T, w *world) {
		w.set(hole, hangs)
		for n := range 50 {
			w.rings(n)
		}
		for n := range 50 {
			w.missed(n)
		}
		pass(10 * time.Second)
		_, taken := w.seen()
		at := map[string]int{}
		for _, g := range taken {
			at[g.host]++
		}
		if at[host] != 150 || at["missed.example.com"] != 50 || at[hole] != 0 {
			t.Errorf("arrived: %v", at)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.most[hole] != 4 {
			t.Errorf("%d requests hung at once, want the bound, 4", w.most[hole])
		}
	})
}

// Nothing is lost by a stop, whatever is under way; and what a process that died was telling
// is told by the next at once, or, where others may be at work, when the lease has run out.
func TestRestart(t *testing.T) {
	story(t, nil, func(t *testing.T, w *world) {
		w.set(host, hangs)
		for n := range 5 {
			w.rings(n)
			w.missed(n)
		}
		pass(time.Second)
		w.restart()
		w.set(host, nil)
		pass(20 * time.Second)
		for n := range 5 {
			w.wantWhole(n)
		}

		w.rings(100)
		w.stop() // before anybody could tell it; then somebody leases it and dies
		if _, err := w.store.SpreadEvents(t.Context(), time.Now(), 10, func(string, bell.EventType) []string { return []string{"acme/main"} }); err != nil {
			t.Fatal(err)
		}
		claim := webhook.Claim{Endpoint: "acme/main", Owner: "dead", Now: time.Now(), LeaseUntil: time.Now().Add(time.Minute), Limit: 9}
		if got, err := w.store.ClaimTellings(t.Context(), claim); err != nil || len(got) != 1 {
			t.Fatalf("%d leased, %v", len(got), err)
		}
		_, before := w.seen()
		w.change = func(c *webhook.Config) { c.Alone = false }
		w.restart()
		pass(50 * time.Second)
		w.wantTaken(len(before))
		pass(15 * time.Second)
		w.wantTaken(len(before) + 1)

		w.rings(101)
		w.stop()
		if _, err := w.store.SpreadEvents(t.Context(), time.Now(), 10, func(string, bell.EventType) []string { return []string{"acme/main"} }); err != nil {
			t.Fatal(err)
		}
		claim.Now, claim.LeaseUntil = time.Now(), time.Now().Add(time.Minute)
		if got, err := w.store.ClaimTellings(t.Context(), claim); err != nil || len(got) != 1 {
			t.Fatalf("%d leased, %v", len(got), err)
		}
		w.change = nil
		w.restart()
		pass(2 * time.Second)
		w.wantTaken(len(before) + 2)
	})
}

// Two processes at one database tell nothing twice.
func TestTwoWorkers(t *testing.T) {
	story(t, func(c *webhook.Config) { c.Alone = false }, func(t *testing.T, w *world) {
		other := webhook.New(webhook.Config{Store: w.store, Transport: w.internet, Owner: "other", Endpoints: []*webhook.Endpoint{endpoint("main")}})
		done := make(chan struct{})
		go func() {
			defer close(done)
			other.Run(t.Context())
		}()
		w.set(host, func(r *http.Request) (*http.Response, error) {
			timer := time.NewTimer(2 * time.Second)
			<-timer.C
			return status(200)(r)
		})
		for n := range 60 {
			w.rings(n)
			w.missed(n)
		}
		pass(time.Minute)
		for n := range 60 {
			w.wantWhole(n)
		}
		w.wantTaken(180)
		w.mu.Lock()
		if w.most[host] <= webhook.DefaultConcurrency {
			t.Errorf("at most %d at once: one of the two did nothing", w.most[host])
		}
		w.mu.Unlock()
	})
}

// While the receiver changes from one secret to the next, either verifies.
func TestRotation(t *testing.T) {
	next := bell.NewSigningSecret()
	story(t, func(c *webhook.Config) {
		key, err := bell.ParseSigningKey(next)
		if err != nil {
			t.Fatal(err)
		}
		c.Endpoints[0].Keys = append([]bell.SigningKey{key}, c.Endpoints[0].Keys...)
	}, func(t *testing.T, w *world) { // the internet verifies with the old one
		verify, err := standardwebhooks.NewWebhook(next.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		w.set(host, func(r *http.Request) (*http.Response, error) {
			tries, _ := w.seen()
			if err := verify.Verify([]byte(tries[len(tries)-1].body), r.Header); err != nil {
				t.Errorf("the new secret: %v", err)
			}
			return status(200)(r)
		})
		w.rings(1)
		pass(time.Second)
		w.wantTaken(1)
	})
}

func TestReplayAndTest(t *testing.T) {
	story(t, nil, func(t *testing.T, w *world) {
		w.rings(1)
		pass(time.Second)
		id := w.listed(webhook.Told)[0].Event.ID
		for _, endpoint := range []string{"", "acme/main"} {
			if n, err := w.worker.Replay(t.Context(), id, endpoint); n != 1 || err != nil {
				t.Errorf("Replay = %d, %v", n, err)
			}
			pass(time.Second)
		}
		_, taken := w.seen()
		if len(taken) != 3 || taken[0].id != id || taken[2].id != id || taken[0].body != taken[2].body {
			t.Errorf("a replay is the same event again; arrived: %+v", taken)
		}
		for _, wrong := range []struct{ id, endpoint string }{{"evt_none", ""}, {id, "acme/none"}} {
			if _, err := w.worker.Replay(t.Context(), wrong.id, wrong.endpoint); bell.KindOf(err) != bell.NotFound {
				t.Errorf("replay of %v: %v", wrong, err)
			}
		}
		test, err := w.worker.Test(t.Context(), w.project)
		if err != nil {
			t.Fatal(err)
		}
		pass(time.Second)
		if _, taken := w.seen(); len(taken) != 4 || taken[3].id != test || !strings.Contains(taken[3].body, "planetbell.test") {
			t.Errorf("the test event did not arrive: %+v", taken)
		}
		if _, err := w.worker.Test(t.Context(), &bell.Project{Name: "none"}); bell.KindOf(err) != bell.NotFound {
			t.Errorf("a test of a project without endpoints: %v", err)
		}
	})
}

// What nobody wants any more is not kept for ever, and what is told is forgotten in time.
func TestRetention(t *testing.T) {
	slow := func(c *webhook.Config) { c.Poll = time.Minute }
	story(t, slow, func(t *testing.T, w *world) {
		w.rings(1)
		pass(71 * time.Hour)
		if len(w.listed("")) != 1 {
			t.Error("what was told is forgotten early")
		}
		pass(6 * time.Hour)
		if got := w.listed(""); len(got) != 0 {
			t.Errorf("%d events are kept", len(got))
		}
		w.change = func(c *webhook.Config) { c.Endpoints, c.Poll = nil, time.Second }
		w.set(host, hangs)
		w.rings(2)
		pass(5 * time.Minute)
		w.restart()
		pass(92 * time.Hour)
		if got := w.listed(webhook.Dead); len(got) != 1 || got[0].Reason == "" {
			t.Errorf("an endpoint that is not configured any more: %+v", got)
		}
		pass(31 * 24 * time.Hour)
		if got := w.listed(""); len(got) != 0 {
			t.Errorf("%d dead letters are kept for ever", len(got))
		}
	})
}

// At 200 calls in a moment the database is asked for work a bounded number of times.
func TestManyEventsAtOnce(t *testing.T) {
	story(t, nil, func(t *testing.T, w *world) {
		for n := range 200 {
			w.rings(n)
			w.missed(n)
		}
		pass(time.Minute)
		for n := range 200 {
			w.wantWhole(n)
		}
		w.wantTaken(600)
		families, err := w.reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprint(families)
		for _, want := range []string{"planetbell_events_told_total", "planetbell_event_tries_total", "planetbell_events_waiting", "planetbell_event_endpoint_up"} {
			if !strings.Contains(text, want) {
				t.Errorf("no metric %s", want)
			}
		}
	})
}
