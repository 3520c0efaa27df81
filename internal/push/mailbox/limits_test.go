package mailbox

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
)

func TestTooManyPollsAreRefusedButNeverAtOnce(t *testing.T) {
	for _, test := range []struct {
		random float64
		hold   time.Duration
		want   time.Duration
	}{
		{0, hold, 2 * time.Second},
		{0.5, hold, 2500 * time.Millisecond},
		{0.999, hold, 2999 * time.Millisecond},
		{0.5, 2100 * time.Millisecond, 2100 * time.Millisecond}, // no poll lasts longer than its hold
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(Config{Random: func() float64 { return test.random }})
			var polls []<-chan polled
			for range maxPerDevice {
				polls = append(polls, d.poll(t.Context(), "d", hold))
			}
			synctest.Wait()
			fifth := <-d.poll(t.Context(), "d", test.hold)
			if fifth.letter != nil || fifth.err != nil || fifth.after != test.want {
				t.Errorf("the fifth poll ended with %+v, want nothing after %v", fifth, test.want)
			}
			if got := d.metric(t, "planetbell_longpoll_delivery_total", "refused"); got != 1 {
				t.Errorf("refused = %v, want 1", got)
			}
			other := d.poll(t.Context(), "e", hold) // other devices do not suffer
			for i, poll := range polls {
				if got := <-poll; got.letter != nil || got.err != nil || got.after != hold {
					t.Errorf("poll %d ended with %+v", i, got)
				}
			}
			if got := <-other; got.after != hold {
				t.Errorf("the other device's poll ended after %v", got.after)
			}
			again := <-d.poll(t.Context(), "d", hold) // and the places are free again
			if again.after != hold {
				t.Errorf("the next poll ended after %v", again.after)
			}
			d.checkEmpty(t)
		})
	}
}

func TestRefusedPollEndsWhenItsDeviceGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("the connection closed")
		d := newDesk(Config{MaxWaiting: 1})
		first := d.poll(t.Context(), "d", hold)
		synctest.Wait()
		ctx, cancel := context.WithCancelCause(t.Context())
		second := d.poll(ctx, "e", hold)
		synctest.Wait()
		pass(time.Second)
		cancel(gone)
		if got := <-second; !errors.Is(got.err, gone) || got.after != time.Second {
			t.Errorf("the refused poll ended with %+v", got)
		}
		<-first
		d.checkEmpty(t)
	})
}

func TestAllPollsTogetherAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{MaxWaiting: 3})
		var polls []<-chan polled
		for _, device := range []string{"a", "b", "c"} {
			polls = append(polls, d.poll(t.Context(), device, hold))
		}
		synctest.Wait()
		if got := d.metric(t, "planetbell_longpoll_waiters", ""); got != 3 {
			t.Errorf("waiters = %v, want 3", got)
		}
		for range 3 { // a refused device leaves nothing behind
			got := <-d.poll(t.Context(), "refused", hold)
			if got.letter != nil || got.err != nil || got.after < refusalDelay || got.after > refusalDelay+time.Second {
				t.Fatalf("the refused poll ended with %+v", got)
			}
			d.Mailbox.mu.Lock()
			boxes := len(d.boxes)
			d.Mailbox.mu.Unlock()
			if boxes != 3 {
				t.Fatalf("%d boxes, want 3", boxes)
			}
		}
		d.put(t, 1, "refused") // its call is there when there is room again
		for _, poll := range polls {
			<-poll
		}
		d.take(t, "refused", sid(1))
		synctest.Wait()
		if got := d.metric(t, "planetbell_longpoll_waiters", ""); got != 0 {
			t.Errorf("waiters = %v, want 0", got)
		}
		d.checkEmpty(t)
	})
}

func TestCloseSpreadsTheEndOfThePolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		shares := []float64{0, 0.25, 0.5, 1}
		d := newDesk(Config{Random: func() float64 {
			mu.Lock()
			defer mu.Unlock()
			share := shares[0]
			shares = append(shares[1:], share)
			return share
		}})
		start := time.Now()
		var polls []<-chan polled
		for _, device := range []string{"a", "b", "c", "d"} {
			polls = append(polls, d.poll(t.Context(), device, hold))
		}
		pass(time.Second)
		d.Close(4 * time.Second)
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("Close returned %v after the start, want 5s: when the last poll had ended", took)
		}
		var ends []time.Duration
		for _, poll := range polls {
			got := <-poll
			if got.letter != nil || got.err != nil {
				t.Errorf("a poll ended with %+v", got)
			}
			ends = append(ends, got.after)
		}
		slices.Sort(ends)
		if want := []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 5 * time.Second}; !slices.Equal(ends, want) {
			t.Errorf("polls ended after %v, want %v", ends, want)
		}
		d.checkEmpty(t)
	})
}

func TestPollOfAClosingMailboxEndsWithItsHoldAtLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{Random: func() float64 { return 1 }})
		poll := d.poll(t.Context(), "d", hold)
		synctest.Wait()
		pass(hold - time.Second)
		d.Close(time.Minute)
		if got := <-poll; got.after != hold {
			t.Errorf("the poll ended after %v, want %v", got.after, hold)
		}
		d.Close(time.Minute) // twice is not worse than once
		late := <-d.poll(t.Context(), "d", hold)
		if late.letter != nil || late.err != nil || late.after < refusalDelay {
			t.Errorf("a poll of a closed mailbox ended with %+v", late)
		}
		d.checkEmpty(t)
	})
}

func TestCallThatComesWhileClosingIsGivenToAPollThatStillWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{Random: func() float64 { return 1 }})
		poll := d.poll(t.Context(), "d", hold)
		synctest.Wait()
		closed := make(chan struct{})
		go func() { d.Close(10 * time.Second); close(closed) }()
		pass(3 * time.Second)
		d.put(t, 1, "d")
		got := <-poll
		if got.sid() != sid(1) || got.after != 3*time.Second {
			t.Fatalf("the poll got %q after %v", got.sid(), got.after)
		}
		got.letter.Done(true)
		<-closed
		if len(d.reported()) != 1 {
			t.Errorf("reported as taken when Close returned: %v", d.reported())
		}
		d.checkEmpty(t)
	})
}

func TestCloseWaitsForLettersInHandAndForTheirReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		d.slow = make(chan struct{})
		d.put(t, 1, "d")
		d.put(t, 2, "e")
		written, unwritten := <-d.poll(t.Context(), "d", hold), <-d.poll(t.Context(), "e", hold)
		closed := make(chan struct{})
		go func() { d.Close(0); close(closed) }()
		for _, step := range []struct {
			name string
			do   func()
		}{
			{"two letters are in hand", func() {}},
			{"one letter is in hand", func() { unwritten.letter.Done(false) }},
			{"a report is under way", func() { written.letter.Done(true) }},
		} {
			step.do()
			synctest.Wait()
			pass(time.Second)
			select {
			case <-closed:
				t.Fatalf("Close returned although %s", step.name)
			default:
			}
		}
		close(d.slow)
		<-closed
		if got := d.reported(); !slices.Equal(got, []string{"d/1"}) {
			t.Errorf("reported as taken: %v", got)
		}
		d.Withdraw("evaluation", sid(2))
		d.checkEmpty(t)
	})
}

// Many real goroutines, so that the race detector has something to see.
func TestEachLetterIsDeliveredOnceToAHundredPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const devices, calls = 25, 8
		d := newDesk(Config{})
		var mu sync.Mutex
		got := map[string]int{}
		var work sync.WaitGroup
		for i := range devices * maxPerDevice {
			device := string(rune('A' + i%devices))
			work.Go(func() {
				for n := 0; ; n++ {
					letter, err := d.Wait(t.Context(), bell.Poll{DeviceID: device, Hold: hold})
					if err != nil {
						t.Error(err)
					}
					if letter == nil {
						return
					}
					if (i+n)%3 == 0 { // the answer could not be written
						letter.Done(false)
						continue
					}
					mu.Lock()
					got[device+string(letter.SessionID)]++
					mu.Unlock()
					letter.Done(true)
				}
			})
		}
		for call := range calls {
			for i := range devices {
				work.Go(func() {
					r := ring(call, string(rune('A'+i)), time.Now().Add(time.Minute))
					if o := d.Send(t.Context(), r, delivery.Try{Number: 1}); o.Verdict != bell.Deposited {
						t.Errorf("call %d: %+v", call, o)
					}
				})
			}
		}
		work.Wait()
		for what, times := range got {
			if times != 1 {
				t.Errorf("%s was delivered %d times", what, times)
			}
		}
		if len(got) != devices*calls || len(d.reported()) != devices*calls {
			t.Errorf("%d letters delivered, %d reported, want %d", len(got), len(d.reported()), devices*calls)
		}
		d.checkEmpty(t)
	})
}

func TestDefaultsAreTheDocumentedOnes(t *testing.T) {
	m := New(Config{})
	if m.MaxWaiting != 15_000 || m.MaxLetters != 100_000 || m.Metrics == nil || m.Now == nil || m.Random == nil {
		t.Errorf("defaults: %+v", m.Config)
	}
}

// A shutdown with many waiting polls ends all of them, spread over its bound, and a call that
// comes meanwhile still reaches a poll that waits.
func TestCloseEndsTenThousandPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const (
			waiters = 10_000
			bound   = 4 * time.Second
			called  = 1 // of the devices, by its number
		)
		turn := 0.0
		var mu sync.Mutex
		d := newDesk(Config{Random: func() float64 {
			mu.Lock()
			defer mu.Unlock()
			turn++
			return turn / waiters
		}})
		polls := make([]<-chan polled, waiters)
		for i := range polls {
			polls[i] = d.poll(t.Context(), strconv.Itoa(i), hold)
		}
		synctest.Wait()
		if got := d.metric(t, "planetbell_longpoll_waiters", ""); got != waiters {
			t.Fatalf("%v polls wait, want %d", got, waiters)
		}
		closed := make(chan struct{})
		go func() { d.Close(bound); close(closed) }()
		synctest.Wait()
		d.put(t, 1, strconv.Itoa(called))
		got := <-polls[called]
		if got.sid() != sid(1) || got.after != 0 {
			t.Fatalf("the poll of the called device got %q after %v", got.sid(), got.after)
		}
		got.letter.Done(true)
		<-closed
		quarters := [4]int{}
		for i, poll := range polls {
			if i == called {
				continue
			}
			got := <-poll
			if got.letter != nil || got.err != nil || got.after > bound {
				t.Fatalf("poll %d ended with %+v, want nothing within %v", i, got, bound)
			}
			quarters[min(int(got.after*4/bound), 3)]++
		}
		for i, n := range quarters {
			if n < waiters/5 {
				t.Errorf("%d polls ended in quarter %d of the bound, want about %d: all clients come back at once", n, i+1, waiters/4)
			}
		}
		if len(d.reported()) != 1 {
			t.Errorf("reported as taken: %v", d.reported())
		}
		d.checkEmpty(t)
	})
}
