package mailbox

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestCallReachesThePollWheneverItComes(t *testing.T) {
	tests := []struct {
		name  string
		after time.Duration // of the call, after the poll began; negative: before
	}{
		{"long before the poll", -54 * time.Second},
		{"just before the poll", -time.Nanosecond},
		{"in the same moment", 0},
		{"during the poll", 10 * time.Second},
		{"in its last moment", hold - time.Nanosecond},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(Config{})
				if test.after < 0 {
					d.put(t, 1, "d")
					pass(-test.after)
				}
				poll := d.poll(t.Context(), "d", hold)
				if test.after >= 0 {
					synctest.Wait()
					pass(test.after)
					d.put(t, 1, "d")
				}
				got := <-poll
				if got.sid() != sid(1) || got.after != max(0, test.after) {
					t.Fatalf("got %q after %v", got.sid(), got.after)
				}
				got.letter.Done(true)
				synctest.Wait()
				if diff := cmp.Diff([]string{"d/1"}, d.reported()); diff != "" {
					t.Error(diff)
				}
				d.take(t, "d", "") // once
				d.checkEmpty(t)
			})
		})
	}
}

func TestCallBetweenTwoPollsWaitsForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		if got := <-d.poll(t.Context(), "d", hold); got.letter != nil || got.err != nil || got.after != hold {
			t.Fatalf("a poll without a call ended with %+v", got)
		}
		pass(2 * time.Second)
		d.put(t, 1, "d")
		d.put(t, 2, "other device")
		pass(3 * time.Second) // as the Windows demo sleeps
		d.take(t, "d", sid(1))
		d.take(t, "other device", sid(2))
		synctest.Wait()
		d.checkEmpty(t)
	})
}

func TestLetterHoldsTheNotification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		start := time.Now()
		d.put(t, 7, "d")
		pass(3 * time.Second)
		got := <-d.poll(t.Context(), "d", hold)
		want := planet.Notification{
			CCParam: planet.CCParam(testlog.CCParam(7)), Type: planet.AudioCall, EnvironmentLabel: "evaluation", SessionID: sid(7),
			Caller: planet.UserRef{ServiceID: "svc", UserID: "alice"}, Callee: planet.UserRef{ServiceID: "svc", UserID: "bob"},
			SentAt: start.Add(3 * time.Second), ExpiresAt: start.Add(55 * time.Second),
		}
		if diff := cmp.Diff(want, got.letter.Payload); diff != "" {
			t.Error(diff)
		}
		for range 3 {
			got.letter.Done(true)
		}
		got.letter.Done(false) // too late: it was written
		synctest.Wait()
		if len(d.reported()) != 1 {
			t.Errorf("reported as taken: %v", d.reported())
		}
		d.checkEmpty(t)
	})
}

func TestNewestPollGetsTheCallAndTheOlderRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		older := d.poll(t.Context(), "d", hold)
		synctest.Wait()
		newer := d.poll(t.Context(), "d", hold)
		synctest.Wait()
		pass(time.Second)
		d.put(t, 1, "d")
		if got := <-newer; got.sid() != sid(1) || got.after != time.Second {
			t.Errorf("the newer poll got %q after %v", got.sid(), got.after)
		} else {
			got.letter.Done(true)
		}
		if got := <-older; got.letter != nil || got.err != nil || got.after != hold {
			t.Errorf("the older poll ended with %+v, want nothing after %v", got, hold)
		}
		synctest.Wait()
		d.checkEmpty(t)
	})
}

func TestTwoCallsComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		d.put(t, 1, "d")
		d.put(t, 2, "d")
		first := <-d.poll(t.Context(), "d", hold)
		second := <-d.poll(t.Context(), "d", hold)
		if first.sid() != sid(1) || second.sid() != sid(2) {
			t.Fatalf("got %q, then %q", first.sid(), second.sid())
		}
		second.letter.Done(false)
		first.letter.Done(false) // the order stays that of arrival, not of return
		d.take(t, "d", sid(1))
		d.take(t, "d", sid(2))

		older := d.poll(t.Context(), "d", hold)
		synctest.Wait()
		newer := d.poll(t.Context(), "d", hold)
		synctest.Wait()
		d.put(t, 3, "d")
		d.put(t, 4, "d")
		n, o := <-newer, <-older
		if n.sid() != sid(3) || o.sid() != sid(4) {
			t.Errorf("the newer poll got %q, the older %q", n.sid(), o.sid())
		}
		n.letter.Done(true)
		o.letter.Done(true)
		synctest.Wait()
		d.checkEmpty(t)
	})
}

func TestLetterThatCouldNotBeWrittenComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		d.put(t, 1, "d")
		lost := <-d.poll(t.Context(), "d", hold)
		waiting := d.poll(t.Context(), "d", hold)
		synctest.Wait()
		pass(2 * time.Second)
		lost.letter.Done(false)
		lost.letter.Done(true) // only the first word counts
		again := <-waiting
		if again.sid() != sid(1) || again.after != 2*time.Second {
			t.Fatalf("the waiting poll got %q after %v", again.sid(), again.after)
		}
		again.letter.Done(false)
		pass(30 * time.Second)
		d.take(t, "d", sid(1))
		synctest.Wait()
		if got := d.reported(); len(got) != 1 {
			t.Errorf("reported as taken: %v", got)
		}
		if got := d.metric(t, "planetbell_longpoll_delivery_total", "put_back"); got != 2 {
			t.Errorf("put_back = %v, want 2", got)
		}
		d.checkEmpty(t)
	})
}

func TestDeviceThatWentAwayLeavesTheLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := errors.New("the connection closed")
		d := newDesk(Config{})
		ctx, cancel := context.WithCancelCause(t.Context())
		poll := d.poll(ctx, "d", hold)
		synctest.Wait()
		pass(time.Second)
		cancel(gone)
		if got := <-poll; got.letter != nil || !errors.Is(got.err, gone) || got.after != time.Second {
			t.Fatalf("the poll ended with %+v", got)
		}
		d.put(t, 1, "d")
		// A poll whose device is gone already must not get it, however the select falls.
		for range 50 {
			if letter, err := d.Wait(ctx, bell.Poll{DeviceID: "d", Hold: hold}); letter != nil || !errors.Is(err, gone) {
				t.Fatalf("a dead poll got %v, error %v", letter, err)
			}
		}
		d.take(t, "d", sid(1))
		synctest.Wait()
		d.checkEmpty(t)
	})
}

func TestCallAndHangUpInOneMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		for call := range 50 {
			ctx, cancel := context.WithCancel(t.Context())
			dying := d.poll(ctx, "d", hold)
			synctest.Wait()
			d.put(t, call, "d")
			cancel()
			if got := <-dying; got.letter != nil { // it was quicker: then the write fails
				got.letter.Done(false)
			} else if got.err == nil {
				t.Fatal("neither a letter nor an error")
			}
			d.take(t, "d", sid(call))
		}
		synctest.Wait()
		d.checkEmpty(t)
	})
}

func TestEndedCallIsNotDelivered(t *testing.T) {
	tests := []struct {
		name string
		run  func(t *testing.T, d *desk)
		want []string // reported as taken
	}{
		{"in the box", func(t *testing.T, d *desk) {
			d.put(t, 1, "d")
			d.put(t, 1, "e")
			d.Withdraw(planet.Evaluation, sid(1))
		}, nil},
		{"never seen", func(_ *testing.T, d *desk) { d.Withdraw(planet.Evaluation, sid(1)) }, nil},
		{"in hand, then not written", func(t *testing.T, d *desk) {
			d.put(t, 1, "d")
			got := <-d.poll(t.Context(), "d", hold)
			d.Withdraw(planet.Evaluation, sid(1))
			got.letter.Done(false)
		}, nil},
		{"in hand, then written", func(t *testing.T, d *desk) {
			d.put(t, 1, "d")
			got := <-d.poll(t.Context(), "d", hold)
			d.Withdraw(planet.Evaluation, sid(1))
			got.letter.Done(true) // the device has it: that is worth recording
		}, []string{"d/1"}},
		{"on the way to a poll", func(t *testing.T, d *desk) {
			poll := d.poll(t.Context(), "d", hold)
			synctest.Wait()
			d.put(t, 1, "d")
			d.Withdraw(planet.Evaluation, sid(1))
			if got := <-poll; got.letter != nil && got.after > 0 {
				t.Errorf("delivered %v after the call had ended", got.after)
			} else if got.letter != nil {
				got.letter.Done(false) // opened a moment before
			}
		}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(Config{})
				test.run(t, d)
				synctest.Wait()
				d.checkEmpty(t)
				for _, device := range []string{"d", "e"} {
					d.take(t, device, "")
				}
				if diff := cmp.Diff(test.want, d.reported()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// The way from the box to a poll is too short to be hit by chance: here it is walked.
func TestLetterOnItsWayIsLookedAtOnceMore(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(d *desk, cancel func())
		left int // letters
	}{
		{"the call ends", func(d *desk, _ func()) { d.Withdraw(planet.Evaluation, sid(1)) }, 0},
		{"the device goes away", func(_ *desk, cancel func()) { cancel() }, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			d := newDesk(Config{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p := &poll{got: make(chan *letter, 1)}
			if !d.enter("d", p) {
				t.Fatal("the poll was refused")
			}
			d.put(t, 1, "d")
			l := <-p.got
			test.end(d, cancel)
			if letter := d.open(ctx, p, l); letter != nil {
				t.Errorf("opened %q", letter.SessionID)
			}
			d.leave("d", p)
			if d.letters != test.left {
				t.Errorf("%d letters are left, want %d", d.letters, test.left)
			}
			d.Withdraw(planet.Evaluation, sid(1))
			d.checkEmpty(t)
			d.Close(0)
		})
	}
}

func TestWithdrawMeansOneCallOfOneEnvironment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		d.put(t, 1, "d")
		d.put(t, 2, "d")
		d.Withdraw(planet.Real, sid(2))
		d.Withdraw(planet.Evaluation, sid(1))
		d.take(t, "d", sid(2))
		synctest.Wait()
		d.checkEmpty(t)
	})
}

func TestExpiredLetterIsNeverDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		start := time.Now()
		d.put(t, 1, "at the end")
		d.put(t, 2, "put back late")
		d.put(t, 3, "just in time")
		inHand := <-d.poll(t.Context(), "put back late", hold)
		pass(55*time.Second - time.Nanosecond)
		d.take(t, "just in time", sid(3))
		pass(time.Nanosecond)
		if now := time.Now(); !now.Equal(start.Add(55 * time.Second)) {
			t.Fatalf("it is %v after the start", now.Sub(start))
		}
		d.take(t, "at the end", "")
		inHand.letter.Done(false)
		d.take(t, "put back late", "")
		pass(cleanEvery)
		synctest.Wait()
		d.checkEmpty(t)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestOneDeliveryIsHeldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{})
		d.put(t, 1, "d")
		d.put(t, 1, "d")
		inHand := <-d.poll(t.Context(), "d", hold)
		d.put(t, 1, "d")
		d.take(t, "d", "")
		inHand.letter.Done(true)
		d.take(t, "d", "")
		d.checkEmpty(t)
	})
}

func TestSendAfterTheEndOfTheCallPutsNothingIn(t *testing.T) {
	d := newDesk(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := d.Send(ctx, ring(1, "d", time.Now().Add(time.Minute)), delivery.Try{Number: 1})
	want := bell.Outcome{Verdict: bell.RetryNow, Reason: "interrupted", Token: bell.TokenKeep}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Error(diff)
	}
	d.checkEmpty(t)
}

func TestFullMailboxRefusesLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(Config{MaxLetters: 2})
		d.put(t, 1, "d")
		d.put(t, 2, "e")
		third := ring(3, "f", time.Now().Add(time.Minute))
		want := bell.Outcome{Verdict: bell.Rejected, Reason: "mailbox_full", Token: bell.TokenKeep, Alarm: bell.AlarmPage}
		if diff := cmp.Diff(want, d.Send(t.Context(), third, delivery.Try{Number: 1})); diff != "" {
			t.Error(diff)
		}
		d.take(t, "d", sid(1))
		d.put(t, 3, "f")
		for call, device := range map[int]string{2: "e", 3: "f"} {
			d.take(t, device, sid(call))
		}
		synctest.Wait()
		d.checkEmpty(t)
		if got := d.reported(); !slices.Contains(got, "f/3") || len(got) != 3 {
			t.Errorf("reported as taken: %v", got)
		}
	})
}

// A call that comes while the poll has been given another one, which then ends before the
// poll wakes, does not wait for the next poll.
func TestCallBehindOneThatEndedIsHadAtOnce(t *testing.T) {
	d := newDesk(Config{})
	p := &poll{got: make(chan *letter, 1)}
	if !d.enter("phone", p) {
		t.Fatal("the poll was refused")
	}
	d.put(t, 1, "phone")
	d.put(t, 2, "phone")
	d.Withdraw(planet.Evaluation, sid(1))
	if letter := d.open(t.Context(), p, <-p.got); letter != nil {
		t.Fatalf("the poll was handed %s, which has ended", letter.SessionID)
	}
	select {
	case l := <-p.got:
		letter := d.open(t.Context(), p, l)
		if letter == nil || letter.SessionID != sid(2) {
			t.Fatalf("the poll was handed %+v", letter)
		}
		letter.Done(true)
	default:
		t.Error("the second call waits though a poll is free")
	}
	d.leave("phone", p)
	d.Close(0)
	d.Withdraw(planet.Evaluation, sid(2))
	d.checkEmpty(t)
}
