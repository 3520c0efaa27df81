package console_test

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/console/pages"
	"github.com/planetbell/planetbell/internal/console/signin"
	"github.com/planetbell/planetbell/internal/console/window"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

// told is a fake with something on every page.
func told(t testing.TB) *fake {
	f := willing(t)
	d := phoneOf("bob")
	d.SuspendedUntil, d.SuspendedFor = noon.Add(time.Hour), "BadDeviceToken"
	other := phoneOf("bob")
	other.ID, other.Channel, other.PushToken = pad, bell.FCM, planet.Secret(testlog.TextSecret("fcm-token"))
	f.owned = []bell.Device{d, other}
	f.devices = func(device.Filter, string, int) ([]bell.Device, error) { return f.owned, nil }
	f.routes = map[string]string{pad: "no_fcm_credential"}
	f.rules = &policy.Rules{}
	f.minutes = []call.Minute{{At: noon.Add(-3 * time.Minute), State: bell.CallEnded, Outcome: planet.OutcomePushFailed, Calls: 2}}
	f.failing = []call.FailingGroup{{
		Project: "main", Channel: bell.FCM, State: bell.DeliveryFailed, Reason: "UNREGISTERED", Count: 3, Calls: 2,
		Last: noon.Add(-time.Minute), Environment: planet.Evaluation, SessionID: sid, DeviceID: pad,
	}}
	f.rung = []call.RungCall{{Call: missedCall(), Delivery: bell.Delivery{State: bell.DeliveryFailed, Reason: "BadDeviceToken", CreatedAt: noon}}}
	f.look = window.Look{
		Since:  noon.Add(-10 * time.Minute),
		Routes: []window.Route{{RouteKey: window.RouteKey{Credential: "main/fcm", Channel: "fcm"}, Open: true, Attempts: 30, Failed: 20, Last: window.Failure{Reason: "UNAVAILABLE", At: noon}}},
	}
	f.result = delivery.TrialResult{
		Channel: bell.APNsAlert, Route: delivery.RouteKey{Credential: "main/app", Channel: bell.APNsAlert, Server: "production"},
		Attempt: bell.Attempt{Number: 1, StartedAt: noon, Took: 80 * time.Millisecond, Outcome: bell.Outcome{
			Verdict: bell.Rejected, Reason: "DeviceTokenNotForTopic", Status: 400, Token: bell.TokenCheck, Detail: "The token is of another app.", ProviderID: phone,
		}},
	}
	f.events = &toldEvents{}
	f.rooms = func(room.Filter, room.Cursor, int) ([]bell.RoomRun, error) {
		return []bell.RoomRun{{
			Environment: planet.Evaluation, SessionID: sid, Room: planet.RoomRef{ServiceID: "bell-eval", RoomID: "standup"},
			State: bell.RoomOpen, Online: 2, HeardAt: noon.Add(-time.Hour), StartedAt: noon.Add(-time.Hour),
		}}, nil
	}
	f.run = func(planet.Environment, planet.SessionID) (bell.RoomRun, error) {
		return bell.RoomRun{SessionID: sid, Room: planet.RoomRef{ServiceID: "bell-eval", RoomID: "standup"}, State: bell.RoomOpen, Online: 2}, nil
	}
	f.people = func(*bell.RoomRun, planet.UserRef, int) ([]bell.Participant, error) {
		return []bell.Participant{{User: planet.UserRef{ServiceID: "bell-eval", UserID: "carol"}, State: bell.ParticipantJoined}}, nil
	}
	return f
}

type toldEvents struct {
	replayed []string
	more     bool // dead letters are left
	statuses atomic.Int32
}

func (e *toldEvents) List(context.Context, webhook.Filter, webhook.Cursor, int) ([]webhook.Telling, error) {
	return []webhook.Telling{{
		Seq: 1, Endpoint: "main/crm", State: webhook.Dead, Attempts: 14, Reason: "status", Status: 503,
		Event: bell.Event{ID: "evt-1", Type: bell.EventCallEnded, Subject: "call/evaluation/" + string(sid), At: noon},
	}}, nil
}

func (e *toldEvents) Statuses(context.Context) ([]webhook.Status, error) {
	e.statuses.Add(1)
	return []webhook.Status{{Endpoint: "main/crm", Host: "crm.example.com", Health: webhook.Down, Open: 4, Oldest: noon.Add(-time.Hour)}}, nil
}

func (e *toldEvents) Replay(_ context.Context, id, endpoint string) (int, error) {
	e.replayed = append(e.replayed, id+" "+endpoint)
	return 1, nil
}

func (e *toldEvents) ReplayDead(_ context.Context, endpoint string) (int, bool, error) {
	e.replayed = append(e.replayed, "all "+endpoint)
	return 7, e.more, nil
}
func (e *toldEvents) Enable(context.Context, string) error                { return nil }
func (e *toldEvents) Test(context.Context, *bell.Project) (string, error) { return "evt-2", nil }

// Each page is whole in each language, says what matters, and shows no secret.
func TestPages(t *testing.T) {
	for path, want := range map[string][2]string{
		"/":                     {"Calls do not ring as they should", "着信に問題が起きています"},
		"/calls":                {"Latest calls", "最近の通話"},
		"/calls?outcome=missed": {"Calls found", "検索結果"},
		"/calls/" + string(sid): {"What happened when", "時間の流れ"},
		"/rooms":                {"standup", "開催中"},
		"/rooms/bell-eval/standup/runs/" + string(sid): {"carol", "参加中"},
		"/users":               {"suspended", "一時停止"},
		"/users/bell-eval/bob": {"bob would not ring now", "どの端末でも着信できません"},
		"/devices/" + phone:    {"only the user&#39;s other devices ring", "他の端末のみ"},
		"/deliveries":          {"UNREGISTERED", "失敗した配信 3件"},
		"/events?state=dead":   {"Replay dead letters", "未達を再送"},
		"/settings":            {"api_secret: &lt;secret&gt;", "有効な設定"},
		"/audit":               {"Audit log", "監査ログ"},
	} {
		for i, language := range planet.Languages() {
			config := testConfig()
			config.Settings = "api_secret: <secret>"
			w := ask(t, newHandler(t, told(t), config), "GET", path, "", header("Accept-Language", string(language)))
			body := w.Body.String()
			if w.Code != http.StatusOK || !strings.Contains(body, want[i]) {
				t.Errorf("%s in %s: %d, without %q", path, language, w.Code, want[i])
			}
			if !strings.Contains(body, `<html lang="`+string(language)+`">`) || !strings.HasSuffix(strings.TrimSpace(body), "</html>") {
				t.Errorf("%s in %s is not whole", path, language)
			}
			if strings.Contains(body, " style=") || strings.Contains(body, "<style") || strings.Contains(body, " onclick") {
				t.Errorf("%s has something inline, which its policy forbids", path)
			}
			if w.Header().Get("Content-Security-Policy") != pages.Policy {
				t.Errorf("%s has the policy %q", path, w.Header().Get("Content-Security-Policy"))
			}
		}
	}
}

func TestPagesOfWhatIsNotThere(t *testing.T) {
	for path, status := range map[string]int{
		"/calls/not%20a%20session":                   http.StatusBadRequest,
		"/calls?since=yesterday":                     http.StatusBadRequest,
		"/calls?before=x":                            http.StatusBadRequest,
		"/users/nobody/bob":                          http.StatusNotFound,
		"/devices/" + poll:                           http.StatusNotFound,
		"/devices/push-token-by-mistake":             http.StatusNotFound,
		"/rooms/bell-eval/other/runs/" + string(sid): http.StatusNotFound,
	} {
		w := ask(t, newHandler(t, told(t), testConfig()), "GET", path, "")
		if w.Code != status || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || !strings.Contains(w.Body.String(), `role="alert"`) {
			t.Errorf("%s: %d %s, want a page with %d", path, w.Code, w.Header().Get("Content-Type"), status)
		}
	}
}

func TestTheLanguageIsRemembered(t *testing.T) {
	h := newHandler(t, told(t), testConfig())
	w := ask(t, h, "GET", "/calls?lang=ja", "")
	cookie := w.Header().Get("Set-Cookie")
	if !strings.Contains(cookie, "planetbell_lang=ja") || !strings.Contains(cookie, "HttpOnly") {
		t.Errorf("cookie %q", cookie)
	}
	w = ask(t, h, "GET", "/calls", "", header("Cookie", "planetbell_lang=ja"), header("Accept-Language", "en"))
	if !strings.Contains(w.Body.String(), "最近の通話") {
		t.Error("the language was forgotten")
	}
}

func TestAssets(t *testing.T) {
	h := newHandler(t, told(t), testConfig())
	w := ask(t, h, "GET", "/assets/console.css", "")
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/css") || w.Header().Get("ETag") == "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	if again := ask(t, h, "GET", "/assets/console.css", "", header("If-None-Match", w.Header().Get("ETag"))); again.Code != http.StatusNotModified {
		t.Errorf("again: %d", again.Code)
	}
	for _, path := range []string{"/assets/vendor/htmx/LICENSE", "/assets/../doc.go", "/assets/"} {
		if w := ask(t, h, "GET", path, ""); w.Code < 300 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

// form sends a form as a page does.
func asForm() func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
}

func TestATestOfADevice(t *testing.T) {
	f := told(t)
	h := newHandler(t, f, testConfig())
	w := ask(t, h, "POST", "/devices/"+phone+"/test", "call=yes", asForm())
	if w.Code != http.StatusOK || len(f.trials) != 1 || !f.trials[0].Call || f.trials[0].Device.ID != phone || f.trials[0].Label != "evaluation" {
		t.Fatalf("%d, trials %d", w.Code, len(f.trials))
	}
	for _, part := range []string{"The provider did not take it.", "DeviceTokenNotForTopic", "The token is of another app.", "main/app"} {
		if !strings.Contains(w.Body.String(), part) {
			t.Errorf("the page does not say %q", part)
		}
	}
	if e := f.audit.entries; len(e) != 1 || e[0].Action != "device.test" || !strings.Contains(e[0].Object, phone) {
		t.Errorf("the audit log has %+v", e)
	}
	w = ask(t, h, "POST", "/admin/v1/devices/"+phone+"/test", `{}`)
	got := decode[console.DeviceTestResult](t, w)
	if got.Attempt.Reason != "DeviceTokenNotForTopic" || got.Credential != "main/app" || f.trials[1].Call {
		t.Errorf("%+v", got)
	}
	for range 3 {
		ask(t, h, "POST", "/admin/v1/devices/"+phone+"/test", `{}`)
	}
	w = ask(t, h, "POST", "/admin/v1/devices/"+phone+"/test", `{}`)
	wantProblem(t, w, http.StatusTooManyRequests, "too_many", "Too many tests")
	f.refused = bell.E(bell.Invalid, "This device polls.", nil)
	w = ask(t, newHandler(t, f, testConfig()), "POST", "/devices/"+phone+"/test", "call=no", asForm())
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "This device polls.") {
		t.Errorf("a device that cannot be tested: %d", w.Code)
	}
}

func TestAReplay(t *testing.T) {
	f := told(t)
	h := newHandler(t, f, testConfig())
	w := ask(t, h, "POST", "/events/replay", "id=evt-1&endpoint=main/crm", asForm())
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/events?endpoint=main%2Fcrm&replayed=1" {
		t.Errorf("%d to %s", w.Code, w.Header().Get("Location"))
	}
	ask(t, h, "POST", "/events/replay", "endpoint=main/crm", asForm())
	ask(t, h, "POST", "/events/replay", "endpoint=main/crm&endpoint=twice", asForm())
	if got := strings.Join(f.events.(*toldEvents).replayed, ", "); got != "evt-1 main/crm, all main/crm" {
		t.Errorf("replayed %s", got)
	}
	f.events.(*toldEvents).more = true
	w = ask(t, h, "POST", "/events/replay", "endpoint=main/crm", asForm())
	if body := ask(t, h, "GET", w.Header().Get("Location"), "").Body.String(); !strings.Contains(body, "told anew: 7. There are more") {
		t.Errorf("after %s it is not said that more are left", w.Header().Get("Location"))
	}
}

func TestFiguresInJSON(t *testing.T) {
	h := newHandler(t, told(t), testConfig())
	o := decode[console.Overview](t, ask(t, h, "GET", "/admin/v1/overview", ""))
	if !o.Ready || len(o.Minutes) != 1 || len(o.Node.Routes) != 1 || !o.Node.Routes[0].CircuitOpen || o.Node.Routes[0].LastFailure.Reason != "UNAVAILABLE" {
		t.Errorf("%+v", o)
	}
	u := decode[console.UserReadiness](t, ask(t, h, "GET", "/admin/v1/users/bell-eval/bob/readiness", ""))
	if u.Rings || len(u.Devices) != 2 || u.Devices[0].Readiness != call.NotSuspended || u.Devices[1].Readiness != call.NotRouted || u.Devices[1].Reason != "no_fcm_credential" {
		t.Errorf("%+v", u)
	}
	l := decode[console.FailingList](t, ask(t, h, "GET", "/admin/v1/deliveries/failing?minutes=60", ""))
	if len(l.Groups) != 1 || !l.Since.Equal(noon.Add(-time.Hour)) || l.Groups[0].Count != 3 {
		t.Errorf("%+v", l)
	}
	wantProblem(t, ask(t, h, "GET", "/admin/v1/deliveries/failing?minutes=0", ""), 400, "invalid", "minutes")
}

// A page that follows a call is told of its end, and that it need not ask again.
func TestACallIsFollowed(t *testing.T) {
	f := told(t)
	record := storyOfMissedCall()
	record.Call.State, record.Call.Outcome, record.Call.EndedAt = bell.CallRinging, "", time.Time{}
	asked := 0
	f.show = func(context.Context, planet.Environment, planet.SessionID) (call.Record, error) {
		if asked++; asked > 1 {
			return storyOfMissedCall(), nil
		}
		return record, nil
	}
	stopping, stop := context.WithCancel(t.Context())
	defer stop()
	config := testConfig()
	config.Stopping = stopping
	clock := noon
	config.Now = func() time.Time { clock = clock.Add(time.Second); return clock.Add(time.Hour) }
	server := httptest.NewServer(console.New(config, f.services(), testlog.New(t), prometheus.NewRegistry()))
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/calls/"+string(sid)+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+adminToken.Reveal())
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("content type %s", resp.Header.Get("Content-Type"))
	}
	var text strings.Builder
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		text.WriteString(lines.Text() + "\n")
	}
	if got := text.String(); !strings.Contains(got, "data: ") || strings.Count(got, `id="fall"`) < 2 || !strings.HasSuffix(got, "event: over\ndata: \n\n") {
		t.Errorf("the stream ends with %q", got[max(0, len(got)-200):])
	}
	noSecrets(t, "a stream", text.String())
}

// Who may not see a page is sent to sign in; a stream is refused.
func TestPagesWantSomebody(t *testing.T) {
	h := newHandler(t, told(t), testConfig())
	nobody := func(r *http.Request) { r.Header.Del("Authorization") }
	if w := ask(t, h, "GET", "/calls?user_id=bob", "", nobody); w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/signin?next=%2Fcalls%3Fuser_id%3Dbob" {
		t.Errorf("%d to %s", w.Code, w.Header().Get("Location"))
	}
	if w := ask(t, h, "GET", "/calls/"+string(sid)+"/live", "", nobody); w.Code != http.StatusUnauthorized {
		t.Errorf("a stream: %d", w.Code)
	}
	f := told(t)
	f.show = func(context.Context, planet.Environment, planet.SessionID) (call.Record, error) {
		return call.Record{}, errors.New("disk I/O error at /var/lib")
	}
	w := ask(t, newHandler(t, f, testConfig()), "GET", "/calls/"+string(sid), "")
	if w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "/var/lib") {
		t.Errorf("a page that fails: %d", w.Code)
	}
}

// Who may not do what a page's form asks for is told so on a page, and scripts swap in no JSON.
func TestARefusalOfAPageIsAPage(t *testing.T) {
	h := newHandler(t, told(t), rolesConfig())
	w := ask(t, h, "POST", "/devices/"+phone+"/test", "", asForm(), asRole(bell.Viewer))
	if body := w.Body.String(); w.Code != http.StatusForbidden || !strings.Contains(body, `<main id="main"`) || !strings.Contains(body, "needs the role operator") {
		t.Errorf("%d %s: %s", w.Code, w.Header().Get("Content-Type"), body)
	}
	if w := ask(t, h, "GET", "/", ""); !strings.Contains(w.Body.String(), `"noSwap":[204,304,"4xx","5xx"]`) {
		t.Error("errors would be swapped in")
	}
}

// The link to the other language shows this page, and not the next one.
func TestTheLanguageOfAPageWithANextOne(t *testing.T) {
	f := told(t)
	d := f.owned[0]
	f.devices = func(_ device.Filter, _ string, limit int) ([]bell.Device, error) {
		return slices.Repeat([]bell.Device{d}, limit), nil
	}
	f.calls = func(_ call.Filter, _ call.Cursor, limit int) ([]bell.Call, error) {
		return slices.Repeat([]bell.Call{missedCall()}, limit), nil
	}
	for path, parameter := range map[string]string{"/users": "after=", "/calls?state=ended": "before="} {
		body := ask(t, newHandler(t, f, testConfig()), "GET", path, "").Body.String()
		_, link, _ := strings.Cut(body, `<a href="?lang=ja`)
		if path != "/users" {
			_, link, _ = strings.Cut(body, `<a href="?`)
		}
		link, _, _ = strings.Cut(link, `"`)
		if !strings.Contains(body, parameter) || strings.Contains(link, parameter) {
			t.Errorf("%s: the next page, or the language's link %q, is wrong", path, link)
		}
	}
}

func TestProblemsOfSigningInAreInJapanese(t *testing.T) {
	for _, sentence := range signin.Problems() {
		if got := (pages.Words{Language: planet.Japanese}).Problem(sentence); got == sentence || got == "" {
			t.Errorf("%q is not in Japanese", sentence)
		}
	}
	w := form(t, newHandler(t, told(t), rolesConfig()), "/signin", url.Values{"token": {"wrong"}}, header("Accept-Language", "ja"))
	if !strings.Contains(w.Body.String(), "APIトークンが違います。") {
		t.Error("the page is in English")
	}
}
