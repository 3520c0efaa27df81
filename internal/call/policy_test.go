package call_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// policyFunc is a policy.
type policyFunc func(ctx context.Context, project *bell.Project, c bell.Call) bell.Decision

func (f policyFunc) Decide(ctx context.Context, project *bell.Project, c bell.Call) bell.Decision {
	return f(ctx, project, c)
}

// blocks suppresses every call.
func blocks(context.Context, *bell.Project, bell.Call) bell.Decision {
	return bell.Decision{Suppress: bell.SuppressBlocked, CallerName: "nobody"}
}

// asking is an exchange whose calls are asked about.
func asking(t *testing.T, policy policyFunc) *exchange {
	x := newExchange(t, nil)
	x.Service = call.New(call.Config{Store: x.store, Bells: x.bells, Projects: x.projects, Policy: policy})
	return x
}

func TestPolicyIsToldOfTheCallAndShapesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var project *bell.Project
		var asked bell.Call
		x := asking(t, func(_ context.Context, p *bell.Project, c bell.Call) bell.Decision {
			project, asked = p, c
			return bell.Decision{CallerName: "Alice", AppFields: map[string]string{"app_x": "1"}}
		})
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
		// beta's URL is called for a user of acme: acme's policy counts.
		if got, err := x.Ring(t.Context(), x.beta, notify("s1")); err != nil || got != (call.RingResult{Devices: 1}) {
			t.Fatalf("%+v, error %v", got, err)
		}
		if project != x.acme {
			t.Errorf("asked for project %v, want the callee's", project)
		}
		if asked.CCParam != "" {
			t.Error("the policy was told cc_param")
		}
		if asked.SessionID != "s1" || asked.Caller != notify("s1").Caller || asked.Callee != bob().User || asked.Type != planet.VideoCall {
			t.Errorf("asked about %+v", asked)
		}
		for what, c := range map[string]bell.Call{"recorded": x.store.calls[callKey{planet.Evaluation, "s1"}], "rung": *x.bells.started[0].Call} {
			if c.CallerName != "Alice" || !cmp.Equal(c.AppFields, map[string]string{"app_x": "1"}) || c.Suppressed != bell.RingsAll {
				t.Errorf("%s: %q with %v, suppressed %q", what, c.CallerName, c.AppFields, c.Suppressed)
			}
			if c.CCParam == "" {
				t.Errorf("%s without cc_param", what)
			}
		}
	})
}

func TestSuppressedCallIsRecordedAndRingsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := asking(t, blocks)
		registry := prometheus.NewRegistry()
		x.Service = call.New(call.Config{
			Store: x.store, Bells: x.bells, Projects: x.projects, Policy: policyFunc(blocks), Metrics: call.NewMetrics(registry),
		})
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
		n := notify("s1")
		n.Raw = append(n.Raw, planet.RawParam{Name: "odd", Value: n.CCParam.Reveal()})
		for _, want := range []call.RingResult{{Suppressed: bell.SuppressBlocked}, {Repeated: true}} {
			if got, err := x.Ring(t.Context(), x.acme, n); err != nil || got != want {
				t.Fatalf("%+v, error %v; want %+v", got, err, want)
			}
		}
		if i := slices.IndexFunc(x.bells.events, func(e string) bool { return e == "admit" || e == "start" }); i >= 0 {
			t.Errorf("it rang: %v", x.bells.events)
		}
		c := x.store.calls[callKey{planet.Evaluation, "s1"}]
		if c.Suppressed != bell.SuppressBlocked || c.State != bell.CallRinging || c.NotifiedAt.IsZero() || len(x.store.deliveries) > 0 {
			t.Errorf("recorded %+v with %d deliveries", c, len(x.store.deliveries))
		}
		if c.CCParam != "" || slices.ContainsFunc(x.store.raw, func(p planet.RawParam) bool { return strings.Contains(p.Value, testlog.CCParam(1)) }) {
			t.Error("cc_param was kept for a call that does not ring")
		}
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "planetbell_calls_suppressed_total" && f.GetMetric()[0].GetCounter().GetValue() != 1 {
				t.Errorf("%v calls were counted, want 1: a repeat is none", f.GetMetric()[0].GetCounter().GetValue())
			}
		}
		if err := x.End(t.Context(), x.acme, event("s1")); err != nil {
			t.Error(err)
		}
	})
}

// Who has no device gets the answer that he always gets: it tells nothing of his rules.
func TestSuppressionOfACalleeWithoutDevicesShowsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := asking(t, blocks)
		if got, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil || got != (call.RingResult{}) {
			t.Fatalf("%+v, error %v", got, err)
		}
		if c := x.store.calls[callKey{planet.Evaluation, "s1"}]; c.Suppressed != bell.SuppressBlocked {
			t.Errorf("recorded %+v", c)
		}
	})
}

// The policy is asked while the devices are read: a Notify waits for the longer of the two.
func TestPolicyAndDevicesAreAskedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := asking(t, func(context.Context, *bell.Project, bell.Call) bell.Decision {
			<-time.After(300 * time.Millisecond)
			return bell.Decision{CallerName: "Alice"}
		})
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
		x.store.pause = func(method string) {
			if method == "DevicesOf" {
				<-time.After(200 * time.Millisecond)
			}
		}
		began := time.Now()
		if got, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil || got.Devices != 1 {
			t.Fatalf("%+v, error %v", got, err)
		}
		if took := time.Since(began); took != 300*time.Millisecond {
			t.Errorf("it took %v, want 300ms", took)
		}
	})
}

// A policy that hangs, and does not even mind its context, is left behind; Stop waits for it.
func TestPolicyThatHangsLetsTheCallRing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := make(chan struct{})
		x := asking(t, func(context.Context, *bell.Project, bell.Call) bell.Decision {
			<-done
			return bell.Decision{Suppress: bell.SuppressPolicy}
		})
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
		began := time.Now()
		got, err := x.Ring(t.Context(), x.acme, notify("s1"))
		if err != nil || got != (call.RingResult{Devices: 1}) {
			t.Fatalf("%+v, error %v", got, err)
		}
		if took := time.Since(began); took > 1500*time.Millisecond {
			t.Errorf("it took %v", took)
		}
		close(done)
		x.Stop(t.Context())
	})
}

// The policy's word counts however the store fares, and a suppressed call is recorded later.
func TestSuppressedCallWhileTheStoreIsSick(t *testing.T) {
	for _, reads := range []fault{healthy, refuses} {
		t.Run("reads "+string(reads), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := admitTo(t, func(c *call.Config) { c.Policy = policyFunc(blocks) })
				w.store.ail(reads, refuses)
				for i, want := range []call.RingResult{{Suppressed: bell.SuppressBlocked, FromMemory: true}, {Repeated: true}} {
					if got, err := w.Ring(t.Context(), w.acme, notify("s1")); err != nil || got != want {
						t.Fatalf("Notify %d: %+v, error %v; want %+v", i, got, err, want)
					}
				}
				w.store.ail(healthy, healthy)
				pass(5 * time.Second)
				w.wantRung("s1", 0)
				w.end()
				w.store.fakeStore.mu.Lock()
				defer w.store.fakeStore.mu.Unlock()
				c, ok := w.store.calls[callKey{planet.Evaluation, "s1"}]
				if !ok || c.Suppressed != bell.SuppressBlocked || c.CCParam != "" || len(w.store.deliveries) > 0 {
					t.Errorf("recorded %v: %+v with %d deliveries", ok, c, len(w.store.deliveries))
				}
			})
		})
	}
}

// Whom the callee does not want to hear reaches him by an invitation neither, and learns as
// little of it: the answers are those of an invitation that is told, and of its repeat.
func TestSuppressedInvitationTellsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []bell.Call
		x := asking(t, func(_ context.Context, p *bell.Project, c bell.Call) bell.Decision {
			if asked = append(asked, c); p.Name != "acme" {
				t.Errorf("asked for project %s, want the callee's", p.Name)
			}
			return bell.Decision{Suppress: bell.SuppressDoNotDisturb}
		})
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM), device("b", bell.FCM)}
		invitation := notice(bell.PurposeInvitation, "run")
		for _, want := range []int{2, 0} {
			if devices, err := x.Tell(t.Context(), invitation); devices != want || err != nil {
				t.Errorf("%d devices, error %v; want %d", devices, err, want)
			}
		}
		kept := x.store.calls[callKey{planet.Evaluation, bell.NoticeID(&invitation)}]
		if kept.Suppressed != bell.SuppressDoNotDisturb || kept.State != bell.CallNotice || len(x.store.deliveries) != 0 {
			t.Errorf("recorded %+v with %d deliveries", kept, len(x.store.deliveries))
		}
		if len(x.bells.started) != 0 || x.bells.room != 0 {
			t.Errorf("%d started, room %d", len(x.bells.started), x.bells.room)
		}
		if len(asked) != 2 || asked[0].Purpose != bell.PurposeInvitation || asked[0].Caller.UserID != "alice" || asked[0].CCParam != "" {
			t.Errorf("asked about %+v", asked)
		}
		if devices, err := x.Tell(t.Context(), notice(bell.PurposeMissedCall, "s-1")); devices != 2 || err != nil || len(asked) != 2 {
			t.Errorf("a missed call: %d devices, error %v, asked %d times", devices, err, len(asked))
		}
		x.store.devices[bob()] = nil
		if devices, err := x.Tell(t.Context(), notice(bell.PurposeInvitation, "other")); devices != 0 || err != nil {
			t.Errorf("without a device: %d devices, error %v", devices, err)
		}
	})
}

// The policy lends an invitation a name, and leaves what it has.
func TestPolicyNamesTheInviter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := asking(t, func(context.Context, *bell.Project, bell.Call) bell.Decision {
			return bell.Decision{CallerName: "Registered"}
		})
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
		for run, name := range map[planet.SessionID]string{"named": "Alice", "nameless": ""} {
			invitation := notice(bell.PurposeInvitation, run)
			invitation.CallerName, invitation.AppFields = name, map[string]string{"app_x": "1"}
			if _, err := x.Tell(t.Context(), invitation); err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"Alice": "Alice", "": "Registered"}[name]
			got := x.store.calls[callKey{planet.Evaluation, bell.NoticeID(&invitation)}]
			if got.CallerName != want || got.AppFields["app_x"] != "1" || got.Suppressed != bell.RingsAll {
				t.Errorf("%s: told of %q with %v, suppressed %q", run, got.CallerName, got.AppFields, got.Suppressed)
			}
		}
	})
}

// A Call Event may overtake its Notify, and then nobody has asked the rules yet: the callee
// must not be told of a caller who is blocked. A call that rang was asked about.
func TestMissedCallsBeforeTheirNotifyAsk(t *testing.T) {
	for name, rang := range map[string]bool{"the event came first": false, "the call rang": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := 0
				x := asking(t, func(_ context.Context, _ *bell.Project, c bell.Call) bell.Decision {
					if c.Purpose == bell.PurposeCall {
						return bell.Decision{}
					}
					asked++
					return bell.Decision{Suppress: bell.SuppressBlocked}
				})
				x.acme.TellMissedCalls = true
				x.store.devices[bob()] = []bell.Device{device("a", bell.FCM)}
				x.running(t)
				if rang {
					if _, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil {
						t.Fatal(err)
					}
				}
				e := event("s1")
				code := 1203
				e.Release, e.Duration, e.StartTime = planet.Release{DisconnectReason: &code}, 0, time.Time{}
				if err := x.End(t.Context(), x.acme, e); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				told := 0
				for _, n := range x.notices() {
					if n.Suppressed == bell.RingsAll {
						told++
					}
				}
				if rang && (told != 1 || asked != 0) || !rang && (told != 0 || asked != 1) {
					t.Errorf("told %d times, asked %d times", told, asked)
				}
			})
		})
	}
}
