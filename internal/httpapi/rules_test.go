package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/planet"
)

// rules keeps what it is told.
type rules struct {
	err      error
	panics   any
	asked    []string
	kept     policy.Rules
	identity bell.Identity
}

func (r *rules) note(id bell.Identity, what string) error {
	if r.panics != nil {
		panic(r.panics)
	}
	r.identity = id
	r.asked = append(r.asked, what)
	return r.err
}

func (r *rules) Block(_ context.Context, id bell.Identity, user planet.UserRef) error {
	return r.note(id, "block "+user.String())
}

func (r *rules) Unblock(_ context.Context, id bell.Identity, user planet.UserRef) error {
	return r.note(id, "unblock "+user.String())
}

func (r *rules) Mine(_ context.Context, id bell.Identity) (policy.Rules, error) {
	return r.kept, r.note(id, "mine")
}

func (r *rules) SetDoNotDisturb(_ context.Context, id bell.Identity, d policy.DoNotDisturb) error {
	r.kept.DoNotDisturb = d
	return r.note(id, "set")
}

func TestUsersAreBlocked(t *testing.T) {
	w := newWorld(t)
	w.do("POST", "/v2/block_user", `{"userId":"eve"}`, as(appToken)...).want(t, http.StatusOK)
	w.do("POST", "/v2/block_user", `{"userId":"eve","serviceId":null}`, as(appToken)...).want(t, http.StatusOK)
	w.do("POST", "/v2/unblock_user", `{"userId":"eve","serviceId":"other"}`, as(appToken)...).want(t, http.StatusOK)
	want := []string{"block " + service + "/eve", "block " + service + "/eve", "unblock other/eve"}
	if diff := cmp.Diff(want, w.rules.asked); diff != "" {
		t.Error(diff)
	}
	if w.rules.identity.Owner != w.identity().Owner {
		t.Errorf("for %v", w.rules.identity.Owner)
	}

	out := w.do("GET", "/v2/blocked_users", "", as(appToken)...)
	if users, ok := out.envelope.Data["users"].([]any); !ok || len(users) > 0 {
		t.Errorf("an empty list is %s", out.body)
	}
	w.rules.kept.Blocked = []policy.Blocked{{User: planet.UserRef{ServiceID: "other", UserID: "eve"}, At: time.UnixMilli(1_700_000_000_000)}}
	out = w.do("GET", "/v2/blocked_users", "", as(appToken)...)
	entry := map[string]any{"serviceId": "other", "userId": "eve", "blockedAt": 1.7e12}
	if diff := cmp.Diff(map[string]any{"users": []any{entry}}, out.envelope.Data); diff != "" {
		t.Error(diff)
	}
}

func TestDoNotDisturbIsSetAndShown(t *testing.T) {
	noon := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	night := map[string]any{"from": "22:00", "to": "07:30", "timeZone": "Asia/Seoul"} // 21:00 there
	for _, test := range []struct {
		body string
		want policy.DoNotDisturb
		data map[string]any
	}{
		{`{"on":true}`, policy.DoNotDisturb{On: true}, map[string]any{"on": true, "active": true}},
		{
			fmt.Sprintf(`{"on":true,"until":%d,"quietHours":null}`, noon.Add(time.Hour).UnixMilli()),
			policy.DoNotDisturb{On: true, Until: noon.Add(time.Hour)},
			map[string]any{"on": true, "active": true, "until": float64(noon.Add(time.Hour).UnixMilli())},
		},
		{
			fmt.Sprintf(`{"on":true,"until":%d}`, noon.UnixMilli()),
			policy.DoNotDisturb{On: true, Until: noon},
			map[string]any{"on": true, "active": false, "until": float64(noon.UnixMilli())},
		},
		{
			`{"on":false,"quietHours":{"from":"22:00","to":"07:30","timeZone":"Asia/Seoul"}}`,
			policy.DoNotDisturb{Quiet: policy.QuietHours{From: 1320, To: 450, Zone: "Asia/Seoul"}},
			map[string]any{"on": false, "active": false, "quietHours": night},
		},
		{`{"on":false,"more":1}`, policy.DoNotDisturb{}, map[string]any{"on": false, "active": false}},
	} {
		w := newWorld(t)
		w.config.Now = func() time.Time { return noon }
		for _, out := range []*reply{
			w.do("POST", "/v2/do_not_disturb", test.body, as(appToken)...),
			w.do("GET", "/v2/do_not_disturb", "", as(appToken)...),
		} {
			out.want(t, http.StatusOK)
			if diff := cmp.Diff(test.data, out.envelope.Data); diff != "" {
				t.Errorf("%s: %s", test.body, diff)
			}
		}
		if diff := cmp.Diff(test.want, w.rules.kept.DoNotDisturb); diff != "" {
			t.Errorf("%s: %s", test.body, diff)
		}
	}
}

func TestRulesAreLimitedByUser(t *testing.T) {
	w := newWorld(t)
	w.config.RulesPerMinute = 5
	for _, req := range good() {
		if req.name == "block_user" || req.name == "unblock_user" || req.name == "blocked_users" || req.name == "do_not_disturb" || req.name == "set do_not_disturb" {
			w.do(req.method, req.target, req.body, req.headers...).want(t, http.StatusOK)
		}
	}
	for _, req := range good()[5:10] {
		w.do(req.method, req.target, req.body, req.headers...).want(t, http.StatusTooManyRequests)
	}
	if len(w.rules.asked) != 5 {
		t.Errorf("asked %v", w.rules.asked)
	}
}

func TestRulesThatAreSwitchedOff(t *testing.T) {
	w := newWorld(t)
	w.rules.err = bell.E(bell.Forbidden, "This project has no block lists.", nil)
	for _, req := range good()[5:10] {
		w.do(req.method, req.target, req.body, req.headers...).want(t, http.StatusForbidden)
	}
}

// A suppressed call is answered as one that nobody answers, also where callees without
// devices are answered 404.
func TestSuppressedNotify(t *testing.T) {
	for _, result := range []call.RingResult{
		{Suppressed: bell.SuppressBlocked},
		{Suppressed: bell.SuppressDoNotDisturb, FromMemory: true},
	} {
		w := newWorld(t)
		w.project.UnknownCallee404 = true
		w.calls.ring = func(context.Context, *bell.Project, planet.NotifyCallback) (call.RingResult, error) {
			return result, nil
		}
		out := w.do("GET", cb("notify")+notifyQuery(), "")
		out.want(t, http.StatusOK)
		if len(out.envelope.Data) > 0 {
			t.Errorf("the answer tells more than others: %s", out.body)
		}
		if n := w.counted("notify", "suppressed"); n != 1 {
			t.Errorf("counted %v", n)
		}
		if line := w.lines()[0]; line["result"] != "suppressed" || line["why"] != string(result.Suppressed) {
			t.Errorf("log line %v", line)
		}
	}
}
