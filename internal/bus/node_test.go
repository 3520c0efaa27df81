package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/testlog"
)

// wire is a pretend server: what is sent over one link comes to all of them.
type wire struct {
	mu     sync.Mutex
	links  map[*wireLink]struct{}
	sent   []string // all messages
	dials  []time.Time
	refuse error         // of Dial
	broken error         // of Send
	hangs  bool          // Send does
	slow   time.Duration // Send takes so long, and breaks the link when it is broken off
	mute   bool          // nothing is delivered any more
}

type wireLink struct {
	wire *wire
	in   chan string
	fail chan error
}

func newWire() *wire { return &wire{links: make(map[*wireLink]struct{})} }

func (w *wire) Deaf() string { return "plug it in" }

func (w *wire) Dial(context.Context) (Link, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials = append(w.dials, time.Now())
	if w.refuse != nil {
		return nil, w.refuse
	}
	l := &wireLink{wire: w, in: make(chan string, 1000), fail: make(chan error, 1)}
	w.links[l] = struct{}{}
	return l, nil
}

func (l *wireLink) Send(ctx context.Context, messages []string) error {
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	if l.wire.hangs {
		l.wire.mu.Unlock()
		<-ctx.Done()
		l.wire.mu.Lock()
		return ctx.Err()
	}
	if slow := l.wire.slow; slow > 0 {
		l.wire.mu.Unlock()
		select {
		case <-time.After(slow):
		case <-ctx.Done():
		}
		l.wire.mu.Lock()
		if ctx.Err() != nil {
			l.wire.broken = ctx.Err()
		}
	}
	if l.wire.broken != nil {
		return l.wire.broken
	}
	for _, m := range messages {
		l.wire.say(m)
	}
	return nil
}

// say delivers a message. The mutex is held.
func (w *wire) say(message string) {
	w.sent = append(w.sent, message)
	for l := range w.links {
		if !w.mute {
			l.in <- message
		}
	}
}

func (l *wireLink) Receive(ctx context.Context) (string, error) {
	select {
	case m := <-l.in:
		return m, nil
	case err := <-l.fail:
		return "", err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (l *wireLink) Close() {
	l.wire.mu.Lock()
	defer l.wire.mu.Unlock()
	delete(l.wire.links, l)
}

// with changes the wire.
func (w *wire) with(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// hints are the lines that were sent, without headers; heartbeats are "".
func (w *wire) hints() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.sent {
		_, lines, _ := strings.Cut(m, "\n")
		all = append(all, lines)
	}
	return all
}

// seqs are the numbers of what was sent.
func (w *wire) seqs() (all []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.sent {
		h, _, _ := decodeHeader(m)
		all = append(all, h.seq)
	}
	return all
}

func mail(device string) cluster.Hint {
	return cluster.Hint{Kind: cluster.HintMailbox, DeviceID: device}
}

// ear is what the handler of a node was given.
type ear struct {
	mu    sync.Mutex
	hints []cluster.Hint
	gaps  int
}

func (e *ear) handler() Handler {
	return Handler{
		Hints: func(h []cluster.Hint) { e.mu.Lock(); e.hints = append(e.hints, h...); e.mu.Unlock() },
		Gap:   func() { e.mu.Lock(); e.gaps++; e.mu.Unlock() },
	}
}

func (e *ear) got() ([]cluster.Hint, int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.hints, e.gaps
}

func node(t *testing.T, name string, w *wire, log *slog.Logger) *Node {
	t.Helper()
	n, err := NewNode(Config{Name: name, Metrics: NewMetrics(prometheus.NewRegistry()), Log: log}, w)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// start runs a node until the test's bubble ends, or stop is called.
func start(t *testing.T, name string, w *wire) (n *Node, e *ear, stop func()) {
	t.Helper()
	n, e = node(t, name, w, testlog.New(t)), &ear{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { n.Run(ctx, e.handler()); close(done) }()
	synctest.Wait()
	return n, e, func() { cancel(); <-done }
}

// pass lets time pass, and what is due happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestHintsAreGathered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		n, _, stop := start(t, "a", w)
		defer stop()
		pass(time.Second)
		flushes := func() int { return len(w.hints()) - 1 } // but for the first heartbeat
		n.Publish(mail("1"))
		synctest.Wait()
		if flushes() != 1 {
			t.Fatalf("%d flushes; the first hint after a pause does not wait", flushes())
		}
		n.Publish(mail("2"))
		n.Publish(mail("3"))
		n.Publish(mail("2"))
		pass(flushEvery - time.Microsecond)
		if flushes() != 1 {
			t.Error("the next did not wait for others")
		}
		pass(time.Microsecond)
		if got := w.hints(); len(got) != 3 || got[2] != "m\t2\nm\t3\n" {
			t.Errorf("sent %q", got)
		}
		for i := range flushAt {
			n.Publish(mail(fmt.Sprint("many-", i)))
		}
		synctest.Wait()
		if got := strings.Join(w.hints(), ""); strings.Count(got, "many-") != flushAt {
			t.Error("many hints were made to wait")
		}
	})
}

func TestHeartbeatsMeasureAndNoticeADeadLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		n, e, stop := start(t, "a", w)
		defer stop()
		pass(4*beatEvery + time.Millisecond)
		if got := len(w.hints()); got != 5 {
			t.Errorf("%d heartbeats in %s", got, 4*beatEvery)
		}
		w.with(func() { w.mute = true })
		pass(deafAfter - beatEvery)
		if !n.State().Connected {
			t.Error("one heartbeat is late, and the link was given up")
		}
		pass(2 * beatEvery)
		if s := n.State(); s.Connected || !strings.Contains(s.Trouble, "nothing came back") {
			t.Errorf("a dead link was not noticed: %+v", s)
		}
		w.with(func() { w.mute = false })
		pass(time.Minute)
		if _, gaps := e.got(); !n.State().Connected || gaps != 2 || len(w.links) != 1 {
			t.Errorf("%+v, %d gaps, %d links open", n.State(), gaps, len(w.links))
		}
	})
}

func TestALinkThatBringsNothingBackIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		w.mute = true
		n, e, stop := start(t, "a", w)
		defer stop()
		pass(sendWithin + time.Millisecond)
		if s := n.State(); s.Connected || !strings.Contains(s.Trouble, "plug it in") {
			t.Errorf("%+v", s)
		}
		if _, gaps := e.got(); gaps != 0 {
			t.Error("the handler was told of a connection")
		}
	})
}

func TestItConnectsForEverAndNotTooOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		w.refuse = errors.New("nobody is there")
		log := &lines{}
		n := node(t, "a", w, slog.New(slog.NewTextHandler(log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { n.Run(ctx, (&ear{}).handler()); close(done) }()
		pass(10 * time.Minute)
		if got := len(w.dials); got < 600/8 || got > 600/2 {
			t.Errorf("%d attempts in ten minutes", got)
		}
		if got := strings.Count(log.String(), "nobody is there"); got < 9 || got > 11 {
			t.Errorf("the same trouble was logged %d times in ten minutes", got)
		}
		w.with(func() { w.refuse = nil })
		pass(2 * lastPause)
		if !n.State().Connected {
			t.Error("it gave up")
		}
		cancel()
		<-done
	})
}

// lines is a log.
type lines struct {
	mu sync.Mutex
	strings.Builder
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(b)
}

func TestWhatCouldNotBeSentIsSentLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, _, stopA := start(t, "a", w)
		defer stopA()
		_, ear, stopB := start(t, "b", w)
		defer stopB()
		pass(time.Second)
		_, gaps := ear.got()
		w.with(func() { w.broken = errors.New("cable") })
		a.Publish(mail("1"))
		a.Publish(mail("2"))
		pass(time.Second / 2) // b sends nothing, and stays connected
		w.with(func() { w.broken = nil })
		pass(time.Minute)
		hints, after := ear.got()
		if len(hints) != 2 || hints[0].DeviceID != "1" || hints[1].DeviceID != "2" {
			t.Errorf("heard %+v", hints)
		}
		if after == gaps {
			t.Error("a message had no answer, so its number is missing, and b was not told")
		}
	})
}

func TestWhatIsDroppedLeavesAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		n := node(t, "a", w, testlog.New(t))
		for i := range queueSize + 1 {
			n.Publish(mail(fmt.Sprint(i))) // before it runs: it waits
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { n.Run(ctx, (&ear{}).handler()); close(done) }()
		pass(time.Second)
		seqs, hints := w.seqs(), strings.Join(w.hints(), "")
		if seqs[0] != 1 || seqs[1] != 3 || seqs[2] != 4 {
			t.Errorf("numbers %v: want a hole after the first", seqs[:3])
		}
		if strings.Count(hints, "\n") != queueSize || strings.Contains(hints, "m\t0\n") {
			t.Errorf("%d hints were sent, want %d, without the oldest", strings.Count(hints, "\n"), queueSize)
		}
		cancel()
		<-done
	})
}

func TestLostMessagesOfALinkAreAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		n, ear, stop := start(t, "a", w)
		defer stop()
		for l := range w.links {
			l.fail <- fmt.Errorf("slow: %w", ErrMissed)
		}
		synctest.Wait()
		if _, gaps := ear.got(); gaps != 2 || !n.State().Connected {
			t.Errorf("%d gaps, %+v", gaps, n.State())
		}
	})
}

func TestAMissingMessageIsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, ear, stop := start(t, "a", newWire())
		defer stop()
		for _, step := range []struct {
			run  string
			seq  int
			gaps int // 1 is that of the connection
		}{
			{"one", 1, 1},
			{"one", 2, 1},
			{"one", 2, 1},
			{"one", 4, 2},
			{"one", 5, 2},
			{"two", 1, 2},
			{"one", 6, 2},
			{"two", 3, 3},
			{"late", 7, 4},
			{"late", 8, 4},
			{"one", 3, 5},
			{"one", 4, 5},
		} {
			n.hear(fmt.Sprintf("pb1\tb\t%s\t%d\n", step.run, step.seq))
			synctest.Wait()
			if _, gaps := ear.got(); gaps != step.gaps {
				t.Fatalf("after %+v: %d gaps", step, gaps)
			}
		}
	})
}

func TestTheLastWordsAreSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		n, _, stop := start(t, "a", w)
		n.Publish(mail("1")) // goes at once
		synctest.Wait()
		n.Publish(mail("2")) // is gathered
		stop()
		if got := w.hints(); len(got) != 3 || got[2] != "m\t2\n" {
			t.Errorf("sent %q", got)
		}
	})
}

// TestTheEndDoesNotBreakOffASend: over PostgreSQL that would end the connection.
func TestTheEndDoesNotBreakOffASend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		n, _, stop := start(t, "a", w)
		w.with(func() { w.slow = lastWords / 4 })
		n.Publish(mail("1"))
		synctest.Wait() // it is being sent
		n.Publish(mail("2"))
		stop()
		if got := strings.Join(w.hints(), ""); got != "m\t1\nm\t2\n" {
			t.Errorf("sent %q", got)
		}
	})
}

func TestAnEchoOfAnEarlierLinkIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		n, ear, stop := start(t, "a", w)
		defer stop()
		pass(5 * beatEvery)
		w.with(func() {
			w.mute = true
			for l := range w.links {
				l.fail <- errors.New("cable")
			}
		})
		pass(time.Minute)
		if _, gaps := ear.got(); n.State().Connected || gaps != 1 {
			t.Errorf("it counts as connected: %+v, %d gaps", n.State(), gaps)
		}
	})
}

func TestALinkThatDoesNotSendIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		n, _, stop := start(t, "a", w)
		defer stop()
		w.with(func() { w.hangs = true })
		n.Publish(mail("1"))
		pass(sendWithin + time.Millisecond)
		if n.State().Connected {
			t.Error("it waits for ever")
		}
		w.with(func() { w.hangs = false })
		pass(time.Minute)
		if got := strings.Join(w.hints(), ""); !n.State().Connected || got != "m\t1\n" {
			t.Errorf("%+v, sent %q", n.State(), got)
		}
	})
}

func TestTheLagIsThatOfAHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		n, _, stop := start(t, "a", w)
		defer stop()
		w.with(func() { w.mute = true })
		pass(2*beatEvery + 300*time.Millisecond)
		w.with(func() {
			w.mute = false
			w.say(w.sent[1]) // the first that was not heard
			w.say(w.sent[2])
		})
		synctest.Wait()
		if got := n.State().Lag; got != 300*time.Millisecond {
			t.Errorf("the lag is %s", got)
		}
	})
}

func TestANamesakeIsHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		one, _, stopOne := start(t, "same", w)
		defer stopOne()
		_, ear, stopTwo := start(t, "same", w)
		defer stopTwo()
		one.Publish(mail("1"))
		pass(time.Second)
		if hints, _ := ear.got(); len(hints) != 1 {
			t.Errorf("heard %+v", hints)
		}
	})
}

func TestStrangersDoNotFillTheMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		n, ear, stop := start(t, "a", w)
		defer stop()
		for i := range 3 * maxSenders {
			n.hear(fmt.Sprintf("pb1\tstranger\trun%d\t1\nm\t%d\n", i, i))
		}
		synctest.Wait()
		if hints, _ := ear.got(); len(n.senders) != maxSenders || len(hints) != 3*maxSenders {
			t.Errorf("%d senders remembered, %d hints heard", len(n.senders), len(hints))
		}
		if got := n.State().Peers; got != 1 {
			t.Errorf("%d peers with one name", got)
		}
		pass(11 * deafAfter)
		n.hear("pb1\tfriend\trun\t1\n")
		if len(n.senders) != 1 || n.State().Peers != 1 {
			t.Errorf("%d senders are remembered for ever", len(n.senders))
		}
	})
}

func TestAHangingLinkDoesNotHoldTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		n, _, stop := start(t, "a", w)
		w.with(func() { w.hangs = true })
		n.Publish(mail("1"))
		synctest.Wait()
		began := time.Now()
		stop()
		if took := time.Since(began); took > lastWords { // the clock of the bubble
			t.Errorf("the end took %s", took)
		}
	})
}

func TestAnEndWhileConnectingIsQuick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		w.mute = true // it waits for its echo
		_, _, stop := start(t, "a", w)
		began := time.Now()
		stop()
		if took := time.Since(began); took != 0 {
			t.Errorf("the end took %s", took)
		}
	})
}

func TestPeersAreThoseHeardOfLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, _, stopA := start(t, "a", w)
		defer stopA()
		_, _, stopB := start(t, "b", w)
		pass(time.Minute)
		if got := a.State().Peers; got != 1 {
			t.Errorf("%d peers", got)
		}
		stopB()
		pass(deafAfter)
		if got := a.State().Peers; got != 0 {
			t.Errorf("%d peers after the only one left", got)
		}
	})
}

// TestAGoodLinkIsReplacedSoon: long pauses are for servers that are away, not for a link
// that broke after hours.
func TestAGoodLinkIsReplacedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		w.refuse = errors.New("nobody is there")
		n, _, stop := start(t, "a", w)
		defer stop()
		pass(time.Minute)
		w.with(func() { w.refuse = nil })
		pass(time.Hour)
		w.with(func() {
			for l := range w.links {
				l.fail <- errors.New("cable")
			}
		})
		pass(2 * firstPause)
		if !n.State().Connected {
			t.Error("it waits as if the server were away")
		}
	})
}

func TestWhatCannotTravelIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		n, _, stop := start(t, "a", w)
		n.Publish(mail("two words\nm\tother"))
		n.Publish(mail("1"))
		stop()
		if got := strings.Join(w.hints(), ""); got != "m\t1\n" {
			t.Errorf("sent %q", got)
		}
	})
}
