package webhook_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/webhook"
)

func TestACallIsTold(t *testing.T) {
	story(t, nil, func(t *testing.T, w *world) {
		w.rings(1)
		pass(time.Second)
		w.wantTaken(1)
		w.missed(1)
		pass(time.Second)
		w.wantWhole(1)
		pass(time.Hour)
		w.wantTaken(3) // once
		if open := w.listed(webhook.Waiting); len(open) != 0 {
			t.Errorf("%+v is still open", open)
		}
	})
}

// A receiver that is down for ten minutes: then everything arrives, once, and in the order of
// each call.
func TestReceiverDownForTenMinutes(t *testing.T) {
	for name, fault := range map[string]func(*http.Request) (*http.Response, error){"refuses": status(503), "hangs": hangs} {
		t.Run(name, func(t *testing.T) {
			const calls = 40
			story(t, nil, func(t *testing.T, w *world) {
				w.set(host, fault)
				for n := range calls {
					w.rings(n)
					pass(10 * time.Second)
					w.missed(n)
					pass(5 * time.Second)
				}
				w.wantTaken(0)
				w.set(host, nil)
				pass(time.Minute + 30*time.Second)
				tries, taken := w.seen()
				// Nearly all are there within moments. What was tried in vain comes by its own
				// schedule; the rest kept its tries.
				if len(taken) < 3*calls-30 {
					t.Errorf("%d of %d events arrived soon after the receiver came back", len(taken), 3*calls)
				}
				if len(tries)-len(taken) > 60 {
					t.Errorf("a receiver that was down was tried %d times", len(tries)-len(taken))
				}
				pass(45 * time.Minute)
				for n := range calls {
					w.wantWhole(n)
				}
				w.wantTaken(3 * calls)
			})
		})
	}
}
