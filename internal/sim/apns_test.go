package sim

import (
	"crypto/ecdsa"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
)

const (
	testTopic = "com.example.app.voip"
	testUUID  = "123e4567-e89b-12d3-a456-426614174000"
)

// apnsRig is a fake with one good device, and what a good push needs.
type apnsRig struct {
	*APNs
	t     testing.TB
	clock *ManualClock
	key   *ecdsa.PrivateKey
	token string
	auth  string // of all good pushes: a connection takes no second one for 20 minutes
}

func newAPNsRig(t testing.TB, o APNsOptions) *apnsRig {
	t.Helper()
	clock := NewManualClock(testNow)
	o.CA, o.Clock = testCA(t), clock
	r := &apnsRig{APNs: NewAPNs(o), t: t, clock: clock, key: newECKey(t), token: testlog.HexSecret(1, 64)}
	r.auth = "bearer " + r.jwt(r.key, "KEY1", "TEAM1", testNow)
	r.TrustKey(APNsKey{ID: "KEY1", TeamID: "TEAM1", Public: &r.key.PublicKey})
	r.Register(r.token, testTopic, nil)
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// jwt returns a provider token.
func (r *apnsRig) jwt(key *ecdsa.PrivateKey, kid, team string, iat time.Time) string {
	return compact(map[string]any{"alg": "ES256", "kid": kid}, map[string]any{"iss": team, "iat": iat.Unix()}, es256(r.t, key))
}

// push is a push that can be changed before it is sent.
type push struct {
	method, path string
	header       http.Header
	body         []byte
}

// good returns a push that passes every check, also the strict ones.
func (r *apnsRig) good() *push {
	return &push{
		method: http.MethodPost, path: "/3/device/" + r.token, body: []byte(`{"aps":{},"cc_param":"x"}`),
		header: http.Header{
			"Authorization": {r.auth},
			"Apns-Topic":    {testTopic}, "Apns-Push-Type": {"voip"}, "Apns-Priority": {"10"},
			"Apns-Expiration": {"0"}, "Apns-Id": {testUUID},
		},
	}
}

func (r *apnsRig) send(client *http.Client, p *push) answer {
	r.t.Helper()
	return mustDo(r.t, client, request(r.t, p.method, r.URL()+p.path, p.header, p.body))
}

// want checks status and reason of an answer.
func (r *apnsRig) want(a answer, status int, reason string) {
	r.t.Helper()
	got := ""
	if a.body != "" {
		got, _ = a.json(r.t)["reason"].(string)
	}
	if a.status != status || got != reason {
		r.t.Errorf("got %d %q, want %d %q; the fake says: %+v", a.status, got, status, reason, r.why())
	}
}

func (r *apnsRig) why() string {
	if all := r.Rejections(); len(all) > 0 {
		return all[len(all)-1].Why
	}
	return ""
}

// TestAPNsChecks breaks one thing of a good push for each row of docs/push-providers.md 6.1.
func TestAPNsChecks(t *testing.T) {
	set := func(name string, values ...string) func(*apnsRig, *push) {
		return func(_ *apnsRig, p *push) { p.header[name] = values }
	}
	unset := func(name string) func(*apnsRig, *push) {
		return func(_ *apnsRig, p *push) { delete(p.header, name) }
	}
	path := func(text string) func(*apnsRig, *push) {
		return func(_ *apnsRig, p *push) { p.path = text }
	}
	body := func(text string) func(*apnsRig, *push) {
		return func(_ *apnsRig, p *push) { p.body = []byte(text) }
	}
	auth := func(f func(*apnsRig) string) func(*apnsRig, *push) {
		return func(r *apnsRig, p *push) { p.header["Authorization"] = []string{"bearer " + f(r)} }
	}
	big := func(n int) string { return `{"x":"` + strings.Repeat("a", n-8) + `"}` }
	tests := []struct {
		name   string
		change func(*apnsRig, *push)
		status int
		reason string
	}{
		{"good", func(*apnsRig, *push) {}, 200, ""},
		{"GET", func(_ *apnsRig, p *push) { p.method = http.MethodGet }, 405, "MethodNotAllowed"},
		{"other path", path("/4/device/ab"), 404, "BadPath"},
		{"longer path", func(_ *apnsRig, p *push) { p.path += "/more" }, 404, "BadPath"},
		{"no token", path("/3/device/"), 400, "MissingDeviceToken"},
		{"topic twice", set("Apns-Topic", testTopic, testTopic), 400, "DuplicateHeaders"},
		{"authorization twice", set("Authorization", "bearer a", "bearer b"), 400, "DuplicateHeaders"},
		{"upper-case id", set("Apns-Id", strings.ToUpper(testUUID)), 400, "BadMessageId"},
		{"empty id", set("Apns-Id", ""), 400, "BadMessageId"},
		{"no id", unset("Apns-Id"), 200, ""},
		{"no topic", unset("Apns-Topic"), 400, "MissingTopic"},
		{"unknown type", set("Apns-Push-Type", "call"), 400, "InvalidPushType"},
		{"no type in the call test", unset("Apns-Push-Type"), 400, "InvalidPushType"},
		{"voip without .voip", set("Apns-Topic", "com.example.app"), 400, "DeviceTokenNotForTopic"},
		{"alert with .voip", set("Apns-Push-Type", "alert"), 400, "DeviceTokenNotForTopic"},
		{"priority 7", set("Apns-Priority", "7"), 400, "BadPriority"},
		{"no priority", unset("Apns-Priority"), 200, ""},
		{"expiration a word", set("Apns-Expiration", "soon"), 400, "BadExpirationDate"},
		{"expiration negative", set("Apns-Expiration", "-1"), 400, "BadExpirationDate"},
		{"no expiration in the call test", unset("Apns-Expiration"), 400, "BadExpirationDate"},
		{"expiration after the ring", set("Apns-Expiration", "1777637000"), 400, "BadExpirationDate"},
		{"collapse ID of 64", set("Apns-Collapse-Id", strings.Repeat("c", 64)), 200, ""},
		{"collapse ID of 65", set("Apns-Collapse-Id", strings.Repeat("c", 65)), 400, "BadCollapseId"},
		{"no authorization", unset("Authorization"), 403, "MissingProviderToken"},
		{"Basic authorization", set("Authorization", "Basic eDp5"), 403, "MissingProviderToken"},
		{"two parts", set("Authorization", "bearer a.b"), 403, "InvalidProviderToken"},
		{"not base64", set("Authorization", "bearer *.*.*"), 403, "InvalidProviderToken"},
		{"payload not JSON", set("Authorization", "bearer eyJhbGciOiJFUzI1NiJ9.eA.eA"), 403, "InvalidProviderToken"},
		{"alg HS256", auth(func(r *apnsRig) string {
			return compact(map[string]any{"alg": "HS256", "kid": "KEY1"},
				map[string]any{"iss": "TEAM1", "iat": testNow.Unix()}, es256(r.t, r.key))
		}), 403, "InvalidProviderToken"},
		{"unknown kid", auth(func(r *apnsRig) string { return r.jwt(r.key, "KEY9", "TEAM1", testNow) }), 403, "InvalidProviderToken"},
		{"other team", auth(func(r *apnsRig) string { return r.jwt(r.key, "KEY1", "TEAM9", testNow) }), 403, "InvalidProviderToken"},
		{"other key's signature", auth(func(r *apnsRig) string { return r.jwt(newECKey(r.t), "KEY1", "TEAM1", testNow) }), 403, "InvalidProviderToken"},
		{"ASN.1 signature", auth(func(r *apnsRig) string {
			return compact(map[string]any{"alg": "ES256", "kid": "KEY1"}, map[string]any{"iss": "TEAM1", "iat": testNow.Unix()},
				func(sum []byte) []byte {
					sig, err := ecdsa.SignASN1(nil, r.key, sum)
					if err != nil {
						r.t.Fatal(err)
					}
					return sig
				})
		}), 403, "InvalidProviderToken"},
		{"no iat", auth(func(r *apnsRig) string {
			return compact(map[string]any{"alg": "ES256", "kid": "KEY1"}, map[string]any{"iss": "TEAM1"}, es256(r.t, r.key))
		}), 403, "InvalidProviderToken"},
		{"an hour old", auth(func(r *apnsRig) string { return r.jwt(r.key, "KEY1", "TEAM1", testNow.Add(-time.Hour)) }), 200, ""},
		{"older than an hour", auth(func(r *apnsRig) string { return r.jwt(r.key, "KEY1", "TEAM1", testNow.Add(-time.Hour-time.Second)) }), 403, "ExpiredProviderToken"},
		{"more than an hour ahead", auth(func(r *apnsRig) string { return r.jwt(r.key, "KEY1", "TEAM1", testNow.Add(time.Hour+time.Second)) }), 403, "InvalidProviderToken"},
		{"key of the other environment", func(r *apnsRig, _ *push) {
			r.TrustKey(APNsKey{ID: "KEY1", TeamID: "TEAM1", Public: &r.key.PublicKey, Environment: APNsSandbox})
		}, 403, "BadEnvironmentKeyIdInToken"},
		{"key of this environment", func(r *apnsRig, _ *push) {
			r.TrustKey(APNsKey{ID: "KEY1", TeamID: "TEAM1", Public: &r.key.PublicKey, Environment: APNsProduction})
		}, 200, ""},
		{"topic not of the key", func(r *apnsRig, _ *push) {
			r.TrustKey(APNsKey{ID: "KEY1", TeamID: "TEAM1", Public: &r.key.PublicKey, Topics: []string{"com.other.voip"}})
		}, 400, "TopicDisallowed"},
		{"unknown token", path("/3/device/" + testlog.HexSecret(2, 64)), 400, "BadDeviceToken"},
		{"malformed token", path("/3/device/xyz"), 400, "BadDeviceToken"},
		{"token of another topic", set("Apns-Topic", "com.other.voip"), 400, "DeviceTokenNotForTopic"},
		{"unregistered", func(r *apnsRig, _ *push) { r.Unregister(r.token, testTopic, testNow) }, 410, "Unregistered"},
		{"expired", func(r *apnsRig, _ *push) { r.Expire(r.token, testTopic, testNow) }, 410, "ExpiredToken"},
		{"empty body", body(""), 400, "PayloadEmpty"},
		{"not JSON", body("x"), 400, "PayloadEmpty"},
		{"JSON null", body("null"), 400, "PayloadEmpty"},
		{"compressed", set("Content-Encoding", "gzip"), 400, "PayloadEmpty"},
		{"5120 bytes", body(big(5120)), 200, ""},
		{"5121 bytes", body(big(5121)), 413, "PayloadTooLarge"},
	}
	client := testClient(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newAPNsRig(t, APNsOptions{Strict: true})
			p := r.good()
			tt.change(r, p)
			a := r.send(client, p)
			r.want(a, tt.status, tt.reason)
			s := r.Stats()
			if tt.status == 200 {
				if a.body != "" || s.Accepted != 1 || len(s.Rejected) != 0 || a.header.Get("Apns-Id") == "" {
					t.Errorf("answer %+v, stats %+v", a, s)
				}
				return
			}
			if s.Accepted != 0 || s.Rejected[tt.reason] != 1 {
				t.Errorf("stats %+v", s)
			}
			if got := a.header.Get("Content-Type"); !strings.HasPrefix(got, "application/json") {
				t.Errorf("content type %q", got)
			}
		})
	}
}

// TestAPNsAlert checks the rules that differ for a plain topic, without the call test.
func TestAPNsAlert(t *testing.T) {
	client := testClient(t)
	tests := []struct {
		name       string
		kind, prio string
		size       int
		status     int
		reason     string
	}{
		{"alert", "alert", "10", 100, 200, ""},
		{"no type, no call test", "", "10", 100, 200, ""},
		{"4096 bytes", "alert", "10", 4096, 200, ""},
		{"4097 bytes", "alert", "10", 4097, 413, "PayloadTooLarge"},
		{"background with 5", "background", "5", 100, 200, ""},
		{"background with 10", "background", "10", 100, 400, "BadPriority"},
		{"background with the default", "background", "", 100, 400, "BadPriority"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newAPNsRig(t, APNsOptions{})
			const topic = "com.example.app"
			r.Register(r.token, topic, nil)
			p := r.good()
			delete(p.header, "Apns-Expiration")
			p.header["Apns-Topic"] = []string{topic}
			p.header["Apns-Push-Type"], p.header["Apns-Priority"] = []string{tt.kind}, []string{tt.prio}
			if tt.kind == "" {
				delete(p.header, "Apns-Push-Type")
			}
			if tt.prio == "" {
				delete(p.header, "Apns-Priority")
			}
			p.body = []byte(`{"x":"` + strings.Repeat("a", tt.size-8) + `"}`)
			r.want(r.send(client, p), tt.status, tt.reason)
		})
	}
}

func TestAPNsRecords(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{Environment: APNsSandbox})
	heard := make(chan APNsPush, 1)
	r.Register(r.token, testTopic, func(p APNsPush) { heard <- p })
	p := r.good()
	a := r.send(testClient(t), p)
	r.want(a, 200, "")
	if a.header.Get("Apns-Id") != testUUID || !canonicalUUID.MatchString(a.header.Get("Apns-Unique-Id")) {
		t.Errorf("headers %v", a.header)
	}
	all, err := r.AwaitPushes(testContext(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	got := <-heard
	if diff := cmp.Diff(all[0], got); diff != "" {
		t.Error(diff)
	}
	want := APNsPush{
		At: testNow, Conn: 1, Token: r.token, Topic: testTopic, PushType: "voip", ID: testUUID, Header: got.Header, Body: p.body,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Header.Get("Authorization") != p.header.Get("Authorization") {
		t.Error("the authorization was not recorded")
	}
}

func TestAPNsProductionHasNoUniqueID(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{})
	if a := r.send(testClient(t), r.good()); a.header.Get("Apns-Unique-Id") != "" {
		t.Errorf("headers %v", a.header)
	}
}

func TestAPNsGoneTimestamp(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{})
	client := testClient(t)
	r.Unregister(r.token, testTopic, testNow.Add(-time.Minute))
	a := r.send(client, r.good())
	if got := a.json(t)["timestamp"]; got != float64(testNow.Add(-time.Minute).UnixMilli()) {
		t.Errorf("timestamp %v", got)
	}
	r.Register(r.token, testTopic, nil)
	r.want(r.send(client, r.good()), 200, "")
}
