package sim

import (
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
)

// fcmRig is a fake with one good device.
type fcmRig struct {
	*FCM
	t      *testing.T
	clock  *ManualClock
	client *http.Client
	token  string
}

func newFCMRig(t *testing.T, o FCMOptions) *fcmRig {
	t.Helper()
	key, err := sharedRSA()
	if err != nil {
		t.Fatal(err)
	}
	clock := NewManualClock(testNow)
	o.CA, o.Clock, o.Key, o.ProjectID = testCA(t), clock, key, "proj"
	f, err := NewFCM(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &fcmRig{FCM: f, t: t, clock: clock, client: testClient(t), token: testlog.TextSecret("device:APA91b-token-0123456789")}
	f.Register(r.token, nil)
	return r
}

// claims returns good claims of an assertion.
func (r *fcmRig) claims() map[string]any {
	now := r.clock.Now().Unix()
	return map[string]any{
		"iss": r.clientEmail(), "aud": r.tokenURL(), "scope": scopeMessaging, "iat": now, "exp": now + 3600,
	}
}

func (r *fcmRig) assertion(header, claims map[string]any) string {
	return compact(header, claims, rs256(r.t, r.key))
}

func (r *fcmRig) goodHeader() map[string]any {
	return map[string]any{"alg": "RS256", "typ": "JWT", "kid": r.keyID}
}

func (r *fcmRig) grant(form url.Values) answer {
	r.t.Helper()
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	return mustDo(r.t, r.client, request(r.t, http.MethodPost, r.tokenURL(), header, []byte(form.Encode())))
}

func (r *fcmRig) goodForm() url.Values {
	return url.Values{"grant_type": {grantJWT}, "assertion": {r.assertion(r.goodHeader(), r.claims())}}
}

// login returns a valid access token.
func (r *fcmRig) login() string {
	r.t.Helper()
	token, _ := r.grant(r.goodForm()).json(r.t)["access_token"].(string)
	if token == "" {
		r.t.Fatal("no access token")
	}
	return token
}

// send sends a body with the access token.
func (r *fcmRig) send(access, path, body string) answer {
	r.t.Helper()
	header := http.Header{"Authorization": {"Bearer " + access}, "Content-Type": {"application/json"}}
	return mustDo(r.t, r.client, request(r.t, http.MethodPost, r.URL()+path, header, []byte(body)))
}

const sendPath = "/v1/projects/proj/messages:send"

func (r *fcmRig) good() string {
	return `{"message":{"token":"` + r.token + `","data":{"cc_param":"x"},"android":{"priority":"HIGH","ttl":"60s"}}}`
}

func TestServiceAccount(t *testing.T) {
	r := newFCMRig(t, FCMOptions{})
	b, err := r.ServiceAccountJSON()
	if err != nil {
		t.Fatal(err)
	}
	var a map[string]string
	if err := json.Unmarshal(b, &a); err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode([]byte(a["private_key"])); block == nil || block.Type != "PRIVATE KEY" {
		t.Error("the private key is not PKCS#8 PEM")
	}
	delete(a, "private_key")
	want := map[string]string{
		"type": "service_account", "project_id": "proj", "private_key_id": r.keyID,
		"client_email": "sim@proj.iam.gserviceaccount.com", "client_id": "100000000000000000001", "token_uri": r.tokenURL(),
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Error(diff)
	}
}

// TestOAuthChecks breaks one thing of a good token request for each rule of
// docs/push-providers.md 6.2.
func TestOAuthChecks(t *testing.T) {
	claim := func(changes map[string]any) func(*fcmRig, url.Values) {
		return func(r *fcmRig, f url.Values) {
			f.Set("assertion", r.assertion(r.goodHeader(), with(r.claims(), changes)))
		}
	}
	head := func(changes map[string]any) func(*fcmRig, url.Values) {
		return func(r *fcmRig, f url.Values) {
			f.Set("assertion", r.assertion(with(r.goodHeader(), changes), r.claims()))
		}
	}
	now := testNow.Unix()
	tests := []struct {
		name   string
		change func(*fcmRig, url.Values)
		ok     bool
	}{
		{"good", func(*fcmRig, url.Values) {}, true},
		{"no kid", head(map[string]any{"kid": nil}), true},
		{"scope among others", claim(map[string]any{"scope": "openid " + scopeMessaging}), true},
		{"65 minutes", claim(map[string]any{"exp": now + 3900}), true},
		{"iat 5 minutes ahead", claim(map[string]any{"iat": now + 300, "exp": now + 900}), true},
		{"grant type", func(_ *fcmRig, f url.Values) { f.Set("grant_type", "password") }, false},
		{"no assertion", func(_ *fcmRig, f url.Values) { f.Del("assertion") }, false},
		{"header not base64", func(_ *fcmRig, f url.Values) { f.Set("assertion", "*.e30.eA") }, false},
		{"payload not JSON", func(_ *fcmRig, f url.Values) { f.Set("assertion", "e30.eA.eA") }, false},
		{"alg", head(map[string]any{"alg": "RS512"}), false},
		{"unknown kid", head(map[string]any{"kid": "other"}), false},
		{"revoked", func(r *fcmRig, _ url.Values) { r.Revoke(true) }, false},
		{"signature", func(_ *fcmRig, f url.Values) { f.Set("assertion", f.Get("assertion")[:40]+"A.e30.eA") }, false},
		{"changed signature", func(_ *fcmRig, f url.Values) {
			a := f.Get("assertion")
			f.Set("assertion", a[:strings.LastIndex(a, ".")]+".c2ln")
		}, false},
		{"iss", claim(map[string]any{"iss": "other@proj"}), false},
		{"aud", claim(map[string]any{"aud": "https://oauth2.googleapis.com/token"}), false},
		{"scope", claim(map[string]any{"scope": "openid"}), false},
		{"longer than 65 minutes", claim(map[string]any{"exp": now + 3901}), false},
		{"exp before iat", claim(map[string]any{"exp": now - 1}), false},
		{"iat too far ahead", claim(map[string]any{"iat": now + 301, "exp": now + 900}), false},
		{"exp long ago", claim(map[string]any{"iat": now - 4000, "exp": now - 301}), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newFCMRig(t, FCMOptions{})
			form := r.goodForm()
			tt.change(r, form)
			a := r.grant(form)
			v := a.json(t)
			if r.Stats().TokenRequests != 1 {
				t.Errorf("stats %+v", r.Stats())
			}
			if tt.ok {
				if a.status != 200 || v["expires_in"] != 3600.0 || v["token_type"] != "Bearer" {
					t.Errorf("%d %v", a.status, v)
				}
				return
			}
			text, _ := v["error_description"].(string)
			if a.status != 400 || v["error"] != "invalid_grant" || !strings.HasPrefix(text, "Invalid JWT: ") {
				t.Errorf("%d %v", a.status, v)
			}
			testlog.Keep(t, "description", text)
		})
	}
}

// fcmAnswer is what a sender reads from an error.
type fcmAnswer struct {
	Status    int
	Word      string
	ErrorCode string // of the FcmError detail
	Field     string // of the BadRequest detail
}

func readFCM(t *testing.T, a answer) fcmAnswer {
	t.Helper()
	var v struct {
		Error struct {
			Code    int
			Status  string
			Details []struct {
				Type            string `json:"@type"`
				ErrorCode       string
				FieldViolations []struct{ Field string }
			}
		}
	}
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%d %q: %v", a.status, a.body, err)
	}
	if a.status != 200 && v.Error.Code != a.status {
		t.Errorf("the envelope says %d in an answer %d", v.Error.Code, a.status)
	}
	out := fcmAnswer{Status: a.status, Word: v.Error.Status}
	for _, d := range v.Error.Details {
		switch d.Type {
		case typeFCMError:
			out.ErrorCode = d.ErrorCode
		case typeBad:
			out.Field = d.FieldViolations[0].Field
		}
	}
	return out
}

// TestFCMChecks breaks one thing of a good send for each rule of docs/push-providers.md 6.2.
func TestFCMChecks(t *testing.T) {
	replace := func(old, text string) func(*fcmRig, *string) {
		return func(_ *fcmRig, body *string) {
			if !strings.Contains(*body, old) {
				panic("the body has no " + old)
			}
			*body = strings.Replace(*body, old, text, 1)
		}
	}
	payload := func(field string) fcmAnswer {
		return fcmAnswer{Status: 400, Word: "INVALID_ARGUMENT", Field: field}
	}
	good := fcmAnswer{Status: 200}
	dataOf := func(n int) string { return `{"k":"` + strings.Repeat("a", n-1) + `"}` }
	const data, android = `{"cc_param":"x"}`, `{"priority":"HIGH","ttl":"60s"}`
	tests := []struct {
		name   string
		change func(*fcmRig, *string)
		want   fcmAnswer
	}{
		{"good", func(*fcmRig, *string) {}, good},
		{"not JSON", func(_ *fcmRig, b *string) { *b = "x" }, payload("")},
		{"no message", func(_ *fcmRig, b *string) { *b = "{}" }, payload("message")},
		{"message a string", func(_ *fcmRig, b *string) { *b = `{"message":"x"}` }, payload("message")},
		{"unknown field", replace(`"data"`, `"payload":{},"data"`), payload("message")},
		{"unknown field beside the message", replace(`{"message"`, `{"x":1,"message"`), payload("request")},
		{"unknown field of android", replace(android, `{"x":1}`), payload("message.android")},
		{"no target", replace(`"token"`, `"name"`), payload("message")},
		{"two targets", replace(`"token"`, `"topic":"t","token"`), payload("message")},
		{"token a number", func(r *fcmRig, b *string) { replace(`"`+r.token+`"`, `1`)(r, b) }, payload("message.token")},
		{"fid", replace(`"token"`, `"fid"`), good},
		{"topic", func(r *fcmRig, b *string) { replace(`"token":"`+r.token+`"`, `"topic":"news"`)(r, b) }, good},
		{"data a list", replace(data, `[]`), payload("message.data")},
		{"data value a number", replace(data, `{"n":1}`), payload("message.data[0].value")},
		{"data value null", replace(data, `{"n":null}`), payload("message.data[0].value")},
		{"reserved from", replace(data, `{"from":"x"}`), fcmAnswer{400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.data"}},
		{"reserved google", replace(data, `{"google.x":"x"}`), fcmAnswer{400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.data"}},
		{"reserved gcm", replace(data, `{"gcm":"x"}`), fcmAnswer{400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.data"}},
		{"reserved message_type", replace(data, `{"message_type":"x"}`), fcmAnswer{400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.data"}},
		{"4096 bytes", replace(data, dataOf(4096)), good},
		{"4097 bytes", replace(data, dataOf(4097)), fcmAnswer{400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.data"}},
		{"android a string", replace(android, `"x"`), payload("message.android")},
		{"priority lower case", replace(`HIGH`, `high`), good},
		{"priority unknown", replace(`HIGH`, `urgent`), payload("message.android.priority")},
		{"priority a number", replace(`"HIGH"`, `10`), payload("message.android.priority")},
		{"ttl with a fraction", replace(`60s`, `59.500s`), good},
		{"ttl without unit", replace(`60s`, `60`), payload("message.android.ttl")},
		{"ttl in minutes", replace(`60s`, `1m`), payload("message.android.ttl")},
		{"ttl a number", replace(`"60s"`, `60`), payload("message.android.ttl")},
		{"ttl beyond four weeks", replace(`60s`, `2419201s`), payload("message.android.ttl")},
		{"direct boot", replace(android, `{"priority":"high","ttl":"1s","directBootOk":true}`), good},
		{"direct boot a string", replace(android, `{"direct_boot_ok":"yes"}`), payload("message.android.direct_boot_ok")},
		{"validate_only a string", replace(`{"message"`, `{"validate_only":"yes","message"`), payload("validate_only")},
		{"notification in the call test", replace(`"data"`, `"notification":{},"data"`), payload("message.notification")},
		{"android notification in the call test", replace(android, `{"priority":"high","ttl":"1s","notification":{}}`), payload("message.notification")},
		{"normal in the call test", replace(`HIGH`, `normal`), payload("message.android.priority")},
		{"no android in the call test", replace(`,"android":`+android, ``), payload("message.android.priority")},
		{"no data", replace(`,"data":`+data, ``), good},
		{"no ttl in the call test", replace(`,"ttl":"60s"`, ``), payload("message.android.ttl")},
		{"ttl beyond the ring in the call test", replace(`60s`, `61s`), payload("message.android.ttl")},
		{"unknown token", func(r *fcmRig, _ *string) { r.devices = map[string]*fcmDevice{} }, fcmAnswer{400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", ""}},
		{"malformed token", func(r *fcmRig, b *string) { replace(r.token, "short")(r, b) }, fcmAnswer{400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", ""}},
		{"foreign token", func(r *fcmRig, _ *string) { r.RegisterForeign(r.token) }, fcmAnswer{403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", ""}},
		{"gone", func(r *fcmRig, _ *string) { r.Unregister(r.token) }, fcmAnswer{404, "NOT_FOUND", "UNREGISTERED", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newFCMRig(t, FCMOptions{Strict: true})
			access, body := r.login(), r.good()
			tt.change(r, &body)
			a := r.send(access, sendPath, body)
			if diff := cmp.Diff(tt.want, readFCM(t, a)); diff != "" {
				t.Errorf("%s\n%s", diff, a.body)
			}
			wantAccepted := uint64(0)
			if tt.want.Status == 200 {
				wantAccepted = 1
			}
			if _, err := r.AwaitMessages(testContext(t), int(wantAccepted)); err != nil || r.Stats().Accepted != wantAccepted {
				t.Errorf("%d accepted, want %d (%v)", r.Stats().Accepted, wantAccepted, err)
			}
		})
	}
}

func TestFCMFrontEnd(t *testing.T) {
	r := newFCMRig(t, FCMOptions{TokenLife: 5 * time.Second})
	access := r.login()
	tests := []struct {
		name, access, path string
		want               fcmAnswer
	}{
		{"unknown access token", "ya29.other", sendPath, fcmAnswer{401, "UNAUTHENTICATED", "", ""}},
		{"other project", access, "/v1/projects/other/messages:send", fcmAnswer{403, "PERMISSION_DENIED", "", ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, readFCM(t, r.send(tt.access, tt.path, r.good()))); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, path := range []string{"/fcm/send", "/v1/projects/proj/messages", "/v1/projects/a/b/messages:send", "/batch"} {
		if a := r.send(access, path, r.good()); a.status != 404 || !strings.HasPrefix(a.body, "<!DOCTYPE html>") {
			t.Errorf("%s: %+v", path, a)
		}
	}
	t.Run("expired access token", func(t *testing.T) {
		r.clock.Advance(5 * time.Second)
		if got := readFCM(t, r.send(access, sendPath, r.good())); got.Status != 401 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("forgotten access token", func(t *testing.T) {
		access := r.login()
		r.ForgetAccessTokens()
		if got := readFCM(t, r.send(access, sendPath, r.good())); got.Status != 401 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("revoked key, old access token", func(t *testing.T) {
		access := r.login()
		r.Revoke(true)
		if a := r.send(access, sendPath, r.good()); a.status != 200 {
			t.Errorf("%+v", a)
		}
	})
}

func TestFCMRecords(t *testing.T) {
	all := make(chan FCMMessage, 2)
	r := newFCMRig(t, FCMOptions{OnMessage: func(m FCMMessage) { all <- m }})
	mine := make(chan FCMMessage, 2)
	r.Register(r.token, func(m FCMMessage) { mine <- m })
	access := r.login()
	a := r.send(access, sendPath, r.good())
	got := <-mine
	ttl := time.Minute
	want := FCMMessage{
		At: testNow, Name: a.json(t)["name"].(string), Token: r.token, Data: map[string]string{"cc_param": "x"},
		Priority: "high", TTL: &ttl, Header: got.Header, Body: []byte(r.good()),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(got, <-all); diff != "" {
		t.Error(diff)
	}
	if !strings.HasPrefix(got.Name, "projects/proj/messages/") {
		t.Errorf("name %q", got.Name)
	}
	r.send(access, sendPath, strings.Replace(r.good(), `{"message"`, `{"validateOnly":true,"message"`, 1))
	if _, err := r.AwaitMessages(testContext(t), 2); err != nil {
		t.Fatal(err)
	}
	if len(mine) != 0 || !r.Messages()[1].ValidateOnly {
		t.Error("validate_only was delivered")
	}
}

func TestFCMScript(t *testing.T) {
	script := func(r *fcmRig, a *Answer) {
		var used atomic.Bool
		r.Script(func(FCMRequest) *Answer {
			if used.Swap(true) {
				return nil
			}
			return a
		})
	}
	t.Run("429 with Retry-After", func(t *testing.T) {
		r := newFCMRig(t, FCMOptions{})
		access := r.login()
		script(r, &Answer{Status: 429, Reason: "QUOTA_EXCEEDED", Header: http.Header{"retry-after": {"2"}}})
		a := r.send(access, sendPath, r.good())
		want := fcmAnswer{429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", ""}
		if diff := cmp.Diff(want, readFCM(t, a)); diff != "" || a.header.Get("Retry-After") != "2" {
			t.Error(diff, a.header)
		}
		if a := r.send(access, sendPath, r.good()); a.status != 200 {
			t.Errorf("the second: %+v", a)
		}
	})
	t.Run("unknown status", func(t *testing.T) {
		r := newFCMRig(t, FCMOptions{})
		script(r, &Answer{Status: 520, Reason: "ODD"})
		if got := readFCM(t, r.send("x", sendPath, "{}")); got.Word != "UNKNOWN" {
			t.Errorf("%+v", got)
		}
	})
	t.Run("HTML", func(t *testing.T) {
		r := newFCMRig(t, FCMOptions{})
		script(r, HTMLAnswer(502))
		if a := r.send("x", sendPath, "{}"); a.status != 502 || !strings.HasPrefix(a.body, "<html>") {
			t.Errorf("%+v", a)
		}
	})
	t.Run("200 loses the message", func(t *testing.T) {
		r := newFCMRig(t, FCMOptions{})
		script(r, &Answer{Status: 200})
		if a := r.send("x", sendPath, "{}"); a.status != 200 || len(r.Messages()) != 0 {
			t.Errorf("%+v", a)
		}
	})
	t.Run("delivered, then an error", func(t *testing.T) {
		r := newFCMRig(t, FCMOptions{})
		access := r.login()
		script(r, &Answer{Status: 503, Reason: "UNAVAILABLE", Deliver: true})
		if a := r.send(access, sendPath, r.good()); a.status != 503 || len(r.Messages()) != 1 {
			t.Errorf("%+v", a)
		}
	})
	t.Run("OAuth refuses", func(t *testing.T) {
		r := newFCMRig(t, FCMOptions{})
		r.ScriptToken(func(q TokenRequest) *Answer {
			if q.Number > 1 || q.Assertion == "" {
				return nil
			}
			return &Answer{Status: 500, Reason: "internal_failure"}
		})
		if a := r.grant(r.goodForm()); a.status != 500 || a.json(t)["error"] != "internal_failure" {
			t.Errorf("%+v", a)
		}
		r.login()
		if got := r.Stats(); got.TokenRequests != 2 || got.Rejected["internal_failure"] != 1 {
			t.Errorf("%+v", got)
		}
		if got := r.Rejections(); len(got) != 1 || got[0].Status != 500 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("OAuth answers HTML", func(t *testing.T) {
		r := newFCMRig(t, FCMOptions{})
		r.ScriptToken(func(TokenRequest) *Answer { return HTMLAnswer(502) })
		if a := r.grant(r.goodForm()); a.status != 502 {
			t.Errorf("%+v", a)
		}
	})
	t.Run("OAuth is only slow", func(t *testing.T) {
		r := newFCMRig(t, FCMOptions{})
		r.ScriptToken(func(TokenRequest) *Answer { return &Answer{} })
		r.login()
	})
}

func TestFCMNeedsCA(t *testing.T) {
	key, err := sharedRSA()
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFCM(FCMOptions{Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Start(); err == nil {
		t.Error("starts without a CA")
	}
	if f.ProjectID() != "planetbell-sim" {
		t.Errorf("project %q", f.ProjectID())
	}
}
