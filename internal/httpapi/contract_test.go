package httpapi_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/planetbell/planetbell"
	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

// contract is openapi.yaml, loaded once and valid.
var contract = sync.OnceValues(func() (*openapi3.T, error) {
	doc, err := openapi3.NewLoader().LoadFromData(planetbell.OpenAPI)
	if err != nil {
		return nil, err
	}
	return doc, doc.Validate(context.Background())
})

var contractRouter = sync.OnceValues(func() (routers.Router, error) {
	doc, err := contract()
	if err != nil {
		return nil, err
	}
	return legacy.NewRouter(doc)
})

// checkContract holds an answer against openapi.yaml: the status must be named there
// (but for 405), the headers and the body must fit.
func checkContract(t testing.TB, r *http.Request, out *reply) {
	t.Helper()
	if r.Method == http.MethodOptions {
		return
	}
	router, err := contractRouter()
	if err != nil {
		t.Fatalf("openapi.yaml: %v", err)
	}
	route, path, err := findRoute(router, r)
	if err != nil {
		if out.StatusCode != http.StatusNotFound && out.StatusCode != http.StatusTooManyRequests && out.StatusCode != http.StatusRequestURITooLong {
			t.Errorf("%s %s answered %d, but openapi.yaml does not know it", r.Method, r.URL.Path, out.StatusCode)
		}
		return
	}
	if out.StatusCode != http.StatusMethodNotAllowed && route.Operation.Responses.Status(out.StatusCode) == nil {
		t.Errorf("%s %s answered %d, which openapi.yaml does not name", r.Method, route.Path, out.StatusCode)
	}
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: r, PathParams: path, Route: route},
		Status:                 out.StatusCode, Header: out.Header,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	input.SetBodyBytes(out.body)
	if err := openapi3filter.ValidateResponse(context.Background(), input); err != nil {
		t.Errorf("%s %s answered %d against openapi.yaml: %v", r.Method, route.Path, out.StatusCode, err)
	}
}

// findRoute finds the operation; for a method that the path does not take, another one
// of the path.
func findRoute(router routers.Router, r *http.Request) (*routers.Route, map[string]string, error) {
	last := errors.New("the router of the tests forgives a slash at the end; the server does not")
	if strings.HasSuffix(r.URL.Path, "/") {
		return nil, nil, last
	}
	for _, method := range []string{r.Method, http.MethodGet, http.MethodPost} {
		clone := r.Clone(context.Background())
		clone.Method = method
		clone.URL.Scheme, clone.URL.Host = "", ""
		for strings.Contains(clone.URL.Path, "//") { // the server forgives them
			clone.URL.Path = strings.ReplaceAll(clone.URL.Path, "//", "/")
		}
		route, path, err := router.FindRoute(clone)
		if err == nil {
			return route, path, nil
		}
		last = err
	}
	return nil, nil, last
}

func TestContractIsServed(t *testing.T) {
	if _, err := contract(); err != nil {
		t.Fatalf("openapi.yaml: %v", err)
	}
	out := newWorld(t).do("GET", "/openapi.yaml", "")
	if out.StatusCode != http.StatusOK || out.Header.Get("Content-Type") != "application/yaml" {
		t.Errorf("status %d, type %q", out.StatusCode, out.Header.Get("Content-Type"))
	}
	if string(out.body) != string(planetbell.OpenAPI) {
		t.Error("what is served is not openapi.yaml")
	}
}

// TestContractAndRoutesAgree asks every path and method of openapi.yaml, and some that
// it does not have.
func TestContractAndRoutesAgree(t *testing.T) {
	doc, err := contract()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.config.Recording = true
	var paths []string
	for path, item := range doc.Paths.Map() {
		paths = append(paths, path)
		path = strings.ReplaceAll(path, "{secret}", callbackSecret)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"} {
			out := w.do(method, path, "", as(appToken)...)
			if refused := out.StatusCode == http.StatusMethodNotAllowed; refused == (item.GetOperation(method) != nil) {
				t.Errorf("%s %s answered %d; in the contract: %v", method, path, out.StatusCode, !refused)
			}
			if out.StatusCode == http.StatusMethodNotAllowed && out.Header.Get("Allow") == "" {
				t.Errorf("%s %s: 405 without Allow", method, path)
			}
		}
	}
	slices.Sort(paths)
	want := []string{
		"/cb/{secret}/agent-call-status", "/cb/{secret}/call-event", "/cb/{secret}/group-call-event", "/cb/{secret}/notify",
		"/cb/{secret}/recording", "/openapi.yaml", "/v2/access_token/issue", "/v2/block_user", "/v2/blocked_users", "/v2/calls",
		"/v2/do_not_disturb", "/v2/notification/ack", "/v2/notification/lp", "/v2/notification/sse", "/v2/register_device", "/v2/register_user",
		"/v2/rooms/{id}/invite", "/v2/unblock_user", "/v2/update_notification_token", "/v2/web_push/key",
	}
	if !slices.Equal(paths, want) {
		t.Errorf("paths %v, want %v", paths, want)
	}
	for _, path := range []string{"/", "/v1/register_device", "/v2", "/v2/", "/v2/register_user/", "/cb", "/cb/" + callbackSecret, "/metrics", "/admin/v1/devices"} {
		w.do("GET", path, "").want(t, http.StatusNotFound)
	}
}

// everything makes all services fail with err.
func (w *world) everything(err error) {
	w.accounts.signUp = func(context.Context, account.SignUp) (planet.Secret, error) { return "", err }
	w.accounts.accessToken = func(context.Context, bell.Identity) (planet.Secret, error) { return "", err }
	w.devices.register = func(context.Context, bell.Identity, device.Description) (device.Notice, error) {
		return device.Notice{}, err
	}
	w.devices.updateToken = func(context.Context, bell.Identity, device.Address) (device.Notice, error) {
		return device.Notice{}, err
	}
	w.receipts.receive = func(context.Context, bell.Receipt) error { return err }
	w.rules.err = err
	w.webPush.err = err
	w.calls.ring = func(context.Context, *bell.Project, planet.NotifyCallback) (call.RingResult, error) {
		return call.RingResult{}, err
	}
	w.calls.end = func(context.Context, *bell.Project, planet.CallEvent) error { return err }
	w.calls.journal = func(context.Context, *bell.Project, call.JournalItem) error { return err }
	w.rooms.take = func(context.Context, *bell.Project, planet.GroupCallEvent) error { return err }
	w.rooms.invite = func(context.Context, *bell.Project, room.Request) (room.Invited, error) { return room.Invited{}, err }
	w.mailbox.wait = func(context.Context, bell.Poll) (*bell.Letter, error) { return nil, err }
	w.history.history = func(context.Context, call.HistoryQuery) (call.HistoryPage, error) { return call.HistoryPage{}, err }
}

// good is a request per route that succeeds when the services do.
type request struct {
	name, method, target, body string
	headers                    []string
}

func good() []request {
	user := `{"userId":"alice","serviceId":"` + service + `","region":"JP","apiKey":"` + clientKey + `"}`
	return []request{
		{"register_user", "POST", "/v2/register_user", user, nil},
		{"register_device", "POST", "/v2/register_device", `{"appType":"IOS","appVer":"1.0"}`, as(appToken)},
		{"update_notification_token", "POST", "/v2/update_notification_token", `{"appType":"IOS","notificationType":"fcm","notificationToken":"` + pushToken + `"}`, as(appToken)},
		{"issue", "GET", "/v2/access_token/issue", "", as(appToken)},
		{"ack", "POST", "/v2/notification/ack", `{"sid":"` + sid + `","channel":"fcm"}`, as(appToken)},
		{"web_push key", "GET", "/v2/web_push/key", "", as(appToken)},
		{"calls", "GET", "/v2/calls?limit=5&direction=in&outcome=missed&since=1&lang=ja", "", as(appToken)},
		{"block_user", "POST", "/v2/block_user", `{"userId":"eve"}`, as(appToken)},
		{"unblock_user", "POST", "/v2/unblock_user", `{"userId":"eve","serviceId":"other"}`, as(appToken)},
		{"blocked_users", "GET", "/v2/blocked_users", "", as(appToken)},
		{"do_not_disturb", "GET", "/v2/do_not_disturb", "", as(appToken)},
		{"set do_not_disturb", "POST", "/v2/do_not_disturb", `{"on":true,"until":4000000000000}`, as(appToken)},
		{"invite", "POST", "/v2/rooms/room/invite", `{"userIds":["bob"],"message":"come"}`, as(appToken)},
		{"notify", "GET", cb("notify") + notifyQuery(), "", nil},
		{"call-event", "GET", cb("call-event") + "?sid=" + sid + "&type=A&duration=0", "", nil},
		{"group-call-event", "GET", cb("group-call-event") + "?sid=59db2167e13911ea83a8213945545d1c&svc_id=" + service + "&id=room&sc=S", "", nil},
		{"agent-call-status", "GET", cb("agent-call-status") + "?sid=" + sid + "&result=Success", "", nil},
		{"recording", "POST", cb("recording"), `{"sid":"` + sid + `","recording_status":"COMPLETED"}`, nil},
	}
}

// TestEveryAnswerFitsTheContract goes through success and each kind of failure of each
// route; do holds the answers against openapi.yaml.
func TestEveryAnswerFitsTheContract(t *testing.T) {
	for _, req := range good() {
		t.Run(req.name, func(t *testing.T) {
			w := newWorld(t)
			w.config.Recording = true
			w.do(req.method, req.target, req.body, req.headers...).want(t, http.StatusOK)

			failures := map[int]error{
				http.StatusInternalServerError: errors.New("disk on fire"),
				http.StatusServiceUnavailable:  bell.E(bell.Unavailable, "The database is away.", errors.New("connection refused")),
			}
			for status, err := range failures {
				w := newWorld(t)
				w.config.Recording = true
				w.everything(err)
				out := w.do(req.method, req.target, req.body, req.headers...)
				out.want(t, status)
				if status == http.StatusInternalServerError && strings.Contains(string(out.body), "fire") {
					t.Errorf("an unknown error's text went out: %s", out.body)
				}
				if last := w.lines()[0]; last["level"] != "ERROR" || !strings.Contains(last["error"].(string), causeOf(err)) {
					t.Errorf("log line %v, want an error with its cause", last)
				}
			}
			panicking := newWorld(t)
			panicking.config.Recording = true
			panicking.everything(nil)
			panicking.panicWith(ccParam + appToken)
			panicking.do(req.method, req.target, req.body, req.headers...).want(t, http.StatusInternalServerError)
		})
	}
}

func causeOf(err error) string {
	var e *bell.Error
	if errors.As(err, &e) {
		return e.Cause.Error()
	}
	return err.Error()
}

// panicWith makes all services panic.
func (w *world) panicWith(value any) {
	w.accounts.signUp = func(context.Context, account.SignUp) (planet.Secret, error) { panic(value) }
	w.accounts.accessToken = func(context.Context, bell.Identity) (planet.Secret, error) { panic(value) }
	w.devices.register = func(context.Context, bell.Identity, device.Description) (device.Notice, error) { panic(value) }
	w.devices.updateToken = func(context.Context, bell.Identity, device.Address) (device.Notice, error) { panic(value) }
	w.receipts.receive = func(context.Context, bell.Receipt) error { panic(value) }
	w.calls.ring = func(context.Context, *bell.Project, planet.NotifyCallback) (call.RingResult, error) { panic(value) }
	w.calls.end = func(context.Context, *bell.Project, planet.CallEvent) error { panic(value) }
	w.calls.journal = func(context.Context, *bell.Project, call.JournalItem) error { panic(value) }
	w.rooms.take = func(context.Context, *bell.Project, planet.GroupCallEvent) error { panic(value) }
	w.rooms.invite = func(context.Context, *bell.Project, room.Request) (room.Invited, error) { panic(value) }
	w.mailbox.wait = func(context.Context, bell.Poll) (*bell.Letter, error) { panic(value) }
	w.history.history = func(context.Context, call.HistoryQuery) (call.HistoryPage, error) { panic(value) }
	w.rules.panics = value
	w.webPush.panics = value
}

// TestRefusals goes through what clients do wrong.
func TestRefusals(t *testing.T) {
	large := `{"userId":"` + strings.Repeat("x", 70_000) + `"}`
	tests := []struct {
		name, method, target, body string
		headers                    []string
		status                     int
		message                    string
	}{
		{"no body", "POST", "/v2/register_user", "", nil, 400, "one JSON object"},
		{"list", "POST", "/v2/register_user", `[]`, nil, 400, "one JSON object"},
		{"null", "POST", "/v2/register_user", `null`, nil, 400, "one JSON object"},
		{"broken, with a secret inside", "POST", "/v2/register_user", `{"apiKey":"` + clientKey + `"`, nil, 400, "one JSON object"},
		{"no user", "POST", "/v2/register_user", `{"serviceId":"s"}`, nil, 400, "userId: is missing"},
		{"no service", "POST", "/v2/register_user", `{"userId":"u"}`, nil, 400, "serviceId: is missing"},
		{"user as a number", "POST", "/v2/register_user", `{"userId":12,"serviceId":"s"}`, nil, 400, "userId: must be a string"},
		{"service as an object", "POST", "/v2/register_user", `{"userId":"u","serviceId":{}}`, nil, 400, "serviceId: must be a string"},
		{"key as a list", "POST", "/v2/register_user", `{"userId":"u","serviceId":"s","apiKey":["` + clientKey + `"]}`, nil, 400, "apiKey: must be a string"},
		{"large", "POST", "/v2/register_user", large, nil, 413, "65536"},
		{"device without a token", "POST", "/v2/register_device", `{}`, nil, 401, "Authorization"},
		{"device with a bad token", "POST", "/v2/register_device", `{}`, as(appToken + "x"), 401, "register again"},
		{"device with Basic", "POST", "/v2/register_device", `{}`, []string{"Authorization", "Basic " + appToken}, 401, "Authorization"},
		{"device type as a number", "POST", "/v2/register_device", `{"appType":1}`, as(appToken), 400, "appType"},
		{"device ID as a number", "POST", "/v2/register_device", `{"deviceId":1}`, as(appToken), 400, "deviceId"},
		{"app ID as a number", "POST", "/v2/register_device", `{"appId":1}`, as(appToken), 400, "appId"},
		{"broken device", "POST", "/v2/register_device", `{`, as(appToken), 400, "JSON"},
		{"address without a token", "POST", "/v2/update_notification_token", `{}`, nil, 401, "Authorization"},
		{"broken address", "POST", "/v2/update_notification_token", `x`, as(appToken), 400, "JSON"},
		{"address type as a number", "POST", "/v2/update_notification_token", `{"appType":1}`, as(appToken), 400, "appType"},
		{"no notification type", "POST", "/v2/update_notification_token", `{"notificationToken":"` + pushToken + `"}`, as(appToken), 400, "notificationType"},
		{"push token as an object", "POST", "/v2/update_notification_token", `{"notificationType":"lp","notificationToken":{"a":"` + pushToken + `"}}`, as(appToken), 400, "notificationToken"},
		{"server as a number", "POST", "/v2/update_notification_token", `{"notificationType":"lp","apnsServer":1}`, as(appToken), 400, "apnsServer"},
		{"issue without a token", "GET", "/v2/access_token/issue", "", nil, 401, "Authorization"},
		{"poll without a token", "GET", "/v2/notification/lp", "", nil, 401, "Authorization"},
		{"poll with a bad token", "GET", "/v2/notification/lp", "", as(appToken + "x"), 401, "register again"},
		{"poll with a huge body", "GET", "/v2/notification/lp", large, as(appToken), 413, "65536"},
		{"poll that is not sure", "GET", "/v2/notification/lp?ack=true", "", as(appToken), 400, "ack: must be 1"},
		{"poll that is not sure, without a token", "GET", "/v2/notification/lp?ack=true", "", nil, 401, "Authorization"},
		{"receipt without a token", "POST", "/v2/notification/ack", `{"sid":"` + sid + `"}`, nil, 401, "Authorization"},
		{"broken receipt", "POST", "/v2/notification/ack", `{`, as(appToken), 400, "JSON"},
		{"receipt of no call", "POST", "/v2/notification/ack", `{"channel":"fcm"}`, as(appToken), 400, "sid: is missing"},
		{"receipt with a problem in prose", "POST", "/v2/notification/ack", `{"sid":"` + sid + `","problem":"it did not work"}`, as(appToken), 400, "problem: must be one word"},
		{"receipt of a strange call", "POST", "/v2/notification/ack", `{"sid":"a/b"}`, as(appToken), 400, "sid: the session ID has a forbidden character"},
		{"receipt of a long call", "POST", "/v2/notification/ack", `{"sid":"` + strings.Repeat("a", 65) + `"}`, as(appToken), 400, "sid: the session ID has 65 bytes"},
		{"receipt by pigeon", "POST", "/v2/notification/ack", `{"sid":"` + sid + `","channel":"pigeon"}`, as(appToken), 400, "channel: must be"},
		{"receipt at noon", "POST", "/v2/notification/ack", `{"sid":"` + sid + `","receivedAt":"noon"}`, as(appToken), 400, "receivedAt: must be"},
		{"receipt at half a millisecond", "POST", "/v2/notification/ack", `{"sid":"` + sid + `","receivedAt":1.5}`, as(appToken), 400, "receivedAt: must be"},
		{"receipt before time", "POST", "/v2/notification/ack", `{"sid":"` + sid + `","receivedAt":0}`, as(appToken), 400, "receivedAt: must be"},
		{"receipt after time", "POST", "/v2/notification/ack", `{"sid":"` + sid + `","receivedAt":253402300800000}`, as(appToken), 400, "receivedAt: must be"},
		{"receipt with a loud priority", "POST", "/v2/notification/ack", `{"sid":"` + sid + `","priority":"HIGH"}`, as(appToken), 400, "priority: must be"},
		{"receipt with an odd priority", "POST", "/v2/notification/ack", `{"sid":"` + sid + `","originalPriority":"low"}`, as(appToken), 400, "originalPriority: must be"},
		{"receipt with a numbered priority", "POST", "/v2/notification/ack", `{"sid":"` + sid + `","priority":1}`, as(appToken), 400, "priority: must be a string"},
		{"web push key without a token", "GET", "/v2/web_push/key", "", nil, 401, "Authorization"},
		{"calls without a token", "GET", "/v2/calls", "", nil, 401, "Authorization"},
		{"calls with a bad token", "GET", "/v2/calls", "", as(appToken + "x"), 401, "register again"},
		{"calls sideways", "GET", "/v2/calls?direction=up", "", as(appToken), 400, "direction: must be"},
		{"no calls", "GET", "/v2/calls?limit=0", "", as(appToken), 400, "limit: must be"},
		{"too many calls", "GET", "/v2/calls?limit=101", "", as(appToken), 400, "limit: must be"},
		{"many calls", "GET", "/v2/calls?limit=many", "", as(appToken), 400, "limit: must be"},
		{"calls since noon", "GET", "/v2/calls?since=noon", "", as(appToken), 400, "since: must be"},
		{"calls since before time", "GET", "/v2/calls?since=0", "", as(appToken), 400, "since: must be"},
		{"calls since after time", "GET", "/v2/calls?since=253402300800000", "", as(appToken), 400, "since: must be"},
		{"calls of a strange outcome", "GET", "/v2/calls?outcome=lost", "", as(appToken), 400, "outcome: must be"},
		{"calls missed perhaps", "GET", "/v2/calls?missed=true", "", as(appToken), 400, "missed: must be"},
		{"own calls missed", "GET", "/v2/calls?missed=1&direction=out", "", as(appToken), 400, "missed: only incoming"},
		{"calls missed and busy", "GET", "/v2/calls?missed=1&outcome=busy", "", as(appToken), 400, "missed: only incoming"},
		{"calls in Latin", "GET", "/v2/calls?lang=la", "", as(appToken), 400, "lang: must be"},
		{"calls after a word", "GET", "/v2/calls?cursor=yesterday", "", as(appToken), 400, "cursor: must be"},
		{"calls after a long word", "GET", "/v2/calls?cursor=" + strings.Repeat("MT", 100), "", as(appToken), 400, "cursor: must be"},
		{"calls after a padded cursor", "GET", "/v2/calls?cursor=MS5hYg%3D%3D", "", as(appToken), 400, "cursor: must be"},
		{"calls after a time before time", "GET", "/v2/calls?cursor=MC5hYg", "", as(appToken), 400, "cursor: must be"},
		{"calls after no call", "GET", "/v2/calls?cursor=MS4", "", as(appToken), 400, "cursor: must be"},
		{"calls after a strange call", "GET", "/v2/calls?cursor=MS5hL2I", "", as(appToken), 400, "cursor: must be"},
		{"block without a token", "POST", "/v2/block_user", `{"userId":"eve"}`, nil, 401, "Authorization"},
		{"broken block", "POST", "/v2/block_user", `[]`, as(appToken), 400, "JSON"},
		{"block of nobody", "POST", "/v2/block_user", `{"serviceId":"x"}`, as(appToken), 400, "userId: is missing"},
		{"block of a number", "POST", "/v2/unblock_user", `{"userId":1}`, as(appToken), 400, "userId: must be a string"},
		{"block in a strange service", "POST", "/v2/block_user", `{"userId":"eve","serviceId":[]}`, as(appToken), 400, "serviceId: must be a string"},
		{"silence without a word", "POST", "/v2/do_not_disturb", `{}`, as(appToken), 400, "on: must be true or false"},
		{"silence null", "POST", "/v2/do_not_disturb", `{"on":null}`, as(appToken), 400, "on: must be true or false"},
		{"silence perhaps", "POST", "/v2/do_not_disturb", `{"on":"yes"}`, as(appToken), 400, "on: must be true or false"},
		{"silence until noon", "POST", "/v2/do_not_disturb", `{"on":true,"until":"noon"}`, as(appToken), 400, "until: must be a time"},
		{"silence at odd hours", "POST", "/v2/do_not_disturb", `{"on":true,"quietHours":"night"}`, as(appToken), 400, "quietHours: must be an object"},
		{"silence at no hours", "POST", "/v2/do_not_disturb", `{"on":true,"quietHours":{}}`, as(appToken), 400, "two different times of day"},
		{"silence nowhere", "POST", "/v2/do_not_disturb", `{"on":true,"quietHours":{"from":"22:00","to":"07:00","timeZone":"Mars/Dune"}}`, as(appToken), 400, "IANA"},
		{"invitation without a token", "POST", "/v2/rooms/room/invite", `{"userIds":["bob"]}`, nil, 401, "Authorization"},
		{"invitation into no room", "POST", "/v2/rooms/a%2Fb/invite", `{"userIds":["bob"]}`, as(appToken), 400, "room ID has a forbidden character"},
		{"broken invitation", "POST", "/v2/rooms/room/invite", `{`, as(appToken), 400, "JSON"},
		{"invitation of nobody", "POST", "/v2/rooms/room/invite", `{"userIds":[]}`, as(appToken), 400, "userIds: must be"},
		{"invitation of one who is no list", "POST", "/v2/rooms/room/invite", `{"userIds":"bob"}`, as(appToken), 400, "userIds: must be"},
		{"invitation of 101", "POST", "/v2/rooms/room/invite", `{"userIds":["b"` + strings.Repeat(`,"b"`, 100) + `]}`, as(appToken), 400, "1 to 100"},
		{"invitation of a strange user", "POST", "/v2/rooms/room/invite", `{"userIds":["bob","a/b"]}`, as(appToken), 400, "userIds: entry 2"},
		{"invitation with a long message", "POST", "/v2/rooms/room/invite", `{"userIds":["bob"],"message":"` + strings.Repeat("x", 201) + `"}`, as(appToken), 400, "message: must have"},
		{"invitation with a list of fields", "POST", "/v2/rooms/room/invite", `{"userIds":["bob"],"appFields":["` + pushToken + `"]}`, as(appToken), 400, "appFields: must be"},
		{"invitation with a field of the protocol", "POST", "/v2/rooms/room/invite", `{"userIds":["bob"],"appFields":{"cc_param":"x"}}`, as(appToken), 400, "appFields: each"},
		{"invitation with a long field", "POST", "/v2/rooms/room/invite", `{"userIds":["bob"],"appFields":{"app_x":"` + strings.Repeat("x", 2048) + `"}}`, as(appToken), 400, "appFields: each"},
		{"HEAD on a poll", "HEAD", "/v2/notification/lp", "", as(appToken), 405, "GET"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			out := w.do(test.method, test.target, test.body, test.headers...)
			out.want(t, test.status)
			if !strings.Contains(out.envelope.Message, test.message) {
				t.Errorf("message %q does not say %q", out.envelope.Message, test.message)
			}
			if challenge := out.Header.Get("WWW-Authenticate"); (challenge == "Bearer") != (test.status == 401) {
				t.Errorf("WWW-Authenticate %q with status %d", challenge, test.status)
			}
			if out.Header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be cached")
			}
			if strings.Contains(string(out.body), "CANARY") {
				t.Errorf("the answer repeats a secret: %s", out.body)
			}
		})
	}
}

func TestEveryKindHasItsStatus(t *testing.T) {
	tests := map[error]int{
		bell.Invalid: 400, bell.Unauthorized: 401, bell.Forbidden: 403, bell.NotFound: 404,
		bell.Taken: 409, bell.TooLarge: 413, bell.TooMany: 429, bell.Overload: 503, bell.Unavailable: 503,
		bell.Kind("of tomorrow"): 500, context.DeadlineExceeded: 503,
	}
	for err, status := range tests {
		w := newWorld(t)
		w.everything(err)
		rec := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/v2/register_device", strings.NewReader(`{}`))
		r.Header.Set("Authorization", "Bearer "+appToken)
		w.start().ServeHTTP(rec, r)
		if rec.Code != status {
			t.Errorf("%v became %d, want %d", err, rec.Code, status)
		}
		if !strings.Contains(rec.Body.String(), `"message":"`) {
			t.Errorf("%v: no message in %s", err, rec.Body)
		}
	}
}
