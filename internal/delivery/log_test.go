package delivery

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// said are the messages about a call at info, in order.
func (b *bench) said(call int) (messages []string) {
	for line := range strings.Lines(b.logs.String()) {
		if !strings.Contains(line, `"level":"INFO"`) || !strings.Contains(line, `"sid":"`+string(sid(call))+`"`) {
			continue
		}
		_, rest, _ := strings.Cut(line, `"msg":"`)
		message, _, _ := strings.Cut(rest, `"`)
		messages = append(messages, message)
	}
	return messages
}

// All is logged about a call that is watched, at info; of others nothing is that went well.
func TestWatchedCallsAreLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) {
			c.Watched = func(e planet.Environment, id planet.SessionID) bool { return e == planet.Evaluation && id == sid(1) }
		})
		b.on("c", func(_ context.Context, _ *bell.Ring, _ Try) bell.Outcome { return answer(bell.Deposited) })
		b.on("slow", hang())
		for call := range 2 {
			b.begin(t, b.rings(call, bell.FCM, "a"))
			pass(time.Second)
			if _, err := b.Receive(t.Context(), receipt(call, "a")); err != nil {
				t.Fatal(err)
			}
			box := b.rings(call, bell.LongPoll, "c")
			b.begin(t, box)
			pass(time.Second)
			b.HandedOut(box[0], time.Now())
			b.begin(t, b.rings(call, bell.FCM, "slow"))
			pass(time.Second)
			b.Withdraw(planet.Evaluation, sid(call))
			synctest.Wait()
		}
		want := []string{
			"attempt", "delivery", "receipt", // a: taken, recorded, received
			"in the mailbox", "attempt", "delivery", // c: put in, handed out, waits for its receipt
			"withdrawal", "delivery", // slow
		}
		if got := b.said(1); !slices.Equal(got, want) {
			t.Errorf("said %q, want %q", got, want)
		}
		if got := b.said(0); len(got) != 0 {
			t.Errorf("said of a call that is not watched: %q", got)
		}
		b.finish(t)
	})
}
