package planet

import (
	"encoding/base64"
	"errors"
	"maps"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/testlog"
)

// docsParam is the sample of LINE Planet's page.
const docsParam = "eyJjYWxsRmxvd1R5cGUiOiJNIiwiY29tbVBhcmFtIjoie1wibXBrZXlcIjpcIkFoTFJVMzBYdVhGZW5UM1o4WmFwVSsyWVBUUHpyWUEyWk9i" +
	"RHFSenkraHIzXCIsXCJjdG1cIjozMDAwLFwiaWN0XCI6NjAwMH0iLCJjYWxsVHlwZSI6IkEifQ=="

// docsNotify is the example request of the page, with a whole param in it.
const docsNotify = "from_user_id=9286&from_service_id=caller-service-id&to_user_id=2809&to_service_id=callee-service-id" +
	"&sid=151ad995-749c-4a28-893f-636700469db1&type=A&stid=stid&param="

func query(t testing.TB, raw string) url.Values {
	t.Helper()
	values, err := ParseQuery(raw)
	if err != nil {
		t.Fatal(err)
	}
	return values
}

// notifyWith returns the parameters of a good Notify, changed: an empty value
// removes a parameter.
func notifyWith(t testing.TB, change map[string]string) url.Values {
	t.Helper()
	values := query(t, docsNotify+url.QueryEscape(docsParam))
	for name, value := range change {
		values.Set(name, value)
		if value == "" {
			values.Del(name)
		}
	}
	return values
}

func TestParseNotifyOfTheDocs(t *testing.T) {
	got, err := ParseNotify(query(t, docsNotify+url.QueryEscape(docsParam)))
	if err != nil {
		t.Fatal(err)
	}
	want := NotifyCallback{
		SessionID:     "151ad995-749c-4a28-893f-636700469db1",
		Caller:        UserRef{"caller-service-id", "9286"},
		Callee:        UserRef{"callee-service-id", "2809"},
		Type:          AudioCall,
		CCParam:       docsParam,
		AppServerData: "stid",
		STID:          "stid",
		Raw: []RawParam{
			{"from_service_id", "caller-service-id"},
			{"from_user_id", "9286"},
			{"sid", "151ad995-749c-4a28-893f-636700469db1"},
			{"stid", "stid"},
			{"to_service_id", "callee-service-id"},
			{"to_user_id", "2809"},
			{"type", "A"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestParseNotifyParam(t *testing.T) {
	for _, c := range []struct {
		name, wire string // as it stands in the URL
		want       string
	}{
		{"encoded", "a%2Bb%2Fc%3D%3D", "a+b/c=="},
		{"encoded in small letters", "a%2bb%2fc%3d", "a+b/c="},
		{"raw plus", "a+b/c==", "a+b/c=="},
		{"encoded space", "a%20b", "a+b"},
		{"raw plus at both ends", "+ab+", "+ab+"},
		{"decoded once only", "a%252Bb", "a%2Bb"},
		{"base64url stays", "a-b_c", "a-b_c"},
		{"no padding added", "abc", "abc"},
		{"docs' sample", url.QueryEscape(docsParam), docsParam},
		{"longest", strings.Repeat("A", 8192), strings.Repeat("A", 8192)},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseNotify(query(t, docsNotify+c.wire))
			if err != nil {
				t.Fatal(err)
			}
			if got.CCParam.Reveal() != c.want {
				t.Errorf("got %q, want %q", got.CCParam.Reveal(), c.want)
			}
		})
	}
}

func TestParseNotifyParamSurvives(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		param := base64.StdEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "bytes"))
		// Some senders encode all of it, some what they must, some nothing.
		wire := rapid.SampledFrom([]string{
			url.QueryEscape(param), strings.ReplaceAll(param, "=", "%3D"), param, strings.ReplaceAll(param, "+", "%20"),
		}).Draw(t, "wire")
		values, err := ParseQuery(docsNotify + wire)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseNotify(values)
		if err != nil {
			t.Fatal(err)
		}
		if got.CCParam.Reveal() != param {
			t.Fatalf("got %q, want %q", got.CCParam.Reveal(), param)
		}
	})
}

func TestParseNotifyRefuses(t *testing.T) {
	for _, c := range []struct {
		name, parameter, value string
		problem                string
	}{
		{"no sid", "sid", "", `"sid" of the Notify callback is missing`},
		{"sid with a slash", "sid", "../../x", "is wrong: the session ID has a forbidden character"},
		{"long sid", "sid", strings.Repeat("a", 65), "is wrong"},
		{"no callee", "to_user_id", "", `"to_user_id" of the Notify callback is missing`},
		{"callee with a dot", "to_user_id", "a.b", "is wrong: the user ID"},
		{"long callee", "to_user_id", strings.Repeat("u", 65), "is wrong"},
		{"no callee service", "to_service_id", "", `"to_service_id" of the Notify callback is missing`},
		{"callee service with an underscore", "to_service_id", "a_b", "is wrong: the service ID"},
		{"no param", "param", "", `"param" of the Notify callback is missing`},
		{"param not ASCII", "param", testlog.CCParam(1) + "\xff", "not printable ASCII"},
		{"param with a line break", "param", testlog.CCParam(1) + "\n", "not printable ASCII"},
		{"param with NUL", "param", testlog.CCParam(1) + "\x00", "not printable ASCII"},
		{"long param", "param", testlog.CCParam(1) + strings.Repeat("A", 8192), "longer than 8192"},
		{"caller with a control character", "from_user_id", "a\x1b[31m", `"from_user_id" of the Notify callback has a character`},
		{"long caller", "from_service_id", strings.Repeat("s", 129), "is longer than 128"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseNotify(notifyWith(t, map[string]string{c.parameter: c.value}))
			wantParameterError(t, err, c.problem)
			var p *ParameterError
			if errors.As(err, &p) && (p.Callback != "Notify" || p.Parameter != c.parameter) {
				t.Errorf("the error is about %s of %s", p.Parameter, p.Callback)
			}
			if diff := cmp.Diff(NotifyCallback{}, got); diff != "" {
				t.Error(diff)
			}
			testlog.Keep(t, "error", err.Error())
			if strings.Contains(err.Error(), testlog.Text) {
				t.Error("the error quotes param")
			}
		})
	}
}

func TestParseNotifyAccepts(t *testing.T) {
	for _, c := range []struct {
		name   string
		change map[string]string
		differ func(*NotifyCallback)
	}{
		{"as it is", nil, func(*NotifyCallback) {}},
		{"no type", map[string]string{"type": ""}, func(*NotifyCallback) {}},
		{"unknown type", map[string]string{"type": "X"}, func(*NotifyCallback) {}},
		{"small letter", map[string]string{"type": "v"}, func(n *NotifyCallback) { n.Type = VideoCall }},
		{
			"sid in capitals",
			map[string]string{"sid": "151AD995-749C-4A28-893F-636700469DB1"},
			func(*NotifyCallback) {},
		},
		{
			"no caller",
			map[string]string{"from_user_id": "", "from_service_id": ""},
			func(n *NotifyCallback) { n.Caller = UserRef{} },
		},
		{
			"caller of another kind",
			map[string]string{"from_user_id": "sip:+81@example.com"},
			func(n *NotifyCallback) { n.Caller.UserID = "sip:+81@example.com" },
		},
		{
			"app server data",
			map[string]string{"app_svr_data": "y"},
			func(n *NotifyCallback) { n.AppServerData = "y" },
		},
		{
			"app server data only",
			map[string]string{"app_svr_data": "y", "stid": ""},
			func(n *NotifyCallback) { n.AppServerData, n.STID = "y", "" },
		},
		{
			"none",
			map[string]string{"stid": ""},
			func(n *NotifyCallback) { n.AppServerData, n.STID = "", "" },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, err := ParseNotify(notifyWith(t, nil))
			if err != nil {
				t.Fatal(err)
			}
			c.differ(&want)
			got, err := ParseNotify(notifyWith(t, c.change))
			if err != nil {
				t.Fatal(err)
			}
			got.Raw, want.Raw = nil, nil // they differ as the input does
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAppServerDataPresentButEmpty(t *testing.T) {
	values := notifyWith(t, nil)
	values.Set("app_svr_data", "")
	got, err := ParseNotify(values)
	if err != nil {
		t.Fatal(err)
	}
	if got.AppServerData != "" || got.STID != "stid" {
		t.Errorf("got %q and %q; the parameter that is there counts", got.AppServerData, got.STID)
	}
}

func TestRawKeepsBothNamesOfAppServerData(t *testing.T) {
	got, err := ParseNotify(notifyWith(t, map[string]string{"stid": "x", "app_svr_data": "y", "new_in_2030": "z"}))
	if err != nil {
		t.Fatal(err)
	}
	if got.AppServerData != "y" || got.STID != "x" {
		t.Errorf("got %q and %q", got.AppServerData, got.STID)
	}
	raw := map[string]string{}
	for _, p := range got.Raw {
		raw[p.Name] = p.Value
	}
	if raw["stid"] != "x" || raw["app_svr_data"] != "y" || raw["new_in_2030"] != "z" {
		t.Errorf("raw is %v", raw)
	}
}

func TestFirstValueWins(t *testing.T) {
	got, err := ParseNotify(query(t, docsNotify+"first&param=second&to_user_id=mallory&sid=other&stid=other"))
	if err != nil {
		t.Fatal(err)
	}
	if got.CCParam != "first" || got.Callee.UserID != "2809" || got.STID != "stid" || got.SessionID[:3] != "151" {
		t.Errorf("a later value won: %+v", got)
	}
}

func TestParameterNamesAreCaseSensitive(t *testing.T) {
	values := notifyWith(t, map[string]string{"param": "", "PARAM": testlog.CCParam(1)})
	_, err := ParseNotify(values)
	wantParameterError(t, err, `"param" of the Notify callback is missing`)
}

func TestDryRun(t *testing.T) {
	for name, parse := range parsers() {
		for _, values := range []url.Values{nil, {}, {"sid": {""}}, {"sid": {"", ""}, "param": nil}} {
			if err := parse(values); !errors.Is(err, ErrNoParameters) {
				t.Errorf("%s of %v: %v", name, values, err)
			}
		}
	}
}

// parsers are all callback parsers, for what must hold for each.
func parsers() map[string]func(url.Values) error {
	return map[string]func(url.Values) error{
		"Notify":            func(v url.Values) error { _, err := ParseNotify(v); return err },
		"Call Event":        func(v url.Values) error { _, err := ParseCallEvent(v); return err },
		"Group Call Event":  func(v url.Values) error { _, err := ParseGroupCallEvent(v); return err },
		"Agent Call Status": func(v url.Values) error { _, err := ParseAgentCallStatus(v); return err },
	}
}

func TestParsersLeaveTheirInputAlone(t *testing.T) {
	for name, parse := range parsers() {
		values := notifyWith(t, map[string]string{"stid": "\xff\x00"})
		before := maps.Clone(values)
		if err := parse(values); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, values); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func TestNotifyDedupKey(t *testing.T) {
	one, err := ParseNotify(notifyWith(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	two, err := ParseNotify(notifyWith(t, map[string]string{"sid": strings.ToUpper(string(one.SessionID)), "stid": ""}))
	if err != nil {
		t.Fatal(err)
	}
	if want := "notify/151ad995-749c-4a28-893f-636700469db1"; one.DedupKey() != want || two.DedupKey() != want {
		t.Errorf("got %q and %q", one.DedupKey(), two.DedupKey())
	}
}

func TestEmbeddedSessionID(t *testing.T) {
	encode := base64.StdEncoding.EncodeToString
	long := `{"voipAddress":"v","toToken":"t","sid":"6364E8B3-BDAC-436E-9631-0BCE2498CE0C"}`
	for _, c := range []struct {
		name string
		in   CCParam
		want SessionID
	}{
		{"long form, in capitals", CCParam(encode([]byte(long))), "6364e8b3-bdac-436e-9631-0bce2498ce0c"},
		{"no padding", CCParam(strings.TrimRight(encode([]byte(long)), "=")), "6364e8b3-bdac-436e-9631-0bce2498ce0c"},
		{"short form", docsParam, ""},
		{"empty", "", ""},
		{"not base64", "%%%", ""},
		{"not JSON", CCParam(encode([]byte("sid=1"))), ""},
		{"list", CCParam(encode([]byte(`["sid"]`))), ""},
		{"number", CCParam(encode([]byte(`{"sid":1}`))), ""},
		{"bad characters", CCParam(encode([]byte(`{"sid":"a b"}`))), ""},
		{"deep", CCParam(encode([]byte(strings.Repeat("[", 6000)))), ""},
		{"too long", CCParam(encode([]byte(`{"sid":"a","x":"` + strings.Repeat("x", 8192) + `"}`))), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := c.in.EmbeddedSessionID()
			if got != c.want || ok != (c.want != "") {
				t.Errorf("got %q, %v; want %q", got, ok, c.want)
			}
		})
	}
}
