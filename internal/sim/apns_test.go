package sim

import (
	"crypto/ecdsa"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
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
	t     *testing.T
	clock *ManualClock
	key   *ecdsa.PrivateKey
	token string
	auth  string // of all good pushes: a connection takes no second one for 20 minutes
}

func newAPNsRig(t *testing.T, o APNsOptions) *apnsRig {
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

// TestAPNsChecks breaks one thing of a good push for each row of push-providers.md 6.1.
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

// TestAPNsConnectionRules checks what a connection remembers.
func TestAPNsConnectionRules(t *testing.T) {
	setup := func(t *testing.T) (*apnsRig, *http.Client, *ecdsa.PrivateKey) {
		r := newAPNsRig(t, APNsOptions{})
		other := newECKey(t)
		r.TrustKey(APNsKey{ID: "KEY2", TeamID: "TEAM1", Public: &other.PublicKey})
		r.TrustKey(APNsKey{ID: "KEY3", TeamID: "TEAM3", Public: &other.PublicKey})
		client := testClient(t)
		r.want(r.send(client, r.good()), 200, "")
		return r, client, other
	}
	sendWith := func(r *apnsRig, client *http.Client, jwt string) answer {
		p := r.good()
		p.header["Authorization"] = []string{"bearer " + jwt}
		return r.send(client, p)
	}
	t.Run("other key", func(t *testing.T) {
		r, client, other := setup(t)
		r.want(sendWith(r, client, r.jwt(other, "KEY2", "TEAM1", testNow)), 403, "UnrelatedKeyIdInToken")
		r.want(sendWith(r, testClient(t), r.jwt(other, "KEY2", "TEAM1", testNow)), 200, "")
	})
	t.Run("other team", func(t *testing.T) {
		r, client, other := setup(t)
		r.want(sendWith(r, client, r.jwt(other, "KEY3", "TEAM3", testNow)), 403, "InvalidProviderToken")
	})
	t.Run("new token too early, and in time", func(t *testing.T) {
		r, client, _ := setup(t)
		first := r.Pushes()[0].Header.Get("Authorization")
		r.clock.Advance(20*time.Minute - time.Second)
		fresh := r.jwt(r.key, "KEY1", "TEAM1", r.clock.Now())
		r.want(sendWith(r, client, fresh), 429, "TooManyProviderTokenUpdates")
		r.want(sendWith(r, client, strings.TrimPrefix(first, "bearer ")), 200, "")
		r.clock.Advance(time.Second)
		r.want(sendWith(r, client, fresh), 200, "")
	})
	t.Run("counts connections", func(t *testing.T) {
		r, client, _ := setup(t)
		jwt := strings.TrimPrefix(r.Pushes()[0].Header.Get("Authorization"), "bearer ")
		sendWith(r, client, jwt)
		sendWith(r, testClient(t), jwt)
		var conns []int
		for _, p := range r.Pushes() {
			conns = append(conns, p.Conn)
		}
		if diff := cmp.Diff([]int{1, 1, 2}, conns); diff != "" {
			t.Error(diff)
		}
		if got := r.Stats().Connections; got != 2 {
			t.Errorf("%d connections, want 2", got)
		}
	})
}

func TestAPNsTokenRate(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{TokenRate: 2})
	client, p := testClient(t), r.good()
	r.want(r.send(client, p), 200, "")
	r.want(r.send(client, p), 200, "")
	r.want(r.send(client, p), 429, "TooManyRequests")
	r.clock.Advance(time.Second)
	r.want(r.send(client, p), 200, "")
}

func TestAPNsCertificate(t *testing.T) {
	certificate := func(t *testing.T, topics ...string) *http.Client {
		c, err := testCA(t).Push(topics...)
		if err != nil {
			t.Fatal(err)
		}
		return testClient(t, c)
	}
	r := newAPNsRig(t, APNsOptions{})
	noAuth := r.good()
	delete(noAuth.header, "Authorization")
	r.want(r.send(certificate(t, testTopic, "com.example.app"), noAuth), 200, "")
	r.want(r.send(certificate(t, "com.other.voip"), noAuth), 400, "TopicDisallowed")

	withAuth := r.good()
	withAuth.header["Authorization"] = []string{"bearer ignored"}
	r.want(r.send(certificate(t, testTopic), withAuth), 200, "")

	delete(noAuth.header, "Apns-Topic")
	r.want(r.send(certificate(t, testTopic), noAuth), 200, "")
	r.want(r.send(certificate(t, testTopic, "com.example.app"), noAuth), 400, "MissingTopic")

	server, err := testCA(t).Server() // a certificate that lists no topics, and is for servers
	if err != nil {
		t.Fatal(err)
	}
	req := request(t, http.MethodPost, r.URL()+"/3/device/"+r.token, withAuth.header, withAuth.body)
	if a, err := do(testClient(t, server), req); err == nil && a.status == 200 {
		t.Error("a server's certificate was accepted")
	}
}

func TestAPNsRefusesHTTP1(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{})
	for _, protocols := range [][]string{nil, {"http/1.1"}} {
		d := tls.Dialer{Config: &tls.Config{RootCAs: testCA(t).Pool(), NextProtos: protocols, MinVersion: tls.VersionTLS12}}
		conn, err := d.DialContext(testContext(t), "tcp", strings.TrimPrefix(r.URL(), "https://"))
		if err != nil {
			continue // refused in the handshake
		}
		// TLS 1.3 tells the client of the refusal only with the first read.
		_, _ = conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		b := make([]byte, 1)
		if n, err := conn.Read(b); err == nil {
			t.Errorf("protocols %v: %d bytes of an answer", protocols, n)
		}
		_ = conn.Close()
	}
}

// TestAPNsOneStreamFirst checks that a connection works on one push until its first
// provider token was accepted.
func TestAPNsOneStreamFirst(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{})
	entered, release := make(chan struct{}, 10), make(chan struct{})
	r.Script(func(APNsRequest) *Answer {
		entered <- struct{}{}
		<-release
		return nil
	})
	client, p := testClient(t), r.good()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { r.want(r.send(client, p), 200, "") })
	}
	<-entered
	// Three cold requests may use up to three connections; each works on one.
	if n, conns := 1+len(entered), r.Stats().Connections; n > conns {
		t.Errorf("%d pushes at work on %d connections", n, conns)
	}
	close(release)
	wg.Wait()
	if got := r.Stats().Accepted; got != 3 {
		t.Errorf("%d accepted, want 3", got)
	}
}

// TestConnStateGate checks the gate itself, without the races of a network.
func TestConnStateGate(t *testing.T) {
	c := newConnState(nil, 1)
	ctx := testContext(t)
	held, leave, err := c.enter(ctx)
	if held || err != nil {
		t.Fatalf("first: %v %v", held, err)
	}
	second := make(chan bool)
	go func() {
		held, leave, err := c.enter(ctx)
		if err == nil {
			leave()
		}
		second <- held
	}()
	leave()
	<-second // may or may not have been held: the first left at the same time
	_, leave, _ = c.enter(ctx)
	third := make(chan bool)
	go func() {
		held, leave, err := c.enter(ctx)
		if err == nil {
			leave()
		}
		third <- held
	}()
	c.accept()
	c.accept() // again is no mistake
	<-third
	leave()
	if held, leave, err := c.enter(ctx); held || err != nil {
		t.Errorf("after the first accepted token: %v %v", held, err)
	} else {
		leave()
	}
}

func TestAPNsScript(t *testing.T) {
	client := func(t *testing.T) *http.Client { return testClient(t) }
	once := func(r *apnsRig, a Answer) {
		var mu sync.Mutex
		used := false
		r.Script(func(APNsRequest) *Answer {
			mu.Lock()
			defer mu.Unlock()
			if used {
				return nil
			}
			used = true
			return &a
		})
	}
	t.Run("status, reason and header", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, Answer{Status: 503, Reason: "ServiceUnavailable", Header: http.Header{"Retry-After": {"3"}}})
		c := client(t)
		a := r.send(c, r.good())
		r.want(a, 503, "ServiceUnavailable")
		if a.header.Get("Retry-After") != "3" {
			t.Errorf("headers %v", a.header)
		}
		r.want(r.send(c, r.good()), 200, "")
	})
	t.Run("410 with a timestamp", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, Answer{Status: 410, Reason: "Unregistered", Timestamp: testNow})
		if got := r.send(client(t), r.good()).json(t)["timestamp"]; got != float64(testNow.UnixMilli()) {
			t.Errorf("timestamp %v", got)
		}
	})
	t.Run("200 loses the push", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, Answer{Status: 200})
		r.want(r.send(client(t), r.good()), 200, "")
		if len(r.Pushes()) != 0 {
			t.Error("delivered")
		}
	})
	t.Run("HTML", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, *HTMLAnswer(502))
		a := r.send(client(t), r.good())
		if a.status != 502 || !strings.HasPrefix(a.body, "<html>") || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			t.Errorf("%+v", a)
		}
	})
	t.Run("delay by the clock", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, Answer{Delay: 10 * time.Second})
		done := make(chan answer)
		c := client(t)
		p := r.good()
		go func() {
			a, _ := do(c, request(t, p.method, r.URL()+p.path, p.header, p.body))
			done <- a
		}()
		if err := r.clock.AwaitWaiters(testContext(t), 1, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		r.clock.Advance(10 * time.Second)
		r.want(<-done, 200, "")
	})
	t.Run("close without answer, delivered", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, Answer{Close: true, Deliver: true})
		p := r.good()
		req := request(t, p.method, r.URL()+p.path, p.header, p.body)
		req.GetBody = nil // the transport must not repeat it
		if a, err := do(client(t), req); err == nil {
			t.Errorf("answered %+v", a)
		}
		if len(r.Pushes()) != 1 {
			t.Errorf("%d pushes, want 1", len(r.Pushes()))
		}
	})
	t.Run("GOAWAY", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		once(r, Answer{GoAway: true})
		c := client(t)
		r.want(r.send(c, r.good()), 200, "")
		r.want(r.send(c, r.good()), 200, "")
		if got := r.Pushes()[1].Conn; got != 2 {
			t.Errorf("the second push came on connection %d, want 2", got)
		}
	})
	t.Run("hang until the fake closes", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		entered := make(chan struct{})
		r.Script(func(APNsRequest) *Answer {
			close(entered)
			return &Answer{Hang: true}
		})
		p := r.good()
		req := request(t, p.method, r.URL()+p.path, p.header, p.body)
		req.GetBody = nil
		done := make(chan error)
		c := client(t)
		go func() {
			_, err := do(c, req)
			done <- err
		}()
		<-entered
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; err == nil {
			t.Error("answered")
		}
	})
	t.Run("sees the request", func(t *testing.T) {
		r := newAPNsRig(t, APNsOptions{})
		seen := make(chan APNsRequest, 1)
		r.Script(func(q APNsRequest) *Answer { seen <- q; return nil })
		p := r.good()
		r.send(client(t), p)
		q := <-seen
		if q.Token != r.token || q.Conn != 1 || q.Number != 1 || string(q.Body) != string(p.body) || q.Header.Get("Apns-Topic") != testTopic {
			t.Errorf("%+v", q)
		}
	})
}

func TestAPNsRecordsAreBounded(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{Recent: 2})
	client := testClient(t)
	for range 3 {
		r.send(client, r.good())
	}
	all, err := r.AwaitPushes(testContext(t), 3)
	if err != nil || len(all) != 2 || r.Stats().Accepted != 3 {
		t.Errorf("%d kept, %d counted, %v", len(all), r.Stats().Accepted, err)
	}
}

func TestAPNsLife(t *testing.T) {
	if err := NewAPNs(APNsOptions{}).Start(); err == nil {
		t.Error("starts without a CA")
	}
	if err := NewAPNs(APNsOptions{}).Close(); err != nil {
		t.Errorf("close before start: %v", err)
	}
	for _, addr := range []string{"0.0.0.0:0", "example.com:1", "127.0.0.1"} {
		if err := NewAPNs(APNsOptions{CA: testCA(t), Address: addr}).Start(); err == nil {
			t.Errorf("listens on %s", addr)
		}
	}
	r := newAPNsRig(t, APNsOptions{})
	if err := r.Start(); err == nil {
		t.Error("starts twice")
	}
	addr := strings.TrimPrefix(r.URL(), "https://")
	if err := NewAPNs(APNsOptions{CA: testCA(t), Address: addr}).Start(); err == nil {
		t.Error("two fakes share an address")
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if c, err := (&net.Dialer{}).DialContext(testContext(t), "tcp", addr); err == nil {
		_ = c.Close()
		t.Error("listens after Close")
	}
	if err := r.Start(); err != nil { // at the next port: a restart
		t.Error(err)
	}
}

// TestRejectionsNameNoSecret checks the explanations that people and logs see.
func TestRejectionsNameNoSecret(t *testing.T) {
	r := newAPNsRig(t, APNsOptions{Strict: true})
	client := testClient(t)
	p := r.good()
	p.path = "/3/device/" + testlog.HexSecret(7, 64)
	r.send(client, p)
	p.header["Authorization"] = []string{"bearer x.y." + testlog.TextSecret("jwt")}
	r.send(client, p)
	for _, rej := range r.Rejections() {
		b, err := json.Marshal(rej.Why)
		if err != nil || slices.ContainsFunc([]string{testlog.Hex, testlog.Text}, func(s string) bool { return strings.Contains(string(b), s) }) {
			t.Errorf("why: %s, %v", b, err)
		}
		testlog.Keep(t, "why", rej.Why)
	}
}
