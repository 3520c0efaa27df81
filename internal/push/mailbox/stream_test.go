package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// listener is a stream and what was written to it.
type listener struct {
	start  time.Time
	leave  context.CancelFunc
	ended  chan error
	mu     sync.Mutex
	heard  []string // "1s call-1", "5s ended call-1", "15s beat"
	named  []planet.SessionID
	broken bool // nothing can be written any more
}

func (l *listener) write(e bell.StreamEvent) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken {
		return false
	}
	what := [...]string{"opened", string(e.SessionID), e.Why + " " + string(e.SessionID), "beat", "over"}[e.Kind]
	if e.Later {
		what += ", later"
	}
	if e.Notice {
		what += ", a notice"
	}
	if e.Kind == bell.StreamLetter || e.Kind == bell.StreamEnded {
		l.named = e.Known
	}
	if e.Kind != bell.StreamOpened {
		l.heard = append(l.heard, fmt.Sprint(time.Since(l.start), " ", what))
	}
	return true
}

// cut lets writes fail from now on.
func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = true
}

// want checks what was heard since the last time, and forgets it.
func (l *listener) want(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if diff := cmp.Diff(want, l.heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	l.heard = nil
}

// names checks what the newest event's ID says.
func (l *listener) names(t *testing.T, want ...planet.SessionID) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if diff := cmp.Diff(want, l.named); diff != "" {
		t.Errorf("named (-want +got):\n%s", diff)
	}
}

func (l *listener) end(t *testing.T) {
	t.Helper()
	l.leave()
	if err := <-l.ended; err != nil {
		t.Errorf("the stream ended with %v", err)
	}
}

// record is what the database says of a call that a listener has.
type record map[planet.SessionID]bell.Arrival

// listen begins a stream that beats each minute.
func (d *desk) listen(t *testing.T, device string, known ...planet.SessionID) *listener {
	t.Helper()
	return d.subscribe(t, bell.Stream{Poll: bell.Poll{DeviceID: device, Hold: time.Hour}, Beat: time.Minute, Known: known}, record{})
}

func (d *desk) subscribe(t *testing.T, s bell.Stream, is record) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{start: time.Now(), leave: cancel, ended: make(chan error, 1)}
	s.Environment, s.Acknowledges = planet.Evaluation, true
	s.Arrived = func(_ context.Context, id planet.SessionID) bell.Arrival {
		a := is[id]
		if !a.Unknown {
			d.Acknowledge(planet.Evaluation, id, s.DeviceID)
		}
		return a
	}
	go func() {
		l.ended <- d.Stream(ctx, &s, l.write)
		cancel()
	}()
	synctest.Wait()
	return l
}

func TestAStreamTakesLetterAfterLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		d.put(t, 1, "d")
		l := d.listen(t, "d")
		l.want(t, "0s call-1")
		l.names(t, sid(1))
		pass(time.Second)
		d.put(t, 2, "d")
		d.put(t, 3, "e")
		l.want(t, "1s call-2")
		l.names(t, sid(1), sid(2))
		d.Acknowledge(planet.Evaluation, sid(1), "d")
		d.Acknowledge(planet.Evaluation, sid(2), "d")
		d.Acknowledge(planet.Evaluation, sid(3), "e")
		pass(time.Second)
		d.Withdraw(planet.Evaluation, sid(1))
		d.Withdraw(planet.Evaluation, sid(3)) // which it was not told of
		l.want(t, "2s ended call-1")
		l.names(t, sid(2))
		d.Withdraw(planet.Evaluation, sid(1)) // as each node says
		pass(time.Minute)                     // to 1m2s
		l.want(t, "56s expired call-2")
		l.names(t)
		pass(time.Minute)
		l.want(t, "1m56s beat")
		l.end(t)
		if diff := cmp.Diff([]string{"d/1", "d/2"}, d.handedOut()); diff != "" {
			t.Errorf("handed out: %s", diff)
		}
		for event, want := range map[string]float64{"delivered": 2, "replayed": 0, "ended": 1, "expired": 1} {
			if got := d.metric(t, "planetbell_stream_events_total", event); got != want {
				t.Errorf("%s = %v, want %v", event, got, want)
			}
		}
		d.checkEmpty(t)
	})
}

func TestAStreamTakesAllThatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		for call := range 5 {
			d.put(t, call, "d")
		}
		l := d.listen(t, "d")
		l.want(t, "0s call-0", "0s call-1", "0s call-2", "0s call-3", "0s call-4")
		l.end(t)
		for call := range 5 {
			d.Withdraw(planet.Evaluation, sid(call))
		}
		d.checkEmpty(t)
	})
}

// What was written is not written again to the same stream, however long no receipt comes. It
// goes to another poll after the invisible time, and to another stream at once.
func TestAStreamGetsALetterOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		first := d.listen(t, "d")
		d.put(t, 1, "d")
		first.want(t, "0s call-1")
		poll := d.ask(t, "d")
		gets(t, poll, sid(1), unseen)
		pass(10 * time.Second)
		first.want(t)
		second := d.listen(t, "d")
		second.want(t, "0s call-1")
		pass(10 * time.Second)
		first.want(t)
		second.want(t)
		d.Withdraw(planet.Evaluation, sid(1))
		first.want(t, "23s ended call-1")
		second.want(t, "10s ended call-1")
		if got := d.metric(t, "planetbell_stream_events_total", "replayed"); got != 1 {
			t.Errorf("%v replayed", got)
		}
		first.end(t)
		second.end(t)
		d.checkEmpty(t)
	})
}

// A client that comes back says what it has. The rest comes at once, though the mailbox
// believes the old stream to live.
func TestAStreamTakesUpWhereTheLastEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		dead := d.listen(t, "d")
		d.put(t, 1, "d")
		d.put(t, 2, "d")
		dead.want(t, "0s call-1", "0s call-2")
		l := d.listen(t, "d", sid(1))
		l.want(t, "0s call-2")
		l.names(t, sid(1), sid(2))
		d.put(t, 3, "d")
		l.want(t, "0s call-3")
		d.Withdraw(planet.Evaluation, sid(1))
		l.want(t, "0s ended call-1")
		pass(unseen) // what was written to the newer stream, the older may have lost
		l.want(t)
		dead.want(t, "0s ended call-1", "3s call-3")
		d.Acknowledge(planet.Evaluation, sid(2), "d")
		d.Acknowledge(planet.Evaluation, sid(3), "d")
		l.end(t)
		dead.end(t)
		d.checkEmpty(t)
	})
}

func TestAStreamHearsWhatEndedWithoutIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		is := record{
			"over": {Over: true, Deadline: time.Now().Add(40 * time.Second)}, "rings": {Deadline: time.Now().Add(30 * time.Second)},
			"not its": {Unknown: true}, "not asked": {},
		}
		l := d.subscribe(t, bell.Stream{Poll: bell.Poll{DeviceID: "d", Hold: time.Hour}, Beat: time.Hour, Known: []planet.SessionID{"over", "rings", "not its", "not asked"}}, is)
		l.want(t, "0s ended over")
		l.names(t, "rings", "not asked")
		pass(10 * time.Minute)
		l.want(t, "30s expired rings", "5m0s expired not asked")
		l.names(t)
		l.end(t)
		d.checkEmpty(t)
	})
}

// A letter that could not be written, and those of a stream that has ended, are there for
// others at once.
func TestWhatABrokenStreamLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		l := d.listen(t, "d")
		d.put(t, 1, "d")
		l.want(t, "0s call-1")
		pass(time.Second)
		l.cut()
		d.put(t, 2, "d")
		if err := <-l.ended; err != nil {
			t.Errorf("ended with %v", err)
		}
		if diff := cmp.Diff([]string{"d/1"}, d.handedOut()); diff != "" {
			t.Errorf("handed out: %s", diff)
		}
		next := d.listen(t, "d", sid(1))
		next.want(t, "0s call-2")
		next.end(t)
		gets(t, d.ask(t, "d"), sid(2), 0)
		d.Withdraw(planet.Evaluation, sid(2))
		d.checkEmpty(t)
	})
}

func TestANoticeOnAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		d.tell(t, 9, "d")
		deaf := d.listen(t, "d")
		deaf.want(t)
		l := d.subscribe(t, bell.Stream{Poll: bell.Poll{DeviceID: "d", Hold: time.Hour, Notices: true}, Beat: time.Hour}, nil)
		l.want(t, "0s call-9, a notice")
		l.names(t, sid(9))
		d.Acknowledge(planet.Evaluation, sid(9), "d")
		d.put(t, 1, "d")
		l.want(t, "0s call-1")
		l.names(t, sid(1)) // it has said that it has the notice
		d.Withdraw(planet.Evaluation, sid(9))
		l.want(t, "0s ended call-9")
		d.Withdraw(planet.Evaluation, sid(1))
		l.want(t, "0s ended call-1")
		deaf.want(t)
		deaf.end(t)
		l.end(t)
		d.checkEmpty(t)
	})
}

// Streams that died without a word must not keep their device out.
func TestOneStreamTooManyEndsTheOldest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		poll := d.ask(t, "d")
		synctest.Wait()
		old := d.listen(t, "d")
		d.put(t, 1, "d")
		old.want(t, "0s call-1")
		d.Acknowledge(planet.Evaluation, sid(1), "d")
		others := []*listener{d.listen(t, "d"), d.listen(t, "d"), d.listen(t, "d")}
		old.want(t, "0s over, later")
		if err := <-old.ended; err != nil {
			t.Errorf("ended with %v", err)
		}
		gets(t, poll, "", hold)
		for _, l := range others {
			l.want(t)
			l.end(t)
		}
		d.checkEmpty(t)
	})
}

func TestTooManyStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{MaxWaiting: 2, Random: func() float64 { return 0.5 }})
		poll := d.ask(t, "a")
		synctest.Wait()
		l := d.listen(t, "b")
		refused := d.listen(t, "c")
		if err := <-refused.ended; bell.KindOf(err) != bell.Unavailable || time.Since(refused.start) != refusalDelay+time.Second/2 {
			t.Errorf("refused after %v with %v", time.Since(refused.start), err)
		}
		gone := d.listen(t, "c")
		gone.leave()
		if err := <-gone.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
		if got := d.metric(t, "planetbell_streams_open", ""); got != 1 {
			t.Errorf("%v streams are open", got)
		}
		if got := d.metric(t, "planetbell_longpoll_waiters", ""); got != 1 {
			t.Errorf("%v polls wait", got)
		}
		if got := d.metric(t, "planetbell_stream_events_total", "refused"); got != 2 {
			t.Errorf("%v refused", got)
		}
		gets(t, poll, "", hold)
		l.end(t)
		d.checkEmpty(t)
	})
}

// A stream ends at its hold, at a stop, and when its node is cut off: cleanly, and what comes
// until then is still given to it.
func TestHowAStreamEnds(t *testing.T) {
	for name, test := range map[string]struct {
		end  func(d *desk)
		want string
	}{
		"its hold":  {func(*desk) {}, "10s over"},
		"a stop":    {func(d *desk) { go d.Close(2 * time.Second) }, "2s over"},
		"a cut":     {func(d *desk) { d.EndPolls() }, "2s over"},
		"long stop": {func(d *desk) { go d.Close(time.Minute) }, "10s over"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(Config{Random: func() float64 { return 0.5 }})
				l := d.subscribe(t, bell.Stream{Poll: bell.Poll{DeviceID: "d", Hold: 10 * time.Second}, Beat: time.Hour}, nil)
				pass(time.Second)
				test.end(d)
				d.put(t, 1, "d")
				if err := <-l.ended; err != nil {
					t.Errorf("ended with %v", err)
				}
				l.want(t, "1s call-1", test.want)
				d.Withdraw(planet.Evaluation, sid(1))
				d.Close(0)
				d.checkEmpty(t)
			})
		})
	}
}

func TestAStreamRemembersABoundedNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		l := d.listen(t, "d")
		const calls = maxKnown + 5
		for call := range calls {
			d.put(t, call, "d")
			synctest.Wait()
			d.Acknowledge(planet.Evaluation, sid(call), "d")
		}
		l.mu.Lock()
		if len(l.heard) != calls || len(l.named) != maxNamed || l.named[maxNamed-1] != sid(calls-1) {
			t.Errorf("heard %d, the last names %v", len(l.heard), l.named)
		}
		l.heard = nil
		l.mu.Unlock()
		for call := range calls {
			d.Withdraw(planet.Evaluation, sid(call))
		}
		synctest.Wait()
		if len(l.heard) != maxKnown {
			t.Errorf("heard of %d ends: %s", len(l.heard), strings.Join(l.heard, ", "))
		}
		l.end(t)
		d.checkEmpty(t)
	})
}

// On several nodes a letter without a receipt is given back: its device may be at another
// node by now. To the stream that had it, it does not come again.
func TestAStreamOnOneOfSeveralNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		l := n.listen(t, "d")
		n.want(t, []string{"d"}, nil)
		n.put(t, 1, "d")
		l.want(t, "0s call-1")
		n.want(t, nil, nil)
		pass(unseen)
		synctest.Wait()
		n.want(t, nil, []string{"d/1"})
		n.Remove("d/1")
		n.put(t, 1, "d") // as a sweep does that finds a poll of its device here
		l.want(t)
		n.want(t, nil, []string{"d/1"})
		n.Remove("d/1")
		n.put(t, 2, "d")
		l.want(t, "3s call-2")
		l.end(t)
		n.want(t, nil, []string{"d/2"}) // at once
		n.Remove("d/2")
		n.checkEmpty(t)
	})
}

// Untold are calls, and no notices, that some stream has told of and not the end of.
func TestWhatEndIsStillToBeTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		check := func(when string, want ...planet.SessionID) {
			t.Helper()
			var got []planet.SessionID
			for _, key := range n.Untold(100) {
				if key.Environment != planet.Evaluation {
					t.Errorf("%s: %v is untold", when, key)
				}
				got = append(got, key.SessionID)
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		p := n.ask(t, "polls")
		synctest.Wait()
		n.put(t, 1, "polls")
		(<-p).letter.Done(true)
		n.Acknowledge(planet.Evaluation, sid(1), "polls")
		check("a poll has it")
		d := n.subscribe(t, bell.Stream{Poll: bell.Poll{DeviceID: "d", Hold: time.Hour, Notices: true}, Beat: time.Hour}, nil)
		e := n.listen(t, "e", sid(2), "before")
		n.tell(t, 9, "d")
		n.put(t, 2, "d")
		n.put(t, 3, "d")
		synctest.Wait()
		check("rings", "before", sid(2), sid(3))
		for _, call := range []int{2, 3, 9} {
			n.Acknowledge(planet.Evaluation, sid(call), "d")
		}
		check("acknowledged", "before", sid(2), sid(3))
		for most, want := range []int{0, 1, 2, 3, 3} {
			if got := n.Untold(most); len(got) != want {
				t.Errorf("of at most %d, %d are untold", most, len(got))
			}
		}
		d.want(t, "0s call-9, a notice", "0s call-2", "0s call-3")
		n.Withdraw(planet.Evaluation, sid(2))
		check("not yet written", "before", sid(3)) // and that is not asked for again
		d.want(t, "0s ended call-2")
		e.want(t, "0s ended call-2")
		check("one is over", "before", sid(3))
		e.end(t)
		check("a stream has ended", sid(3))
		pass(2 * time.Minute)
		check("after the deadline")
		d.want(t, "55s expired call-3")
		d.end(t)
		n.Remove("d/9")
		n.checkEmpty(t)
	})
}
