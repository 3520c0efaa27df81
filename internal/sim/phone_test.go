package sim

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/internal/testlog"
)

// phoneRig is a phone with its stub server and push services that are not listening.
type phoneRig struct {
	*Phone
	t     *testing.T
	stub  *stub
	clock *ManualClock
	apns  *APNs
	fcm   *FCM
}

func newPhoneRig(t *testing.T, kind PhoneKind, change func(*PhoneOptions)) *phoneRig {
	t.Helper()
	key, err := sharedRSA()
	if err != nil {
		t.Fatal(err)
	}
	r := &phoneRig{t: t, stub: newStub(t), clock: NewManualClock(testNow), apns: NewAPNs(APNsOptions{})}
	if r.fcm, err = NewFCM(FCMOptions{Key: key}); err != nil {
		t.Fatal(err)
	}
	o := PhoneOptions{
		BaseURL: r.stub.URL + "/", User: bob, DisplayName: "Bob", APIKey: "client-key", Clock: r.clock, APNs: r.apns, FCM: r.fcm,
	}
	if change != nil {
		change(&o)
	}
	if r.Phone, err = NewPhone(kind, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

func (r *phoneRig) start() {
	r.t.Helper()
	if err := r.Start(testContext(r.t)); err != nil {
		r.t.Fatal(err)
	}
}

// pause moves the clock by the pause of the apps, once the phone waits for it.
func (r *phoneRig) pause() {
	r.t.Helper()
	if err := r.clock.AwaitWaiters(testContext(r.t), 1, clients.Pause); err != nil {
		r.t.Fatal("the phone does not wait for 5 s")
	}
	r.clock.Advance(clients.Pause)
}

// TestRegistrationOnTheWire holds the requests of every kind to docs/line-planet.md 6.6.
func TestRegistrationOnTheWire(t *testing.T) {
	const jsonUTF8 = "application/json; charset=UTF-8"
	tests := []struct {
		kind        PhoneKind
		sandbox     bool
		accept      string
		contentType string
		bodies      []string // TOKEN stands for the push token
		polls       bool
	}{
		{IOS, false, "application/json", "application/json", []string{
			`{"userId":"bob","serviceId":"svc","region":"JP","displayName":"Bob","apiKey":"client-key"}`,
			`{"appType":"IOS","appVer":"1.4.0"}`,
			`{"appType":"IOS","appVer":"1.4.0","notificationType":"apnsvoip","notificationToken":"TOKEN","apnsServer":"production"}`,
		}, false},
		{IOS, true, "application/json", "application/json", []string{
			`{"userId":"bob","serviceId":"svc","region":"JP","displayName":"Bob","apiKey":"client-key"}`,
			`{"appType":"IOS","appVer":"1.4.0"}`,
			`{"appType":"IOS","appVer":"1.4.0","notificationType":"apnsvoip","notificationToken":"TOKEN","apnsServer":"developmenet"}`,
		}, false},
		{Android, false, "application/json", jsonUTF8, []string{
			`{"apiKey":"client-key","userId":"bob","serviceId":"svc","region":"jp","displayName":"Bob"}`,
			`{"appType":"ANDROID","appVer":"6.1.0"}`,
			`{"appType":"ANDROID","appVer":"6.1.0","notificationType":"fcm","notificationToken":"TOKEN"}`,
		}, false},
		{AndroidLP, false, "application/json", jsonUTF8, []string{
			`{"apiKey":"client-key","userId":"bob","serviceId":"svc","region":"jp","displayName":"Bob"}`,
			`{"appType":"ANDROID","appVer":"6.1.0"}`,
			`{"appType":"ANDROID","appVer":"6.1.0","notificationType":"lp","notificationToken":"TOKEN"}`,
		}, true},
		{Windows, false, "", jsonUTF8, []string{
			`{"userId":"bob","serviceId":"svc","region":"JP","apiKey":"client-key"}`,
			`{"appType":"DESKTOPWIN","appVer":"6.2.2.0"}`,
			`{"appType":"DESKTOPWIN","appVer":"bob","notificationType":"lp","notificationToken":"lp"}`,
		}, true},
		{MacOS, false, "application/json", "application/json", []string{
			`{"userId":"bob","serviceId":"svc","region":"JP","displayName":"Bob","apiKey":"client-key"}`,
			`{"appType":"DESKTOPMAC","appVer":"1.4.0"}`,
			`{"appType":"DESKTOPMAC","appVer":"1.4.0","notificationType":"lp","notificationToken":"lp","apnsServer":"production"}`,
		}, true},
		{Web, false, "application/json, text/plain, */*", "application/json", []string{
			`{"userId":"bob","serviceId":"svc","region":"jp","apiKey":"client-key"}`,
			`{"appType":"CHROMEOS","appVer":"140.0.0.0"}`,
		}, false},
	}
	for _, tt := range tests {
		name := string(tt.kind)
		if tt.sandbox {
			name += " sandbox"
		}
		t.Run(name, func(t *testing.T) {
			r := newPhoneRig(t, tt.kind, func(o *PhoneOptions) {
				if tt.sandbox {
					o.APNs = NewAPNs(APNsOptions{Environment: APNsSandbox})
				}
			})
			r.start()
			want, got := map[string]string{}, map[string]string{}
			for i, path := range []string{"/v2/register_user", "/v2/register_device", "/v2/update_notification_token"}[:len(tt.bodies)] {
				want[path] = strings.Replace(tt.bodies[i], "TOKEN", r.Token().Reveal(), 1)
			}
			n, polled := len(tt.bodies), false
			if tt.polls {
				n++
			}
			for i := range n {
				q := r.stub.next()
				if strings.HasSuffix(q.Path, "/lp") {
					polled = true
				} else {
					got[q.Path] = q.Body
				}
				r.checkHeaders(q, tt.accept, tt.contentType)
				if i == 0 && q.Path != "/v2/register_user" || i == 1 && q.Path != "/v2/register_device" {
					t.Errorf("request %d is %s", i, q.Path)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if polled != tt.polls || r.Stats().Polling != tt.polls || !r.Stats().Registered {
				t.Errorf("polled %v, %+v", polled, r.Stats())
			}
		})
	}
}

// checkHeaders checks the headers that the apps differ in.
func (r *phoneRig) checkHeaders(q seen, accept, contentType string) {
	r.t.Helper()
	wantAuth := "Bearer " + appToken(testNow.Add(time.Hour))
	if q.Path == "/v2/register_user" {
		wantAuth = ""
	}
	if q.Method == http.MethodGet {
		contentType = ""
	}
	want := []string{accept, contentType, wantAuth}
	got := []string{q.Header.Get("Accept"), q.Header.Get("Content-Type"), q.Header.Get("Authorization")}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("%s: %s", q.Path, diff)
	}
}

func TestRegistrationFails(t *testing.T) {
	tests := []struct {
		kind PhoneKind
		step string
		fail bool // the app shows a failure
	}{
		{IOS, "register_user", true},
		{IOS, "register_device", true},
		{IOS, "update_notification_token", false},
		{Android, "register_user", true},
		{Android, "register_device", true},
		{Android, "update_notification_token", true},
		{Windows, "register_user", true},
		{Windows, "register_device", true},
		{Windows, "update_notification_token", false},
		{Web, "register_user", true},
		{Web, "register_device", false},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind)+" "+tt.step, func(t *testing.T) {
			r := newPhoneRig(t, tt.kind, nil)
			r.stub.script(tt.step, failure(500))
			err := r.Start(testContext(t))
			if (err != nil) != tt.fail || r.Stats().Registered == tt.fail {
				t.Errorf("error %v, %+v", err, r.Stats())
			}
			if err != nil {
				testlog.Keep(t, "error", err.Error())
			}
			if tt.kind == Windows && tt.step == "update_notification_token" {
				r.busy.Wait() // the loop ends without a poll
				if got := r.Stats(); got.Polls != 0 || got.Polling || got.Err == nil {
					t.Errorf("polls after a failed update_notification_token: %+v", got)
				}
			}
		})
	}
	r := newPhoneRig(t, Android, nil)
	r.stub.script("register_user", failure(409))
	if err := r.Start(testContext(t)); !errors.Is(err, clients.ErrTaken) {
		t.Errorf("a taken ID: %v", err)
	}
}

// TestPolling follows each app through the answers of docs/line-planet.md 6.6.
func TestPolling(t *testing.T) {
	tests := []struct {
		name   string
		kind   PhoneKind
		answer func(http.ResponseWriter)
		pause  bool // waits 5 s before the next poll
		stops  bool
	}{
		{"503", AndroidLP, failure(503), false, false},
		{"503", MacOS, failure(503), false, false},
		{"503", Windows, failure(503), true, false},
		{"500", AndroidLP, failure(500), true, false},
		{"500", MacOS, failure(500), true, false},
		{"500", Windows, failure(500), false, true},
		{"no data", AndroidLP, success(`null`), true, false},
		{"no data", MacOS, success(`null`), true, false},
		{"no data", Windows, success(`null`), false, false},
		{"broken connection", AndroidLP, broken, true, false},
		{"broken connection", MacOS, broken, true, false},
		{"broken connection", Windows, broken, false, true},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind)+" "+tt.name, func(t *testing.T) {
			r := newPhoneRig(t, tt.kind, nil)
			r.start()
			r.stub.polls <- tt.answer
			if tt.pause {
				r.pause()
			}
			if tt.stops {
				r.busy.Wait()
				if got := r.Stats(); got.Polling || got.Polls != 1 || got.Err == nil {
					t.Errorf("%+v", got)
				}
				r.ResumePolling()
			}
			r.stub.polls <- callAnswer("cc")
			got, err := r.AwaitReceived(testContext(t), 1)
			if err != nil || got[0].Via != "poll" || got[0].Call.CCParam != "cc" {
				t.Errorf("%+v, %v", got, err)
			}
			if wantSpins := tt.kind == Windows && tt.name == "no data"; (r.Stats().Spins == 1) != wantSpins {
				t.Errorf("%d spins", r.Stats().Spins)
			}
		})
	}
}

// broken breaks the connection in the middle of the answer; before it, Go's transport
// would repeat the request by itself.
func broken(w http.ResponseWriter) {
	w.Header().Set("Content-Length", "100")
	_, _ = w.Write([]byte("{"))
}

func TestSpinningIsBounded(t *testing.T) {
	r := newPhoneRig(t, Windows, nil)
	for range maxSpins {
		r.stub.polls <- success(`{}`)
	}
	r.start()
	r.busy.Wait()
	if got := r.Stats(); got.Spins != maxSpins || got.Polling {
		t.Errorf("%+v", got)
	}
}

func TestPollingEndsWithTheRegistration(t *testing.T) {
	r := newPhoneRig(t, AndroidLP, nil)
	r.stub.expires = testNow.Add(4 * time.Second)
	r.start()
	r.stub.polls <- failure(500)
	r.pause()
	r.busy.Wait()
	if got := r.Stats(); got.Polls != 1 || got.Polling {
		t.Errorf("%+v", got)
	}
}

func TestStopAndResumePolling(t *testing.T) {
	r := newPhoneRig(t, MacOS, nil)
	r.StopPolling() // nothing to stop
	r.ResumePolling()
	if r.Stats().Polling {
		t.Error("polls without an account")
	}
	r.start()
	r.stub.paths(4)
	r.StopPolling()
	if r.Stats().Polling {
		t.Error("still polls")
	}
	r.ResumePolling()
	r.ResumePolling()
	if got := r.stub.paths(1); got[0] != "GET /v2/notification/lp" {
		t.Errorf("then %v", got)
	}
}

// TestRestart checks what the apps send when they start with a saved account.
func TestRestart(t *testing.T) {
	tests := []struct {
		kind  PhoneKind
		first int // requests of the registration
		want  []string
	}{
		{Windows, 4, []string{"POST /v2/register_device", "POST /v2/update_notification_token", "GET /v2/notification/lp"}},
		{IOS, 3, []string{"POST /v2/update_notification_token"}},
		{AndroidLP, 4, []string{"GET /v2/notification/lp"}},
		{Web, 2, []string{"POST /v2/register_device"}},
	}
	for _, tt := range tests {
		t.Run(string(tt.kind), func(t *testing.T) {
			r := newPhoneRig(t, tt.kind, nil)
			if err := r.Restart(testContext(t)); err == nil {
				t.Error("restarts without an account")
			}
			r.start()
			r.stub.paths(tt.first)
			if err := r.Restart(testContext(t)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, r.stub.paths(len(tt.want))); diff != "" {
				t.Error(diff)
			}
		})
	}
	r := newPhoneRig(t, Windows, nil)
	r.start()
	r.stub.script("register_device", failure(500))
	if err := r.Restart(testContext(t)); err == nil {
		t.Error("a Windows app restarts although register_device fails")
	}
}

func TestAccessToken(t *testing.T) {
	for _, kind := range []PhoneKind{IOS, Android, Windows, Web} {
		r := newPhoneRig(t, kind, nil)
		r.start()
		if got, err := r.AccessToken(testContext(t)); err != nil || got.Reveal() != "gw" {
			t.Errorf("%s: %v", kind, err)
		}
		r.stub.script("issue", failure(503))
		_, err := r.AccessToken(testContext(t))
		if err == nil {
			t.Errorf("%s: a 503 gives a token", kind)
		}
		if wiped := !r.Stats().Registered; wiped != (kind == Windows) || wiped != errors.Is(err, clients.ErrWiped) {
			t.Errorf("%s: wiped %v, %v", kind, wiped, err)
		}
	}
}

func TestReplaceToken(t *testing.T) {
	for _, kind := range []PhoneKind{IOS, Android} {
		r := newPhoneRig(t, kind, nil)
		r.start()
		r.stub.paths(3)
		old := r.Token()
		if err := r.ReplaceToken(testContext(t)); err != nil {
			t.Fatal(err)
		}
		if q := r.stub.next(); r.Token() == old || !strings.Contains(q.Body, r.Token().Reveal()) {
			t.Errorf("%s: the new token was not sent", kind)
		}
		r.stub.script("update_notification_token", failure(500))
		if err := r.ReplaceToken(testContext(t)); err == nil {
			t.Errorf("%s: a refused token is no error", kind)
		}
	}
}

func TestPhoneTokensCarryTheirMarks(t *testing.T) {
	ios, android := newPhoneRig(t, IOS, nil), newPhoneRig(t, Android, nil)
	if got := ios.Token().Reveal(); !strings.HasPrefix(got, APNsTokenPrefix) || len(got) != 64 || APNsTokenPrefix != testlog.Hex {
		t.Errorf("%d characters", len(got))
	}
	if got := android.Token().Reveal(); !strings.HasPrefix(got, FCMTokenPrefix) || !fcmToken.MatchString(got) || FCMTokenPrefix != testlog.Text {
		t.Errorf("%d characters", len(got))
	}
}
