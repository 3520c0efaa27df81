package delivery

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
)

// run starts Run and returns how to end it.
func (b *bench) run(t *testing.T, takeAll bool) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx, takeAll) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestStopLetsFinishWhatItCanAndGivesBackTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxPerRoute = 5 })
		b.on("quick", slowly(time.Second, script()))
		b.on("hangs", hang())
		b.on("refused late", func(ctx context.Context, _ *bell.Ring, _ Try) bell.Outcome {
			<-ctx.Done()
			return answer(bell.RetryConnect)
		})
		rings := b.rings(1, bell.FCM, "quick", "hangs", "waits", "refused late")
		b.on("waits", func(context.Context, *bell.Ring, Try) bell.Outcome {
			o := answer(bell.RetryBackoff)
			o.RetryAfter = 20 * time.Second
			return o
		})
		b.begin(t, rings)
		synctest.Wait()
		admitted := b.rings(2, bell.FCM, "late") // and started only after the stop
		if err := b.Admit(admitted); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		b.Stop(ctx)
		stopped := b.start.Add(3 * time.Second)
		if now := time.Now(); !now.Equal(stopped) {
			t.Errorf("Stop took until %v", now.Sub(b.start))
		}
		want := map[string]string{
			"quick": "accepted accepted 1", "hangs": "pending timeout 1",
			"waits": "pending retry_backoff 1", "refused late": "pending retry_connect 1",
		}
		got := map[string]string{}
		for device := range want {
			d := b.store.row(device + "/1")
			got[device] = fmt.Sprintf("%s %s %d", d.State, d.Reason, d.Attempts)
			if d.State == bell.DeliveryPending && !d.LeaseUntil.Equal(stopped) {
				t.Errorf("%s is held until %v", device, d.LeaseUntil.Sub(b.start))
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		b.Start(admitted)
		b.Stop(context.Background()) // twice is not worse than once
		b.checkEmpty(t)
		if len(b.times("late")) != 0 {
			t.Error("a stopped engine sent")
		}
	})
}

// What a stopped process gave back is continued by the next one, where it was.
func TestNextProcessContinues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := newBench(t, nil)
		old.on("d", hang())
		old.begin(t, old.rings(1, bell.APNsVoIP, "d"))
		pass(4 * time.Second) // in the second attempt
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		old.Stop(ctx)

		next := newBench(t, func(c *Config) { c.Owner = "next"; c.Store = old.store })
		end := next.run(t, false)
		pass(2 * time.Second)
		synctest.Wait()
		if len(next.sent) != 1 || next.sent[0].try.Number != 3 {
			t.Errorf("sent: %+v", next.sent)
		}
		if got := old.store.row("d/1"); got.State != bell.DeliveryAccepted || got.Attempts != 3 {
			t.Errorf("recorded: %+v", got)
		}
		end()
		next.finish(t)
	})
}

func TestRunTakesAllOnlyWhenAlone(t *testing.T) {
	for _, test := range []struct {
		takeAll bool
		held    int // attempts for what another process still holds
	}{{true, 1}, {false, 0}} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, nil)
			states := map[string]bell.DeliveryState{
				"held": bell.DeliveryPending, "free": bell.DeliverySending,
				"accepted": bell.DeliveryAccepted, "withdrawn": bell.DeliveryWithdrawn, "over": bell.DeliveryPending,
			}
			for device, state := range states {
				r := b.rings(1, bell.APNsVoIP, device)
				r[0].Delivery.State, r[0].Delivery.LeaseOwner = state, "dead"
				switch device {
				case "free":
					r[0].Delivery.LeaseUntil = b.start.Add(-1)
				case "over":
					r[0].Delivery.Deadline = b.start
				}
				b.store.add(r...)
			}
			end := b.run(t, test.takeAll)
			synctest.Wait()
			for device, want := range map[string]int{"held": test.held, "free": 1, "accepted": 0, "withdrawn": 0, "over": 0} {
				if got := len(b.times(device)); got != want {
					t.Errorf("takeAll %v: %d attempts for %s, want %d", test.takeAll, got, device, want)
				}
			}
			claim := b.store.claimed()[0]
			want := Claim{Owner: "this", Now: b.start, LeaseUntil: b.start.Add(DefaultLease), TakeAll: test.takeAll, Limit: claimBatch}
			if diff := cmp.Diff(want, claim); diff != "" {
				t.Error(diff)
			}
			pass(time.Second)
			synctest.Wait()
			if claims := b.store.claimed(); claims[len(claims)-1].TakeAll {
				t.Error("the claim of a second later took everything again")
			}
			if got := b.store.row("over/1"); got.State != bell.DeliveryExpired {
				t.Errorf("recorded: %+v", got)
			}
			if got := b.metric(t, "planetbell_deliveries_dropped_total", "deadline"); got != 1 {
				t.Errorf("expired = %v, want 1", got)
			}
			pass(DefaultLease) // now the lease of the dead process has run out in any case
			synctest.Wait()
			if got := len(b.times("held")); got != 1 {
				t.Errorf("%d attempts for held after its lease", got)
			}
			end()
			b.finish(t)
		})
	}
}

func TestActiveDeliveriesAreNotClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Lease = time.Second }) // shorter than an attempt
		b.on("d", slowly(8*time.Second, script()))
		b.begin(t, b.rings(1, bell.FCM, "d"))
		end := b.run(t, true)
		pass(20 * time.Second)
		synctest.Wait()
		if got := len(b.times("d")); got != 1 {
			t.Errorf("%d attempts left, want 1", got)
		}
		end()
		b.finish(t)
	})
}

func TestMoreThanThereIsRoomForIsContinuedLater(t *testing.T) {
	for _, most := range []int{1, 7, claimBatch, 3 * claimBatch} {
		synctest.Test(t, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.MaxInFlight = most })
			n := min(3*most, 2*claimBatch+5)
			var devices []string
			for i := range n {
				devices = append(devices, fmt.Sprintf("d%04d", i))
				b.on(devices[i], slowly(2*time.Second, script()))
			}
			rings := b.rings(1, bell.APNsVoIP, devices...)
			for i := range rings {
				rings[i].Delivery.LeaseOwner = "dead"
				rings[i].Delivery.LeaseUntil = rings[i].Delivery.Deadline // as in a mailbox
			}
			b.store.add(rings...)
			end := b.run(t, true)
			pass(12 * time.Second)
			synctest.Wait()
			for _, d := range devices {
				if got := b.store.row(d + "/1"); got.State != bell.DeliveryAccepted || got.Attempts != 1 {
					t.Fatalf("room for %d: %s: %+v", most, d, got)
				}
			}
			end()
			b.finish(t)
		})
	}
}

func TestFullRouteContinuesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.MaxInFlight = 1 })
		first := b.rings(1, bell.FCM, "first")
		if err := b.Admit(first); err != nil {
			t.Fatal(err)
		}
		waits := b.rings(2, bell.FCM, "waits")
		waits[0].Delivery.LeaseOwner = "dead"
		b.store.add(waits...)
		end := b.run(t, true)
		pass(3 * time.Second)
		synctest.Wait()
		if got := b.store.row("waits/2"); len(b.times("waits")) != 0 || got.State != bell.DeliveryPending || got.Reason != "" {
			t.Errorf("sent at %v, recorded %+v", b.times("waits"), got)
		}
		b.Dismiss(first)
		pass(2 * time.Second)
		synctest.Wait()
		if got := b.store.row("waits/2"); got.State != bell.DeliveryAccepted {
			t.Errorf("when there was room: %+v", got)
		}
		end()
		b.finish(t)
	})
}

func TestFailingStoreDoesNotStopTheRinging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		end := b.run(t, true)
		synctest.Wait()
		b.on("d", script(bell.RetryConnect, bell.RetryBackoff))
		b.on("e", b.breaksDisk(bell.Accepted))
		b.begin(t, b.rings(1, bell.FCM, "d", "e"))
		pass(3500 * time.Millisecond)
		if len(b.times("d")) != 3 || len(b.times("e")) != 1 {
			t.Errorf("attempts at %v and %v", b.times("d"), b.times("e"))
		}
		b.checkEmpty(t)
		if got := b.metric(t, "planetbell_outcomes_unrecorded_total"); got < 2 {
			t.Errorf("unrecorded = %v", got)
		}
		for _, sentence := range []string{"an outcome could not be recorded", "deliveries of dead processes cannot be looked for", errDisk.Error()} {
			if !strings.Contains(b.logs.String(), sentence) {
				t.Errorf("the log does not say %q", sentence)
			}
		}
		b.store.breakDown(nil)
		end()
		b.finish(t)
	})
}

func TestHangingStoreIsWaitedForALimitedTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.store.slow = time.Hour
		b.begin(t, b.rings(1, bell.FCM, "d"))
		b.finish(t)
		// The second wait is the last try of a stop.
		if took := time.Since(b.start); took != recordTimeout+lastPatience {
			t.Errorf("it took %v, want %v", took, recordTimeout+lastPatience)
		}
		if !strings.Contains(b.logs.String(), "did not commit an outcome in time") {
			t.Error("the log does not say why the outcome was not recorded")
		}
	})
}

// A database that is in trouble at the start is asked again, for everything.
func TestRunGoesOnWhenTheFirstClaimFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		rings := b.rings(1, bell.FCM, "d")
		rings[0].Delivery.LeaseOwner = "dead"
		b.store.add(rings...)
		b.store.breakDown(errDisk)
		end := b.run(t, true)
		pass(5 * time.Second)
		b.store.breakDown(nil)
		pass(2 * time.Second)
		synctest.Wait()
		if got := b.store.row("d/1"); got.State != bell.DeliveryAccepted {
			t.Errorf("recorded: %+v", got)
		}
		if n := strings.Count(b.logs.String(), errDisk.Error()); n != 1 {
			t.Errorf("the trouble was told %d times", n)
		}
		if !strings.Contains(b.logs.String(), "are looked for again") {
			t.Error("nobody was told that the trouble is over")
		}
		end()
		b.finish(t)
	})
}

// A claim may have seen a delivery just before its end was recorded, and answer after it.
func TestWhatEndsDuringAClaimIsNotRungAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Lease = 500 * time.Millisecond })
		b.on("d", slowly(2000*ms, script()))
		b.begin(t, b.rings(1, bell.FCM, "d"))
		b.store.answers = 800 * ms // so the claim of the second second answers after the end
		end := b.run(t, false)
		pass(10 * time.Second)
		synctest.Wait()
		if got := b.times("d"); len(got) != 1 {
			t.Errorf("sent at %v, want once", got)
		}
		end()
		b.finish(t)
	})
}

// deposit is a mailbox.
func deposit(b *bench) reply {
	return func(_ context.Context, r *bell.Ring, _ Try) bell.Outcome {
		b.store.mu.Lock()
		defer b.store.mu.Unlock()
		b.store.rows["letter/"+r.Delivery.ID] = &bell.Ring{Call: r.Call, Device: r.Device, Delivery: r.Delivery}
		b.store.rows["letter/"+r.Delivery.ID].Delivery.State = bell.DeliveryReceived // not to be claimed
		return answer(bell.Deposited)
	}
}

func (b *bench) letter(id string) bell.Ring {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	return *b.store.rows["letter/"+id]
}

func TestMailboxDeliveryIsRecordedWhenTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		end := b.run(t, true)
		b.on("d", deposit(b))
		b.begin(t, b.rings(1, bell.LongPoll, "d"))
		pass(40 * time.Second) // longer than a push's lease
		synctest.Wait()
		b.checkEmpty(t)
		if got := b.store.row("d/1"); got.State != bell.DeliveryPending || !got.UpdatedAt.Equal(b.start) || len(b.times("d")) != 1 {
			t.Errorf("recorded: %+v, put in at %v", got, b.times("d"))
		}
		at := time.Now()
		b.Taken(b.letter("d/1"), at)
		if got := b.store.row("d/1"); got.State != bell.DeliveryAccepted || got.Attempts != 1 || got.Reason != "polled" {
			t.Errorf("recorded: %+v", got)
		}
		want := []bell.Attempt{{DeliveryID: "d/1", Number: 1, StartedAt: at, Outcome: bell.Outcome{Verdict: bell.Accepted, Reason: "polled", Token: bell.TokenKeep}}}
		if diff := cmp.Diff(want, b.store.attempts["d/1"]); diff != "" {
			t.Error(diff)
		}
		if got := b.metric(t, "planetbell_push_attempts_total", "acme", "longpoll", "polled", "1"); got != 1 {
			t.Errorf("attempts = %v", got)
		}
		if got := b.metric(t, "planetbell_call_to_accept_seconds", "longpoll"); got != 1 {
			t.Errorf("times to accept = %v", got)
		}
		end()
		b.finish(t)
	})
}

// A claimed delivery has a short lease; put into the mailbox, it must be held to its end.
func TestClaimedMailboxDeliveryIsPutInOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		b.on("d", deposit(b))
		rings := b.rings(1, bell.LongPoll, "d")
		rings[0].Delivery.LeaseOwner = "dead"
		b.store.add(rings...)
		end := b.run(t, true)
		pass(50 * time.Second)
		synctest.Wait()
		if got := len(b.times("d")); got != 1 {
			t.Errorf("put in %d times", got)
		}
		got := b.store.row("d/1")
		if got.State != bell.DeliveryPending || got.Attempts != 0 || !got.LeaseUntil.Equal(got.Deadline) || got.LeaseOwner != "this" {
			t.Errorf("recorded: %+v", got)
		}
		b.Taken(b.letter("d/1"), time.Now())
		if got := b.store.row("d/1"); got.State != bell.DeliveryAccepted || got.Attempts != 1 {
			t.Errorf("recorded: %+v", got)
		}
		end()
		b.finish(t)
	})
}
