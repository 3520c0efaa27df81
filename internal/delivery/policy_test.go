package delivery

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
)

const ms = time.Millisecond

// The rows of docs/push-providers.md 7.2 and 7.3, with the jitter in its middle.
func TestDecide(t *testing.T) {
	stop := decision{}
	spare := func(wait time.Duration) decision { return decision{again: true, spare: true, wait: wait} }
	same := func(wait time.Duration) decision { return decision{again: true, wait: wait} }
	tests := []struct {
		name    string
		channel bell.Channel
		verdict bell.Verdict
		after   time.Duration // Retry-After
		want    []decision    // for the 1st, 2nd, ... time this verdict comes
	}{
		{"connection lost, VoIP", bell.APNsVoIP, bell.RetryConnect, 0, []decision{spare(25 * ms), spare(250 * ms), spare(time.Second), stop}},
		{"connection lost, alert", bell.APNsAlert, bell.RetryConnect, 0, []decision{spare(25 * ms), spare(250 * ms), stop}},
		{"connection lost, FCM", bell.FCM, bell.RetryConnect, 0, []decision{spare(25 * ms), spare(250 * ms), spare(time.Second), stop}},
		{"time-out, VoIP", bell.APNsVoIP, bell.RetryNow, 0, []decision{spare(0), spare(0), spare(0), stop}},
		{"time-out, alert", bell.APNsAlert, bell.RetryNow, 0, []decision{spare(0), spare(0), stop}},
		{"time-out, FCM", bell.FCM, bell.RetryNow, 0, []decision{spare(0), spare(0), spare(0), stop}},
		{"503, VoIP", bell.APNsVoIP, bell.RetryBackoff, 0, []decision{spare(250 * ms), spare(time.Second), stop, stop}},
		{"503, alert", bell.APNsAlert, bell.RetryBackoff, 0, []decision{spare(250 * ms), spare(time.Second), stop}},
		{"503, FCM", bell.FCM, bell.RetryBackoff, 0, []decision{spare(500 * ms), spare(time.Second), spare(2 * time.Second), stop}},
		{"503 with a wait that fits", bell.FCM, bell.RetryBackoff, 7 * time.Second, []decision{spare(7 * time.Second), spare(7 * time.Second), spare(7 * time.Second), stop}},
		{"503 with a wait that does not fit", bell.FCM, bell.RetryBackoff, 40 * time.Second, []decision{spare(500 * ms), spare(time.Second), spare(2 * time.Second), stop}},
		{"429 of a device, VoIP", bell.APNsVoIP, bell.RetryThrottled, 0, []decision{same(1500 * ms), stop}},
		{"429 of a device, alert", bell.APNsAlert, bell.RetryThrottled, 0, []decision{same(1500 * ms), stop}},
		{"429 with a wait, VoIP", bell.APNsVoIP, bell.RetryThrottled, 3 * time.Second, []decision{same(3 * time.Second), stop}},
		{"429 of a project", bell.FCM, bell.RetryThrottled, 0, []decision{stop}},
		{"429 of a project with a wait that fits", bell.FCM, bell.RetryThrottled, 5 * time.Second, []decision{same(5 * time.Second), stop}},
		{"429 of a project with a wait that does not fit", bell.FCM, bell.RetryThrottled, 40 * time.Second, []decision{stop}},
		{"connection lost, browser", bell.WebPush, bell.RetryConnect, 0, []decision{spare(25 * ms), spare(250 * ms), stop}},
		{"time-out, browser", bell.WebPush, bell.RetryNow, 0, []decision{spare(0), spare(0), stop}},
		{"503, browser", bell.WebPush, bell.RetryBackoff, 0, []decision{spare(500 * ms), spare(1500 * ms), stop}},
		{"503, browser, with a wait that fits", bell.WebPush, bell.RetryBackoff, 7 * time.Second, []decision{spare(7 * time.Second), spare(7 * time.Second), stop}},
		{"503, browser, with a wait that does not fit", bell.WebPush, bell.RetryBackoff, 2 * time.Minute, []decision{spare(500 * ms), spare(1500 * ms), stop}},
		{"429, browser", bell.WebPush, bell.RetryThrottled, 0, []decision{spare(500 * ms), spare(1500 * ms), stop}},
		{"429, browser, with a wait that fits", bell.WebPush, bell.RetryThrottled, 5 * time.Second, []decision{same(5 * time.Second), same(5 * time.Second), stop}},
		{"429, browser, with a wait that does not fit", bell.WebPush, bell.RetryThrottled, 40 * time.Second, []decision{stop}},
		{"expired credential, VoIP", bell.APNsVoIP, bell.RetryCredential, 0, []decision{same(0), stop}},
		{"expired credential, FCM", bell.FCM, bell.RetryCredential, 0, []decision{same(0), stop}},
		{"wrong APNs server", bell.APNsVoIP, bell.RetryOtherHost, 0, []decision{stop}},
		{"accepted", bell.APNsVoIP, bell.Accepted, 0, []decision{stop}},
		{"deposited", bell.LongPoll, bell.Deposited, 0, []decision{stop}},
		{"rejected", bell.FCM, bell.Rejected, 0, []decision{stop}},
		{"an empty verdict", bell.FCM, "", 0, []decision{stop}},
		{"a mailbox is not asked twice", bell.LongPoll, bell.RetryNow, 0, []decision{stop}},
		{"an unknown channel is not asked twice", "pigeon", bell.RetryNow, 0, []decision{stop}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			now := time.Unix(1_700_000_000, 0)
			for i, want := range test.want {
				got := decide(tried{
					channel: test.channel, outcome: bell.Outcome{Verdict: test.verdict, RetryAfter: test.after},
					reached: i + 1, repeated: i, now: now, deadline: now.Add(40 * time.Second), random: 0.5,
				})
				if !got.again {
					got = stop // how long nothing waits does not matter
				}
				if diff := cmp.Diff(want, got, cmp.AllowUnexported(decision{})); diff != "" {
					t.Errorf("time %d: %s", i+1, diff)
				}
			}
		})
	}
}

func TestDecideAtTheDeadline(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	tests := []struct {
		verdict bell.Verdict
		after   time.Duration
		wait    time.Duration
	}{
		{bell.RetryNow, 0, 0},
		{bell.RetryConnect, 0, 25 * ms},
		{bell.RetryBackoff, 0, 250 * ms},
		{bell.RetryThrottled, 0, 1500 * ms},
		{bell.RetryThrottled, 9 * time.Second, 9 * time.Second},
		{bell.RetryCredential, 0, 0},
	}
	for _, test := range tests {
		for slack, want := range map[time.Duration]bool{-time.Second: false, 0: false, 1: true} {
			got := decide(tried{
				channel: bell.APNsVoIP, outcome: bell.Outcome{Verdict: test.verdict, RetryAfter: test.after},
				reached: 1, now: now, deadline: now.Add(test.wait + slack), random: 0.5,
			})
			if got.again != want {
				t.Errorf("%s, %v before the deadline after its wait: again = %v", test.verdict, slack, got.again)
			}
		}
	}
}

func TestPoliciesAreThoseOfTheDocument(t *testing.T) {
	for channel, want := range map[bell.Channel]struct {
		attempts int
		timeout  time.Duration
	}{
		bell.APNsVoIP: {4, 3 * time.Second}, bell.APNsAlert: {3, 3 * time.Second}, bell.FCM: {4, 10 * time.Second},
		bell.WebPush: {3, 5 * time.Second},
	} {
		if got := policies[channel]; got.attempts != want.attempts || got.timeout != want.timeout {
			t.Errorf("%s: %d attempts of %v, want %d of %v", channel, got.attempts, got.timeout, want.attempts, want.timeout)
		}
	}
}

var (
	channels = []bell.Channel{bell.APNsVoIP, bell.APNsAlert, bell.FCM, bell.WebPush, bell.LongPoll}
	verdicts = []bell.Verdict{
		bell.Accepted, bell.RetryNow, bell.RetryBackoff, bell.RetryConnect, bell.RetryThrottled,
		bell.RetryCredential, bell.RetryOtherHost, bell.Rejected,
	}
)

// A provider that says anything at all cannot bring a device more attempts than the
// policy, nor one at or after the deadline.
func TestAttemptsAreBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		channel := rapid.SampledFrom(channels).Draw(t, "channel")
		start := time.Unix(1_700_000_000, 0)
		now, deadline := start, start.Add(time.Duration(rapid.Int64Range(1, int64(ringTime)).Draw(t, "ring")))
		seen := map[bell.Verdict]int{}
		for number := 1; ; number++ {
			if !now.Before(deadline) {
				t.Fatalf("attempt %d would start %v after the deadline", number, now.Sub(deadline))
			}
			if most := policies[channel].attempts; number > most {
				t.Fatalf("attempt %d of at most %d", number, most)
			}
			verdict := rapid.SampledFrom(verdicts).Draw(t, "verdict")
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "took")))
			d := decide(tried{
				channel: channel, reached: number, repeated: seen[verdict], now: now, deadline: deadline,
				outcome: bell.Outcome{Verdict: verdict, RetryAfter: time.Duration(rapid.Int64().Draw(t, "retry after"))},
				random:  rapid.Float64Range(0, 0.999).Draw(t, "random"),
			})
			if !d.again {
				return
			}
			if d.wait < 0 {
				t.Fatalf("waits %v", d.wait)
			}
			seen[verdict]++
			now = now.Add(d.wait)
		}
	})
}
