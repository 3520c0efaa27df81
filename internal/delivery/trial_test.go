package delivery

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// trialWorld is a router, a sender and a registry that remember what they were asked.
type trialWorld struct {
	sent    []bell.Ring
	learned []bell.Lesson
	outcome bell.Outcome
	reason  string
	hangs   bool
	own     *bell.Outcome // of APNs' production server, if it is another than outcome
	leave   func()        // called while a test is being sent
	ctx     error         // of the last lesson's context
	until   bool          // it had a deadline
}

func (w *trialWorld) Route(d *bell.Device) (Route, string) {
	return Route{Key: RouteKey{Credential: "app", Channel: d.Channel, Server: string(d.APNsServer)}, Sender: w}, w.reason
}

func (w *trialWorld) Send(ctx context.Context, r *bell.Ring, _ Try) bell.Outcome {
	w.sent = append(w.sent, *r)
	if w.hangs {
		<-ctx.Done()
		return bell.Outcome{Verdict: bell.RetryNow, Reason: "timeout"}
	}
	if w.leave != nil {
		w.leave()
	}
	if w.own != nil && r.Device.APNsServer == bell.APNsProduction {
		return *w.own
	}
	return w.outcome
}

func (w *trialWorld) Learn(ctx context.Context, l bell.Lesson) {
	w.learned = append(w.learned, l)
	w.ctx = ctx.Err()
	_, w.until = ctx.Deadline()
}

func TestATrial(t *testing.T) {
	taken := bell.Outcome{Verdict: bell.Accepted, Status: 200, Token: bell.TokenKeep}
	voip := bell.Device{ID: "d", Channel: bell.APNsVoIP, PushToken: "voip"}
	both := voip
	both.AlertToken = "alert"
	for _, test := range []struct {
		name    string
		trial   Trial
		outcome bell.Outcome
		reason  string
		channel bell.Channel // by which it goes; empty: it is refused
		token   planet.Secret
		learned int
	}{
		{"FCM", Trial{Device: bell.Device{Channel: bell.FCM, PushToken: "fcm"}}, taken, "", bell.FCM, "fcm", 1},
		{"an iPhone with both tokens", Trial{Device: both}, taken, "", bell.APNsAlert, "alert", 1},
		{"an iPhone with both tokens, as a call", Trial{Device: both, Call: true}, taken, "", bell.APNsVoIP, "voip", 1},
		{"an iPhone without alerts", Trial{Device: voip}, taken, "", "", "", 0},
		{"an iPhone without alerts, as a call", Trial{Device: voip, Call: true}, taken, "", bell.APNsVoIP, "voip", 1},
		{"a dead token", Trial{Device: bell.Device{Channel: bell.FCM, PushToken: "fcm"}}, bell.Outcome{Verdict: bell.Rejected, Status: 404, Token: bell.TokenDrop}, "", bell.FCM, "fcm", 1},
		{"a doubtful token", Trial{Device: bell.Device{Channel: bell.FCM, PushToken: "fcm"}}, bell.Outcome{Verdict: bell.Rejected, Status: 400, Token: bell.TokenCheck}, "", bell.FCM, "fcm", 0},
		{"a device that polls", Trial{Device: bell.Device{Channel: bell.LongPoll}}, taken, "", "", "", 0},
		{"no token", Trial{Device: bell.Device{Channel: bell.FCM}}, taken, "", "", "", 0},
		{"no route", Trial{Device: bell.Device{Channel: bell.FCM, PushToken: "fcm"}}, taken, "no_fcm_credential", "", "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := &trialWorld{outcome: test.outcome, reason: test.reason}
			e := New(Config{Store: newStore(), Router: w, Registry: w, Owner: "test"})
			defer e.Stop(t.Context())
			got, err := e.Try(t.Context(), test.trial)
			if test.channel == "" {
				if !errors.Is(err, bell.Invalid) || len(w.sent) != 0 {
					t.Errorf("refused with %v, %d sent", err, len(w.sent))
				}
				return
			}
			if err != nil || got.Channel != test.channel || got.Attempt.Outcome != test.outcome || len(w.sent) != 1 {
				t.Fatalf("%+v, %v, %d sent", got, err, len(w.sent))
			}
			r := &w.sent[0]
			if r.Device.PushToken != test.token || !r.Call.Purpose.Goes(r.Device.Channel) || len(w.learned) != test.learned {
				t.Errorf("to the token %q as %q, %d lessons", r.Device.PushToken.Reveal(), r.Call.Purpose, len(w.learned))
			}
			if asCall := r.Call.Purpose == bell.PurposeCall; asCall != test.trial.Call || asCall != (r.Call.CCParam != "") {
				t.Errorf("purpose %q", r.Call.Purpose)
			}
		})
	}
}

// An operator does not wait for a provider that hangs, nor for a route whose places are taken.
func TestATrialThatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &trialWorld{hangs: true}
		e := New(Config{Store: newStore(), Router: w, Owner: "test", MaxPerRoute: 4})
		defer e.Stop(t.Context())
		trial := Trial{Device: bell.Device{Channel: bell.FCM, PushToken: "fcm"}}
		first := make(chan TrialResult)
		go func() {
			got, _ := e.Try(t.Context(), trial)
			first <- got
		}()
		synctest.Wait()
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := e.Try(impatient, trial); !errors.Is(err, bell.Unavailable) || !strings.Contains(err.Error(), "no room") {
			t.Errorf("with all places taken: %v", err)
		}
		if got := <-first; got.Attempt.Outcome.Reason != "timeout" || got.Attempt.Took != trialTime {
			t.Errorf("%+v", got)
		}
	})
}

// What a test found out is kept though the operator's tab was closed meanwhile.
func TestATrialTeachesThoughNobodyWaits(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	w := &trialWorld{outcome: bell.Outcome{Verdict: bell.Rejected, Status: 404, Token: bell.TokenDrop}, leave: leave}
	e := New(Config{Store: newStore(), Router: w, Registry: w, Owner: "test"})
	defer e.Stop(t.Context())
	if _, err := e.Try(ctx, Trial{Device: bell.Device{Channel: bell.FCM, PushToken: "fcm"}}); err != nil {
		t.Fatal(err)
	}
	if len(w.learned) != 1 || w.ctx != nil || !w.until {
		t.Errorf("%d lessons; the context has ended: %v; it has a deadline: %t", len(w.learned), w.ctx, w.until)
	}
}

// Where a ring asks the other APNs server, a test does, and says what both said.
func TestATrialAtTheOtherServer(t *testing.T) {
	bad := bell.Outcome{Verdict: bell.RetryOtherHost, Status: 400, Reason: "BadDeviceToken", Token: bell.TokenCheck}
	taken := bell.Outcome{Verdict: bell.Accepted, Status: 200, Token: bell.TokenKeep}
	for name, test := range map[string]struct {
		confirmed bool
		other     bell.Outcome
		servers   []bell.APNsServer
		learned   int
	}{
		"it is the other's": {false, taken, []bell.APNsServer{bell.APNsProduction, bell.APNsSandbox}, 1},
		"it is nobody's":    {false, bad, []bell.APNsServer{bell.APNsProduction, bell.APNsSandbox}, 0},
		"confirmed":         {true, taken, []bell.APNsServer{bell.APNsProduction}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := &trialWorld{own: &bad, outcome: test.other}
			e := New(Config{Store: newStore(), Router: w, Registry: w, Owner: "test"})
			defer e.Stop(t.Context())
			d := bell.Device{Channel: bell.APNsVoIP, PushToken: "voip", APNsServer: bell.APNsProduction, APNsServerConfirmed: test.confirmed}
			got, err := e.Try(t.Context(), Trial{Device: d, Call: true})
			if err != nil {
				t.Fatal(err)
			}
			var asked []bell.APNsServer
			for i := range w.sent {
				asked = append(asked, w.sent[i].Device.APNsServer)
			}
			last := asked[len(asked)-1]
			if !slices.Equal(asked, test.servers) || got.Attempt.Server != last || got.Route.Server != string(last) || len(w.learned) != test.learned {
				t.Errorf("asked %v, answered %+v, learned %+v", asked, got, w.learned)
			}
			if two := len(asked) == 2; two != (got.Own != nil) || two && (got.Own.Server != bell.APNsProduction || got.Own.Outcome != bad) {
				t.Errorf("the device's own server: %+v", got.Own)
			}
			if test.learned == 1 && (!w.learned[0].OtherTried || w.learned[0].Device.APNsServer != bell.APNsSandbox) {
				t.Errorf("learned %+v", w.learned)
			}
		})
	}
}

// A test counts among the attempts that a route may have at once.
func TestATrialTakesAPlaceOfItsRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &trialWorld{outcome: bell.Outcome{Verdict: bell.Accepted, Status: 200}}
		e := New(Config{Store: newStore(), Router: w, Owner: "test", MaxPerRoute: 1})
		defer e.Stop(t.Context())
		d := bell.Device{Channel: bell.FCM, PushToken: "fcm"}
		rt, _, _ := e.routeTo(&d)
		rt.places <- struct{}{}
		if _, err := e.Try(t.Context(), Trial{Device: d}); !errors.Is(err, bell.Unavailable) || len(w.sent) != 0 {
			t.Errorf("with the only place taken: %v, %d sent", err, len(w.sent))
		}
		<-rt.places
		if _, err := e.Try(t.Context(), Trial{Device: d}); err != nil || len(rt.places) != 0 || len(rt.aside) != 0 {
			t.Errorf("with a place: %v; %d and %d places are still taken", err, len(rt.places), len(rt.aside))
		}
	})
}

// Only an attempt at APNs has one of Apple's servers.
func TestAttemptsNameApplesServersOnly(t *testing.T) {
	for channel, want := range map[bell.Channel]bell.APNsServer{
		bell.APNsVoIP: "sandbox", bell.APNsAlert: "sandbox", bell.WebPush: "", bell.FCM: "", bell.LongPoll: "",
	} {
		if got := (RouteKey{Channel: channel, Server: "sandbox"}).apnsServer(); got != want {
			t.Errorf("%s: %q, want %q", channel, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		rings := b.rings(1, bell.WebPush, "d")
		rings[0].Device.APNsServer = "push.example" // what the bench makes the route's server of
		b.begin(t, rings)
		b.finish(t)
		if got := b.store.attempts["d/1"]; len(got) != 1 || got[0].Server != "" {
			t.Errorf("a push to a browser is recorded as %+v", got)
		}
	})
}
