package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// shown makes /v2/calls show these calls, and keeps what was asked for.
func (w *world) shown(asked *call.HistoryQuery, next call.Cursor, calls ...bell.Call) {
	w.history.history = func(_ context.Context, q call.HistoryQuery) (call.HistoryPage, error) {
		*asked = q
		return call.HistoryPage{Calls: calls, Next: next}, nil
	}
}

func number(n int) *int { return &n }

// whole is a call with everything that a record can have.
func whole() bell.Call {
	return bell.Call{
		Environment: planet.Evaluation, SessionID: sid, Project: "demo", Label: "evaluation",
		Caller: planet.UserRef{ServiceID: "other-service", UserID: "bob"},
		Callee: planet.UserRef{ServiceID: service, UserID: "alice"},
		Type:   planet.VideoCall, CCParam: planet.CCParam(ccParam),
		AppServerData: testlog.TextSecret("app-server-data"), STID: testlog.TextSecret("stid"),
		State: bell.CallEnded, Outcome: planet.OutcomeMissed,
		Release: planet.Release{
			DisconnectReason: number(1203), Code: number(5), CodeName: testlog.TextSecret("code-name"),
			UserCode: testlog.TextSecret("user-code"), Releaser: testlog.TextSecret("host"),
		},
		NotifiedAt: time.UnixMilli(1_700_000_000_123), Deadline: time.UnixMilli(1_700_000_055_123),
		EndedAt: time.UnixMilli(1_700_000_060_000), AppFields: map[string]string{"app_x": testlog.TextSecret("field")},
		CallerName: testlog.TextSecret("name"),
	}
}

func TestHistoryShowsACall(t *testing.T) {
	w := newWorld(t)
	var asked call.HistoryQuery
	c := whole()
	c.Release.Releaser = ""
	w.shown(&asked, call.Cursor{}, c)
	out := w.do("GET", "/v2/calls", "", as(appToken)...)
	out.want(t, http.StatusOK)
	want := map[string]any{"calls": []any{map[string]any{
		"sid": sid, "direction": "in", "peer": map[string]any{"serviceId": "other-service", "userId": "bob"},
		"type": "V", "state": "ended", "outcome": "missed", "missed": true,
		"calledAt": 1_700_000_000_123.0, "endedAt": 1_700_000_060_000.0, "durationMs": 0.0,
		"endedBy": "caller", "explanation": "Nobody answered within 60 seconds.",
	}}}
	if diff := cmp.Diff(want, out.envelope.Data); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	if strings.Contains(string(out.body), "CANARY") || strings.Contains(string(out.body), ccParam) {
		t.Errorf("the answer says more than it may: %s", out.body)
	}
	if got := out.Header.Get("Content-Language"); got != "en" {
		t.Errorf("Content-Language %q", got)
	}
	wantAsked := call.HistoryQuery{Owner: w.identity().Owner, SessionID: "session-1", Limit: 20}
	if diff := cmp.Diff(wantAsked, asked); diff != "" {
		t.Errorf("asked (-want +got):\n%s", diff)
	}
}

// Nothing of a call goes out but what the answer's schema names; every other field of the
// record, and the other side's name for why it hung up, stays here.
func TestHistoryShowsNoMore(t *testing.T) {
	w := newWorld(t)
	var asked call.HistoryQuery
	w.shown(&asked, call.Cursor{}, whole())
	out := w.do("GET", "/v2/calls", "", as(appToken)...)
	out.want(t, http.StatusOK)
	if strings.Contains(string(out.body), "CANARY") {
		t.Errorf("the answer says more than it may: %s", out.body)
	}
}

func TestHistoryDirections(t *testing.T) {
	me, other := planet.UserRef{ServiceID: service, UserID: "alice"}, planet.UserRef{ServiceID: service, UserID: "bob"}
	namesake := planet.UserRef{ServiceID: "other-service", UserID: "alice"}
	for _, c := range []struct {
		caller, callee planet.UserRef
		asked          string
		outcome        planet.Outcome
		direction      string
		peer           planet.UserRef
		missed         bool
	}{
		{me, other, "", planet.OutcomeMissed, "out", other, false},
		{other, me, "", planet.OutcomeMissed, "in", other, true},
		{other, me, "", planet.OutcomeCanceled, "in", other, true},
		{other, me, "", planet.OutcomePushFailed, "in", other, true},
		{other, me, "", planet.OutcomeBusy, "in", other, false},
		{other, me, "", planet.OutcomeDeclined, "in", other, false},
		{other, me, "", planet.OutcomeCompleted, "in", other, false},
		{other, me, "", planet.OutcomeFailed, "in", other, false},
		{namesake, me, "", planet.OutcomeMissed, "in", namesake, true},
		{me, namesake, "", planet.OutcomeMissed, "out", namesake, false},
		{me, me, "", planet.OutcomeMissed, "out", me, false},
		{me, me, "in", planet.OutcomeMissed, "in", me, true},
		{me, me, "out", planet.OutcomeMissed, "out", me, false},
		{planet.UserRef{}, me, "", planet.OutcomeBusy, "in", planet.UserRef{}, false},
	} {
		w := newWorld(t)
		var asked call.HistoryQuery
		shown := whole()
		shown.Caller, shown.Callee, shown.Outcome = c.caller, c.callee, c.outcome
		w.shown(&asked, call.Cursor{}, shown)
		out := w.do("GET", "/v2/calls?direction="+c.asked, "", as(appToken)...)
		out.want(t, http.StatusOK)
		got, _ := out.envelope.Data["calls"].([]any)[0].(map[string]any)
		peer := map[string]any{"serviceId": c.peer.ServiceID, "userId": c.peer.UserID}
		if got["direction"] != c.direction || got["missed"] != c.missed || !cmp.Equal(got["peer"], any(peer)) {
			t.Errorf("%+v: %v", c, got)
		}
		if string(asked.Direction) != c.asked {
			t.Errorf("asked for %q", asked.Direction)
		}
	}
}

func TestHistoryOfCallsThatHaveNotEnded(t *testing.T) {
	w := newWorld(t)
	ringing, lost, silent := whole(), whole(), whole()
	ringing.State, ringing.Outcome, ringing.Release, ringing.EndedAt = bell.CallRinging, "", planet.Release{}, time.Time{}
	lost.State, lost.Outcome, lost.Release, lost.EndedAt = bell.CallLost, "", planet.Release{}, time.Time{}
	silent.Release = planet.Release{}
	silent.NotifiedAt, silent.Type = time.Time{}, ""
	var asked call.HistoryQuery
	w.shown(&asked, call.Cursor{}, ringing, lost, silent)
	for language, want := range map[string][]string{
		"en": {"", "It is not known how the call ended.", "LINE Planet gave no reason."},
		"ja": {"", "通話がどのように終了したかは不明です。", "LINE Planetから理由は通知されませんでした。"},
	} {
		out := w.do("GET", "/v2/calls?lang="+language, "", as(appToken)...)
		out.want(t, http.StatusOK)
		for n, one := range out.envelope.Data["calls"].([]any) {
			got := one.(map[string]any)
			if text, _ := got["explanation"].(string); text != want[n] {
				t.Errorf("explanation %q, want %q", text, want[n])
			}
			if _, ok := got["endedBy"]; ok != (n > 0) {
				t.Errorf("endedBy %v of call %d", got["endedBy"], n)
			}
			if _, ok := got["calledAt"]; ok != (n < 2) {
				t.Errorf("calledAt %v of call %d", got["calledAt"], n)
			}
		}
	}
}

func TestHistoryQueries(t *testing.T) {
	base := call.HistoryQuery{
		Owner:     bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: service, UserID: "alice"}},
		SessionID: "session-1", Limit: 20,
	}
	for target, change := range map[string]func(*call.HistoryQuery){
		"":                 func(*call.HistoryQuery) {},
		"?unknown=1&user=": func(*call.HistoryQuery) {},
		// Whose calls they are is in the token, and nowhere else.
		"?userId=bob&serviceId=other&environment=real": func(*call.HistoryQuery) {},
		"?limit=100":           func(q *call.HistoryQuery) { q.Limit = 100 },
		"?limit=1&limit=50":    func(q *call.HistoryQuery) { q.Limit = 1 },
		"?direction=out":       func(q *call.HistoryQuery) { q.Direction = call.Outgoing },
		"?outcome=push_failed": func(q *call.HistoryQuery) { q.Outcomes = []planet.Outcome{planet.OutcomePushFailed} },
		"?since=1700000000123": func(q *call.HistoryQuery) { q.Since = time.UnixMilli(1_700_000_000_123) },
		"?missed=0":            func(*call.HistoryQuery) {},
		"?missed=1": func(q *call.HistoryQuery) {
			q.Direction, q.Outcomes, q.Wanted = call.Incoming, bell.MissedOutcomes(), true
		},
		"?missed=1&direction=in": func(q *call.HistoryQuery) {
			q.Direction, q.Outcomes, q.Wanted = call.Incoming, bell.MissedOutcomes(), true
		},
	} {
		w := newWorld(t)
		var asked call.HistoryQuery
		w.shown(&asked, call.Cursor{})
		w.do("GET", "/v2/calls"+target, "", as(appToken)...).want(t, http.StatusOK)
		want := base
		change(&want)
		if diff := cmp.Diff(want, asked); diff != "" {
			t.Errorf("%s (-want +got):\n%s", target, diff)
		}
	}
}

// The cursor of a page leads to the next one, and tells clients nothing that they could rely on.
func TestHistoryPages(t *testing.T) {
	w := newWorld(t)
	next := call.Cursor{At: time.UnixMicro(1_700_000_000_123_456).UTC(), SessionID: sid}
	var asked call.HistoryQuery
	w.shown(&asked, next, whole())
	out := w.do("GET", "/v2/calls?limit=1", "", as(appToken)...)
	out.want(t, http.StatusOK)
	cursor := out.data("next")
	if cursor == "" || strings.Contains(cursor, sid) {
		t.Fatalf("next %q", cursor)
	}
	w.do("GET", "/v2/calls?cursor="+cursor, "", as(appToken)...).want(t, http.StatusOK)
	if !asked.Before.At.Equal(next.At) || asked.Before.SessionID != next.SessionID {
		t.Errorf("continued at %+v, want %+v", asked.Before, next)
	}
	empty := newWorld(t)
	out = empty.do("GET", "/v2/calls", "", as(appToken)...)
	out.want(t, http.StatusOK)
	if string(mustJSON(t, out.envelope.Data)) != `{"calls":[]}` {
		t.Errorf("an empty history is %s", out.body)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestHistoryLanguages(t *testing.T) {
	for _, c := range []struct{ target, header, want string }{
		{"", "", "en"},
		{"", "ja", "ja"},
		{"", "ja-JP,ja;q=0.9,en-US;q=0.8,en;q=0.7", "ja"},
		{"", "en-US,en;q=0.9,ja;q=0.8", "en"},
		{"", "en;q=0.5, JA-jp ; q=0.6", "ja"},
		{"", "ko,fr;q=0.9", "en"},
		{"", "ko, ja;q=0.1", "ja"},
		{"", "ja;q=0, en;q=0.1", "en"},
		{"", "ja;q=0", "en"},
		{"", "ja;q=NaN", "en"},
		{"", "ja;q=2, en;q=0.1", "en"},
		{"", "japanese", "en"},
		{"", "*", "en"},
		{"", ";;,,q=", "en"},
		{"", strings.Repeat("x,", 40) + "ja", "en"},
		{"?lang=ja", "en", "ja"},
		{"?lang=en", "ja", "en"},
	} {
		w := newWorld(t)
		var asked call.HistoryQuery
		w.shown(&asked, call.Cursor{}, whole())
		out := w.do("GET", "/v2/calls"+c.target, "", append(as(appToken), "Accept-Language", c.header)...)
		out.want(t, http.StatusOK)
		text := out.envelope.Data["calls"].([]any)[0].(map[string]any)["explanation"]
		want := map[string]string{"en": "Nobody answered within 60 seconds.", "ja": "60秒以内に応答がありませんでした。"}[c.want]
		if out.Header.Get("Content-Language") != c.want || text != want {
			t.Errorf("%q %q: %q, %q", c.target, c.header, out.Header.Get("Content-Language"), text)
		}
	}
}

func TestHistoryIsLimitedByUser(t *testing.T) {
	w := newWorld(t)
	now := time.UnixMilli(1_700_000_000_000)
	w.config.Now = func() time.Time { return now }
	w.config.HistoriesPerMinute = 2
	user := "alice"
	w.accounts.authenticate = func(context.Context, planet.Secret) (bell.Identity, error) {
		id := w.identity()
		id.Owner.User.UserID = user
		return id, nil
	}
	var got []int
	for range 3 {
		got = append(got, w.do("GET", "/v2/calls", "", as(appToken)...).StatusCode)
	}
	user = "bob"
	got = append(got, w.do("GET", "/v2/calls", "", as(appToken)...).StatusCode)
	user, now = "alice", now.Add(time.Minute)
	got = append(got, w.do("GET", "/v2/calls", "", as(appToken)...).StatusCode)
	if want := []int{200, 200, 429, 200, 200}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestHistoryOfARevokedSession(t *testing.T) {
	w := newWorld(t)
	w.history.history = func(context.Context, call.HistoryQuery) (call.HistoryPage, error) {
		return call.HistoryPage{}, bell.E(bell.Unauthorized, "The app token was revoked because its user ID was registered anew.", nil)
	}
	out := w.do("GET", "/v2/calls", "", as(appToken)...)
	out.want(t, http.StatusUnauthorized)
	if out.Header.Get("WWW-Authenticate") != "Bearer" {
		t.Error("no challenge")
	}
}
