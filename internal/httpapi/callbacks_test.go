package httpapi_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// rung records what Ring was told.
func (w *world) rung() *[]planet.NotifyCallback {
	var got []planet.NotifyCallback
	w.calls.ring = func(_ context.Context, p *bell.Project, n planet.NotifyCallback) (call.RingResult, error) {
		if p != w.project {
			w.t.Errorf("ring for project %v", p)
		}
		got = append(got, n)
		return call.RingResult{Devices: 2}, nil
	}
	return &got
}

// kept records what Journal was told.
func (w *world) kept() *[]call.JournalItem {
	var got []call.JournalItem
	w.calls.journal = func(_ context.Context, _ *bell.Project, item call.JournalItem) error {
		got = append(got, item)
		return nil
	}
	return &got
}

// counted returns the metric of callbacks.
func (w *world) counted(kind, result string) float64 {
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "planetbell_callbacks_total" {
			continue
		}
		for _, m := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["kind"] == kind && labels["result"] == result {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// TestNotifyReachesCalls sends the same Notify in each form that is taken.
func TestNotifyReachesCalls(t *testing.T) {
	form := strings.TrimPrefix(notifyQuery(), "?")
	object := fmt.Sprintf(`{"sid":%q,"from_service_id":%q,"from_user_id":"alice","to_service_id":%q,"to_user_id":"bob","type":"A","param":%q}`,
		sid, service, service, ccParam)
	raw := strings.Replace(notifyQuery(), url.QueryEscape(ccParam), ccParam, 1) // '+' not encoded
	tests := []struct {
		name, method, target, body, contentType string
	}{
		{"GET", "GET", cb("notify") + notifyQuery(), "", ""},
		{"GET with a raw plus", "GET", cb("notify") + raw, "", ""},
		{"GET with sid in upper case", "GET", cb("notify") + strings.Replace(notifyQuery(), sid, strings.ToUpper(sid), 1), "", ""},
		{"POST form", "POST", cb("notify"), form, "application/x-www-form-urlencoded"},
		{"POST JSON", "POST", cb("notify"), object, "application/json; charset=utf-8"},
		{"POST JSON without a type", "POST", cb("notify"), object, ""},
		{"POST with a query and no body", "POST", cb("notify") + notifyQuery(), "", ""},
		{"slashes", "GET", "/" + strings.Replace(cb("notify"), "/notify", "//notify", 1) + notifyQuery(), "", ""},
	}
	want := planet.NotifyCallback{
		SessionID: sid, Caller: planet.UserRef{ServiceID: service, UserID: "alice"},
		Callee: planet.UserRef{ServiceID: service, UserID: "bob"}, Type: planet.AudioCall, CCParam: planet.CCParam(ccParam),
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			got := w.rung()
			r := httptest.NewRequest(test.method, "http://planetbell.test"+test.target, strings.NewReader(test.body))
			if test.contentType != "" {
				r.Header.Set("Content-Type", test.contentType)
			}
			w.send(r).want(t, http.StatusOK)
			if len(*got) != 1 {
				t.Fatalf("rung %d times", len(*got))
			}
			n := (*got)[0]
			n.Raw = nil
			if diff := cmp.Diff(want, n); diff != "" {
				t.Errorf("notify (-want +got):\n%s", diff)
			}
			if (*got)[0].CCParam.Reveal() != ccParam {
				t.Error("cc_param did not arrive byte for byte")
			}
			if n := w.counted("notify", "rung"); n != 1 {
				t.Errorf("counted %v", n)
			}
			if line := w.lines()[0]; line["sid"] != sid || line["devices"] != 2.0 || line["route"] != "/cb/{secret}/notify" || line["project"] != "demo" {
				t.Errorf("log line %v", line)
			}
		})
	}
}

// TestDryRun: the Console's test button calls URLs with few or no parameters.
func TestDryRun(t *testing.T) {
	for _, kind := range []string{"notify", "call-event", "group-call-event", "agent-call-status", "recording"} {
		w := newWorld(t)
		w.config.Recording = true
		w.panicWith("a dry run must not reach a service")
		for _, method := range []string{"GET", "POST", "HEAD"} {
			out := w.do(method, cb(kind), "")
			if out.StatusCode != http.StatusOK {
				t.Errorf("%s %s: status %d", method, kind, out.StatusCode)
			}
		}
		w.do("GET", cb(kind)+"?sid=", "").want(t, http.StatusOK)
		if n := w.counted(kind, "dry_run"); n != 4 {
			t.Errorf("%s: counted %v dry runs, want 4", kind, n)
		}
	}
}

func TestMalformedNotifyIsRefusedWithASentence(t *testing.T) {
	without := func(name string) string {
		values, err := url.ParseQuery(notifyQuery()[1:])
		if err != nil {
			t.Fatal(err)
		}
		values.Del(name)
		return "?" + values.Encode()
	}
	tests := []struct{ name, query, message string }{
		{"no sid", without("sid"), `Parameter "sid" of the Notify callback is missing`},
		{"no param", without("param"), `Parameter "param"`},
		{"no callee", without("to_user_id"), `Parameter "to_user_id"`},
		{"no service", without("to_service_id"), `Parameter "to_service_id"`},
		{"broken encoding", "?sid=%zz", `Parameter "sid"`},
		{"broken encoding of a secret without a name", "?" + testlog.Text + "1=%zz", "has a parameter that is not percent-encoded correctly."},
		{"foreign service", strings.Replace(notifyQuery(), "to_service_id="+service, "to_service_id=other", 1), "to_service_id is not a service of this server"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.panicWith("a malformed Notify must not reach a service")
			out := w.do("GET", cb("notify")+test.query, "")
			out.want(t, http.StatusBadRequest)
			if m := out.envelope.Message; !strings.Contains(m, test.message) || !strings.HasSuffix(m, ".") {
				t.Errorf("message %q does not say %q in a sentence", m, test.message)
			}
			if strings.Contains(string(out.body), testlog.Text) {
				t.Errorf("a secret came back: %s", out.body)
			}
		})
	}
	w := newWorld(t)
	w.do("POST", cb("notify"), strings.Repeat("a", 70_000)).want(t, http.StatusRequestEntityTooLarge)
	w.do("POST", cb("call-event"), strings.Repeat("a", 70_000)).want(t, http.StatusRequestEntityTooLarge)
	w.do("POST", cb("notify"), "x", "Content-Type", "image/png").want(t, http.StatusBadRequest)
}

func TestNotifyAnswers(t *testing.T) {
	tests := []struct {
		name      string
		result    call.RingResult
		err       error
		refuse404 bool
		status    int
		counted   string
	}{
		{"rings", call.RingResult{Devices: 1}, nil, true, 200, "rung"},
		{"repeat", call.RingResult{Repeated: true}, nil, true, 200, "repeated"},
		{"unknown callee", call.RingResult{}, nil, false, 200, "no_device"},
		{"unknown callee, to be refused", call.RingResult{}, nil, true, 404, "no_device"},
		{"rings from memory", call.RingResult{Devices: 2, FromMemory: true}, nil, true, 200, "rung_from_memory"},
		{"nothing to ring, in memory", call.RingResult{FromMemory: true}, nil, false, 200, "no_device"},
		{"overload", call.RingResult{}, bell.E(bell.Overload, "Too many calls at once.", nil), false, 503, "failed"},
		{"trouble", call.RingResult{}, bell.E(bell.Unavailable, "The disk is gone.", nil), false, 503, "failed"},
		{"failure", call.RingResult{}, errors.New("disk"), false, 500, "failed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.project.UnknownCallee404 = test.refuse404
			w.calls.ring = func(context.Context, *bell.Project, planet.NotifyCallback) (call.RingResult, error) {
				return test.result, test.err
			}
			w.do("GET", cb("notify")+notifyQuery(), "").want(t, test.status)
			if n := w.counted("notify", test.counted); n != 1 {
				t.Errorf("counted %v as %s, want 1", n, test.counted)
			}
		})
	}
}

// TestNotifyIsCapped: a Notify that hangs is answered 503 after three seconds, and is
// not given up because Planet Cloud hangs up earlier.
func TestNotifyIsCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.calls.ring = func(ctx context.Context, _ *bell.Project, _ planet.NotifyCallback) (call.RingResult, error) {
			<-ctx.Done()
			return call.RingResult{}, fmt.Errorf("record call: %w", ctx.Err())
		}
		start := time.Now()
		w.do("GET", cb("notify")+notifyQuery(), "").want(t, http.StatusServiceUnavailable)
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("answered after %v, want 3s", took)
		}

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		start = time.Now()
		w.start().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", cb("notify")+notifyQuery(), nil).WithContext(gone))
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("with the client gone it ended after %v, want 3s", took)
		}
		if last := w.lines()[1]; last["status"] != 499.0 {
			t.Errorf("log line %v, want status 499", last)
		}
	})
}

func TestEmbeddedSessionIDThatDiffersIsCounted(t *testing.T) {
	const inside = "eyJzaWQiOiIwMDAwMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDEifQ==" // {"sid":"00000000-…-0001"}
	same := base64.StdEncoding.EncodeToString([]byte(`{"sid":"` + strings.ToUpper(sid) + `"}`))
	w := newWorld(t)
	got := w.rung()
	w.do("GET", cb("notify")+notifyQuery(), "").want(t, http.StatusOK) // has none inside
	w.do("GET", cb("notify")+strings.Replace(notifyQuery(), "param=", "param="+url.QueryEscape(same)+"&x=", 1), "").want(t, http.StatusOK)
	if n := w.metric("planetbell_callback_sid_mismatches_total"); n != 0 || len(*got) != 2 {
		t.Errorf("counted %v although nothing differs, rung %d times", n, len(*got))
	}
	*got = nil
	query := "?sid=" + sid + "&to_service_id=" + service + "&to_user_id=bob&param=" + url.QueryEscape(inside)
	w.do("GET", cb("notify")+query, "").want(t, http.StatusOK)
	if len(*got) != 1 {
		t.Error("it did not ring")
	}
	if n := w.metric("planetbell_callback_sid_mismatches_total"); n != 1 {
		t.Errorf("counted %v", n)
	}
	if line := w.lines()[2]; line["level"] != "WARN" || line["param_sid"] != "00000000-0000-4000-8000-000000000001" {
		t.Errorf("log line %v", line)
	}
	problems, err := testutil.GatherAndLint(w.registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

func TestEventsReachCalls(t *testing.T) {
	t.Run("call event", func(t *testing.T) {
		w := newWorld(t)
		var got planet.CallEvent
		w.calls.end = func(_ context.Context, _ *bell.Project, e planet.CallEvent) error { got = e; return nil }
		w.do("GET", cb("call-event")+"?sid="+strings.ToUpper(sid)+"&duration=30&disconnect_reason=1001", "").want(t, http.StatusOK)
		if got.SessionID != sid || got.Release.DisconnectReason == nil || *got.Release.DisconnectReason != 1001 {
			t.Errorf("got %+v", got)
		}
	})
	tests := []struct {
		kind, query, key string
		warn             bool
	}{
		{"agent-call-status", "?sid=" + sid + "&result=Success&fail_reason=None", "", false},
	}
	for _, test := range tests {
		w := newWorld(t)
		got := w.kept()
		w.do("GET", cb(test.kind)+test.query, "").want(t, http.StatusOK)
		if len(*got) != 1 || (*got)[0].Kind != test.kind || (*got)[0].DedupKey == "" || len((*got)[0].Params) == 0 || (*got)[0].SessionID == "" {
			t.Errorf("%s: kept %+v", test.kind, *got)
		}
		if warned := w.lines()[0]["level"] == "WARN"; warned != test.warn {
			t.Errorf("%s%s: warned %v", test.kind, test.query, warned)
		}
		if n := w.counted(test.kind, "kept"); n != 1 {
			t.Errorf("%s: counted %v", test.kind, n)
		}
	}
}

// The result is read without regard to case (docs/line-planet.md 3.4).
func TestAgentCallStatus(t *testing.T) {
	for query, want := range map[string]bell.AgentStatus{
		"&result=Success&fail_reason=None&agent_type=AUDIO_CALLER&media_source_type=STORED_SOURCE": {
			AgentType: "AUDIO_CALLER", MediaSourceType: "STORED_SOURCE", Success: true,
		},
		"&result=SUCCESS": {Success: true},
		"&result=FAIL&fail_reason=Invalid%20peerId": {FailReason: "Invalid peerId"},
		"&result=Fail&fail_reason=None":             {},
		"":                                          {},
	} {
		w := newWorld(t)
		got := w.kept()
		w.do("GET", cb("agent-call-status")+"?sid="+strings.ToUpper(sid)+query, "").want(t, http.StatusOK)
		if len(*got) != 1 || (*got)[0].Agent == nil || *(*got)[0].Agent != want || (*got)[0].SessionID != sid {
			t.Errorf("%q: kept %+v, want %+v", query, *got, want)
		}
	}
}

// TestUnreadableEventsAreTaken: a refused event can end a call.
func TestUnreadableEventsAreTaken(t *testing.T) {
	for _, kind := range []string{"call-event", "group-call-event", "agent-call-status"} {
		for _, query := range []string{"?type=A", "?sid=%zz", "?sid=" + testlog.Text + "!"} {
			w := newWorld(t)
			w.panicWith("an unreadable event must not reach a service")
			w.do("GET", cb(kind)+query, "").want(t, http.StatusOK)
			if line := w.lines()[0]; line["level"] != "WARN" || line["problem"] == nil {
				t.Errorf("%s%s: log line %v", kind, query, line)
			}
			if n := w.counted(kind, "malformed"); n != 1 {
				t.Errorf("%s%s: counted %v", kind, query, n)
			}
		}
	}
}

func TestWrongSecretLooksLikeAnUnknownPath(t *testing.T) {
	w := newWorld(t)
	w.config.CallbackSources = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} // not checked for strangers
	unknown := w.do("GET", "/nothing", "")
	wrong := testlog.HexSecret(2, 32)
	for _, method := range []string{"GET", "POST", "PUT"} {
		for _, path := range []string{
			"/cb/" + wrong + "/notify", "/cb/" + callbackSecret + "x/notify", "/cb/" + callbackSecret[:31] + "/call-event",
			"/cb/" + wrong + "/nothing", "/cb/" + wrong + "/recording", "/cb//notify", "/cb/" + callbackSecret + "/recording",
		} {
			out := w.do(method, path+notifyQuery(), "")
			out.want(t, http.StatusNotFound)
			if out.envelope.Message != unknown.envelope.Message {
				t.Errorf("%s: message %q, want %q", path, out.envelope.Message, unknown.envelope.Message)
			}
			for _, h := range []http.Header{out.Header, unknown.Header} {
				h.Del("X-Request-Id")
			}
			if diff := cmp.Diff(unknown.Header, out.Header); diff != "" {
				t.Errorf("%s: headers differ from those of an unknown path:\n%s", path, diff)
			}
		}
	}
}

func TestCallbackSources(t *testing.T) {
	tests := []struct {
		name, remote, forwarded string
		status                  int
	}{
		{"allowed", "203.0.113.9:1234", "", 200},
		{"allowed, written as IPv6", "[::ffff:203.0.113.9]:1234", "", 200},
		{"other", "198.51.100.1:1234", "", 403},
		{"other that says it is allowed", "198.51.100.1:1234", "203.0.113.9", 403},
		{"allowed behind the proxy", "10.0.0.1:1234", "203.0.113.9", 200},
		{"other behind the proxy", "10.0.0.1:1234", "203.0.113.9, 198.51.100.1", 403},
		{"proxy that says nothing", "10.0.0.1:1234", "", 403},
		{"proxy that talks nonsense", "10.0.0.1:1234", "203.0.113.9, unknown", 403},
		{"two proxies", "10.0.0.1:1234", "198.51.100.1, 203.0.113.9, 10.0.0.2", 200},
		{"a socket without an address", "@", "", 403},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.config.CallbackSources = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
			w.config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			got := w.rung()
			r := httptest.NewRequest("GET", cb("notify")+notifyQuery(), nil)
			r.RemoteAddr = test.remote
			if test.forwarded != "" {
				r.Header.Set("X-Forwarded-For", test.forwarded)
			}
			w.send(r).want(t, test.status)
			if (len(*got) == 1) != (test.status == 200) {
				t.Errorf("rung %d times", len(*got))
			}
			if test.status == 403 && w.lines()[0]["source"] == nil {
				t.Error("the log does not say which address was refused")
			}
		})
	}
}

func TestRecordingIsKeptAsItComes(t *testing.T) {
	w := newWorld(t)
	w.config.Recording = true
	got := w.kept()
	body := `{"sid":"` + strings.ToUpper(sid) + `","from_recordings":[{"object_id":"o"}]}`
	for _, b := range []string{body, body, "not JSON\x00\xff"} {
		w.do("POST", cb("recording"), b).want(t, http.StatusOK)
	}
	w.do("POST", cb("recording"), strings.Repeat("a", 70_000)).want(t, http.StatusRequestEntityTooLarge)
	if len(*got) != 3 {
		t.Fatalf("kept %d", len(*got))
	}
	first, second, third := (*got)[0], (*got)[1], (*got)[2]
	if first.SessionID != sid || first.Params[0].Value != body || first.DedupKey != second.DedupKey {
		t.Errorf("kept %+v and %+v", first, second)
	}
	if third.SessionID != "" || third.Params[0].Value != "not JSON\uFFFD\uFFFD" || third.DedupKey == first.DedupKey {
		t.Errorf("kept %+v", third)
	}
}
