package httpapi

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// minWait is the least time before a poll is answered 503. LINE's Android and
	// Apple clients poll again at once, and would flood a server that answers at once.
	minWait = time.Second
	// refusalDelay, and up to as much again, is how long a poll that cannot be served
	// is kept before its 503. The answer is 503 whatever is wrong, because LINE's
	// Windows client stops to poll at any other error.
	refusalDelay = 2 * time.Second
	// prepareTime is how long the database may take to say whose poll it is, and briefPrepare while
	// it is known not to answer: until then the device waits where no call can come, and its next
	// poll may find another node.
	prepareTime  = 3 * time.Second
	briefPrepare = time.Second
	// briefHold is how long a poll is held while calls can come better at another node. It is
	// short: the load balancer may send the next poll here once more, and a ring has 55 seconds.
	briefHold = 2 * time.Second
)

// longPoll holds the request until a call comes for the device, or the hold time is
// over: GET /v2/notification/lp. "No call" is 503, as LINE's clients expect. With ack=1 the
// client promises a receipt for each call (ack.go), and is handed a call again without one.
// With notices=1 it is also handed what is no call.
//
// It does little itself: what a waiting request has on its stack is kept as long as it
// waits, and 300 bytes more would double the stack of each (make bench, "polls").
func (a *api) longPoll(w http.ResponseWriter, r *http.Request) error {
	poll, _, err := a.preparePoll(r)
	if err != nil {
		return err
	}
	letter, err := a.nextCall(r.Context(), poll)
	return a.answerPoll(w, r, letter, err)
}

// preparePoll finds out whose poll it is. An error that is not to be answered at once is
// waited with.
func (a *api) preparePoll(r *http.Request) (bell.Poll, bell.Identity, error) {
	// net/http sees that a client leaves only when the request's body is at its end.
	if _, err := readBody(r); err != nil {
		return bell.Poll{}, bell.Identity{}, err
	}
	begun := time.Now()
	ctx, cancel := context.WithTimeoutCause(r.Context(), a.timeToPrepare(), errTooSlow)
	defer cancel()
	id, err := a.identify(r.WithContext(ctx))
	if errors.Is(err, bell.Unauthorized) {
		return bell.Poll{}, bell.Identity{}, err
	}
	ack, wrong := says(r, "ack")
	notices, wrongToo := says(r, "notices")
	if wrong = cmp.Or(wrong, wrongToo); wrong != nil {
		return bell.Poll{}, bell.Identity{}, wrong
	}
	poll := bell.Poll{Hold: a.hold(), Acknowledges: ack, Notices: notices}
	if err == nil {
		poll.DeviceID, err = a.services.Devices.Polling(ctx, id, notices)
	}
	if err != nil {
		return bell.Poll{}, bell.Identity{}, a.refusePoll(r.Context(), begun, err)
	}
	return poll, id, nil
}

// timeToPrepare is the time for what has to be asked before a poll can wait.
func (a *api) timeToPrepare() time.Duration {
	if a.brief() {
		return briefPrepare
	}
	return prepareTime
}

// brief reports whether this node hears of no calls, and others do.
func (a *api) brief() bool { return a.config.Brief != nil && a.config.Brief() }

// refusePoll is the answer to a poll that cannot be served, when its time has come. What it has
// waited since begun counts.
func (a *api) refusePoll(ctx context.Context, begun time.Time, err error) error {
	delay := refusalDelay
	if a.brief() {
		delay = minWait
	}
	pause(ctx, delay+rand.N(delay)-time.Since(begun))
	return bell.E(bell.Unavailable, "Calls cannot be waited for now; ask again.", err)
}

// answerPoll answers with the call that came, if one did.
func (a *api) answerPoll(w http.ResponseWriter, r *http.Request, letter *bell.Letter, err error) error {
	switch {
	case err != nil:
		return a.refusePoll(r.Context(), time.Now(), err) // many may fail at once
	case letter == nil:
		eventOf(r).quiet = true
		return bell.E(bell.Unavailable, "No call came; ask again.", nil)
	}
	a.deliver(w, r, letter)
	return nil
}

// says reports whether a poll's client says yes to something. A word that is neither yes nor
// no is refused, though at once: LINE's clients send none, and whoever meant yes would lose
// calls.
func says(r *http.Request, name string) (bool, error) {
	switch r.URL.Query().Get(name) {
	case "", "0":
		return false, nil
	case "1":
		return true, nil
	}
	return false, bell.E(bell.Invalid, name+": must be 1, or be left out.", nil)
}

// nextCall waits for a call for the poll's device; nil when none came.
func (a *api) nextCall(ctx context.Context, poll bell.Poll) (*bell.Letter, error) {
	a.metrics.polls.Inc()
	defer a.metrics.polls.Dec()
	start := time.Now()
	letter, err := a.services.Mailbox.Wait(ctx, poll)
	if letter == nil && err == nil {
		pause(ctx, minWait-time.Since(start))
	}
	return letter, err
}

// hold is the time of one poll: up to a tenth less than configured, so that polls that
// a restart has lined up do not stay in step.
func (a *api) hold() time.Duration {
	most := a.config.Hold
	if a.brief() {
		most = min(most, briefHold)
	}
	return most - rand.N(most/10)
}

// deliver writes a call to the client that waits for it. It counts as written when it
// was flushed to a client that was still there: one that has left then gets it with
// its next poll. A client may close its connection as soon as it has the answer, so
// what happens after the flush says nothing.
func (a *api) deliver(w http.ResponseWriter, r *http.Request, letter *bell.Letter) {
	written := false
	defer func() { letter.Done(written) }()
	e := eventOf(r)
	e.add(slog.String("sid", string(letter.SessionID)))
	if r.Context().Err() != nil {
		a.fail(w, r, bell.E(bell.Unavailable, "You left before the call came; ask again.", nil))
		return
	}
	written = a.respond(w, r, http.StatusOK, envelope{
		Status: "success", Data: letter.Payload.Fields(), Timestamp: a.timestamp(),
	})
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
