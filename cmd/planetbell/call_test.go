package main

import (
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func number(i int) *int { return &i }

func missedCall() bell.Call {
	return bell.Call{
		Environment: planet.Evaluation, SessionID: sid, Project: "main",
		Caller: owner("alice").User, Callee: owner("bob").User,
		Type: planet.VideoCall, CCParam: planet.CCParam(testlog.CCParam(1)),
		State: bell.CallEnded, Outcome: planet.OutcomeMissed,
		Release: planet.Release{
			Terminate: number(18), DisconnectReason: number(1203), ReleaserType: number(2), Code: number(7777),
			UserCode: "gave up\x1b]0;",
		},
		NotifiedAt: noon.Add(-10 * time.Minute), Deadline: noon.Add(-10*time.Minute + 55*time.Second), EndedAt: noon.Add(-9 * time.Minute),
	}
}

func talkedCall() bell.Call {
	c := missedCall()
	c.SessionID, c.Type, c.Outcome = "b2", planet.AudioCall, planet.OutcomeCompleted
	c.NotifiedAt, c.StartedAt = c.NotifiedAt.Add(-time.Hour), c.NotifiedAt.Add(-59*time.Minute)
	c.EndedAt, c.Duration = c.StartedAt.Add(65*time.Second), 65*time.Second
	c.Release = planet.Release{DisconnectReason: number(1001), ReleaserType: number(1)}
	return c
}

func someCalls() []bell.Call {
	ringing := missedCall()
	ringing.SessionID, ringing.State, ringing.Outcome = "a1", bell.CallRinging, ""
	ringing.NotifiedAt, ringing.EndedAt = noon.Add(-400*time.Millisecond), time.Time{}
	ringing.Deadline = ringing.NotifiedAt.Add(55 * time.Second)
	return []bell.Call{ringing, missedCall(), talkedCall()}
}

// ringStory has a device for every way in which a ring can go.
func ringStory() call.Record {
	c := missedCall()
	at := func(ms int) time.Time { return c.NotifiedAt.Add(time.Duration(ms) * time.Millisecond) }
	attempt := func(n, startMS int, took time.Duration, o bell.Outcome) bell.Attempt {
		return bell.Attempt{Number: n, StartedAt: at(startMS), Took: took, Outcome: o}
	}
	devices := someDevices()
	delivery := func(d bell.Device, channel bell.Channel, state bell.DeliveryState, reason string, attempts ...bell.Attempt) call.DeliveryRecord {
		return call.DeliveryRecord{
			Delivery: bell.Delivery{ID: "d", DeviceID: d.ID, Channel: channel, State: state, Reason: reason, CreatedAt: at(0)},
			Device:   d, Attempts: attempts,
		}
	}
	received := delivery(devices[2], bell.LongPoll, bell.DeliveryReceived, "")
	received.Receipt = bell.Receipt{At: at(1100), ReceivedAt: at(950), Channel: bell.LongPoll}
	return call.Record{Call: c, Deliveries: []call.DeliveryRecord{
		delivery(devices[0], bell.APNsVoIP, bell.DeliveryAccepted, "",
			attempt(1, 3, 1500*time.Microsecond, bell.Outcome{
				Verdict: bell.RetryBackoff, Reason: "ServiceUnavailable", Status: 503, RetryAfter: time.Second, Detail: "APNs is unwell",
			}),
			attempt(2, 1004, 41*time.Millisecond, bell.Outcome{Verdict: bell.Accepted, Status: 200, Token: bell.TokenKeep})),
		delivery(devices[1], bell.FCM, bell.DeliveryFailed, "UNREGISTERED",
			attempt(1, 4, 80*time.Millisecond, bell.Outcome{Verdict: bell.Rejected, Reason: "UNREGISTERED", Status: 404, Token: bell.TokenDrop})),
		delivery(bell.Device{ID: desk}, bell.LongPoll, bell.DeliveryAccepted, "",
			attempt(1, 2, 300*time.Microsecond, bell.Outcome{Verdict: bell.Deposited}),
			attempt(2, 900, time.Millisecond, bell.Outcome{Verdict: bell.Accepted, Reason: "polled"})),
		delivery(devices[2], bell.APNsAlert, bell.DeliveryExpired, "timeout",
			attempt(1, 5, 10*time.Second, bell.Outcome{Verdict: bell.RetryConnect, Reason: "timeout"})),
		delivery(devices[2], bell.FCM, bell.DeliveryWithdrawn, ""),
		delivery(devices[1], bell.FCM, bell.DeliveryFailed, "no_fcm_credential"),
		received,
	}}
}

func TestCallList(t *testing.T) {
	s := newServer(t)
	s.calls = someCalls()
	base := s.start()
	r := ask(t, base, "call", "list").ok(t)
	golden(t, "admin_call_list.txt", r.stdout)
	golden(t, "admin_call_list.json", ask(t, base, "call", "list", "--json").ok(t).stdout)
	ask(t, base, "call", "list", "--project", "main", "--user", "bob", "--limit", "7").ok(t)
	wantAsked(t, s, "calls  / limit 21", "calls  / limit 21", "calls evaluation bell-eval/bob limit 8")
	ask(t, base, "call", "list", "--before", "yesterday").fails(t, "before: want the")
}

func TestCallListContinues(t *testing.T) {
	s := newServer(t)
	s.calls = someCalls()
	base := s.start()
	r := ask(t, base, "call", "list", "--limit", "1").ok(t)
	_, rest, found := strings.Cut(r.stderr, "There are more: add --before ")
	before, _, _ := strings.Cut(rest, ",")
	if !found {
		t.Fatalf("standard error %q", r.stderr)
	}
	r = ask(t, base, "call", "list", "--limit", "9", "--before", before).ok(t)
	if strings.Contains(r.stdout, "ringing") || !strings.Contains(r.stdout, string(sid)) || !strings.Contains(r.stdout, "b2") || r.stderr != "" {
		t.Errorf("the rest:\n%s%s", r.stdout, r.stderr)
	}
}

func TestNoCalls(t *testing.T) {
	r := ask(t, newServer(t).start(), "call", "list").ok(t)
	if r.stdout != "" || !strings.Contains(r.stderr, "There is no such call.") {
		t.Errorf("%q, %q", r.stdout, r.stderr)
	}
}

func TestCallShow(t *testing.T) {
	s := newServer(t)
	s.records[sid] = ringStory()
	s.journal = []bell.JournalEntry{{ReceivedAt: noon.Add(-10 * time.Minute), Environment: planet.Evaluation, Kind: "notify"}, {
		ReceivedAt: noon.Add(-9 * time.Minute), Project: "main", Environment: planet.Evaluation, Kind: "call-event",
		Params: []planet.RawParam{{Name: "sid", Value: string(sid)}, {Name: "param", Value: testlog.CCParam(1)}},
	}}
	base := s.start()
	golden(t, "admin_call_show.txt", ask(t, base, "call", "show", strings.ToUpper(string(sid))).ok(t).stdout)
	golden(t, "admin_call_show.json", ask(t, base, "call", "show", string(sid), "--environment", "evaluation", "--json").ok(t).stdout)
	wantAsked(t, s, "show  "+string(sid), "show evaluation "+string(sid))
}

// The story of a call tells what its callee was told, and a notice has a story too.
func TestCallShowWithItsNotice(t *testing.T) {
	s := newServer(t)
	c := missedCall()
	notice := bell.Call{
		Environment: c.Environment, SessionID: "0d5f-notice", Purpose: bell.PurposeMissedCall, About: c.SessionID, Project: "main",
		Caller: c.Caller, Callee: c.Callee, State: bell.CallNotice, NotifiedAt: noon, Deadline: noon.Add(time.Minute),
	}
	s.notices = map[planet.SessionID][]bell.Call{c.SessionID: {notice}}
	s.records[c.SessionID] = call.Record{Call: c}
	s.records[notice.SessionID] = call.Record{Call: notice, Deliveries: []call.DeliveryRecord{{
		Delivery: bell.Delivery{DeviceID: phone, Channel: bell.FCM, State: bell.DeliveryAccepted, Attempts: 1},
		Attempts: []bell.Attempt{{Number: 1, StartedAt: noon.Add(time.Second), Outcome: bell.Outcome{Verdict: bell.Accepted, Status: 200}}},
	}}}
	base := s.start()
	r := ask(t, base, "call", "show", string(c.SessionID)).ok(t)
	if want := "bell-eval/bob was told that the call was missed, 1 device (notice 0d5f-notice):\n 1. device " + phone; !strings.Contains(r.stdout, want) ||
		!strings.Contains(r.stdout, "attempt 1 after 1 s") {
		t.Errorf("the story does not say %q:\n%s", want, r.stdout)
	}
	r = ask(t, base, "call", "show", "0d5f-notice").ok(t)
	if want := "Notice 0d5f-notice: missed call, evaluation, project main\n"; !strings.HasPrefix(r.stdout, want) || !strings.Contains(r.stdout, string(c.SessionID)) {
		t.Errorf("the story of a notice:\n%s", r.stdout)
	}
}

func TestCallShowOtherEndings(t *testing.T) {
	lost, byEvent, nobody, talked := missedCall(), missedCall(), someCalls()[0], talkedCall()
	lost.State, lost.Outcome, lost.Release = bell.CallLost, "", planet.Release{}
	byEvent.NotifiedAt, byEvent.Deadline, byEvent.Outcome = time.Time{}, time.Time{}, planet.OutcomeBusy
	byEvent.Release = planet.Release{CallEndReason: number(1001), Releaser: "RESPONDER"}
	tests := []struct {
		name string
		call bell.Call
		want []string
	}{
		{"lost", lost, []string{"its Call Event never came", "had no device that could ring"}},
		{"known by its event", byEvent, []string{"Notify never came", "busy, the callee was in a call", "Ended by: responder", "call_end_reason 1001 CALLEE_BUSY"}},
		{"ringing", nobody, []string{"Notify came just now", "It has not ended yet"}},
		{"talked", talked, []string{"completed, they talked.", "They talked for 1 min 5 s.", "Ended by: callee"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := newServer(t)
			s.records[test.call.SessionID] = call.Record{Call: test.call}
			r := ask(t, s.start(), "call", "show", string(test.call.SessionID)).ok(t)
			for _, want := range test.want {
				if !strings.Contains(r.stdout, want) {
					t.Errorf("the story does not say %q:\n%s", want, r.stdout)
				}
			}
		})
	}
}

func TestCallShowRefused(t *testing.T) {
	base := newServer(t).start()
	ask(t, base, "call", "show", "abc").fails(t, "There is no call with this session ID.")
	ask(t, base, "call", "show", "a/../b").fails(t, "sid: the session ID has a forbidden character")
	ask(t, base, "call", "show").fails(t, "give one session ID, as planetbell call list shows it")
	ask(t, base, "call", "show", "abc", "--environment", "moon").fails(t, "environment: want evaluation or real.")
}
