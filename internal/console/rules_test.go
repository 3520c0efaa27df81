package console_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/planet"
)

const rulesOfBob = "/admin/v1/users/bell-eval/bob/rules"

func TestRulesAreShownAndReplaced(t *testing.T) {
	f := newFake(t)
	eve := planet.UserRef{ServiceID: "other", UserID: "eve"}
	kept := policy.Rules{
		DoNotDisturb: policy.DoNotDisturb{On: true, Until: noon.Add(time.Hour), Quiet: policy.QuietHours{From: 1320, To: 420, Zone: "Asia/Seoul"}},
		Blocked:      []policy.Blocked{{User: eve, At: noon}},
	}
	rules := kept
	f.rules = &rules
	h := newHandler(t, f, testConfig())
	got := ask(t, h, "GET", rulesOfBob, "")
	want := console.UserRules{
		Environment: planet.Evaluation, ServiceID: "bell-eval", UserID: "bob",
		DoNotDisturb: console.DoNotDisturb{On: true, Until: noon.Add(time.Hour), Active: true, QuietHours: &console.QuietHours{From: "22:00", To: "07:00", TimeZone: "Asia/Seoul"}},
		Blocked:      []console.BlockedUser{{ServiceID: "other", UserID: "eve", BlockedAt: noon}},
	}
	if diff := cmp.Diff(want, decode[console.UserRules](t, got)); diff != "" || got.Code != http.StatusOK {
		t.Errorf("status %d: %s", got.Code, diff)
	}
	// What was got can be sent back.
	body := got.Body.String()
	if got := ask(t, h, "PUT", rulesOfBob+"?environment=evaluation", body); got.Code != http.StatusOK {
		t.Fatalf("status %d: %s", got.Code, got.Body)
	}
	kept.Blocked[0].At = time.Time{} // the store knows it
	if diff := cmp.Diff(kept, rules); diff != "" {
		t.Error(diff)
	}
	got = ask(t, h, "PUT", rulesOfBob, `{}`)
	if got.Code != http.StatusOK || !strings.Contains(got.Body.String(), `"blocked":[]`) {
		t.Errorf("status %d: %s", got.Code, got.Body)
	}
	if diff := cmp.Diff(policy.Rules{}, rules); diff != "" {
		t.Error(diff)
	}
	// The longest list fits.
	var users []string
	for i := range policy.MaxBlocked {
		users = append(users, fmt.Sprintf(`{"service_id":"%064d","user_id":"%064d"}`, i, i))
	}
	if got := ask(t, h, "PUT", rulesOfBob, `{"blocked":[`+strings.Join(users, ",")+`]}`); got.Code != http.StatusOK || len(rules.Blocked) != policy.MaxBlocked {
		t.Errorf("status %d with %d blocked", got.Code, len(rules.Blocked))
	}
}

func TestRulesThatCannotBe(t *testing.T) {
	f := newFake(t)
	f.rules = &policy.Rules{}
	f.projects = append(f.projects, &bell.Project{Name: "both", Environment: planet.Real, ServiceID: "bell-eval"})
	h := newHandler(t, f, testConfig())
	for _, test := range []struct {
		method, target, body string
		status               int
		kind, part           string
	}{
		{"GET", rulesOfBob, "", 400, "invalid", "environment"},
		{"GET", rulesOfBob + "?environment=mars", "", 400, "invalid", "environment"},
		{"GET", "/admin/v1/users/nobody/bob/rules", "", 404, "not_found", "no project of this service"},
		{"GET", "/admin/v1/users/bell-real/bob/rules?environment=evaluation", "", 404, "not_found", "no project of this service"},
		{"PUT", rulesOfBob + "?environment=evaluation", `{"block":[]}`, 400, "invalid", `no field "block"`},
		{"PUT", rulesOfBob + "?environment=evaluation", `{"do_not_disturb":{"quiet_hours":{}}}`, 400, "invalid", "times of day"},
		{"PUT", rulesOfBob + "?environment=evaluation", `{"do_not_disturb":{"on":true,"until":"0009-01-01T00:00:00Z"}}`, 400, "invalid", "until"},
		{"PUT", rulesOfBob + "?environment=evaluation", `{"x":"` + strings.Repeat("x", 300_000) + `"}`, 413, "too_large", "262144"},
		{"DELETE", rulesOfBob, "", 405, "wrong_method", "Allow"},
	} {
		wantProblem(t, ask(t, h, test.method, test.target, test.body), test.status, test.kind, test.part)
	}
	f.rulesErr = bell.E(bell.Forbidden, "This project has no rules.", nil)
	for _, method := range []string{"GET", "PUT"} {
		wantProblem(t, ask(t, h, method, rulesOfBob+"?environment=evaluation", `{}`), 403, "forbidden", "no rules")
	}
}

func TestSuppressedCallsAreShown(t *testing.T) {
	f := newFake(t)
	f.calls = func(call.Filter, call.Cursor, int) ([]bell.Call, error) {
		return []bell.Call{{SessionID: sid, Suppressed: bell.SuppressDoNotDisturb, NotifiedAt: noon}, {SessionID: "b", NotifiedAt: noon}}, nil
	}
	got := decode[console.CallList](t, ask(t, newHandler(t, f, testConfig()), "GET", "/admin/v1/calls", ""))
	if len(got.Calls) != 2 || got.Calls[0].Suppressed != bell.SuppressDoNotDisturb || got.Calls[1].Suppressed != bell.RingsAll {
		t.Errorf("%+v", got)
	}
}
