package mailbox

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// node is a mailbox that is one of several.
type node struct {
	*desk
	mu      sync.Mutex
	entered []string
	idle    []string
}

func newNode() *node {
	n := &node{}
	n.desk = newDesk(Config{
		Entered: func(device string) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.entered = append(n.entered, device)
		},
		Idle: func(r bell.Ring) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.idle = append(n.idle, r.Delivery.ID)
		},
	})
	return n
}

func (n *node) want(t *testing.T, entered, idle []string) {
	t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !slices.Equal(n.entered, entered) || !slices.Equal(n.idle, idle) {
		t.Errorf("entered %q, idle %q; want %q, %q", n.entered, n.idle, entered, idle)
	}
	n.entered, n.idle = nil, nil
}

func TestALetterThatNobodyWaitsForIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.put(t, 1, "d")
		n.want(t, nil, []string{"d/1"})
		if n.Waits("d") {
			t.Error("a poll is said to wait")
		}
		p := n.poll(t.Context(), "d", hold) // the letter is on its way elsewhere
		synctest.Wait()
		n.want(t, []string{"d"}, nil)
		if !n.Waits("d") || n.Waits("e") {
			t.Error("whose poll waits is not known")
		}
		n.Remove("d/1")
		n.put(t, 1, "d") // it is taken back, because a poll is here again
		if got := <-p; got.sid() != sid(1) {
			t.Errorf("the poll got %q", got.sid())
		} else {
			got.letter.Done(true)
		}
		synctest.Wait()
		n.want(t, nil, nil)
		n.Remove("d/1")
		n.checkEmpty(t)
	})
}

func TestALetterComesBackWithItsPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		p := n.poll(t.Context(), "d", hold)
		synctest.Wait()
		n.put(t, 1, "d")
		n.want(t, []string{"d"}, nil)
		if got := n.Letters(time.Now().Add(time.Second)); !slices.Equal(got, []string{"d/1"}) {
			t.Errorf("letters %q", got)
		}
		if got := n.Letters(time.Now()); len(got) != 0 {
			t.Errorf("letters before they came: %q", got)
		}
		got := <-p
		got.letter.Done(false) // the client had left
		synctest.Wait()
		n.want(t, nil, []string{"d/1"})
		n.Remove("d/1")
		if got := n.Letters(time.Now().Add(time.Hour)); len(got) != 0 {
			t.Errorf("letters %q are left", got)
		}
		n.checkEmpty(t)
	})
}

// A device that acknowledges and does not say that it has its call may ask another node next.
func TestALetterThatIsNotAcknowledgedIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		p := n.ask(t, "d")
		synctest.Wait()
		n.put(t, 1, "d")
		(<-p).letter.Done(true)
		synctest.Wait()
		n.want(t, []string{"d"}, nil)
		pass(unseen)
		synctest.Wait()
		n.want(t, nil, []string{"d/1"})
		n.Remove("d/1")
		n.checkEmpty(t)
	})
}

func TestAClosedMailboxGivesBackWhatStillComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		p := n.poll(t.Context(), "d", hold)
		synctest.Wait()
		n.Close(0)
		<-p
		n.put(t, 1, "d") // its call came while the poll was here
		n.want(t, []string{"d"}, []string{"d/1"})
		n.Remove("d/1")
		n.checkEmpty(t)
	})
}

// A poll that was given a call which was over by then waits on. Whoever brings it others must
// hear of it, because nobody has looked for them when it began.
func TestAPollThatGotADeadCallIsSaidToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		p := n.poll(t.Context(), "d", hold)
		synctest.Wait()
		n.want(t, []string{"d"}, nil)
		r := ring(1, "d", time.Now().Add(time.Minute))
		n.Mailbox.mu.Lock() // Send, and the call's end before the poll looks
		l := &letter{ring: *r, key: bell.CallKey{Environment: r.Call.Environment, SessionID: r.Call.SessionID}}
		b := n.box("d")
		b.letters = append(b.letters, l)
		n.calls[l.key] = append(n.calls[l.key], l)
		n.letters++
		n.index(l)
		b.handOut(n.Now())
		n.discard(l)
		n.Mailbox.mu.Unlock()
		synctest.Wait()
		n.want(t, []string{"d"}, nil)
		gets(t, p, "", hold)
		n.checkEmpty(t)
	})
}

// What lies in a mailbox that is closed is given back, hidden or not: its process goes on for a
// while, and another one has the device's next poll.
func TestACloseGivesBackAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		p := n.ask(t, "d")
		synctest.Wait()
		n.put(t, 1, "d")
		(<-p).letter.Done(true)
		synctest.Wait()
		n.want(t, []string{"d"}, nil)
		n.Close(0)
		n.want(t, nil, []string{"d/1"})
	})
}

// A claim whose answer was lost is made again, and may bring what a poll has had meanwhile:
// the record of that is still on its way.
func TestWhatIsOverIsNotPutInAgain(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, n *node){
		"a plain poll has it": func(t *testing.T, n *node) { n.take(t, "d", sid(1)) },
		"its device has it": func(t *testing.T, n *node) {
			p := n.ask(t, "d")
			(<-p).letter.Done(true)
			n.Acknowledge(planet.Evaluation, sid(1), "d")
		},
		"its call is over": func(t *testing.T, n *node) {
			p := n.poll(t.Context(), "d", hold)
			letter := (<-p).letter
			n.Withdraw(planet.Evaluation, sid(1))
			letter.Done(false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode()
				go func() {
					pass(time.Second)
					n.put(t, 1, "d")
				}()
				end(t, n)
				synctest.Wait()
				if !n.Had("d/1") || n.Had("d/2") {
					t.Error("what was over is not known")
				}
				n.put(t, 1, "d")
				n.checkEmpty(t)
				n.clean(time.Now())
				if !n.Had("d/1") {
					t.Error("it was forgotten while it rings")
				}
				n.clean(time.Now().Add(time.Minute))
				if n.Had("d/1") {
					t.Error("it is remembered for ever")
				}
			})
		})
	}
}

func TestWhatWasGivenBackIsPutInAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.put(t, 1, "d")
		n.Remove("d/1")
		if n.Had("d/1") {
			t.Error("it is said to be over")
		}
		n.put(t, 1, "d")
		n.want(t, nil, []string{"d/1", "d/1"})
		n.Remove("d/1")
		n.checkEmpty(t)
	})
}

func TestPollsCanBeEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		n.EndPolls() // there are none
		var polls []<-chan polled
		for i := range 20 {
			polls = append(polls, n.poll(t.Context(), fmt.Sprint("d", i), hold))
		}
		short := n.poll(t.Context(), "short", 1100*time.Millisecond)
		pass(time.Second)
		n.EndPolls()
		later := n.poll(t.Context(), "later", 10*time.Second)
		n.put(t, 1, "d0") // which has not had its turn, or is given back
		ends := map[time.Duration]bool{}
		for i, p := range polls {
			got := <-p
			if got.err != nil || got.after < time.Second || got.after > time.Second+endWithin || got.letter != nil && i != 0 {
				t.Errorf("poll %d ended after %v with %q, error %v", i, got.after, got.sid(), got.err)
			}
			if got.letter != nil {
				got.letter.Done(true)
			}
			ends[got.after] = true
		}
		if len(ends) < 10 {
			t.Errorf("polls ended together, at %v", ends)
		}
		if got := <-short; got.after > 1100*time.Millisecond {
			t.Errorf("a poll was held for longer than it asked: %v", got.after)
		}
		if got := <-later; got.after != 10*time.Second {
			t.Errorf("a poll that came later ended after %v", got.after)
		}
		p := n.poll(t.Context(), "late", hold)
		n.Close(0)
		n.EndPolls()
		<-p
		n.Remove("d0/1")
		n.checkEmpty(t)
	})
}
