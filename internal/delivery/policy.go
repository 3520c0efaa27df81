package delivery

import (
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// policy is how a channel is tried inside the ring: how often, and how long one
// attempt may take. The figures weigh a phone that rings late against a provider that
// is asked too often.
type policy struct {
	attempts int // that may have reached the provider; hedges among them
	timeout  time.Duration
	backoff  []time.Duration // before the 2nd, 3rd, ... attempt when the provider is unwell
	hedged   bool            // a slow answer is not waited for alone
}

// policies has one row per channel that sends. The mailbox has none: the device asks.
var policies = map[bell.Channel]policy{
	bell.APNsVoIP:  {attempts: 4, timeout: 3 * time.Second, backoff: []time.Duration{500 * time.Millisecond, 2 * time.Second}, hedged: true},
	bell.APNsAlert: {attempts: 3, timeout: 3 * time.Second, backoff: []time.Duration{500 * time.Millisecond, 2 * time.Second}},
	bell.FCM:       {attempts: 4, timeout: 10 * time.Second, backoff: []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}},
	bell.WebPush:   {attempts: 3, timeout: 5 * time.Second, backoff: []time.Duration{time.Second, 3 * time.Second}},
	bell.LongPoll:  {attempts: 1, timeout: 3 * time.Second},
}

// reconnect is the wait before each attempt after a connection failed; the first is
// only a jitter, because the other connection is likely to be well. Attempts of which
// nothing left go on to the end of the ring with the last wait: they cost the provider
// nothing, and a phone that rings after ten seconds was not missed.
var reconnect = []time.Duration{50 * time.Millisecond, 250 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second}

// decision is what follows an attempt.
type decision struct {
	again bool
	wait  time.Duration
	spare bool // use the other connection than the last attempt
	other bool // go to the other APNs server
}

// tried is what decide looks at.
type tried struct {
	channel  bell.Channel
	outcome  bell.Outcome
	reached  int  // attempts that may have reached the provider, the one just made among them
	repeated int  // how often this very verdict came before, in a row or not
	other    bool // there is another APNs server, and the token may be one of its
	now      time.Time
	deadline time.Time
	random   float64 // 0 to 1
}

// decide is the one place that decides whether and when an attempt is repeated. No
// attempt starts at or after the deadline. The guards of the route may delay a retry
// that is decided here; they decide nothing else.
func decide(t tried) decision {
	p := policies[t.channel]
	if t.reached >= p.attempts {
		return decision{}
	}
	d := t.next(p)
	if d.again && !t.now.Add(d.wait).Before(t.deadline) {
		return decision{}
	}
	return d
}

// next is the retry that the verdict calls for, the deadline apart.
func (t tried) next(p policy) decision {
	switch t.outcome.Verdict {
	case bell.RetryNow:
		return decision{again: true, spare: true}
	case bell.RetryConnect:
		wait := reconnect[min(t.repeated, len(reconnect)-1)]
		if t.repeated == 0 {
			wait = t.jitter(wait)
		}
		return decision{again: true, spare: true, wait: wait}
	case bell.RetryBackoff:
		return t.backoff(p)
	case bell.RetryThrottled:
		return t.throttled(p)
	case bell.RetryCredential:
		return decision{again: t.repeated == 0}
	case bell.RetryOtherHost:
		return decision{again: t.repeated == 0 && t.other, other: true}
	}
	return decision{}
}

// backoff waits as the provider asks, if that ends within the ring: a wait beyond it is as
// good as none named, because the phone should ring now. What did not reach the provider
// (Google's token server is unwell) is tried on with the last wait.
func (t tried) backoff(p policy) decision {
	if after := t.outcome.RetryAfter; after > 0 && t.now.Add(after).Before(t.deadline) {
		return decision{again: true, spare: true, wait: after}
	}
	if len(p.backoff) == 0 || t.repeated >= len(p.backoff) && !t.outcome.Unsent {
		return decision{}
	}
	return decision{again: true, spare: true, wait: t.jitter(p.backoff[min(t.repeated, len(p.backoff)-1)])}
}

// throttled: APNs limits a device, and one more try after a second or two is worth it.
// FCM limits a project, and only the wait that it names helps. What a push service of browsers
// limits is not known: it is tried again as if it were unwell, but never before it allows it.
func (t tried) throttled(p policy) decision {
	switch {
	case t.channel == bell.WebPush && t.outcome.RetryAfter > 0:
		return decision{again: t.repeated < len(p.backoff), wait: t.outcome.RetryAfter}
	case t.channel == bell.WebPush:
		return t.backoff(p)
	case t.outcome.RetryAfter > 0:
		return decision{again: t.repeated == 0, wait: t.outcome.RetryAfter}
	case t.channel == bell.FCM:
		return decision{}
	}
	return decision{again: t.repeated == 0, wait: time.Second + t.jitter(time.Second)}
}

func (t tried) jitter(most time.Duration) time.Duration {
	return time.Duration(t.random * float64(most))
}
