package sim

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// mini is the smallest app server: it pushes to whatever registered for "bob", with the
// credentials that the world wrote into its folder.
type mini struct {
	*httptest.Server
	t      *testing.T
	set    Settings
	client *http.Client
	apnsID string // provider token
	access string // of FCM

	mu      sync.Mutex
	devices map[string]string // push token to the base URL or "fcm"
	waiting []chan string     // polls of bob
	broken  bool              // notify answers 503
}

func newMini(t *testing.T, set Settings) *mini {
	t.Helper()
	m := &mini{t: t, set: set, client: testClientOf(t, set.CAFile), devices: map[string]string{}}
	m.login()
	m.Server = httptest.NewServer(m)
	return m
}

// testClientOf trusts the authority in a file.
func testClientOf(t *testing.T, file string) *http.Client {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		t.Fatal("the CA file holds no certificate")
	}
	client := testClient(t)
	client.Transport.(*http.Transport).TLSClientConfig.RootCAs = pool
	return client
}

// parseKey reads a PKCS#8 PEM key.
func parseKey(t *testing.T, text []byte) any {
	t.Helper()
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatal("no PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// login signs a provider token and gets an access token.
func (m *mini) login() {
	m.t.Helper()
	p8, err := os.ReadFile(m.set.APNsKeyFile)
	if err != nil {
		m.t.Fatal(err)
	}
	now := time.Now().Unix()
	m.apnsID = compact(map[string]any{"alg": "ES256", "kid": m.set.APNsKeyID},
		map[string]any{"iss": m.set.APNsTeamID, "iat": now}, es256(m.t, parseKey(m.t, p8).(*ecdsa.PrivateKey)))
	b, err := os.ReadFile(m.set.ServiceAccountFile)
	if err != nil {
		m.t.Fatal(err)
	}
	var account map[string]string
	if err := json.Unmarshal(b, &account); err != nil {
		m.t.Fatal(err)
	}
	assertion := compact(map[string]any{"alg": "RS256", "kid": account["private_key_id"]}, map[string]any{
		"iss": account["client_email"], "aud": account["token_uri"], "scope": scopeMessaging, "iat": now, "exp": now + 3600,
	}, rs256(m.t, parseKey(m.t, []byte(account["private_key"])).(*rsa.PrivateKey)))
	form := url.Values{"grant_type": {grantJWT}, "assertion": {assertion}}.Encode()
	a := mustDo(m.t, m.client, request(m.t, "POST", account["token_uri"],
		http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, []byte(form)))
	m.access, _ = a.json(m.t)["access_token"].(string)
}

// ServeHTTP answers clients and callbacks.
func (m *mini) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	switch name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]; name {
	case "register_user":
		success(`{"accessToken":"` + appToken(time.Now().Add(time.Hour)) + `"}`)(w)
	case "update_notification_token":
		var f map[string]string
		_ = json.Unmarshal(body, &f)
		m.mu.Lock()
		switch {
		case f["notificationType"] == "fcm":
			m.devices[f["notificationToken"]] = "fcm"
		case f["apnsServer"] == "developmenet":
			m.devices[f["notificationToken"]] = m.set.APNsSandboxURL
		case f["notificationType"] == "apnsvoip":
			m.devices[f["notificationToken"]] = m.set.APNsProductionURL
		}
		m.mu.Unlock()
		success(`{}`)(w)
	case "lp":
		m.poll(w, r)
	case "notify":
		m.notify(w, r)
	case "issue":
		success(`{"gwAccessToken":"gw"}`)(w)
	default:
		success(`{}`)(w)
	}
}

func (m *mini) poll(w http.ResponseWriter, r *http.Request) {
	ch := make(chan string, 1)
	m.mu.Lock()
	m.waiting = append(m.waiting, ch)
	m.mu.Unlock()
	select {
	case cc := <-ch:
		callAnswer(cc)(w)
	case <-r.Context().Done():
	}
}

// notify pushes to every device; one that is broken answers 503.
func (m *mini) notify(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	broken, waiting, devices := m.broken, m.waiting, m.devices
	if broken {
		m.mu.Unlock()
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	m.waiting = nil
	m.mu.Unlock()
	cc := r.FormValue("param")
	for _, ch := range waiting {
		ch <- cc
	}
	for token, to := range devices {
		m.push(token, to, cc)
	}
	success(`{}`)(w)
}

func (m *mini) push(token, to, cc string) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	target, auth := to+"/3/device/"+token, "bearer "+m.apnsID
	body := fmt.Sprintf(`{"aps":{},"cc_param":%q,"app_caller_sid":"svc"}`, cc)
	if to == "fcm" {
		target, auth = m.set.FCMURL+"/v1/projects/"+m.set.FCMProject+"/messages:send", "Bearer "+m.access
		body = fmt.Sprintf(`{"message":{"token":%q,"data":{"cc_param":%q},"android":{"priority":"high","ttl":"50s"}}}`, token, cc)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, strings.NewReader(body))
	if err != nil {
		m.t.Error(err)
		return
	}
	req.Header.Set("Authorization", auth)
	if to != "fcm" {
		req.Header.Set("Apns-Topic", m.set.BundleID+".voip")
		req.Header.Set("Apns-Push-Type", "voip")
		req.Header.Set("Apns-Expiration", "0")
	}
	if _, err := do(m.client, req); err != nil {
		m.t.Error(err)
	}
}

// newTestWorld returns a world that is connected to a mini app server.
func newTestWorld(t *testing.T) (*World, *mini) {
	t.Helper()
	w, err := NewWorld(WorldOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var m *mini
	t.Cleanup(func() {
		if err := w.Close(); err != nil { // before the app server, at which phones wait
			t.Error(err)
		}
		if m != nil {
			m.Close()
		}
	})
	if _, err := w.AddPhone(testContext(t), PhoneRequest{Kind: Web, UserID: "bob"}); err == nil {
		t.Error("a phone registers before Connect")
	}
	m = newMini(t, w.Settings())
	if err := w.Connect(AppServer{BaseURL: m.URL, CallbackURL: m.URL + "/cb/" + testlog.TextSecret("world"), ServiceID: "svc"}); err != nil {
		t.Fatal(err)
	}
	return w, m
}

// addPhones gives bob a phone of every kind that rings, and waits until the app server
// can reach each of them.
func addPhones(t *testing.T, w *World, m *mini) {
	t.Helper()
	ctx := testContext(t)
	for _, r := range []PhoneRequest{
		{Kind: IOS, Name: "new iPhone"},
		{Kind: IOS, Name: "developer's iPhone", Sandbox: true},
		{Kind: Android},
		{Kind: AndroidLP},
		{Kind: Windows},
		{Kind: MacOS},
	} {
		r.UserID = "bob"
		if _, err := w.AddPhone(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	for {
		m.mu.Lock()
		ready := len(m.devices) == 3 && len(m.waiting) == 3
		m.mu.Unlock()
		if ready {
			return
		}
		if err := (SystemClock{}).Wait(ctx, time.Millisecond); err != nil {
			t.Fatal("the phones do not become reachable")
		}
	}
}

// TestWorldRingsEveryPhone is the whole circle: call, Notify, push, phone, verifyCall,
// answer, Call Event.
func TestWorldRingsEveryPhone(t *testing.T) {
	w, m := newTestWorld(t)
	addPhones(t, w, m)
	events := w.Events(testContext(t))
	ctx := testContext(t)
	call, err := w.Call(ctx, "alice", "bob", CallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range w.Phones() {
		got, err := p.AwaitReceived(ctx, 1)
		if err != nil || !got[0].Rang || got[0].SessionID != call.SessionID() || got[0].Call.CCParam != call.CCParam().Reveal() {
			t.Errorf("%s: %v", p.Name(), err)
		}
	}
	call.Hangup()
	<-call.Done()
	rep := call.Report()
	var rang []string
	for _, l := range rep.Legs {
		rang = append(rang, l.Phone)
	}
	slices.Sort(rang)
	want := []string{"bob's android", "bob's android-lp", "bob's macos", "bob's windows", "developer's iPhone", "new iPhone"}
	if diff := cmp.Diff(want, rang); diff != "" || rep.Reason != "CANCEL" {
		t.Error(diff, rep.Reason)
	}
	missing := map[EventKind]bool{
		EventPlaced: true, EventCallback: true, EventPush: true, EventVerified: true, EventReceived: true, EventEnded: true,
	}
	for len(missing) > 0 {
		select {
		case e := <-events:
			delete(missing, e.Kind)
			b, err := json.Marshal(e)
			if err != nil || strings.Contains(string(b), CCParamPrefix) || strings.Contains(string(b), testlog.Text) || strings.Contains(string(b), testlog.Hex) {
				t.Errorf("event %s, %v", b, err)
			}
			testlog.Keep(t, "event", string(b))
		case <-ctx.Done():
			t.Fatalf("no events of %v", missing)
		}
	}
}

// TestCallerWithPhoneDials: the call goes through the caller's phone and its access token.
func TestCallerWithPhoneDials(t *testing.T) {
	w, _ := newTestWorld(t)
	ctx := testContext(t)
	if _, err := w.AddPhone(ctx, PhoneRequest{Kind: Web, UserID: "alice"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.AddPhone(ctx, PhoneRequest{Kind: Web, UserID: "alice"}); err == nil {
		t.Error("two phones share a name")
	}
	if _, err := w.AddPhone(ctx, PhoneRequest{Kind: "pager", UserID: "alice"}); err == nil {
		t.Error("a pager is made")
	}
	call, err := w.Call(ctx, "alice", "bob", CallRequest{Plan: Plan{Kind: PlanBusy}})
	if err != nil {
		t.Fatal(err)
	}
	if call.request.AccessToken != planet.Secret("gw") {
		t.Error("without the access token")
	}
	<-call.Done()
}

// ctl sends a request to the control port.
func ctl(t *testing.T, w *World, method, path, body string) answer {
	t.Helper()
	return mustDo(t, testClient(t), request(t, method, w.Settings().ControlURL+path, nil, []byte(body)))
}

func TestControlPort(t *testing.T) {
	w, m := newTestWorld(t)
	addPhones(t, w, m)
	t.Run("call and wait", func(t *testing.T) {
		a := ctl(t, w, "POST", "/calls", `{"from":"alice","to":"bob","plan":"declined","after":"1ms","type":"v","wait":true}`)
		v := a.json(t)
		if a.status != 200 || v["reason"] != "DECLINE" || v["type"] != "V" {
			t.Errorf("%+v", a)
		}
		if got := ctl(t, w, "GET", "/calls", ""); !strings.Contains(got.body, v["sid"].(string)) || strings.Contains(got.body, CCParamPrefix) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("PUSH_ERROR", func(t *testing.T) {
		m.mu.Lock()
		m.broken = true
		m.mu.Unlock()
		if v := ctl(t, w, "POST", "/calls", `{"from":"alice","to":"bob","wait":true}`).json(t); v["reason"] != "PUSH_ERROR" {
			t.Errorf("%v", v)
		}
	})
	t.Run("state", func(t *testing.T) {
		v := ctl(t, w, "GET", "/state", "").json(t)
		phones, _ := v["phones"].([]any)
		if len(phones) != 6 || v["active_calls"] != 0.0 || v["fcm"].(map[string]any)["Accepted"] != 1.0 {
			t.Errorf("%v", v)
		}
		if phones[0].(map[string]any)["received"] != 1.0 {
			t.Errorf("%v", phones[0])
		}
	})
	t.Run("phone and behavior", func(t *testing.T) {
		a := ctl(t, w, "POST", "/phones", `{"kind":"ios","user":"carol","name":"c","display_name":"Carol","sandbox":true,"acknowledges":true}`)
		if a.status != 200 || w.Phone("c").User().UserID != "carol" || !w.Phone("c").o.Acknowledges || w.Phones()[0].o.Acknowledges {
			t.Errorf("%+v", a)
		}
		ctl(t, w, "POST", "/behavior", `{"phone":"c","kind":"decline","after":"2s"}`)
		p := w.Phone("c")
		p.mu.Lock()
		defer p.mu.Unlock()
		if diff := cmp.Diff(Behavior{BehaviorDecline, 2 * time.Second}, p.behavior); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("mistakes", func(t *testing.T) {
		for _, q := range [][3]string{
			{"/calls", `{"from":"alice"}`, "400"},
			{"/calls", `{"from":"alice","to":"bob","plan":"sung"}`, "400"},
			{"/calls", `{"from":"alice","to":"bob","after":5}`, "400"},
			{"/calls", `{"from":"alice","to":"bob","after":"soon"}`, "400"},
			{"/calls", `{"form":"alice"}`, "400"},
			{"/phones", `{"kind":"pager"}`, "400"},
			{"/phones", `x`, "400"},
			{"/behavior", `{"phone":"nobody"}`, "404"},
			{"/behavior", `x`, "400"},
			{"/faults", `{"target":"moon","status":500}`, "400"},
			{"/faults", `{"target":"fcm","status":99}`, "400"},
			{"/faults", `x`, "400"},
		} {
			a := ctl(t, w, "POST", q[0], q[1])
			if fmt.Sprint(a.status) != q[2] || a.json(t)["error"] == "" {
				t.Errorf("%s %s: %+v", q[0], q[1], a)
			}
		}
	})
}

func TestControlFaults(t *testing.T) {
	w, _ := newTestWorld(t)
	client := testClient(t)
	send := func() answer {
		return mustDo(t, testClientOf(t, w.Settings().CAFile), request(t, "POST", w.FCM.URL()+"/v1/projects/x/messages:send", nil, nil))
	}
	post := func(body string) {
		t.Helper()
		if a := ctl(t, w, "POST", "/faults", body); a.status != 200 {
			t.Errorf("%s: %+v", body, a)
		}
	}
	post(`{"target":"fcm","status":503,"reason":"UNAVAILABLE","retry_after":"7","header":{"X-Test":"1"},"count":1}`)
	if a := send(); a.status != 503 || a.header.Get("Retry-After") != "7" || a.header.Get("X-Test") != "1" {
		t.Errorf("%+v", a)
	}
	if a := send(); a.status != 401 {
		t.Errorf("after the fault: %+v", a)
	}
	post(`{"target":"fcm","status":502,"html":true}`)
	for range 2 {
		if a := send(); a.status != 502 || !strings.HasPrefix(a.body, "<html>") {
			t.Errorf("%+v", a)
		}
	}
	for _, target := range FaultTargets() {
		post(`{"target":"` + target + `","status":500}`)
	}
	req := request(t, "DELETE", w.Settings().ControlURL+"/faults", nil, nil)
	if a := mustDo(t, client, req); a.status != 200 {
		t.Errorf("%+v", a)
	}
	if a := send(); a.status != 401 {
		t.Errorf("after the end of all faults: %+v", a)
	}
	if w.Sandbox.script != nil || w.Production.script != nil || w.FCM.scriptToken != nil {
		t.Error("a script is left")
	}
}

func TestControlEvents(t *testing.T) {
	w, _ := newTestWorld(t)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.Settings().ControlURL+"/events?follow=1", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := testClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	ctl(t, w, "POST", "/calls", `{"from":"alice","to":"bob","plan":"busy","wait":true}`)
	line, err := bufio.NewReader(resp.Body).ReadBytes('\n')
	var e Event
	if err != nil || json.Unmarshal(line, &e) != nil || e.Kind != EventPlaced || e.Source != "cloud" {
		t.Errorf("%s, %v", line, err)
	}
	var all []Event
	if err := json.Unmarshal([]byte(ctl(t, w, "GET", "/events", "").body), &all); err != nil || len(all) < 3 || all[0].SessionID != e.SessionID {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestWorldFiles(t *testing.T) {
	w, _ := newTestWorld(t)
	s := w.Settings()
	for _, file := range []string{s.APNsKeyFile, s.ServiceAccountFile} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	b, err := os.ReadFile(s.CAFile)
	if err != nil || !bytes.Equal(b, w.CA.PEM()) {
		t.Error("the CA file is not the CA's")
	}
	b, err = json.Marshal(s)
	if err != nil || bytes.Contains(b, []byte("PRIVATE KEY")) {
		t.Error("the settings hold a key")
	}
}

func TestWorldNeedsItsPlaces(t *testing.T) {
	if _, err := NewWorld(WorldOptions{Dir: "/does/not/exist"}); err == nil {
		t.Error("a world without folder starts")
	}
	if _, err := NewWorld(WorldOptions{Dir: t.TempDir(), ControlAddress: "0.0.0.0:0"}); err == nil {
		t.Error("the control port is open to the network")
	}
	w, _ := newTestWorld(t)
	if err := w.Connect(AppServer{BaseURL: "http://x", CallbackURL: "x"}); err == nil {
		t.Error("a malformed callback URL is taken")
	}
}
