package console_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// recorded compares the audit log, oldest first, without IDs.
func recorded(t *testing.T, f *fake, want ...audit.Entry) {
	t.Helper()
	for i := range want {
		if want[i].At.IsZero() {
			want[i].At = noon
		}
		if want[i].Remote == "" {
			want[i].Remote = "127.0.0.1"
		}
	}
	f.audit.mu.Lock()
	defer f.audit.mu.Unlock()
	if diff := cmp.Diff(want, f.audit.entries, cmpopts.IgnoreFields(audit.Entry{}, "ID"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the audit log, -want +got:\n%s", diff)
	}
	for _, e := range f.audit.entries {
		noSecrets(t, "the audit log", e.Who+e.Object+e.Remote+e.Action)
	}
}

func TestWhatIsRecorded(t *testing.T) {
	f := willing(t)
	f.mint = func(*bell.Project, string) (planet.Secret, error) { return "not a secret", nil }
	h := newHandler(t, f, rolesConfig())
	ask(t, h, "GET", "/admin/v1/devices", "", asRole(bell.Viewer))
	ask(t, h, "POST", "/admin/v1/devices", `{"project":"main","user_id":"bob","channel":"fcm","push_token":"`+testlog.TextSecret("push")+`"}`, asRole(bell.Operator))
	ask(t, h, "DELETE", "/admin/v1/devices/"+testlog.TextSecret("pasted-push-token"), "", asRole(bell.Operator))
	f.remove = func(string) error { return bell.NotFound }
	ask(t, h, "DELETE", "/admin/v1/devices/"+phone, "", asRole(bell.Admin))
	f.remove = func(string) error { panic("impossible") }
	ask(t, h, "DELETE", "/admin/v1/devices/"+phone, "", asRole(bell.Admin))
	ask(t, h, "POST", "/admin/v1/access_tokens", `{"project":"main","user_id":"bob"}`, asRole(bell.Operator))
	ask(t, h, "POST", "/admin/v1/access_tokens", `{"project":"main","user_id":"bob"}`) // admin.token
	ask(t, h, "GET", "/admin/v1/audit", "", asRole(bell.Viewer))
	ask(t, h, "GET", "/admin/v1/calls", "", header("Authorization", "Bearer "+testlog.TextSecret("wrong")))
	operator := audit.Entry{Who: "operator", Role: bell.Operator, Via: "token"}
	admin := audit.Entry{Who: "admin", Role: bell.Admin, Via: "token"}
	with := func(e audit.Entry, action, object string, outcome audit.Outcome) audit.Entry {
		e.Action, e.Object, e.Outcome = action, object, outcome
		return e
	}
	recorded(
		t, f,
		with(operator, "device.add", "device_of=bob project=main added_device="+phone, audit.Done),
		with(operator, "device.remove", "", audit.Failed),
		with(admin, "device.remove", "removed_device="+phone, audit.Failed),
		with(admin, "device.remove", "removed_device="+phone, audit.Failed),
		with(operator, "access_token.mint", "route=POST /admin/v1/access_tokens", audit.Refused),
		with(audit.Entry{Who: "admin.token", Role: bell.Admin, Via: "token"}, "access_token.mint", "minted_for=bob project=main", audit.Done),
		with(audit.Entry{Who: "viewer", Role: bell.Viewer, Via: "token"}, "access.refuse", "route=GET /admin/v1/audit", audit.Refused),
		with(audit.Entry{}, "access.refuse", "route=GET /admin/v1/calls", audit.Refused),
	)
}

func TestSignInsAreRecorded(t *testing.T) {
	f := willing(t)
	h := newHandler(t, f, rolesConfig())
	cookie := signInAs(t, h, bell.Operator)
	if w := form(t, h, "/signin", url.Values{"name": {"operator"}, "password": {testlog.TextSecret("wrong")}}); w.Code != http.StatusUnauthorized {
		t.Errorf("a wrong password: %d", w.Code)
	}
	form(t, h, "/signin", url.Values{"name": {testlog.TextSecret("password in the wrong field")}, "password": {"x"}})
	form(t, h, "/signin", url.Values{"token": {roleToken(bell.Admin).Reveal()}})
	remove := func(site string) int {
		return ask(t, h, "DELETE", "/admin/v1/devices/"+phone, "", func(r *http.Request) {
			r.Header.Del("Authorization")
			r.Header.Set("Sec-Fetch-Site", site)
			r.AddCookie(cookie)
		}).Code
	}
	if good, bad := remove("same-origin"), remove("none"); good != http.StatusNoContent || bad != http.StatusForbidden {
		t.Errorf("with the session: %d; forged: %d", good, bad)
	}
	if w := form(t, h, "/signout", url.Values{}, func(r *http.Request) { r.AddCookie(cookie) }); w.Code != http.StatusSeeOther {
		t.Errorf("signing out: %d", w.Code)
	}
	if code := remove("same-origin"); code != http.StatusUnauthorized {
		t.Errorf("after signing out: %d", code)
	}
	operator := audit.Entry{Who: "operator", Role: bell.Operator, Via: "password"}
	with := func(e audit.Entry, action, object string, outcome audit.Outcome) audit.Entry {
		e.Action, e.Object, e.Outcome = action, object, outcome
		return e
	}
	recorded(
		t, f,
		with(operator, "session.begin", "", audit.Done),
		with(operator, "session.begin", "route=POST /signin", audit.Refused),
		with(audit.Entry{Via: "password"}, "session.begin", "route=POST /signin", audit.Refused),
		with(audit.Entry{Who: "admin", Role: bell.Admin, Via: "token"}, "session.begin", "", audit.Done),
		with(operator, "device.remove", "removed_device="+phone, audit.Done),
		with(operator, "device.remove", "route=DELETE /admin/v1/devices/{id}", audit.Refused),
		with(operator, "session.end", "", audit.Done),
		with(audit.Entry{}, "device.remove", "route=DELETE /admin/v1/devices/{id}", audit.Refused),
	)
}

// Somebody who is refused again and again fills neither the log nor the database; how often it
// was is recorded later.
func TestRefusalsThatAreRecordedAreBounded(t *testing.T) {
	f := willing(t)
	now := noon
	config := rolesConfig()
	config.Now = func() time.Time { return now }
	h := newHandler(t, f, config)
	for range 300 {
		ask(t, h, "POST", "/admin/v1/access_tokens", `{}`, asRole(bell.Viewer)) // not bounded otherwise: the viewer's token is right
		ask(t, h, "GET", "/admin/v1/calls", "", header("Authorization", "Bearer wrong"))
	}
	if n := len(f.audit.entries); n != 20 {
		t.Errorf("%d entries for 600 refusals, want 20", n)
	}
	now = now.Add(time.Minute)
	ask(t, h, "POST", "/admin/v1/access_tokens", `{}`, asRole(bell.Viewer))
	if last := f.audit.entries[len(f.audit.entries)-1]; !strings.Contains(last.Object, "and_unrecorded=580") {
		t.Errorf("the next entry is %+v", last)
	}
	ask(t, h, "DELETE", "/admin/v1/devices/"+phone, "", asRole(bell.Admin))
	if last := f.audit.entries[len(f.audit.entries)-1]; last.Action != "device.remove" || last.Outcome != audit.Done {
		t.Errorf("what is done must be recorded, however many were refused: %+v", last)
	}
}

// What could not be recorded is in the server's log.
func TestAnAuditLogThatIsAway(t *testing.T) {
	f := willing(t)
	f.audit.fail = bell.E(bell.Unavailable, "The database is away.", errors.New("connection refused"))
	var log strings.Builder
	h := console.New(rolesConfig(), f.services(), slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	if w := ask(t, h, "DELETE", "/admin/v1/devices/"+phone, "", asRole(bell.Operator)); w.Code != http.StatusNoContent {
		t.Errorf("status %d", w.Code)
	}
	for _, part := range []string{"level=ERROR", "audit log", "who=operator", "action=device.remove", "removed_device=" + phone} {
		if !strings.Contains(log.String(), part) {
			t.Errorf("%s is not in %s", part, log.String())
		}
	}
	testlog.Keep(t, "log", log.String())
	wantProblem(t, ask(t, h, "GET", "/admin/v1/audit", ""), http.StatusServiceUnavailable, "unavailable", "away")
}

func TestAuditPages(t *testing.T) {
	f := willing(t)
	h := newHandler(t, f, rolesConfig())
	for range 5 {
		ask(t, h, "DELETE", "/admin/v1/devices/"+phone, "", asRole(bell.Operator))
	}
	seen, target := 0, "/admin/v1/audit?limit=2"
	for target != "" {
		list := decode[console.AuditList](t, ask(t, h, "GET", target, ""))
		seen += len(list.Entries)
		target = ""
		if list.Next != "" {
			target = "/admin/v1/audit?limit=2&before=" + url.QueryEscape(list.Next)
		}
		for _, e := range list.Entries {
			if e.Who != "operator" || e.Role != bell.Operator || e.Via != "token" || !e.At.Equal(noon) || e.ID == "" || e.Outcome != audit.Done {
				t.Errorf("%+v", e)
			}
		}
	}
	if seen != 5 {
		t.Errorf("%d entries on all pages, want 5", seen)
	}
	for query, part := range map[string]string{
		"outcome=good": "outcome: want", "since=yesterday": "since: want", "until=x": "until: want", "limit=0": "limit: want",
		"before=1": "before: want", "before=1-x": "before: want", "before=x-" + phone: "before: want", "whom=x": "There is no parameter",
	} {
		wantProblem(t, ask(t, h, "GET", "/admin/v1/audit?"+query, ""), http.StatusBadRequest, "invalid", part)
	}
}

func TestMe(t *testing.T) {
	h := newHandler(t, willing(t), rolesConfig())
	if me := decode[console.Me](t, ask(t, h, "GET", "/admin/v1/me", "", asRole(bell.Viewer))); me != (console.Me{Name: "viewer", Role: bell.Viewer, Via: "token"}) {
		t.Errorf("%+v", me)
	}
	config := testConfig()
	config.Token, config.OpenOnLoopback = "", true
	open := newHandler(t, willing(t), config)
	bare := func(r *http.Request) { r.Header.Del("Authorization") }
	if me := decode[console.Me](t, ask(t, open, "GET", "/admin/v1/me", "", bare)); me != (console.Me{Name: "local", Role: bell.Admin, Via: "loopback"}) {
		t.Errorf("%+v", me)
	}
	if w := ask(t, open, "GET", "/signin?next=/calls", "", bare); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/calls" {
		t.Errorf("where nobody signs in: %d to %s", w.Code, w.Header().Get("Location"))
	}
	// Any credential closes it.
	config.SignIn = rolesConfig().SignIn
	wantProblem(t, ask(t, newHandler(t, newFake(t), config), "GET", "/admin/v1/me", "", bare), http.StatusUnauthorized, "unauthorized", "missing")
}

// Whoever tries passwords is soon answered without a line in the log, and by a page.
func TestTooManySignIns(t *testing.T) {
	f := willing(t)
	var log strings.Builder
	h := console.New(rolesConfig(), f.services(), slog.New(slog.NewTextHandler(&log, nil)), prometheus.NewRegistry())
	codes := map[int]int{}
	for range 14 {
		codes[form(t, h, "/signin", url.Values{"token": {"wrong"}}).Code]++
	}
	if codes[401] != 10 || codes[429] != 4 || strings.Count(log.String(), "\n") != 10 || len(f.audit.entries) != 10 {
		t.Errorf("%v, %d log lines, %d entries", codes, strings.Count(log.String(), "\n"), len(f.audit.entries))
	}
	testlog.Keep(t, "log", log.String())
}

// Nobody in particular can fill the audit log, by whatever way to sign in or out.
func TestSignInsOfNobodyAreBounded(t *testing.T) {
	sent := func(path, body string, change ...func(*http.Request)) func(*testing.T, http.Handler) {
		return func(t *testing.T, h http.Handler) { ask(t, h, "POST", path, body, append(change, anonymous)...) }
	}
	for name, try := range map[string]func(*testing.T, http.Handler){
		"a form that cannot be read": sent("/signin", "name=%zz", asForm()),
		"a form that is too long":    sent("/signin", "name="+strings.Repeat("x", 20<<10), asForm()),
		"a wrong password":           sent("/signin", "name=operator&password=wrong", asForm()),
		"a wrong token":              sent("/signin", "token=wrong", asForm()),
		"a forged sign-in":           sent("/signin", "name=x", asForm(), header("Sec-Fetch-Site", "cross-site")),
		"nothing to sign out of":     sent("/signout", "", asForm()),
		"a forged sign-out":          sent("/signout", "", asForm(), header("Sec-Fetch-Site", "none")),
		"no identity provider":       func(t *testing.T, h http.Handler) { ask(t, h, "GET", "/signin/oidc/callback?code=x", "", anonymous) },
		"no identity provider there": func(t *testing.T, h http.Handler) { ask(t, h, "GET", "/signin/oidc", "", anonymous) },
		"the page":                   func(t *testing.T, h http.Handler) { ask(t, h, "GET", "/signin", "", anonymous) },
	} {
		f := willing(t)
		h := newHandler(t, f, rolesConfig())
		for range 300 {
			try(t, h)
		}
		if n := len(f.audit.entries); n > 20 {
			t.Errorf("%s: %d entries for 300 requests, want 20 at most", name, n)
		}
		if n := len(f.audit.entries); n > 0 && (name == "nothing to sign out of" || strings.HasPrefix(name, "no identity provider")) {
			t.Errorf("%s: %d entries for what does nothing", name, n)
		}
	}
}

func anonymous(r *http.Request) { r.Header.Del("Authorization") }

// What is refused to everybody, or too much for the moment, is no refusal of who asks.
func TestWhatIsNoRefusal(t *testing.T) {
	f := told(t)
	f.rulesErr = bell.E(bell.Forbidden, "This project has no call rules.", nil)
	h := newHandler(t, f, rolesConfig())
	ask(t, h, "GET", "/admin/v1/users/bell-eval/bob/rules", "", asRole(bell.Viewer))
	ask(t, h, "PUT", "/admin/v1/users/bell-eval/bob/rules", `{}`, asRole(bell.Operator))
	if e := f.audit.entries; len(e) != 1 || e[0].Action != "rules.replace" || e[0].Outcome != audit.Failed {
		t.Errorf("the audit log has %+v", e)
	}
}

// A write whose caller waited too long may still happen: the audit log says on whom and where, and
// how much was done before. What cannot be a user's ID is not in there.
func TestWhatMayStillHappen(t *testing.T) {
	late := bell.E(bell.Unavailable, "The database took too long; the write may still happen.", nil)
	body := `{"project":"main","channel":"fcm","push_token":"` + testlog.TextSecret("push") + `","user_id":"`
	for _, test := range []struct{ method, target, body, object string }{
		{"PUT", "/admin/v1/users/bell-eval/bob/rules", `{}`, "rules_of=bob project=main"},
		{"POST", "/admin/v1/devices", body + `bob"}`, "device_of=bob project=main"},
		{"POST", "/admin/v1/devices", body + testlog.TextSecret("pasted here") + `"}`, "project=main"},
		{"POST", "/admin/v1/access_tokens", `{"project":"main","user_id":"bob"}`, "minted_for=bob project=main"},
		{"POST", "/admin/v1/events/evt_1/replay?endpoint=main/crm-1", "", "event=evt_1 endpoint=main/crm-1 replayed_events=2"},
		{"POST", "/admin/v1/events/replay", `{"endpoint":"main/crm-1"}`, "endpoint=main/crm-1 replayed_events=20000"},
		{"POST", "/admin/v1/events/test", `{"project":"main"}`, "project=main event=evt_test"},
		{"POST", "/events/replay", "id=evt_1&endpoint=main/crm-1", "event=evt_1 endpoint=main/crm-1 replayed_events=2"},
		{"POST", "/events/replay", "endpoint=main/crm-1", "endpoint=main/crm-1 replayed_events=20000"},
	} {
		f := willing(t)
		f.rules, f.rulesErr = &policy.Rules{}, late
		f.add = func(*bell.Project, device.NewDevice) (bell.Device, error) { return bell.Device{}, late }
		f.mint = func(*bell.Project, string) (planet.Secret, error) { return "", late }
		f.events = &fakeEvents{fail: late}
		change := []func(*http.Request){asRole(bell.Admin)}
		if !strings.HasPrefix(test.target, "/admin/") {
			change = append(change, asForm())
		}
		if w := ask(t, newHandler(t, f, rolesConfig()), test.method, test.target, test.body, change...); w.Code != http.StatusServiceUnavailable {
			t.Errorf("%s: status %d", test.target, w.Code)
		}
		if e := f.audit.entries; len(e) != 1 || e[0].Object != test.object || e[0].Outcome != audit.Failed {
			t.Errorf("%s: the audit log has %+v, want %q", test.target, e, test.object)
		}
	}
}

// What was to be done stands in the audit log, whatever became of it; what cannot be an ID does
// not.
func TestWhatWasToBeTold(t *testing.T) {
	for target, body := range map[string]string{
		"/admin/v1/events/evt_1/replay?endpoint=main/crm-1": "",
		"/admin/v1/events/replay":                           `{"endpoint":"main/crm-1"}`,
		"/admin/v1/events/enable":                           `{"endpoint":"main/crm-1"}`,
		"/admin/v1/events/test":                             `{"project":"main"}`,
		"/admin/v1/events/" + testlog.TextSecret("pasted") + "/replay?endpoint=https://x/y": "",
	} {
		want := map[string]string{"test": "project=main", "replay": "endpoint=main/crm-1", "enable": "endpoint=main/crm-1"}[target[strings.LastIndex(target, "/")+1:]]
		if strings.Contains(target, "evt_1") {
			want = "event=evt_1 endpoint=main/crm-1"
		}
		f := willing(t)
		f.events = &fakeEvents{fail: bell.E(bell.NotFound, "There is none.", nil)}
		ask(t, newHandler(t, f, rolesConfig()), "POST", target, body, asRole(bell.Operator))
		if len(f.audit.entries) != 1 || f.audit.entries[0].Object != want || f.audit.entries[0].Outcome != audit.Failed {
			t.Errorf("%s: the audit log has %+v, want %q", target, f.audit.entries, want)
		}
	}
	f := told(t)
	f.refused = bell.E(bell.Invalid, "This device polls.", nil)
	h := newHandler(t, f, rolesConfig())
	ask(t, h, "POST", "/devices/"+phone+"/test", "", asForm(), asRole(bell.Operator))
	ask(t, h, "POST", "/events/replay", "id=evt_1&endpoint=main/crm", asForm(), asRole(bell.Operator))
	if e := f.audit.entries; len(e) != 2 || e[0].Object != "tested_device="+phone || e[1].Object != "event=evt_1 endpoint=main/crm replayed_events=1" {
		t.Errorf("the audit log has %+v", e)
	}
}
