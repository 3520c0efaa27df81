package console_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func missedCall() bell.Call {
	n := func(i int) *int { return &i }
	return bell.Call{
		Environment: planet.Evaluation, SessionID: sid, Project: "main", Label: "evaluation",
		Caller: planet.UserRef{ServiceID: "bell-eval", UserID: "alice"},
		Callee: planet.UserRef{ServiceID: "bell-eval", UserID: "bob"},
		Type:   planet.VideoCall, CCParam: planet.CCParam(testlog.CCParam(1)), AppServerData: "their own",
		State: bell.CallEnded, Outcome: planet.OutcomeMissed,
		Release: planet.Release{
			Terminate: n(18), DisconnectReason: n(1203), ReleaserType: n(2),
			Code: n(5), CodeName: "NO_ANSWER", UserCode: "timeout",
		},
		NotifiedAt: noon.Add(-10 * time.Minute), Deadline: noon.Add(-10*time.Minute + 55*time.Second),
		EndedAt: noon.Add(-9 * time.Minute),
	}
}

func storyOfMissedCall() call.Record {
	c := missedCall()
	delivery := func(id, device string, channel bell.Channel, state bell.DeliveryState, reason string, attempts int) bell.Delivery {
		return bell.Delivery{
			ID: id, Environment: c.Environment, SessionID: c.SessionID, DeviceID: device, Channel: channel, State: state,
			Reason: reason, Attempts: attempts, Deadline: c.Deadline, CreatedAt: c.NotifiedAt, UpdatedAt: c.NotifiedAt.Add(time.Second),
		}
	}
	return call.Record{Call: c, Deliveries: []call.DeliveryRecord{
		{
			Delivery: delivery("d-1", phone, bell.APNsVoIP, bell.DeliveryAccepted, "", 2), Device: phoneOf("bob"),
			Attempts: []bell.Attempt{
				{DeliveryID: "d-1", Number: 1, StartedAt: c.NotifiedAt.Add(3 * time.Millisecond), Took: 1500 * time.Microsecond, Outcome: bell.Outcome{
					Verdict: bell.RetryBackoff, Reason: "ServiceUnavailable", Status: 503, Token: bell.TokenKeep,
					RetryAfter: time.Second, Alarm: bell.AlarmCount, Detail: "APNs is unwell.",
				}},
				{DeliveryID: "d-1", Number: 2, StartedAt: c.NotifiedAt.Add(time.Second), Took: 40 * time.Millisecond, Outcome: bell.Outcome{
					Verdict: bell.Accepted, Status: 200, Token: bell.TokenKeep, ProviderID: "d-1",
				}},
			},
		},
		{
			Delivery: delivery("d-2", pad, bell.APNsVoIP, bell.DeliveryFailed, "Unregistered", 1), Device: bell.Device{ID: pad},
			Attempts: []bell.Attempt{{DeliveryID: "d-2", Number: 1, StartedAt: c.NotifiedAt, Took: time.Millisecond, Outcome: bell.Outcome{
				Verdict: bell.Rejected, Reason: "Unregistered", Status: 410, Token: bell.TokenDrop, DeadSince: noon.Add(-time.Hour),
			}}},
		},
		{
			Delivery: delivery("d-4", phone, bell.FCM, bell.DeliveryReceived, "", 1), Device: phoneOf("bob"),
			Receipt: bell.Receipt{
				Environment: c.Environment, SessionID: c.SessionID, DeviceID: phone, Channel: bell.FCM, Priority: "normal", OriginalPriority: "high",
				ReceivedAt: c.NotifiedAt.Add(-time.Hour), At: c.NotifiedAt.Add(1500 * time.Millisecond),
			},
		},
		{
			Delivery: delivery("d-5", pad, bell.LongPoll, bell.DeliveryReceived, "", 0), Device: bell.Device{ID: pad},
			Receipt: bell.Receipt{Environment: c.Environment, SessionID: c.SessionID, DeviceID: pad, At: c.NotifiedAt.Add(time.Minute)},
		},
		{Delivery: delivery("d-3", poll, bell.LongPoll, bell.DeliveryWithdrawn, "", 0), Device: bell.Device{ID: poll}},
	}}
}

func journalOfMissedCall() []bell.JournalEntry {
	return []bell.JournalEntry{
		{
			ReceivedAt: noon.Add(-9 * time.Minute), Project: "main", Environment: planet.Evaluation, Kind: "call-event", SessionID: sid,
			Params: []planet.RawParam{{Name: "sid", Value: string(sid)}, {Name: "terminate", Value: "18"}, {Name: "param", Value: testlog.CCParam(1)}},
		},
		{ReceivedAt: noon, Project: "live", Environment: planet.Real, Kind: "call-event", SessionID: sid},
	}
}

func TestListCalls(t *testing.T) {
	f := newFake(t)
	byEventOnly := bell.Call{
		Environment: planet.Evaluation, SessionID: "e-1", Project: "main", Type: "X", State: bell.CallEnded,
		Outcome: planet.OutcomeBusy, EndedAt: noon.Add(-time.Hour),
	}
	var filter call.Filter
	f.calls = func(asked call.Filter, before call.Cursor, limit int) ([]bell.Call, error) {
		filter = asked
		if !before.At.IsZero() || limit != 3 {
			t.Errorf("asked before %v, limit %d", before, limit)
		}
		talked := missedCall()
		talked.SessionID, talked.Outcome, talked.Type, talked.Duration = "b-2", planet.OutcomeCompleted, planet.AudioCall, 61*time.Second
		return []bell.Call{talked, missedCall(), byEventOnly}, nil
	}
	w := ask(t, newHandler(t, f, testConfig()), "GET", "/admin/v1/calls?limit=2&environment=evaluation&service_id=bell-eval&user_id=bob", "")
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	want := call.Filter{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "bell-eval", UserID: "bob"}}
	if filter != want {
		t.Errorf("filter %+v, want %+v", filter, want)
	}
	golden(t, "calls.json", indented(t, w.Body))
}

func TestCallPagesFollowTheCursor(t *testing.T) {
	f := newFake(t)
	first, second := missedCall(), missedCall()
	first.NotifiedAt = time.Time{} // known by its event only: its end is its place
	second.SessionID = "older"
	f.calls = func(_ call.Filter, before call.Cursor, _ int) ([]bell.Call, error) {
		switch before {
		case call.Cursor{}:
			return []bell.Call{first, second}, nil
		case call.Cursor{At: first.EndedAt, SessionID: sid}:
			return []bell.Call{second}, nil
		}
		return nil, fmt.Errorf("asked for calls before %v", before)
	}
	h := newHandler(t, f, testConfig())
	page := decode[console.CallList](t, ask(t, h, "GET", "/admin/v1/calls?limit=1", ""))
	next := decode[console.CallList](t, ask(t, h, "GET", "/admin/v1/calls?limit=1&before="+url.QueryEscape(page.Next), ""))
	if len(next.Calls) != 1 || next.Calls[0].SID != "older" || next.Next != "" {
		t.Errorf("second page %+v", next)
	}
}

func TestShowCall(t *testing.T) {
	f := newFake(t)
	f.show = func(ctx context.Context, e planet.Environment, id planet.SessionID) (call.Record, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the request has no deadline")
		}
		if e != planet.Evaluation || id != sid {
			t.Errorf("asked for %s in %s", id, e)
		}
		return storyOfMissedCall(), nil
	}
	f.journal = func(planet.SessionID) ([]bell.JournalEntry, error) { return journalOfMissedCall(), nil }
	w := ask(t, newHandler(t, f, testConfig()), "GET", "/admin/v1/calls/"+strings.ToUpper(string(sid))+"?environment=evaluation", "")
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	golden(t, "call.json", indented(t, w.Body))
}

// The operator sees beside a call what its callee was told of it.
func TestShowCallWithItsNotice(t *testing.T) {
	f := newFake(t)
	c := missedCall()
	notice := bell.Call{
		Environment: c.Environment, SessionID: "notice", Purpose: bell.PurposeMissedCall, About: c.SessionID, Caller: c.Caller, Callee: c.Callee,
		CallerName: "Alice", State: bell.CallNotice, NotifiedAt: c.EndedAt, Deadline: c.EndedAt.Add(time.Minute),
	}
	f.notices = []bell.Call{notice}
	f.show = func(_ context.Context, e planet.Environment, id planet.SessionID) (call.Record, error) {
		if id == c.SessionID {
			return call.Record{Call: c}, nil
		}
		if e != c.Environment || id != "notice" {
			t.Errorf("asked for %s in %s", id, e)
		}
		return call.Record{Call: notice, Deliveries: []call.DeliveryRecord{{Delivery: bell.Delivery{ID: "d", Channel: bell.FCM, State: bell.DeliveryAccepted}}}}, nil
	}
	f.journal = func(planet.SessionID) ([]bell.JournalEntry, error) { return nil, nil }
	story := decode[console.CallStory](t, ask(t, newHandler(t, f, testConfig()), "GET", "/admin/v1/calls/"+string(sid), ""))
	want := []console.Notice{{
		SID: "notice", Purpose: bell.PurposeMissedCall, To: console.User{ServiceID: "bell-eval", UserID: "bob"}, CallerName: "Alice",
		CreatedAt: notice.NotifiedAt, Deadline: notice.Deadline,
		Deliveries: []console.Delivery{{ID: "d", Channel: bell.FCM, State: bell.DeliveryAccepted, Attempts: []console.Attempt{}}},
	}}
	if diff := cmp.Diff(want, story.Notices); diff != "" {
		t.Error(diff)
	}
	if len(f.about) != 1 || f.about[0] != (call.Filter{Environment: c.Environment, About: c.SessionID}) {
		t.Errorf("asked for notices of %+v", f.about)
	}
	shown := decode[console.CallStory](t, ask(t, newHandler(t, f, testConfig()), "GET", "/admin/v1/calls/notice?environment=evaluation", ""))
	if shown.Call.Purpose != bell.PurposeMissedCall || shown.Call.About != c.SessionID || shown.Call.State != bell.CallNotice || shown.Call.CallerName != "Alice" {
		t.Errorf("alone it is %+v", shown.Call)
	}
}

func TestShowCallThatIsNotThere(t *testing.T) {
	f := newFake(t)
	f.show = func(context.Context, planet.Environment, planet.SessionID) (call.Record, error) {
		return call.Record{}, fmt.Errorf("call: %w", bell.NotFound)
	}
	h := newHandler(t, f, testConfig())
	wantProblem(t, ask(t, h, "GET", "/admin/v1/calls/abc", ""), http.StatusNotFound, "not_found", "There is no call with this session ID.")
	wantProblem(t, ask(t, h, "GET", "/admin/v1/calls/a_b", ""), http.StatusBadRequest, "invalid", "sid: the session ID has a forbidden character")
	wantProblem(t, ask(t, h, "GET", "/admin/v1/calls/abc?environment=moon", ""), http.StatusBadRequest, "invalid", "environment")
	wantProblem(t, ask(t, h, "GET", "/admin/v1/calls/abc?env=real", ""), http.StatusBadRequest, "invalid", "no parameter")
	f.show = func(context.Context, planet.Environment, planet.SessionID) (call.Record, error) {
		return call.Record{}, nil
	}
	f.journal = func(planet.SessionID) ([]bell.JournalEntry, error) { return nil, errors.New("broken") }
	wantProblem(t, ask(t, h, "GET", "/admin/v1/calls/abc", ""), http.StatusInternalServerError, "internal", "log")
	f.calls = func(call.Filter, call.Cursor, int) ([]bell.Call, error) { return nil, errors.New("broken") }
	wantProblem(t, ask(t, h, "GET", "/admin/v1/calls", ""), http.StatusInternalServerError, "internal", "log")
}

func TestReleaseInWords(t *testing.T) {
	n := func(i int) *int { return &i }
	tests := []struct {
		name    string
		release planet.Release
		want    string // ended by: family name, ...
	}{
		{"nothing came", planet.Release{}, ""},
		{"old edition", planet.Release{CallEndReason: n(1003), Releaser: "RESPONDER"}, "responder: call_end_reason CALLEE_REJECT"},
		{"all", planet.Release{Terminate: n(16), Code: n(1), CallEndReason: n(1004), DisconnectReason: n(1001), ReleaserType: n(1)}, "callee: disconnect_reason NORMAL, call_end_reason CALLER_END, rel_code NORMAL, terminate NORMAL_RELEASED"},
		{"unknown numbers", planet.Release{DisconnectReason: n(7777), Code: n(7778), CodeName: "BRAND_NEW", ReleaserType: n(0)}, "undefined: disconnect_reason , rel_code BRAND_NEW"},
		{"unknown releaser", planet.Release{ReleaserType: n(99)}, "unknown_99"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t)
			f.show = func(context.Context, planet.Environment, planet.SessionID) (call.Record, error) {
				return call.Record{Call: bell.Call{Release: test.release}}, nil
			}
			f.journal = func(planet.SessionID) ([]bell.JournalEntry, error) { return nil, nil }
			story := decode[console.CallStory](t, ask(t, newHandler(t, f, testConfig()), "GET", "/admin/v1/calls/abc", ""))
			var reasons []string
			for _, r := range story.Release.Reasons {
				reasons = append(reasons, r.Family+" "+r.Name)
				if r.Meaning == "" {
					t.Errorf("%s %d has no meaning", r.Family, r.Code)
				}
			}
			got := story.Release.EndedBy
			if len(reasons) > 0 {
				got += ": " + strings.Join(reasons, ", ")
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
