package clients

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
)

const goodClaims = `{"iss":"planetbell","sub":"alice","uid":"alice","aud":"app","jti":"j1","iat":1700000000,"exp":1700003600}`

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func jwtOf(header, claims string) string { return b64(header) + "." + b64(claims) + ".c2ln" }

func goodJWT() string { return jwtOf(`{"alg":"HS256","typ":"JWT"}`, goodClaims) }

func ok(data string) Answer {
	return Answer{Status: 200, Body: fmt.Appendf(nil, `{"status":"success","data":%s,"timestamp":1580218637059}`, data)}
}

func failure(status int) Answer {
	return Answer{Status: status, Body: fmt.Appendf(nil,
		`{"status":"error","message":"no","code":"%d","data":null,"timestamp":1580218637059}`, status)}
}

func registered(token string) Answer { return ok(`{"accessToken":"` + token + `"}`) }

// TestContract holds every decoder to the answers of docs/line-planet.md 6.7.
func TestContract(t *testing.T) {
	call := fmt.Sprintf(`{"app_call_type":"A","app_callee_uid":"bob","app_callee_sid":"svc","app_caller_uid":"alice",`+
		`"app_caller_sid":"svc","_env":"real","app_session_id":"x","cc_param":%q}`, testlog.CCParam(1))
	for _, d := range All() {
		t.Run(d.Name(), func(t *testing.T) {
			reg, err := d.Register(registered(goodJWT()))
			if err != nil {
				t.Fatalf("register: %v", err)
			}
			want := Registration{AppToken: goodJWT(), Expires: time.Unix(1700003600, 0)}
			if diff := cmp.Diff(want, reg); diff != "" {
				t.Error(diff)
			}
			if _, err := d.Register(failure(409)); !errors.Is(err, ErrTaken) {
				t.Errorf("register with a taken ID: %v, want ErrTaken", err)
			}
			if err := d.RegisterDevice(ok(`{}`)); err != nil {
				t.Errorf("register_device: %v", err)
			}
			if err := d.RegisterDevice(failure(500)); !errors.Is(err, ErrRefused) {
				t.Errorf("register_device refused: %v, want ErrRefused", err)
			}
			gw, err := d.Issue(ok(`{"gwAccessToken":"gw","userId":"alice","serviceId":"svc"}`))
			if err != nil || gw.Token != "gw" {
				t.Errorf("issue: %+v, %v", gw, err)
			}
			if d.Name() == "web" {
				return
			}
			if err := d.UpdateToken(ok(`{}`)); err != nil {
				t.Errorf("update_notification_token: %v", err)
			}
			if err := d.UpdateToken(failure(401)); !errors.Is(err, ErrRefused) {
				t.Errorf("update_notification_token refused: %v, want ErrRefused", err)
			}
			p := d.Poll(ok(call))
			if p.Err != nil || p.Call == nil || p.Call.CCParam != testlog.CCParam(1) {
				t.Errorf("poll: %+v", p)
			}
			if p := d.Poll(failure(503)); p.Err != nil || p.Call != nil {
				t.Errorf("empty poll: %+v", p)
			}
		})
	}
}

func TestRegisterToken(t *testing.T) {
	header := `{"alg":"HS256","typ":"JWT"}`
	claims := func(extra string) string {
		return strings.TrimSuffix(goodClaims, "}") + "," + extra + "}"
	}
	tests := []struct {
		name, token string
		accepts     string // the names of the apps that accept it
	}{
		{"without typ", jwtOf(`{"alg":"HS256"}`, goodClaims), "android windows web"},
		{"without alg", jwtOf(`{"typ":"JWT"}`, goodClaims), "android windows web"},
		{"header not JSON", jwtOf(`x`, goodClaims), "windows web"},
		{"header not base64", "*." + b64(goodClaims) + ".c2ln", "windows web"},
		{"payload not base64", b64(header) + ".*.c2ln", ""},
		{"payload not JSON", jwtOf(header, "x"), ""},
		{"payload an array", jwtOf(header, "[]"), ""},
		{"padded payload", b64(header) + "." + b64(goodClaims) + "=.c2ln", ""},
		{"two parts", b64(header) + "." + b64(goodClaims), ""},
		{"four parts", goodJWT() + ".more", ""},
		{"no dot", "opaque", ""},
		{"no exp", jwtOf(header, `{"sub":"alice"}`), ""},
		{"exp a string", jwtOf(header, `{"exp":"1700003600"}`), ""},
		{"exp in milliseconds", jwtOf(header, `{"exp":1700003600000}`), ""},
		{"exp with a fraction", jwtOf(header, `{"exp":1700003600.5}`), "apple android windows web"},
		{"aud an array", jwtOf(header, `{"aud":["app"],"exp":1700003600}`), "android windows web"},
		{"iat with a fraction", jwtOf(header, `{"iat":1700000000.25,"exp":1700003600}`), "android windows web"},
		{"nbf a string", jwtOf(header, `{"nbf":"1700000000","exp":1700003600}`), "android windows web"},
		{"name a number", jwtOf(header, claims(`"name":1`)), "android windows web"},
		{"name null", jwtOf(header, claims(`"name":null`)), "apple android windows web"},
		{"not ASCII", jwtOf(header, claims(`"name":"é"`)), "apple android"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, d := range All() {
				_, err := d.Register(registered(tt.token))
				if err == nil {
					got = append(got, d.Name())
				} else {
					testlog.Keep(t, "error", err.Error())
				}
			}
			if diff := cmp.Diff(tt.accepts, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestEnvelope breaks one thing in the envelope of a success.
func TestEnvelope(t *testing.T) {
	tests := []struct{ name, body, accepts string }{
		{"as documented", `{"status":"success","data":{},"timestamp":1}`, "apple android windows web"},
		{"null code and message", `{"status":"success","data":{},"timestamp":1,"code":null,"message":null}`, "apple android windows web"},
		{"numeric code", `{"status":"success","data":{},"timestamp":1,"code":200}`, "apple android windows web"},
		{"string code", `{"status":"success","data":{},"timestamp":1,"code":"200"}`, "android windows web"},
		{"fractional code", `{"status":"success","data":{},"timestamp":1,"code":1.5}`, "windows web"},
		{"no timestamp", `{"status":"success","data":{}}`, "android windows web"},
		{"text timestamp", `{"status":"success","data":{},"timestamp":"1"}`, "android windows web"},
		{"fractional timestamp", `{"status":"success","data":{},"timestamp":1.5}`, "android windows web"},
		{"object timestamp", `{"status":"success","data":{},"timestamp":{}}`, "windows web"},
		{"message a number", `{"status":"success","data":{},"timestamp":1,"message":1}`, "android windows web"},
		{"no status", `{"data":{},"timestamp":1}`, "android web"},
		{"status a number", `{"status":1,"data":{},"timestamp":1}`, "web"},
		{"key in another case", `{"Status":"success","data":{},"timestamp":1}`, "android web"},
		{"error inside 2xx", `{"status":"error","code":500,"timestamp":1}`, "web"},
		{"error without code inside 2xx", `{"status":"error","timestamp":1}`, "web"},
		{"empty", ``, "web"},
		{"array", `[]`, "web"},
		{"null", `null`, "web"},
		{"two objects", `{"status":"success","timestamp":1}{}`, "web"},
		{"bad UTF-8", "{\"status\":\"success\",\"timestamp\":1,\"x\":\"\xff\"}", "web"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, d := range All() {
				if d.RegisterDevice(Answer{Status: 200, Body: []byte(tt.body)}) == nil {
					got = append(got, d.Name())
				}
			}
			if diff := cmp.Diff(tt.accepts, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRegisterRefused(t *testing.T) {
	t.Run("web reads a numeric code as another error", func(t *testing.T) {
		_, err := Web{}.Register(Answer{Status: 409, Body: []byte(`{"status":"error","code":409}`)})
		if errors.Is(err, ErrTaken) || !errors.Is(err, ErrRefused) {
			t.Errorf("got %v, want ErrRefused", err)
		}
	})
	t.Run("web reads the code whatever the HTTP status", func(t *testing.T) {
		_, err := Web{}.Register(Answer{Status: 200, Body: []byte(`{"status":"error","code":"409"}`)})
		if !errors.Is(err, ErrTaken) {
			t.Errorf("got %v, want ErrTaken", err)
		}
	})
	t.Run("the others read only the HTTP status", func(t *testing.T) {
		for _, d := range []Decoder{Apple{}, Android{}, Windows{}} {
			if _, err := d.Register(Answer{Status: 409}); !errors.Is(err, ErrTaken) {
				t.Errorf("%s: %v, want ErrTaken", d.Name(), err)
			}
			if _, err := d.Register(failure(500)); !errors.Is(err, ErrRefused) {
				t.Errorf("%s: %v, want ErrRefused", d.Name(), err)
			}
		}
	})
	for _, body := range []string{`{}`, `null`, `{"accessToken":null}`, `{"accessToken":""}`, `{"accessToken":{}}`, `"x"`} {
		for _, d := range All() {
			if _, err := d.Register(ok(body)); err == nil {
				t.Errorf("%s accepts data %s", d.Name(), body)
			}
		}
	}
	if _, err := (Web{}).Register(Answer{Status: 502, Body: []byte("<html>")}); err == nil {
		t.Error("web accepts HTML")
	}
}

func TestIssue(t *testing.T) {
	tests := []struct {
		name    string
		answer  Answer
		accepts string
	}{
		{"token only", ok(`{"gwAccessToken":"gw"}`), "apple android windows web"},
		{"userId a number", ok(`{"gwAccessToken":"gw","userId":2048}`), "android windows web"},
		{"serviceId a number", ok(`{"gwAccessToken":"gw","serviceId":1}`), "android windows web"},
		{"no token", ok(`{}`), ""},
		{"token a number", ok(`{"gwAccessToken":1}`), "android"},
		{"no data", Answer{Status: 200, Body: []byte(`{"status":"success","timestamp":1}`)}, ""},
		{"not JSON", Answer{Status: 200, Body: []byte(`x`)}, ""},
		{"null token of an error inside 2xx", Answer{Status: 200, Body: []byte(`{"status":"error","code":"500","timestamp":1}`)}, ""},
		{"expired", failure(401), ""},
		{"overload", failure(503), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, d := range All() {
				_, err := d.Issue(tt.answer)
				if err == nil {
					got = append(got, d.Name())
				}
				if wiped := errors.Is(err, ErrWiped); wiped != (err != nil && d.Name() == "windows") {
					t.Errorf("%s: wiped is %v with %v", d.Name(), wiped, err)
				}
				if d.Name() == "web" && tt.answer.Status == http.StatusUnauthorized && !errors.Is(err, ErrExpired) {
					t.Errorf("web: %v, want ErrExpired", err)
				}
			}
			if diff := cmp.Diff(tt.accepts, strings.Join(got, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPollNext holds the rows of the table "notification/lp" in docs/line-planet.md 6.6.
func TestPollNext(t *testing.T) {
	full := `{"app_call_type":"V","app_callee_uid":"bob","app_callee_sid":"svc","app_caller_uid":"alice",` +
		`"app_caller_sid":"svc","_env":"real","cc_param":"cc"}`
	without := func(key string) Answer { return ok(strings.Replace(full, key, "gone", 1)) }
	tests := []struct {
		name                    string
		answer                  Answer
		apple, android, windows Next
		heard                   string // who got the call
	}{
		{"call", ok(full), StopForCall, PollNow, StopForCall, "apple android windows"},
		{"503", failure(503), PollNow, PollNow, PollLater, ""},
		{"503 without body", Answer{Status: 503}, PollNow, PollNow, PollLater, ""},
		{"code 503 in 2xx", Answer{Status: 200, Body: []byte(`{"status":"error","code":503,"timestamp":1}`)}, PollLater, PollNow, Spin, ""},
		{"code 503 as text in 2xx", Answer{Status: 200, Body: []byte(`{"status":"error","code":"503","timestamp":1}`)}, PollLater, PollNow, Spin, ""},
		{"error in 2xx", Answer{Status: 200, Body: []byte(`{"status":"error","code":500,"timestamp":1}`)}, PollLater, PollLater, Spin, ""},
		{"204", Answer{Status: 204}, PollLater, PollLater, Spin, ""},
		{"no data", ok(`null`), PollLater, PollLater, Spin, ""},
		{"401", failure(401), PollLater, PollLater, Stop, ""},
		{"429", failure(429), PollLater, PollLater, Stop, ""},
		{"500", failure(500), PollLater, PollLater, Stop, ""},
		{"without cc_param", without("cc_param"), PollLater, PollLater, Spin, ""},
		{"without _env", without("_env"), PollLater, PollNow, StopForCall, "android windows"},
		{"without caller service", without("app_caller_sid"), PollLater, PollNow, StopForCall, "android windows"},
		{"without caller", without("app_caller_uid"), PollLater, PollNow, Spin, "android"},
		{"without callee", without("app_callee_uid"), PollLater, PollNow, StopForCall, "android windows"},
		{"type a number", ok(strings.Replace(full, `"V"`, `1`, 1)), PollLater, PollNow, Spin, "android"},
		{"app_stid a number", ok(strings.Replace(full, `{`, `{"app_stid":1,`, 1)), PollLater, PollNow, StopForCall, "android windows"},
		{"cc_param an object", ok(strings.Replace(full, `"cc"`, `{}`, 1)), PollLater, PollLater, Spin, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var heard []string
			for d, want := range map[Decoder]Next{Apple{}: tt.apple, Android{}: tt.android, Windows{}: tt.windows} {
				p := d.Poll(tt.answer)
				if p.Next != want {
					t.Errorf("%s: %q, want %q (%v)", d.Name(), p.Next, want, p.Err)
				}
				if p.Call != nil && p.Err != nil {
					t.Errorf("%s: both a call and %v", d.Name(), p.Err)
				}
				if p.Call != nil {
					heard = append(heard, d.Name())
				}
			}
			for _, name := range strings.Fields(tt.heard) {
				if !strings.Contains(strings.Join(heard, " "), name) {
					t.Errorf("%s did not get the call", name)
				}
			}
			if len(heard) != len(strings.Fields(tt.heard)) {
				t.Errorf("got by %v, want %s", heard, tt.heard)
			}
		})
	}
}

func TestPollFailed(t *testing.T) {
	want := map[string]Next{"apple": PollLater, "android": PollLater, "windows": Stop, "web": Stop}
	for _, d := range All() {
		if got := d.PollFailed(); got != want[d.Name()] {
			t.Errorf("%s: %q, want %q", d.Name(), got, want[d.Name()])
		}
	}
}

func TestAppleReadsAllOfACall(t *testing.T) {
	p := Apple{}.Poll(ok(`{"app_call_type":"V","app_callee_uid":"bob","app_callee_sid":"s2","app_caller_uid":"alice",` +
		`"app_caller_sid":"s1","_env":"real","cc_param":"cc","app_stid":"st","app_app_svr_data":"data"}`))
	want := &Call{
		CCParam: "cc", CallType: "V", CallerUserID: "alice", CallerServiceID: "s1", CalleeUserID: "bob",
		CalleeServiceID: "s2", Environment: "real", AppServerData: "data", STID: "st",
	}
	if diff := cmp.Diff(want, p.Call); diff != "" {
		t.Error(diff)
	}
}

func TestAppleVoIP(t *testing.T) {
	c, err := AppleVoIP([]byte(`{"aps":{},"cc_param":"cc","app_caller_sid":"s1","app_caller_uid":"alice","app_call_type":1}`))
	if err != nil {
		t.Fatal(err)
	}
	want := Call{CCParam: "cc", CallerServiceID: "s1", CallerUserID: "alice"}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{
		``, `[]`, `{}`, `{"cc_param":"cc"}`, `{"app_caller_sid":"s"}`, `{"cc_param":1,"app_caller_sid":"s"}`,
		`{"aps":{"cc_param":"cc","app_caller_sid":"s"}}`, `{"CC_PARAM":"cc","app_caller_sid":"s"}`,
	} {
		if _, err := AppleVoIP([]byte(bad)); err == nil {
			t.Errorf("accepts %s", bad)
		}
	}
}

func TestAndroidData(t *testing.T) {
	c, err := AndroidData(map[string]string{"cc_param": "cc", "app_call_type": "A", "app_caller_uid": "alice"})
	if diff := cmp.Diff(Call{CCParam: "cc", CallType: "A", CallerUserID: "alice"}, c); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, err := AndroidData(map[string]string{"CC_PARAM": "cc"}); err == nil {
		t.Error("accepts a message without cc_param")
	}
}

func TestWebNeverPolls(t *testing.T) {
	if p := (Web{}).Poll(ok(`{}`)); !errors.Is(p.Err, ErrNotUsed) {
		t.Errorf("poll: %+v", p)
	}
	if err := (Web{}).UpdateToken(ok(`{}`)); !errors.Is(err, ErrNotUsed) {
		t.Errorf("update: %v", err)
	}
}

// FuzzDecoders checks that no answer makes a decoder panic, or accept a call without cc_param.
func FuzzDecoders(f *testing.F) {
	f.Add(200, []byte(`{"status":"success","data":{"accessToken":"a.b.c","cc_param":"x"},"timestamp":1}`))
	f.Add(503, []byte(``))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		a := Answer{Status: status, Body: body}
		for _, d := range All() {
			if _, err := d.Register(a); err == nil && !a.ok() && d.Name() != "web" {
				t.Errorf("%s registers with status %d", d.Name(), status)
			}
			if p := d.Poll(a); p.Call != nil && p.Err != nil || p.Call == nil && p.Next == StopForCall {
				t.Errorf("%s: %+v", d.Name(), p)
			}
			_, _ = d.Issue(a)
			_, _ = AppleVoIP(body)
		}
	})
}
