package call_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// What another capability writes waits for a sick store as a call's own events do: in the
// order in which it came, a repeat once, and nothing of it is lost.
func TestKeepOfASickStore(t *testing.T) {
	for _, f := range []fault{refuses, hangs, undecided} {
		t.Run(string(f), func(t *testing.T) {
			in(t, nil, func(t *testing.T, w *ward) {
				before := len(w.store.journal)
				keep := func(n int) {
					entry := bell.JournalEntry{Kind: "group-call-event", SessionID: "room", Environment: planet.Evaluation, DedupKey: fmt.Sprint(n)}
					err := w.Keep(t.Context(), entry, func(ctx context.Context) error { return w.store.AppendJournal(ctx, entry) })
					if err != nil {
						t.Error(err)
					}
				}
				w.store.ail(healthy, f)
				for n := range 5 {
					keep(n)
					keep(n)
				}
				if n := w.figure("backlog_items"); n != 5 {
					t.Errorf("%v items wait, want 5", n)
				}
				w.store.ail(healthy, healthy)
				keep(5) // behind what waits, though the store is well
				pass(time.Minute)
				got := w.store.journal[before:]
				for n := range got {
					if got[n].DedupKey != fmt.Sprint(n) {
						t.Errorf("entry %d is %q", n, got[n].DedupKey)
					}
				}
				if len(got) != 6 {
					t.Errorf("%d entries were written, want 6", len(got))
				}
			})
		})
	}
}
