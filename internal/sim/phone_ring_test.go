package sim

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestPushesReachPhones(t *testing.T) {
	ios, android := newPhoneRig(t, IOS, nil), newPhoneRig(t, Android, nil)
	ctx := testContext(t)
	ios.onAPNs(APNsPush{Body: []byte(`{"aps":{},"cc_param":"cc","app_caller_sid":"svc"}`)})
	android.onFCM(FCMMessage{Data: map[string]string{"cc_param": "cc"}})
	for _, p := range []*phoneRig{ios, android} {
		got, err := p.AwaitReceived(ctx, 1)
		if err != nil || got[0].Err != nil || got[0].Call.CCParam != "cc" {
			t.Errorf("%s: %+v, %v", p.Kind(), got, err)
		}
	}
	ios.onAPNs(APNsPush{Body: []byte(`{"aps":{}}`)})
	android.onFCM(FCMMessage{Data: map[string]string{"cc_param": "cc"}, Notification: true})
	for _, p := range []*phoneRig{ios, android} {
		got, err := p.AwaitReceived(ctx, 2)
		if err != nil || got[1].Err == nil {
			t.Errorf("%s: an unusable push: %+v, %v", p.Kind(), got, err)
		}
	}
	ios.Uninstall()
	android.Uninstall()
	ios.onAPNs(APNsPush{Body: []byte(`{"aps":{},"cc_param":"cc","app_caller_sid":"svc"}`)})
	if len(ios.Received()) != 2 {
		t.Error("a phone that is off gets pushes")
	}
	if v := ios.apns.checkDevice(&apnsRequest{
		Request: request(t, "POST", "http://x", http.Header{"Apns-Topic": {ios.Topic()}}, nil), token: ios.Token().Reveal(),
	}); v == nil || v.reason != "Unregistered" {
		t.Errorf("%+v", v)
	}
	if e := android.fcm.checkTarget(android.Token().Reveal()); e == nil || e.code != "UNREGISTERED" {
		t.Errorf("%+v", e)
	}
}

// TestBehavior rings one polling phone of each sort and does what its user does.
func TestBehavior(t *testing.T) {
	tests := []struct {
		name     string
		plan     Plan
		behavior Behavior
		wait     time.Duration // before the decision
		reason   string
		rang     bool
	}{
		{"plan answers", Plan{Kind: PlanAnswered, After: 2 * time.Second}, Behavior{}, 2 * time.Second, "NORMAL", true},
		{"plan declines", Plan{Kind: PlanDeclined, After: time.Second}, Behavior{}, time.Second, "DECLINE", true},
		{"plan of another phone", Plan{Kind: PlanAnswered, By: "other"}, Behavior{}, time.Minute, "NOANSWER", true},
		{"plan rings out", Plan{}, Behavior{}, time.Minute, "NOANSWER", true},
		{"ignores", Plan{Kind: PlanAnswered}, Behavior{Kind: BehaviorIgnore}, time.Minute, "NOANSWER", true},
		{"deaf", Plan{Kind: PlanAnswered}, Behavior{Kind: BehaviorDeaf}, time.Minute, "NOANSWER", false},
		{"answers", Plan{}, Behavior{Kind: BehaviorAnswer, After: time.Second}, time.Second, "NORMAL", true},
		{"declines", Plan{}, Behavior{Kind: BehaviorDecline, After: time.Second}, time.Second, "DECLINE", true},
		{"caller cancels first", Plan{Kind: PlanCanceled, After: time.Second}, Behavior{Kind: BehaviorAnswer, After: time.Minute}, time.Second, "CANCEL", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cloud := newCloudRig(t, CloudOptions{})
			r := newPhoneRig(t, MacOS, func(o *PhoneOptions) { o.Cloud, o.Clock = cloud.Cloud, cloud.clock })
			r.SetBehavior(tt.behavior)
			r.start()
			call := cloud.place(tt.plan)
			r.stub.polls <- callAnswer(call.CCParam().Reveal())
			got, err := r.AwaitReceived(testContext(t), 1)
			if err != nil || got[0].Rang != tt.rang || tt.rang && got[0].SessionID != call.SessionID() {
				t.Fatalf("%v", err)
			}
			cloud.pass(tt.wait)
			if rep := cloud.end(call); rep.Reason != tt.reason {
				t.Errorf("ended with %s, want %s", rep.Reason, tt.reason)
			}
		})
	}
}

// TestAppleWaitsForTheEndOfACall: polling goes on after the call, not during it.
func TestAppleWaitsForTheEndOfACall(t *testing.T) {
	cloud := newCloudRig(t, CloudOptions{})
	r := newPhoneRig(t, Windows, func(o *PhoneOptions) { o.Cloud, o.Clock = cloud.Cloud, cloud.clock })
	r.start()
	r.stub.paths(4)
	call := cloud.place(Plan{})
	r.stub.polls <- callAnswer(call.CCParam().Reveal())
	if _, err := r.AwaitReceived(testContext(t), 1); err != nil {
		t.Fatal(err)
	}
	if len(r.stub.arrived) != 0 {
		t.Error("polls during a call")
	}
	call.Hangup()
	cloud.end(call)
	want := []string{"POST /v2/update_notification_token", "GET /v2/notification/lp"}
	if diff := cmp.Diff(want, r.stub.paths(2)); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownCCParamIsTrouble(t *testing.T) {
	events := make(chan Event, 10)
	cloud := newCloudRig(t, CloudOptions{})
	r := newPhoneRig(t, AndroidLP, func(o *PhoneOptions) {
		o.Cloud, o.OnEvent = cloud.Cloud, func(e Event) { events <- e }
	})
	r.start()
	r.stub.polls <- callAnswer(testlog.CCParam(1))
	got, err := r.AwaitReceived(testContext(t), 1)
	if err != nil || !errors.Is(got[0].Err, ErrDecodeCallParam) || got[0].Rang {
		t.Errorf("%+v, %v", got, err)
	}
	if e := <-events; e.Kind != EventRegistered || e.Source != "android-lp" || e.User != "svc/bob" {
		t.Errorf("%+v", e)
	}
	e := <-events
	if e.Kind != EventTrouble || strings.Contains(e.Text, testlog.Text) {
		t.Errorf("%+v", e)
	}
	testlog.Keep(t, "event", e.Text)
}

func TestDial(t *testing.T) {
	cloud := newCloudRig(t, CloudOptions{})
	r := newPhoneRig(t, IOS, func(o *PhoneOptions) { o.Cloud = cloud.Cloud })
	r.start()
	call, err := r.Dial(testContext(t), CallRequest{Callee: alice})
	if err != nil {
		t.Fatal(err)
	}
	if got := call.Report(); got.Caller != bob || call.request.AccessToken != planet.Secret("gw") {
		t.Errorf("%+v", got)
	}
	r.stub.script("issue", failure(401))
	if _, err := r.Dial(testContext(t), CallRequest{Callee: alice}); err == nil {
		t.Error("dials without an access token")
	}
	alone := newPhoneRig(t, IOS, nil)
	if _, err := alone.Dial(testContext(t), CallRequest{}); err == nil {
		t.Error("dials without a cloud")
	}
}

func TestWebObeysCORS(t *testing.T) {
	const origin = "https://app.example"
	web := func(allow string) *phoneRig {
		r := newPhoneRig(t, Web, func(o *PhoneOptions) { o.Origin = origin })
		r.stub.origin = allow
		return r
	}
	r := web(origin)
	r.start()
	want := []string{
		"OPTIONS /v2/register_user", "POST /v2/register_user", "OPTIONS /v2/register_device", "POST /v2/register_device",
	}
	if diff := cmp.Diff(want, r.stub.paths(4)); diff != "" {
		t.Error(diff)
	}
	for _, allow := range []string{"", "https://other.example"} {
		if err := web(allow).Start(testContext(t)); err == nil || !strings.Contains(err.Error(), "CORS") {
			t.Errorf("allowed %q: %v", allow, err)
		}
	}
	refused := web(origin)
	refused.stub.script("register_user", failure(403))
	if err := refused.Start(testContext(t)); err == nil {
		t.Error("goes on after a refused preflight")
	}
	noHeaders := web(origin)
	noHeaders.stub.script("register_user", func(w http.ResponseWriter) { w.Header().Del("Access-Control-Allow-Headers") })
	if err := noHeaders.Start(testContext(t)); err == nil {
		t.Error("goes on although the header is not allowed")
	}
}

func TestNewPhoneRefuses(t *testing.T) {
	for _, kind := range []PhoneKind{"pager", IOS, Android, Browser} {
		if _, err := NewPhone(kind, PhoneOptions{}); err == nil {
			t.Errorf("%s is made of nothing", kind)
		}
	}
	if len(PhoneKinds()) != 7 {
		t.Errorf("%v", PhoneKinds())
	}
	r := newPhoneRig(t, Web, func(o *PhoneOptions) { o.BaseURL = "http://127.0.0.1:1" })
	if err := r.Start(testContext(t)); err == nil {
		t.Error("registers nowhere")
	}
	bad := newPhoneRig(t, Web, func(o *PhoneOptions) { o.BaseURL = "http://\x7f"; o.Origin = "x" })
	if err := bad.Start(context.Background()); err == nil {
		t.Error("registers at a malformed URL")
	}
}
