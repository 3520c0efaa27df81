package delivery

import (
	"context"
	"errors"
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
}

func (w *trialWorld) Route(d *bell.Device) (Route, string) {
	return Route{Key: RouteKey{Credential: "app", Channel: d.Channel}, Sender: w}, w.reason
}

func (w *trialWorld) Send(ctx context.Context, r *bell.Ring, _ Try) bell.Outcome {
	w.sent = append(w.sent, *r)
	if w.hangs {
		<-ctx.Done()
		return bell.Outcome{Verdict: bell.RetryNow, Reason: "timeout"}
	}
	return w.outcome
}

func (w *trialWorld) Learn(_ context.Context, l bell.Lesson) { w.learned = append(w.learned, l) }

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
