package app

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/testlog"
)

// said is an answer of a push service, and what comes of it: for the metrics, and for the
// subscription.
type said struct {
	status  int
	body    string
	verdict bell.Verdict
	reason  string
	alarm   bell.Alarm
	dropped bool
}

// TestWhatPushServicesSayIsCounted goes through the rows of docs/push-providers.md 3.3 from the
// registration of a browser to the metrics and the registry: one user for each.
func TestWhatPushServicesSayIsCounted(t *testing.T) {
	t.Parallel()
	apple := func(reason string) string { return `{"reason":"` + reason + `"}` }
	errno := func(n int) string { return fmt.Sprintf(`{"errno":%d}`, n) }
	rows := []said{
		{201, "", bell.Accepted, "", "", false},
		{307, "", bell.Rejected, "http_307", bell.AlarmConfig, false},
		{400, "", bell.Rejected, "http_400", bell.AlarmBug, false},
		{400, apple("BadTtl"), bell.Rejected, "BadTtl", bell.AlarmBug, false},
		{401, "", bell.Rejected, "http_401", bell.AlarmConfig, false},
		{403, "", bell.Rejected, "http_403", bell.AlarmConfig, false},
		{403, apple("BadJwtToken"), bell.Rejected, "BadJwtToken", bell.AlarmPage, false},
		{400, apple("VapidPkHashMismatch"), bell.Rejected, "VapidPkHashMismatch", bell.AlarmConfig, false},
		{401, errno(109), bell.Rejected, "errno_109", bell.AlarmConfig, false},
		{404, "", bell.Rejected, "http_404", bell.AlarmCount, true},
		{404, apple("BadPath"), bell.Rejected, "BadPath", bell.AlarmBug, false},
		{404, errno(102), bell.Rejected, "errno_102", bell.AlarmCount, true},
		{410, "", bell.Rejected, "http_410", bell.AlarmCount, true},
		{410, errno(106), bell.Rejected, "errno_106", bell.AlarmCount, true},
		{413, errno(104), bell.Rejected, "errno_104", bell.AlarmBug, false},
		{429, apple("TooManyRequests"), bell.RetryThrottled, "TooManyRequests", bell.AlarmCount, false},
		{500, "", bell.RetryBackoff, "http_500", bell.AlarmCount, false},
		{503, errno(201), bell.RetryBackoff, "errno_201", bell.AlarmCount, false},
		{503, errno(202), bell.RetryNow, "errno_202", bell.AlarmCount, false},
	}
	service := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		row, err := strconv.Atoi(strings.SplitN(r.URL.Path, "/", 3)[1])
		if err != nil || row >= len(rows) {
			t.Errorf("an endpoint of nobody: %v", err)
			return
		}
		w.Header().Set("Location", "https://push.example.com/")
		w.WriteHeader(rows[row].status)
		_, _ = io.WriteString(w, rows[row].body)
	}))
	service.EnableHTTP2 = true
	service.StartTLS()
	t.Cleanup(service.Close)
	a, host := runWithPushService(t, service)

	project := &a.cfg.Projects[0]
	post := func(path, token, body string) string {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		a.public.Handler.ServeHTTP(w, r)
		var answer struct {
			Data struct{ AccessToken string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s was answered %d: %s", path, w.Code, w.Body)
		}
		return answer.Data.AccessToken
	}
	for i := range rows {
		user := fmt.Sprintf(`{"userId":"user%d","serviceId":"service","apiKey":%q,"displayName":"U","region":"JP"}`, i, project.ClientKey.Reveal())
		endpoint := fmt.Sprintf("%s/%d/%s", service.URL, i, testlog.TextSecret("subscription"))
		post("/v2/update_notification_token", post("/v2/register_user", "", user), fmt.Sprintf(`{"notificationType":"webpush","notificationToken":%s}`, newSubscription(t, endpoint)))
		w := httptest.NewRecorder()
		a.public.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, fmt.Sprintf(
			"/cb/%s/notify?sid=%s&from_service_id=service&from_user_id=alice&to_service_id=service&to_user_id=user%d&type=A&param=abc", project.CallbackSecret.Reveal(), bell.NewID(), i), nil))
		if w.Code != http.StatusOK {
			t.Fatalf("Notify was answered %d", w.Code)
		}
	}
	alarms := map[bell.Alarm]int{}
	for i, row := range rows {
		labels := map[string]string{"credential": "main", "channel": "web_push", "server": host, "verdict": string(row.verdict), "reason": row.reason, "attempt": "1"}
		await(t, fmt.Sprintf("row %d, %d %s, is counted", i, row.status, row.body), func() bool { return value(t, a, "planetbell_push_attempts_total", labels) == 1 })
		alarms[row.alarm]++
	}
	for _, alarm := range []bell.Alarm{bell.AlarmPage, bell.AlarmConfig, bell.AlarmBug} {
		labels := map[string]string{"credential": "main", "channel": "web_push", "server": host, "alarm": string(alarm)}
		if n := value(t, a, "planetbell_push_alarms_total", labels); n != float64(alarms[alarm]) {
			t.Errorf("%v alarms to %s are counted, want %d", n, alarm, alarms[alarm])
		}
	}
	for i, row := range rows {
		await(t, fmt.Sprintf("row %d, %d %s: the subscription is dropped: %v", i, row.status, row.body, row.dropped), func() bool {
			list, err := a.devices.List(t.Context(), device.Filter{UserID: fmt.Sprintf("user%d", i)}, "", 2)
			if err != nil || len(list) != 1 {
				t.Fatalf("%d devices, error %v", len(list), err)
			}
			d := list[0]
			return (d.PushToken == "" && d.PushKeys == "" && d.ForgottenFor == row.reason) == row.dropped && d.Strikes == 0
		})
	}
}

// runWithPushService runs a server whose one push service of browsers is a test's.
func runWithPushService(t *testing.T, service *httptest.Server) (a *App, host string) {
	t.Helper()
	u, err := url.Parse(service.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := settings(t)
	c.CAFile = write(t, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: service.Certificate().Raw}))
	c.Limits.SignUpsPerMinute = 1_000_000
	c.Projects[0].WebPush = config.WebPush{
		VAPIDPrivateKey: bell.NewVAPIDKey(), VAPIDSubject: "mailto:ops@example.com",
		Hosts: []string{u.Host}, AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	a, err = New(t.Context(), c, testlog.New(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background()) // ended by the clean-up
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return a, u.Host
}

// newSubscription is what a browser's toJSON gives.
func newSubscription(t *testing.T, endpoint string) string {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`{"endpoint":%q,"expirationTime":null,"keys":{"p256dh":%q,"auth":"AAAAAAAAAAAAAAAAAAAAAA"}}`,
		endpoint, base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()))
}

// await waits until something holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for end := time.After(20 * time.Second); !holds(); { // far more than it takes: a retry waits a second
		select {
		case <-look.C:
		case <-end:
			t.Fatalf("not so: %s", what)
		}
	}
}

// value is that of the one series of a metric with these labels; 0 without one.
func value(t *testing.T, a *App, name string, labels map[string]string) float64 {
	t.Helper()
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			fits := f.GetName() == name && len(m.Label) == len(labels)
			for _, l := range m.Label {
				want, ok := labels[l.GetName()]
				fits = fits && ok && want == l.GetValue()
			}
			if fits {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
