package call_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// step is one thing that happens. Copies of a Notify come at once.
type step struct {
	what   string // notify, end, journal, ail, pass
	call   int
	copies int
	reads  fault
	writes fault
	wait   time.Duration
}

var steps = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
	return step{
		what:   rapid.SampledFrom([]string{"notify", "notify", "notify", "end", "journal", "ail", "ail", "pass", "pass"}).Draw(t, "what"),
		call:   rapid.IntRange(1, 3).Draw(t, "call"),
		copies: rapid.IntRange(1, 3).Draw(t, "copies"),
		reads:  rapid.SampledFrom([]fault{healthy, healthy, refuses, hangs}).Draw(t, "reads"),
		writes: rapid.SampledFrom(append([]fault{healthy, healthy}, faults...)).Draw(t, "writes"),
		wait:   time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond,
	}
}), 1, 20)

// story is what a ward was asked, and what it answered.
type story struct {
	mu      sync.Mutex
	rang    map[planet.SessionID]bool      // a Notify was answered: these devices ring
	told    map[planet.SessionID]bool      // a Notify was answered 200
	ended   map[planet.SessionID]bool      // a Call Event was answered 200
	endedAt map[planet.SessionID]time.Time // the first Call Event came, whatever its answer was
	entries map[string]bool                // journal entries that were answered 200
}

// Whatever the store suffers from and whatever comes meanwhile, each device gets a call at
// most once and never after its end; and when the store is well again, the record says what
// happened, as if it had never been ill.
func TestIllnessesLeaveNoTrace(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		plan := steps.Draw(rt, "steps")
		var problems []string
		synctest.Test(t, func(t *testing.T) {
			w := admitTo(t, nil)
			s := &story{
				rang: map[planet.SessionID]bool{}, told: map[planet.SessionID]bool{}, ended: map[planet.SessionID]bool{},
				endedAt: map[planet.SessionID]time.Time{}, entries: map[string]bool{},
			}
			s.notify(w, "before")
			pass(5 * time.Second)
			for _, step := range plan {
				s.play(w, step)
			}
			w.store.ail(healthy, healthy)
			pass(30 * time.Second) // longer than a lease
			problems = s.judge(w)
			w.end()
		})
		for _, p := range problems {
			rt.Error(p)
		}
	})
}

func (s *story) play(w *ward, step step) {
	sid := planet.SessionID(fmt.Sprint("s", step.call))
	switch step.what {
	case "notify":
		var work sync.WaitGroup
		for range step.copies {
			work.Go(func() { s.notify(w, sid) })
		}
		work.Wait()
	case "end":
		if s.endedAt[sid].IsZero() {
			s.endedAt[sid] = time.Now()
		}
		if w.End(w.t.Context(), w.acme, event(sid)) == nil {
			s.ended[sid] = true
		}
	case "journal":
		item := call.JournalItem{Kind: call.KindAgentCallStatus, SessionID: sid, DedupKey: fmt.Sprint(sid, "/", step.copies)}
		if w.Journal(w.t.Context(), w.acme, item) == nil {
			s.entries[item.DedupKey] = true
		}
	case "ail":
		w.store.ail(step.reads, step.writes)
	case "pass":
		pass(step.wait)
	}
}

func (s *story) notify(w *ward, sid planet.SessionID) {
	start := time.Now()
	got, err := w.Ring(w.t.Context(), w.acme, notify(sid))
	if took := time.Since(start); took > 3*readAndWrite {
		w.t.Errorf("a Notify was answered after %v", took)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told[sid] = s.told[sid] || err == nil
	s.rang[sid] = s.rang[sid] || got.Devices > 0
	if err != nil && got != (call.RingResult{}) {
		w.t.Errorf("Ring = %+v with %v", got, err)
	}
}

// readAndWrite is the most that one Notify waits for the store.
const readAndWrite = 1500 * time.Millisecond

// judge says what is not as it should be.
func (s *story) judge(w *ward) (problems []string) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if n := w.figure("backlog_items"); n != 0 {
		say("%v items still wait", n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.store.fakeStore.mu.Lock()
	defer w.store.fakeStore.mu.Unlock()
	for n := range 4 {
		sid := planet.SessionID(fmt.Sprint("s", n))
		if n == 0 {
			sid = "before"
		}
		c, known := w.store.calls[callKey{planet.Evaluation, sid}]
		if known != (s.told[sid] || s.ended[sid]) && (s.told[sid] || s.ended[sid]) {
			say("%s was answered 200 and is not on record", sid)
		}
		if s.told[sid] && c.NotifiedAt.IsZero() {
			say("the Notify of %s is not on record", sid)
		}
		if s.ended[sid] != (c.State == bell.CallEnded) && s.ended[sid] {
			say("%s has ended, and the record says %q", sid, c.State)
		}
		for _, device := range []string{"a", "b"} {
			for _, p := range s.judgeDevice(w, sid, device) {
				say("%s of %s: %s", device, sid, p)
			}
		}
	}
	got := map[string]int{}
	for _, e := range w.store.journal {
		got[e.DedupKey]++
	}
	for key := range s.entries {
		if got[key] != 1 {
			say("journal entry %s is there %d times", key, got[key])
		}
	}
	return problems
}

// judgeDevice compares what a device got with what is on record about it.
func (s *story) judgeDevice(w *ward, sid planet.SessionID, device string) (problems []string) {
	say := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	times := w.rung[rungKey{sid, device}]
	end := s.endedAt[sid]
	if len(times) > 1 {
		say("rang %d times: %v", len(times), times)
	}
	for _, at := range times {
		if !end.IsZero() && at.After(end) {
			say("rang %v after the end", at.Sub(end))
		}
	}
	if s.rang[sid] && end.IsZero() && len(times) == 0 {
		say("never rang")
	}
	var found []bell.Delivery
	for _, d := range w.store.deliveries {
		if d.SessionID == sid && d.DeviceID == device {
			found = append(found, d)
		}
	}
	if len(times) == 0 || len(found) != 1 {
		if len(times) > 0 || len(found) > 1 {
			say("%d deliveries on record", len(found))
		}
		return problems
	}
	accepted := times[0]
	if device == "b" {
		accepted = accepted.Add(takenAfter)
	}
	// Within its second the outcome may still be on its way to the store when the end is.
	if end.IsZero() || accepted.Add(1100*time.Millisecond).Before(end) {
		if d := found[0]; d.State != bell.DeliveryAccepted || !w.store.attempts[d.ID][1] {
			say("was accepted, and the record says %q with attempts %v", d.State, w.store.attempts[d.ID])
		}
	}
	return problems
}
