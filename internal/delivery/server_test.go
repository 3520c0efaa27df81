package delivery

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
)

// registry notes its lessons.
type registry struct {
	mu      sync.Mutex
	lessons []string
}

func (r *registry) Learn(_ context.Context, l bell.Lesson) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := fmt.Sprintf("%s %s %s %s", l.Device.ID, l.Device.APNsServer, l.Credential, l.Outcome.Reason)
	if l.OtherTried {
		text += " other tried"
	}
	r.lessons = append(r.lessons, text)
}

// A token that one APNs server does not know is tried once at the other, unless a push
// was taken for it before, and the registry learns from the last word, and from both when
// both refuse it.
func TestTheOtherServerIsTriedOnce(t *testing.T) {
	bad, accepted := bell.Outcome{Verdict: bell.RetryOtherHost, Reason: "BadDeviceToken", Status: 400, Token: bell.TokenCheck}, answer(bell.Accepted)
	accepted.Status = 200
	unwell := bell.Outcome{Verdict: bell.RetryBackoff, Reason: "ServiceUnavailable", Status: 503, Token: bell.TokenKeep}
	tests := []struct {
		name      string
		device    func(*bell.Device)
		say       map[bell.APNsServer][]bell.Outcome
		want      []string // servers in order
		state     bell.DeliveryState
		lessons   string
		noSandbox bool
	}{
		{
			"it is the other's", nil,
			map[bell.APNsServer][]bell.Outcome{bell.APNsProduction: {bad}, bell.APNsSandbox: {accepted}},
			[]string{"production", "sandbox"},
			bell.DeliveryAccepted, "d sandbox acme accepted other tried", false,
		},
		{
			"it is nobody's", nil,
			map[bell.APNsServer][]bell.Outcome{bell.APNsProduction: {bad}, bell.APNsSandbox: {bad}},
			[]string{"production", "sandbox"},
			bell.DeliveryFailed, "d production acme BadDeviceToken, d sandbox acme BadDeviceToken other tried", false,
		},
		{
			"the other is unwell for a moment", nil,
			map[bell.APNsServer][]bell.Outcome{bell.APNsProduction: {bad}, bell.APNsSandbox: {unwell, accepted}},
			[]string{"production", "sandbox", "sandbox"},
			bell.DeliveryAccepted, "d sandbox acme accepted other tried", false,
		},
		{
			"confirmed", func(d *bell.Device) { d.APNsServerConfirmed = true },
			map[bell.APNsServer][]bell.Outcome{bell.APNsProduction: {bad}},
			[]string{"production"},
			bell.DeliveryFailed, "d production acme BadDeviceToken", false,
		},
		{
			"no credential for the other", nil,
			map[bell.APNsServer][]bell.Outcome{bell.APNsProduction: {bad}},
			[]string{"production"},
			bell.DeliveryFailed, "d production acme BadDeviceToken", true,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var servers []string
				learned := &registry{}
				b := newBench(t, func(c *Config) { c.Registry = learned })
				b.noSandbox = test.noSandbox
				b.on("d", func(_ context.Context, r *bell.Ring, _ Try) bell.Outcome {
					s := r.Device.APNsServer
					servers = append(servers, string(s))
					o := test.say[s][0]
					test.say[s] = test.say[s][1:]
					return o
				})
				rings := b.rings(1, bell.APNsVoIP, "d")
				rings[0].Device.APNsServer = bell.APNsProduction
				if test.device != nil {
					test.device(&rings[0].Device)
				}
				b.begin(t, rings)
				b.finish(t)
				if !slices.Equal(servers, test.want) {
					t.Errorf("asked %v, want %v", servers, test.want)
				}
				if got := b.store.row("d/1"); got.State != test.state || got.Attempts != len(test.want) {
					t.Errorf("recorded %+v", got)
				}
				if diff := cmp.Diff(test.lessons, strings.Join(learned.lessons, ", ")); diff != "" {
					t.Errorf("lessons: %s", diff)
				}
			})
		})
	}
}

// What says nothing about a token teaches nothing.
func TestNoLessonWithoutAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		learned := &registry{}
		b := newBench(t, func(c *Config) { c.Registry = learned })
		b.on("silent", hang())
		b.on("ours", script(bell.Rejected))
		b.begin(t, b.rings(1, bell.FCM, "silent", "ours"))
		b.finish(t)
		if len(learned.lessons) != 0 {
			t.Errorf("learned %v", learned.lessons)
		}
	})
}

// A device that says that it has the call is sent nothing more.
func TestAReceivedCallIsNotSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.on("waits", script(bell.RetryThrottled))
		b.on("hangs", hang())
		b.on("other", script(bell.RetryThrottled))
		b.begin(t, b.rings(1, bell.APNsVoIP, "waits", "hangs", "other"))
		pass(time.Second)
		for _, id := range []string{"waits/1", "hangs/1", "nobody/1"} {
			b.settle(id)
		}
		b.finish(t)
		for id, want := range map[string]string{"waits": "received 1", "hangs": "received 1", "other": "accepted 2"} {
			row := b.store.row(id + "/1")
			if got := fmt.Sprintf("%s %d", row.State, row.Attempts); got != want || len(b.times(id)) != int(want[len(want)-1]-'0') {
				t.Errorf("%s: %s after attempts at %v, want %s", id, got, b.times(id), want)
			}
		}
		if strings.Contains(b.logs.String(), `"level":"ERROR"`) {
			t.Error("it was no trouble")
		}
	})
}

// A sender that panics refuses one delivery, and ends nothing else. Its text stays inside.
func TestASenderThatPanicsRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, hedge := range []time.Duration{-1, 0} {
			b := newBench(t, func(c *Config) { c.HedgeAfter = hedge })
			b.on("d", slowly(500*ms, func(_ context.Context, r *bell.Ring, _ Try) bell.Outcome { panic(r.Device.PushToken.Reveal()) }))
			b.begin(t, b.rings(1, bell.APNsVoIP, "d", "e"))
			b.finish(t)
			if got := b.store.row("d/1"); got.State != bell.DeliveryFailed || got.Reason != "panic" {
				t.Errorf("recorded %+v", got)
			}
			if got := b.store.row("e/1"); got.State != bell.DeliveryAccepted {
				t.Errorf("recorded %+v", got)
			}
			if logs := b.logs.String(); !strings.Contains(logs, "a sender panicked") || strings.Contains(logs, testlog.Hex) {
				t.Error("the log does not say so, or says too much")
			}
		}
	})
}

// hung is a registry whose database never answers.
type hung struct{}

func (hung) Learn(ctx context.Context, _ bell.Lesson) { <-ctx.Done() }

// A registry that waits for a sick database does not make a stop longer than it may be.
func TestAStopDoesNotWaitForTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Registry = hung{} })
		b.on("d", func(context.Context, *bell.Ring, Try) bell.Outcome {
			return bell.Outcome{Verdict: bell.Rejected, Reason: "Unregistered", Status: 410, Token: bell.TokenDrop}
		})
		b.begin(t, b.rings(1, bell.APNsVoIP, "d"))
		stop, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		b.Stop(stop)
		if took := time.Since(b.start); took > 2*time.Second+lastPatience {
			t.Errorf("the stop took %v", took)
		}
		if got := b.store.row("d/1"); got.State != bell.DeliveryFailed {
			t.Errorf("recorded %+v", got)
		}
		b.checkEmpty(t)
	})
}
