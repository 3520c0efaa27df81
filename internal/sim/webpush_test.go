package sim

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
)

// pushRig is a fake with one subscription, and all that a sender has.
type pushRig struct {
	*WebPush
	t      *testing.T
	clock  *ManualClock
	client *http.Client
	key    *ecdsa.PrivateKey // of the app server
	pushPage
	got chan WebPushMessage
}

// pushPage is what a page gives to its app server.
type pushPage struct {
	id, endpoint string
	public       *ecdh.PublicKey
	auth         []byte
}

func newPushRig(t *testing.T, profile PushProfile, change func(*WebPushOptions)) *pushRig {
	t.Helper()
	clock := NewManualClock(testNow)
	o := WebPushOptions{CA: testCA(t), Clock: clock, Profile: profile, Strict: true}
	if change != nil {
		change(&o)
	}
	p := NewWebPush(o)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &pushRig{WebPush: p, t: t, clock: clock, client: testClient(t), key: newECKey(t), got: make(chan WebPushMessage, 200)}
	r.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s, err := p.Subscribe(publicText(t, r.key), func(m WebPushMessage) { r.got <- m })
	if err != nil {
		t.Fatal(err)
	}
	r.pushPage = readPage(t, s)
	return r
}

// publicText is a public key as pages have it.
func publicText(t testing.TB, key *ecdsa.PrivateKey) string {
	t.Helper()
	b, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// readPage reads a subscription as an app server does.
func readPage(t testing.TB, s WebPushSubscription) pushPage {
	t.Helper()
	var v struct {
		Endpoint string
		Keys     struct{ P256dh, Auth string }
	}
	if err := json.Unmarshal([]byte(s.JSON.Reveal()), &v); err != nil {
		t.Fatal(err)
	}
	public, err := ecdh.P256().NewPublicKey(unbase64(t, v.Keys.P256dh))
	if err != nil {
		t.Fatal(err)
	}
	return pushPage{s.ID, v.Endpoint, public, unbase64(t, v.Keys.Auth)}
}

// sending is a push that a test may break.
type sending struct {
	method, url string
	header      http.Header
	jose        map[string]any
	claims      map[string]any
	signer      *ecdsa.PrivateKey
	k           string                     // of Authorization
	authorize   func(t, k string) []string // nil is as it should be
	sealing
	text string
}

const goodCall = `{"cc_param":"cc","app_call_type":"A","app_caller_uid":"alice","app_caller_sid":"svc","app_callee_uid":"bob","app_callee_sid":"svc","app_session_id":"s1"}`

func (r *pushRig) good() *sending {
	return &sending{
		method: http.MethodPost, url: r.endpoint,
		header: http.Header{"Ttl": {"60"}, "Urgency": {"high"}, "Topic": {"call-1"}, "Content-Encoding": {"aes128gcm"}},
		jose:   map[string]any{"typ": "JWT", "alg": "ES256"},
		claims: map[string]any{"aud": r.URL(), "exp": r.clock.Now().Add(12 * time.Hour).Unix(), "sub": "mailto:ops@example.com"},
		signer: r.key, k: publicText(r.t, r.key), text: goodCall,
		sealing: sealing{to: r.public, auth: r.auth},
	}
}

func (r *pushRig) request(s *sending) *http.Request {
	r.t.Helper()
	t := compact(s.jose, s.claims, es256(r.t, s.signer))
	values := []string{"vapid t=" + t + ", k=" + s.k}
	if s.authorize != nil {
		values = s.authorize(t, s.k)
	}
	s.header["Authorization"] = values
	return request(r.t, s.method, s.url, s.header, s.seal(r.t, []byte(s.text)))
}

func (r *pushRig) send(s *sending) answer {
	r.t.Helper()
	return mustDo(r.t, r.client, r.request(s))
}

// TestWebPushChecks breaks one thing of a good push for each rule of docs/push-providers.md
// 6.3.
func TestWebPushChecks(t *testing.T) {
	type change = func(*pushRig, *sending)
	header := func(name string, values ...string) change {
		return func(_ *pushRig, s *sending) { s.header[http.CanonicalHeaderKey(name)] = values }
	}
	claim := func(name string, value any) change {
		return func(_ *pushRig, s *sending) { s.claims = with(s.claims, map[string]any{name: value}) }
	}
	sealed := func(f func(*sealing)) change { return func(_ *pushRig, s *sending) { f(&s.sealing) } }
	// size makes the body that long.
	size := func(n int) change {
		return func(_ *pushRig, s *sending) {
			s.delimiter = append([]byte{2}, make([]byte, n-pushHeader-gcmTag-1-len(s.text))...)
		}
	}
	authorize := func(f func(t, k string) []string) change {
		return func(_ *pushRig, s *sending) { s.authorize = f }
	}
	inSeconds := func(n int64) change { return claim("exp", testNow.Unix()+n) }
	const chrome, firefox, android, apple, wns = PushChrome, PushFirefox, PushFirefoxAndroid, PushApple, PushWNS
	none := func(*pushRig, *sending) {}
	tests := []struct {
		name    string
		profile PushProfile
		change  change
		code    refused // "" is accepted
		status  int
	}{
		{"good", chrome, none, "", 201},
		{"good", firefox, none, "", 201},
		{"good", android, none, "", 201},
		{"good", apple, none, "", 201},
		{"good", wns, none, "", 201},
		{"GET", chrome, func(_ *pushRig, s *sending) { s.method = http.MethodGet }, refusedMethod, 405},
		{"PUT", apple, func(_ *pushRig, s *sending) { s.method = http.MethodPut }, refusedMethod, 405},
		{"another path", chrome, func(_ *pushRig, s *sending) { s.url += "x" }, refusedPath, 404},
		{"another query", wns, func(_ *pushRig, s *sending) { s.url = strings.Replace(s.url, "%3d", "=", 1) }, refusedPath, 404},
		{"another path", apple, func(_ *pushRig, s *sending) { s.url += "x" }, refusedPath, 404},

		{"no TTL", chrome, header("TTL"), refusedTTL, 400},
		{"two TTLs", chrome, header("TTL", "60", "60"), refusedTTL, 400},
		{"TTL empty", chrome, header("TTL", ""), refusedTTL, 400},
		{"TTL negative", chrome, header("TTL", "-1"), refusedTTL, 400},
		{"TTL with a sign", firefox, header("TTL", "+60"), refusedTTL, 400},
		{"TTL a fraction", chrome, header("TTL", "1.5"), refusedTTL, 400},
		{"TTL a word", chrome, header("TTL", "60s"), refusedTTL, 400},
		{"TTL 0", chrome, header("TTL", "0"), "", 201},
		{"TTL 0", firefox, header("TTL", "0"), "", 201},
		{"TTL 0", apple, header("TTL", "0"), refusedTTL, 400},
		{"TTL 0", wns, header("TTL", "0"), refusedTTL, 400},
		{"TTL 1", apple, header("TTL", "1"), "", 201},

		{"Urgency unknown", chrome, header("Urgency", "urgent"), refusedUrgency, 400},
		{"Urgency in capitals", chrome, header("Urgency", "High"), refusedUrgency, 400},
		{"two Urgencies", chrome, header("Urgency", "high", "high"), refusedUrgency, 400},
		{"a list of Urgencies", apple, header("Urgency", "high, low"), refusedUrgency, 400},

		{"no Topic", chrome, header("Topic"), "", 201},
		{"Topic of 32", chrome, header("Topic", strings.Repeat("_", 32)), "", 201},
		{"Topic of 33", chrome, header("Topic", strings.Repeat("_", 33)), refusedTopic, 400},
		{"Topic in base64", chrome, header("Topic", "a+b/c="), refusedTopic, 400},
		{"Topic empty", firefox, header("Topic", ""), refusedTopic, 400},
		{"two Topics", apple, header("Topic", "a", "b"), refusedTopic, 400},

		{"no Content-Encoding", chrome, header("Content-Encoding"), refusedCoding, 400},
		{"aesgcm", chrome, header("Content-Encoding", "aesgcm"), refusedCoding, 400},
		{"two codings", chrome, header("Content-Encoding", "aes128gcm", "aes128gcm"), refusedCoding, 400},
		{"a list of codings", chrome, header("Content-Encoding", "aes128gcm, gzip"), refusedCoding, 400},
		{"Encryption", firefox, header("Encryption", "salt=x"), refusedCoding, 400},
		{"Crypto-Key", apple, header("Crypto-Key", "dh=x"), refusedCoding, 400},

		{"no body", chrome, sealed(func(s *sealing) { s.body = func([]byte) []byte { return nil } }), refusedSmall, 400},
		{"102 bytes", chrome, sealed(func(s *sealing) { s.body = func(b []byte) []byte { return b[:102] } }), refusedSmall, 400},
		{"4096 bytes", chrome, size(4096), "", 201},
		{"4097 bytes", chrome, func(r *pushRig, s *sending) { size(4097)(r, s); s.rs = 8192 }, refusedLarge, 413},
		{"4097 bytes", apple, size(4097), refusedLarge, 413},
		{"2744 bytes", android, size(2744), "", 201},
		{"2745 bytes", android, size(2745), refusedLarge, 413},
		{"2745 bytes", firefox, size(2745), "", 201},

		{"no Authorization", chrome, authorize(func(string, string) []string { return nil }), refusedAuthorization, 401},
		{"no Authorization", apple, authorize(func(string, string) []string { return nil }), refusedAuthorization, 403},
		{"two Authorizations", chrome, authorize(func(t, k string) []string {
			v := "vapid t=" + t + ",k=" + k
			return []string{v, v}
		}), refusedAuthorization, 401},
		{"WebPush scheme", chrome, authorize(func(t, _ string) []string { return []string{"WebPush " + t} }), refusedAuthorization, 401},
		{"Bearer", firefox, authorize(func(t, k string) []string { return []string{"Bearer t=" + t + ", k=" + k} }), refusedAuthorization, 401},
		{"scheme in capitals", chrome, authorize(func(t, k string) []string { return []string{"VAPID k=" + k + ",t=" + t} }), "", 201},
		{"no t", chrome, authorize(func(_, k string) []string { return []string{"vapid k=" + k} }), refusedAuthorization, 401},
		{"no k", wns, authorize(func(t, _ string) []string { return []string{"vapid t=" + t} }), refusedAuthorization, 401},
		{"t twice", chrome, authorize(func(t, k string) []string { return []string{"vapid t=" + t + ", t=" + t + ", k=" + k} }), refusedAuthorization, 401},
		{"no value", chrome, authorize(func(t, k string) []string { return []string{"vapid t=" + t + ", k=" + k + ", x"} }), refusedAuthorization, 401},

		{"k padded", chrome, func(_ *pushRig, s *sending) { s.k += "=" }, refusedKey, 403},
		{"k short", firefox, func(_ *pushRig, s *sending) { s.k = s.k[:40] }, refusedKey, 401},
		{"k off the curve", apple, func(r *pushRig, s *sending) {
			b := unbase64(r.t, s.k)
			b[64] ^= 1
			s.k = base64.RawURLEncoding.EncodeToString(b)
		}, refusedKey, 403},
		{"k of somebody else", chrome, func(r *pushRig, s *sending) { s.k = publicText(r.t, newECKey(r.t)) }, refusedToken, 403},
		{"signed by somebody else", firefox, func(r *pushRig, s *sending) { s.signer = newECKey(r.t) }, refusedToken, 401},
		{"another app server", chrome, func(r *pushRig, s *sending) { s.signer = newECKey(r.t); s.k = publicText(r.t, s.signer) }, refusedOtherKey, 403},
		{"another app server", firefox, func(r *pushRig, s *sending) { s.signer = newECKey(r.t); s.k = publicText(r.t, s.signer) }, refusedOtherKey, 401},
		{"another app server", apple, func(r *pushRig, s *sending) { s.signer = newECKey(r.t); s.k = publicText(r.t, s.signer) }, refusedOtherKey, 403},

		{"two parts", chrome, authorize(func(t, k string) []string { return []string{"vapid t=" + t[:strings.LastIndex(t, ".")] + ", k=" + k} }), refusedToken, 403},
		{"header not base64", chrome, authorize(func(t, k string) []string { return []string{"vapid t=*" + t + ", k=" + k} }), refusedToken, 403},
		{"payload not JSON", chrome, authorize(func(_, k string) []string { return []string{"vapid t=e30.eA.eA, k=" + k} }), refusedToken, 403},
		{"signature of no 64 bytes", wns, authorize(func(t, k string) []string { return []string{"vapid t=" + t[:len(t)-4] + ", k=" + k} }), refusedToken, 401},
		{"alg", chrome, func(_ *pushRig, s *sending) { s.jose["alg"] = "HS256" }, refusedToken, 403},
		{"alg none", chrome, func(_ *pushRig, s *sending) { s.jose["alg"] = "none" }, refusedToken, 403},
		{"typ", chrome, func(_ *pushRig, s *sending) { s.jose["typ"] = "at+jwt" }, refusedToken, 403},
		{"no aud", chrome, claim("aud", nil), refusedToken, 403},
		{"aud with a path", chrome, func(r *pushRig, s *sending) { s.claims["aud"] = r.URL() + "/" }, refusedToken, 403},
		{"aud without the port", apple, claim("aud", "https://127.0.0.1"), refusedToken, 403},
		{"aud a list", chrome, func(r *pushRig, s *sending) { s.claims["aud"] = []string{r.URL()} }, refusedToken, 403},
		{"no exp", chrome, claim("exp", nil), refusedToken, 403},
		{"exp a text", chrome, claim("exp", "1"), refusedToken, 403},
		{"exp over", firefox, inSeconds(0), refusedToken, 401},
		{"exp in a second", chrome, inSeconds(1), "", 201},
		{"exp in 24 hours", apple, inSeconds(86400), "", 201},
		{"exp in more than 24 hours", chrome, inSeconds(86401), refusedToken, 403},
		{"exp in milliseconds", apple, claim("exp", testNow.UnixMilli()), refusedToken, 403},
		{"exp beyond all numbers", chrome, claim("exp", 1e300), refusedToken, 403},
		{"no sub", chrome, claim("sub", nil), refusedToken, 403},
		{"no sub", apple, claim("sub", nil), refusedToken, 403},
		{"sub https", apple, claim("sub", "https://example.com/contact"), "", 201},

		{"gone", chrome, func(r *pushRig, _ *sending) { r.Unsubscribe(r.id) }, refusedGone, 410},
		{"gone", firefox, func(r *pushRig, _ *sending) { r.Unsubscribe(r.id) }, refusedGone, 410},
		{"gone", apple, func(r *pushRig, _ *sending) { r.Unsubscribe(r.id) }, refusedGone, 410},
		{"gone", wns, func(r *pushRig, _ *sending) { r.Unsubscribe(r.id) }, refusedGone, 404},
		{"forgotten", chrome, func(r *pushRig, _ *sending) { r.Forget(r.id) }, refusedPath, 404},

		{"rs of 17", chrome, sealed(func(s *sealing) { s.rs = 17 }), refusedContent, 400},
		{"several records", firefox, sealed(func(s *sealing) { s.rs = 100 }), refusedContent, 400},
		{"no sender's key", apple, sealed(func(s *sealing) { s.point = func([]byte) []byte { return nil } }), refusedContent, 400},
		{"sender's key off the curve", chrome, sealed(func(s *sealing) {
			s.point = func(p []byte) []byte { return append(make([]byte, 64), p[0]) }
		}), refusedContent, 400},
		{"another auth", chrome, sealed(func(s *sealing) { s.auth = make([]byte, 16) }), refusedContent, 400},
		{"for another browser", chrome, func(r *pushRig, s *sending) { s.to = goldenReceiver(r.t).key.PublicKey() }, refusedContent, 400},
		{"delimiter", chrome, sealed(func(s *sealing) { s.delimiter = []byte{1} }), refusedContent, 400},

		{"not JSON in the call test", chrome, func(_ *pushRig, s *sending) { s.text = "ring" }, refusedUnfit, 400},
		{"a number in the call test", chrome, func(_ *pushRig, s *sending) { s.text = `{"a":1}` }, refusedUnfit, 400},
		{"normal in the call test", chrome, header("Urgency", "normal"), refusedUnfit, 400},
		{"no Urgency in the call test", apple, header("Urgency"), refusedUnfit, 400},
		{"TTL beyond the ring in the call test", chrome, header("TTL", "61"), refusedUnfit, 400},
		{"a missed call", chrome, func(_ *pushRig, s *sending) {
			s.text = `{"app_event":"missed_call"}`
			s.header["Ttl"], s.header["Urgency"] = []string{"86400"}, []string{"normal"}
		}, "", 201},
		{"a missed call that is urgent", chrome, func(_ *pushRig, s *sending) { s.text = `{"app_event":"missed_call"}` }, refusedUnfit, 400},
		{"a notice for two days", chrome, func(_ *pushRig, s *sending) {
			s.text = `{"app_event":"canceled"}`
			s.header["Ttl"] = []string{"86401"}
		}, refusedUnfit, 400},
	}
	for _, tt := range tests {
		t.Run(string(tt.profile)+" "+tt.name, func(t *testing.T) {
			r := newPushRig(t, tt.profile, nil)
			s := r.good()
			tt.change(r, s)
			a := r.send(s)
			testlog.Keep(t, "answer", a.body)
			if a.status != tt.status {
				t.Errorf("%d %s, want %d", a.status, a.body, tt.status)
			}
			if tt.code == "" {
				if n := len(r.Messages()); n != 1 || len(r.Rejections()) != 0 {
					t.Errorf("%d messages, %+v", n, r.Rejections())
				}
				return
			}
			got := r.Rejections()
			if len(got) != 1 || len(r.Messages()) != 0 || r.Stats().Rejected[string(tt.code)] != 1 {
				t.Fatalf("%+v, %d messages, %+v", got, len(r.Messages()), r.Stats())
			}
			testlog.Keep(t, "why", fmt.Sprintf("%+v", got))
			want := WebPushRejection{At: testNow, Status: tt.status, Code: string(tt.code), Why: got[0].Why}
			if tt.code != refusedPath {
				want.Subscription = r.id
			}
			if diff := cmp.Diff(want, got[0]); diff != "" || got[0].Why == "" {
				t.Error(diff)
			}
		})
	}
}

// A sub that Apple would refuse is refused by Apple always, and elsewhere in the strict test.
func TestWebPushSub(t *testing.T) {
	for sub, ok := range map[string]bool{
		"mailto:ops@example.com": true, "mailto:a.b+c@mail.example.org": true, "https://example.com": true, "https://example.com:8443/x": true,
		"mailto:ops@localhost": false, "mailto:ops@example.invalid": false, "mailto: ops@example.com": false,
		"mailto:<ops@example.com>": false, "mailto:@example.com": false, "mailto:ops": false, "mailto:mailto:ops@example.com": false,
		"mailto:ops@example.com.": false, "mailto:ops@a@example.com": false, "ops@example.com": false, "": false,
		"http://example.com": false, "https://localhost": false, "https://": false, "tel:+1": false, "https://%": false,
	} {
		if got := contact(sub); got != ok {
			t.Errorf("contact(%q) = %t", sub, got)
		}
	}
	for profile, status := range map[PushProfile]int{PushChrome: 201, PushFirefox: 201, PushWNS: 201, PushApple: 403} {
		r := newPushRig(t, profile, func(o *WebPushOptions) { o.Strict = false })
		s := r.good()
		s.claims["sub"], s.text = "mailto:ops@localhost", "anything"
		s.header["Urgency"], s.header["Ttl"] = []string{"low"}, []string{"99999999"}
		if a := r.send(s); a.status != status {
			t.Errorf("%s: %d %s", profile, a.status, a.body)
		}
	}
}

// The words of each service.
func TestWebPushWords(t *testing.T) {
	gone := func(r *pushRig, s *sending) { r.Unsubscribe(r.id) }
	key := func(r *pushRig, s *sending) { s.signer = newECKey(r.t); s.k = publicText(r.t, s.signer) }
	ttl := func(_ *pushRig, s *sending) { delete(s.header, "Ttl") }
	path := func(_ *pushRig, s *sending) { s.url += "x" }
	for _, tt := range []struct {
		profile PushProfile
		change  func(*pushRig, *sending)
		field   string // of the JSON
		want    any
	}{
		{PushFirefox, gone, "errno", 106.0},
		{PushFirefox, gone, "code", 410.0},
		{PushFirefoxAndroid, key, "errno", 109.0},
		{PushFirefox, ttl, "errno", 112.0},
		{PushFirefox, path, "errno", 102.0},
		{PushApple, gone, "reason", "Unregistered"},
		{PushApple, key, "reason", "VapidPkHashMismatch"},
		{PushApple, ttl, "reason", "BadTtl"},
		{PushApple, path, "reason", "BadPath"},
	} {
		r := newPushRig(t, tt.profile, nil)
		s := r.good()
		tt.change(r, s)
		a := r.send(s)
		if got := a.json(t)[tt.field]; got != tt.want || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
			t.Errorf("%s: %v is %v, want %v", tt.profile, tt.field, got, tt.want)
		}
	}
	r := newPushRig(t, PushChrome, nil)
	r.Unsubscribe(r.id)
	if a := r.send(r.good()); a.body != "push subscription has unsubscribed or expired.\n" || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Errorf("%+v", a)
	}
	r = newPushRig(t, PushWNS, nil)
	r.Unsubscribe(r.id)
	if a := r.send(r.good()); a.body != "" || a.header.Get("X-Wns-Status") != "dropped" {
		t.Errorf("%+v", a)
	}
}

// What is recorded has all that a test needs to see, and no secret.
func TestWebPushRecords(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		var all atomic.Int32
		r := newPushRig(t, PushFirefox, func(o *WebPushOptions) { o.OnMessage = func(WebPushMessage) { all.Add(1) } })
		if http1 {
			r.client.Transport.(*http.Transport).Protocols = new(http.Protocols)
			r.client.Transport.(*http.Transport).Protocols.SetHTTP1(true)
		}
		req := r.request(r.good())
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 201 || !strings.HasPrefix(resp.Header.Get("Location"), r.URL()+"/m/") || resp.Header.Get("TTL") != "60" {
			t.Errorf("%d %v", resp.StatusCode, resp.Header)
		}
		if (resp.ProtoMajor == 1) != http1 {
			t.Errorf("HTTP/%d", resp.ProtoMajor)
		}
		got := <-r.got
		want := WebPushMessage{
			At: testNow, Subscription: r.id, Profile: PushFirefox, TTL: time.Minute, Urgency: "high", Topic: "call-1",
			Size: pushHeader + len(goodCall) + 1 + gcmTag, Data: goodCall, Header: got.Header,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		messages, err := r.AwaitMessages(testContext(t), 1)
		if err != nil || len(messages) != 1 || all.Load() != 1 || r.Stats().Delivered != 1 {
			t.Errorf("%d messages, %v, %+v", len(messages), err, r.Stats())
		}
		text := fmt.Sprintf("%+v %#v", messages, got) + fmt.Sprint(r.Stats())
		testlog.Keep(t, "record", text)
		secret := r.endpoint[strings.LastIndex(r.endpoint, "/"):]
		for _, s := range []string{secret, base64.RawURLEncoding.EncodeToString(r.auth), "vapid t=", "alice"} {
			if strings.Contains(text, s) {
				t.Errorf("a record has %d letters of a secret", len(s))
			}
		}
		if !strings.Contains(secret, testlog.Text) || !strings.Contains(base64.RawURLEncoding.EncodeToString(r.auth), testlog.Text) {
			t.Error("a secret of a subscription has no canary")
		}
	}
}

// A sender reuses its token; the fake counts how many there were.
func TestWebPushTokens(t *testing.T) {
	r := newPushRig(t, PushApple, nil)
	s := r.good()
	token := compact(s.jose, s.claims, es256(t, s.signer))
	s.authorize = func(_, k string) []string { return []string{"vapid t=" + token + ", k=" + k} }
	r.send(s)
	r.send(s)
	if n := r.Stats().Tokens; n != 1 {
		t.Errorf("%d tokens, want 1", n)
	}
	r.send(r.good()) // signed anew
	if n := r.Stats().Tokens; n != 2 {
		t.Errorf("%d tokens, want 2", n)
	}
}

// Messages wait for a browser that is away: as long as their TTL, and one for each topic.
func TestWebPushWaits(t *testing.T) {
	r := newPushRig(t, PushChrome, nil)
	r.SetOnline(r.id, false)
	push := func(topic, ttl, session string) {
		s := r.good()
		s.text = strings.Replace(s.text, "s1", session, 1)
		s.header["Topic"], s.header["Ttl"] = []string{topic}, []string{ttl}
		if topic == "" {
			delete(s.header, "Topic")
		}
		if a := r.send(s); a.status != 201 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	push("a", "60", "first of a")
	push("a", "60", "second of a")
	push("b", "60", "b")
	push("", "60", "none")
	push("", "60", "another")
	push("c", "10", "short")
	push("d", "0", "now or never")
	if s := r.Stats(); s.Replaced != 1 || s.Expired != 1 || s.Delivered != 0 || s.Accepted != 7 {
		t.Errorf("%+v", s)
	}
	r.clock.Advance(10 * time.Second)
	if s := r.Stats(); s.Expired != 2 {
		t.Errorf("%+v", s)
	}
	r.SetOnline(r.id, true)
	for _, want := range []string{"second of a", "b", "none", "another"} {
		m := <-r.got
		if !strings.Contains(m.Data.Reveal(), `"`+want+`"`) {
			t.Errorf("another message than %q", want)
		}
	}
	push("a", "60", "at once")
	<-r.got
	if len(r.got) != 0 || r.Stats().Delivered != 5 {
		t.Errorf("%d more, %+v", len(r.got), r.Stats())
	}
	r.SetOnline(r.id, false)
	for n := range maxWaiting + 1 {
		push("", "60", strconv.Itoa(n))
	}
	r.SetOnline(r.id, true)
	if len(r.got) != maxWaiting || r.Stats().Expired != 3 {
		t.Errorf("%d waited, %+v", len(r.got), r.Stats())
	}
	r.SetOnline("nobody", true)
	r.Unsubscribe("nobody")
}

func TestWebPushSubscribe(t *testing.T) {
	r := newPushRig(t, "", nil)
	shapes := map[PushProfile]string{PushChrome: "/wp/", PushFirefox: "/wpush/v2/", PushFirefoxAndroid: "/wpush/v2/", PushApple: "/", PushWNS: "/w/?token="}
	for _, profile := range PushProfiles() {
		s, err := r.SubscribeAs(profile, publicText(t, r.key), nil)
		if err != nil {
			t.Fatal(err)
		}
		page := readPage(t, s)
		if !strings.HasPrefix(page.endpoint, r.URL()+shapes[profile]+WebPushPrefix) || len(page.auth) != 16 || page.id != s.ID {
			t.Errorf("%s: an endpoint of %d letters, auth of %d bytes", profile, len(page.endpoint), len(page.auth))
		}
		again := *r
		again.pushPage = page
		if a := again.send(again.good()); a.status != 201 {
			t.Errorf("%s: %d %s", profile, a.status, a.body)
		}
	}
	for _, key := range []string{"", "x", "*", publicText(t, r.key) + "=", publicText(t, r.key)[:43]} {
		if _, err := r.Subscribe(key, nil); err == nil {
			t.Errorf("a browser subscribes with a key of %d letters", len(key))
		}
	}
	if _, err := r.SubscribeAs("netscape", publicText(t, r.key), nil); err == nil {
		t.Error("there is a profile netscape")
	}
	if err := NewWebPush(WebPushOptions{}).Start(); err == nil {
		t.Error("starts without a CA")
	}
}
