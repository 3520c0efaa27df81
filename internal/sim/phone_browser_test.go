package sim

import (
	"crypto/ecdsa"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// browserRig is a browser with a stub app server and a push service that listens.
type browserRig struct {
	*Phone
	t    *testing.T
	stub *stub
	push *pushRig
}

func newBrowserRig(t *testing.T, change func(*PhoneOptions)) *browserRig {
	t.Helper()
	r := &browserRig{t: t, stub: newStub(t), push: newPushRig(t, PushFirefox, nil)}
	key := success(`{"publicKey":"` + publicText(t, r.push.key) + `"}`)
	r.stub.script("key", key, key, key)
	o := PhoneOptions{
		BaseURL: r.stub.URL, User: bob, DisplayName: "Bob", APIKey: "client-key", Clock: r.push.clock, WebPush: r.push.WebPush,
	}
	if change != nil {
		change(&o)
	}
	var err error
	if r.Phone, err = NewPhone(Browser, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func (r *browserRig) start() {
	r.t.Helper()
	if err := r.Start(testContext(r.t)); err != nil {
		r.t.Fatal(err)
	}
	r.push.pushPage = readPage(r.t, r.Subscription())
}

// Everything that a page does until it can be rung, on the wire.
func TestBrowserRegisters(t *testing.T) {
	r := newBrowserRig(t, nil)
	r.start()
	type request struct{ Method, Path, Body string }
	var got []request
	for range 4 {
		q := r.stub.next()
		got = append(got, request{q.Method, q.Path, q.Body})
		if (q.Header.Get("Authorization") == "") != (q.Path == "/v2/register_user") {
			t.Errorf("%s: another Authorization", q.Path)
		}
	}
	token, err := json.Marshal(r.Token().Reveal())
	if err != nil {
		t.Fatal(err)
	}
	want := []request{
		{"POST", "/v2/register_user", `{"userId":"bob","serviceId":"svc","region":"jp","displayName":"Bob","apiKey":"client-key"}`},
		{"POST", "/v2/register_device", `{"appType":"WEB","appVer":"1.0.0"}`},
		{"GET", "/v2/web_push/key", ""},
		{"POST", "/v2/update_notification_token", `{"appType":"WEB","appVer":"1.0.0","notificationType":"webpush","notificationToken":` + string(token) + `}`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r.Stats().Polling || !r.Stats().Registered {
		t.Errorf("%+v", r.Stats())
	}
}

func TestBrowserDoesNotRegister(t *testing.T) {
	for step, answers := range map[string][]func(http.ResponseWriter){
		"register_user":             {failure(409), success(`{}`)},
		"register_device":           {failure(503), func(http.ResponseWriter) {}, func(w http.ResponseWriter) { _, _ = w.Write([]byte(`{"status":"error"}`)) }},
		"key":                       {failure(404), success(`{}`), success(`{"publicKey":"x"}`), success(`{"publicKey":1}`)},
		"update_notification_token": {failure(400), success(`null`)},
	} {
		for i, answer := range answers {
			r := newBrowserRig(t, nil)
			r.stub.script(step, answer)
			err := r.Start(testContext(t))
			if err == nil || !strings.Contains(err.Error(), step) || r.Stats().Registered {
				t.Errorf("%s, answer %d: %v", step, i, err)
				continue
			}
			testlog.Keep(t, "error", err.Error())
		}
	}
}

// A push wakes the worker, which acknowledges it, each time, and rings once.
func TestBrowserRings(t *testing.T) {
	receipts := make(chan struct{}, 10)
	r := newBrowserRig(t, func(o *PhoneOptions) {
		o.OnEvent = func(e Event) {
			if e.Kind == EventReceipt {
				receipts <- struct{}{}
			}
		}
	})
	r.start()
	for range 2 {
		if a := r.push.send(r.push.good()); a.status != 201 {
			t.Fatalf("%+v", a)
		}
		want := receiptBody{SID: "s1", Channel: "webpush", ReceivedAt: testNow.UnixMilli()}
		if diff := cmp.Diff(want, r.stub.receipt()); diff != "" {
			t.Error(diff)
		}
		<-receipts
	}
	got, err := r.AwaitReceived(testContext(t), 1)
	if err != nil || got[0].Via != "webpush" || got[0].Err != nil || got[0].Call.CCParam != "cc" || got[0].Call.CallerUserID != "alice" {
		t.Errorf("%+v, %v", got, err)
	}
	r.Close()
	if s := r.Stats(); s.Acknowledged != 2 || s.Repeats != 1 || len(r.Received()) != 1 {
		t.Errorf("%+v, rang %d times", s, len(r.Received()))
	}
	if a := r.push.send(r.push.good()); a.status != 201 {
		t.Errorf("a browser that is off: %+v", a)
	}
}

// What a worker cannot use is on record, and does not ring.
func TestBrowserCannotUse(t *testing.T) {
	r := newBrowserRig(t, nil)
	r.start()
	for i, text := range []string{
		`[]`, `ring`, `{"cc_param":1}`,
		strings.Replace(goodCall, `"cc_param":"cc",`, ``, 1),
		strings.Replace(goodCall, `"app_call_type":"A"`, `"app_call_type":""`, 1),
		strings.Replace(goodCall, `"app_caller_uid":"alice",`, ``, 1),
		strings.Replace(goodCall, `"app_callee_uid":"bob"`, `"app_callee_uid":"carol"`, 1),
		strings.Replace(goodCall, `"app_callee_sid":"svc"`, `"app_callee_sid":"other"`, 1),
	} {
		r.onWebPush(WebPushMessage{Data: "x"})
		_, _ = r.AwaitReceived(testContext(t), 2*i+1)
		r.onWebPush(WebPushMessage{Data: planet.Secret(text)})
		got, err := r.AwaitReceived(testContext(t), 2*i+2)
		if err != nil || got[2*i+1].Err == nil || got[2*i+1].Rang {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	if r.Stats().Acknowledged != 0 {
		t.Error("it acknowledges what it cannot use")
	}
}

// A page that knows what is no call is told of it; another one ignores it.
func TestBrowserNotices(t *testing.T) {
	const missed = `{"app_event":"missed_call","app_session_id":"s1"}`
	r := newBrowserRig(t, func(o *PhoneOptions) { o.Notices = true })
	r.start()
	r.onWebPush(WebPushMessage{Data: missed})
	got, err := r.AwaitNotices(testContext(t), 1)
	if err != nil || got[0].Via != "webpush" || got[0].Fields["app_event"] != "missed_call" || len(r.Received()) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if rec := r.stub.receipt(); rec.SID != "s1" || rec.Channel != "webpush" {
		t.Errorf("%+v", rec)
	}
	deaf := newBrowserRig(t, nil)
	deaf.start()
	deaf.onWebPush(WebPushMessage{Data: missed})
	deaf.busy.Wait()
	if deaf.Stats().Ignored != 1 || len(deaf.Notices()) != 0 || len(deaf.Received()) != 0 {
		t.Errorf("%+v", deaf.Stats())
	}
}

// The browser renews its subscription; the page restarts; the user takes the permission back.
func TestBrowserLife(t *testing.T) {
	r := newBrowserRig(t, nil)
	r.start()
	first := r.push.pushPage
	if err := r.ReplaceToken(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if a := r.push.send(r.push.good()); a.status != http.StatusGone {
		t.Errorf("the earlier subscription: %+v", a)
	}
	r.push.pushPage = readPage(t, r.Subscription())
	if r.push.endpoint == first.endpoint {
		t.Error("the same endpoint again")
	}
	if err := r.Restart(testContext(t)); err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, p := range r.stub.paths(7) {
		paths = append(paths, strings.TrimPrefix(p, "POST /v2/"))
	}
	want := []string{
		"register_user", "register_device", "GET /v2/web_push/key", "update_notification_token",
		"GET /v2/web_push/key", "update_notification_token", "update_notification_token",
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
	r.stub.script("update_notification_token", failure(503), failure(503))
	if r.Restart(testContext(t)) == nil || r.ReplaceToken(testContext(t)) == nil {
		t.Error("the app server does not know of the subscription, and nobody says so")
	}
	r.push.pushPage = readPage(t, r.Subscription())
	r.stub.script("key", failure(404))
	if r.ReplaceToken(testContext(t)) == nil {
		t.Error("it subscribes without a key")
	}
	r.Uninstall()
	if a := r.push.send(r.push.good()); a.status != http.StatusGone {
		t.Errorf("after the end: %+v", a)
	}
}

// pages is the smallest app server for pages: it pushes to the newest that registered.
type pages struct {
	*httptest.Server
	t      *testing.T
	key    *ecdsa.PrivateKey
	client *http.Client

	mu   sync.Mutex
	page pushPage
}

func newPages(t *testing.T) *pages {
	p := &pages{t: t, key: newECKey(t), client: testClient(t)}
	p.client.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true // the world has a CA of its own
	p.Server = httptest.NewServer(p)
	return p
}

// ServeHTTP answers clients and callbacks.
func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]; name {
	case "register_user":
		success(`{"accessToken":"` + appToken(time.Now().Add(time.Hour)) + `"}`)(w)
		return
	case "key":
		success(`{"publicKey":"` + publicText(p.t, p.key) + `"}`)(w)
		return
	case "update_notification_token":
		var b struct{ NotificationToken string }
		_ = json.NewDecoder(r.Body).Decode(&b)
		page := readPage(p.t, WebPushSubscription{JSON: planet.Secret(b.NotificationToken)})
		p.mu.Lock()
		p.page = page
		p.mu.Unlock()
	case "notify":
		p.push(r.FormValue("param"))
	}
	success(`{}`)(w)
}

func (p *pages) push(cc string) {
	p.mu.Lock()
	page := p.page
	p.mu.Unlock()
	origin, _, _ := strings.Cut(strings.TrimPrefix(page.endpoint, "https://"), "/")
	token := compact(map[string]any{"alg": "ES256"}, map[string]any{
		"aud": "https://" + origin, "exp": time.Now().Add(time.Hour).Unix(), "sub": "mailto:ops@example.com",
	}, es256(p.t, p.key))
	body := sealing{to: page.public, auth: page.auth}.seal(p.t, []byte(strings.Replace(goodCall, `"cc"`, `"`+cc+`"`, 1)))
	a, err := do(p.client, request(p.t, http.MethodPost, page.endpoint, http.Header{
		"Ttl": {"30"}, "Urgency": {"high"}, "Content-Encoding": {"aes128gcm"},
		"Authorization": {"vapid t=" + token + ", k=" + publicText(p.t, p.key)},
	}, body))
	if err != nil || a.status != 201 {
		p.t.Errorf("%+v, %v", a, err)
	}
}

// In a world, a browser rings by a push whose cc_param the cloud knows.
func TestBrowserInAWorld(t *testing.T) {
	ctx := testContext(t)
	w, err := NewWorld(WorldOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	pages := newPages(t)
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		pages.Close()
	})
	if err := w.Connect(AppServer{BaseURL: pages.URL, CallbackURL: pages.URL + "/cb/" + testlog.TextSecret("pages"), ServiceID: "svc"}); err != nil {
		t.Fatal(err)
	}
	p, err := w.AddPhone(ctx, PhoneRequest{Kind: Browser, UserID: "bob", PushProfile: PushApple})
	if err != nil {
		t.Fatal(err)
	}
	events := w.Events(ctx)
	call, err := w.Call(ctx, "alice", "bob", CallRequest{Plan: Plan{Kind: PlanAnswered, Talk: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.AwaitReceived(ctx, 1)
	if err != nil || !got[0].Rang || got[0].SessionID != call.SessionID() {
		t.Fatalf("%+v, %v", got, err)
	}
	<-call.Done()
	if rep := call.Report(); rep.Reason != "NORMAL" {
		t.Errorf("%+v", rep)
	}
	for e := range events {
		if e.Kind == EventPush {
			if e.Source != "webpush" || e.Text != "took a push for bob's browser" {
				t.Errorf("%+v", e)
			}
			break
		}
	}
	if got := w.WebPush.Messages(); len(got) != 1 || got[0].Profile != PushApple || got[0].Subscription != p.Subscription().ID {
		t.Errorf("%+v", got)
	}
	if s := w.Settings(); "https://"+s.WebPushHost != s.WebPushURL || s.WebPushURL != w.WebPush.URL() {
		t.Errorf("%q, %q", s.WebPushHost, s.WebPushURL)
	}
	if v := ctl(t, w, "GET", "/state", "").json(t); v["webpush"].(map[string]any)["Accepted"] != 1.0 {
		t.Errorf("%v", v["webpush"])
	}
	if a := ctl(t, w, "POST", "/phones", `{"kind":"browser","user":"carol","push_profile":"firefox"}`); a.status != 200 || w.Phone("carol's browser").o.PushProfile != PushFirefox {
		t.Errorf("%+v", a)
	}
	if a := ctl(t, w, "POST", "/phones", `{"kind":"browser","user":"dave","push_profile":"netscape"}`); a.status != 400 {
		t.Errorf("%+v", a)
	}
}
