package fcm

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testKey makes one RSA key for all tests: making one takes long.
var testKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

func pkcs8(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("write a key: %v", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// serviceAccount writes a service account's file; change can alter a field.
func serviceAccount(t testing.TB, tokenURL string, change map[string]any) planet.Secret {
	t.Helper()
	key, err := testKey()
	if err != nil {
		t.Fatalf("make a key: %v", err)
	}
	file := map[string]any{
		"type": "service_account", "project_id": "bell-test", "private_key_id": "k1", "private_key": pkcs8(t, key),
		"client_email": "bell@bell-test.iam.gserviceaccount.com", "token_uri": tokenURL,
	}
	for name, value := range change {
		file[name] = value
	}
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatalf("write a service account: %v", err)
	}
	return planet.Secret(text)
}

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

func newClient(t testing.TB, to pushtest.Target, change func(*Config)) *Client {
	t.Helper()
	cfg := Config{
		Name: "test", ServiceAccount: serviceAccount(t, to.URL+"/token", nil), BaseURL: to.URL, RootCAs: to.Roots,
		Proxy: noProxy, AttemptTimeout: to.Timeout, Log: to.Log,
	}
	if change != nil {
		change(&cfg)
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatalf("new client: %v", err)
	}
	t.Cleanup(c.Close)
	return c
}

var (
	pushToken = planet.Secret(testlog.TextSecret("fcm-token:APA91b"))
	oauth     = testlog.TextSecret("ya29.access")
)

func accept(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"name":"projects/bell-test/messages/0:1500415314455276%31bd1c9631bd1c96"}`)
}

// tokenServer answers requests for an access token.
func tokenServer(w http.ResponseWriter, r *http.Request) bool {
	if r.URL.Path != "/token" {
		return false
	}
	_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":3600,"token_type":"Bearer"}`, oauth)
	return true
}

func TestSuite(t *testing.T) {
	pushtest.Run(t, pushtest.Harness{
		Channel: bell.FCM, PushToken: pushToken, Accept: accept, Aside: tokenServer, Answers: answers(),
		New: func(t *testing.T, to pushtest.Target) (delivery.Sender, func()) {
			c := newClient(t, to, nil)
			return c, c.Close
		},
		CCParam: func(body []byte) (string, error) {
			var m struct {
				Message struct {
					Data map[string]string `json:"data"`
				} `json:"message"`
			}
			err := json.Unmarshal(body, &m)
			return m.Message.Data["cc_param"], err
		},
	})
}

// failure writes an error as FCM does. code is of an FcmError detail, if not empty;
// more are further details.
func failure(status int, rpc, code, message, more string) string {
	details := more
	if code != "" {
		details = `{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"` + code + `"}`
		if more != "" {
			details += "," + more
		}
	}
	return fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q,"details":[%s]}}`, status, message, rpc, details)
}

const violation = `{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"message.data[0].value","description":"Invalid value"}]}`

// answers is the table of docs/push-providers.md 2.3, row by row, written down a second time
// on purpose.
func answers() []pushtest.Answer {
	want := func(status int, v bell.Verdict, reason string, token bell.TokenAction, alarm bell.Alarm) bell.Outcome {
		return bell.Outcome{Verdict: v, Reason: reason, Status: status, Token: token, Alarm: alarm}
	}
	const (
		keep, check, drop = bell.TokenKeep, bell.TokenCheck, bell.TokenDrop
		notToken          = "The registration token is not a valid FCM registration token"
	)
	row := func(status int, rpc, code, message, more string, o bell.Outcome) pushtest.Answer {
		return pushtest.Answer{
			Name: fmt.Sprintf("%d %s %s", status, rpc, code), Status: status, Body: failure(status, rpc, code, message, more), Want: o,
		}
	}
	list := []pushtest.Answer{
		{Name: "200", Status: 200, Body: `{"name":"projects/bell-test/messages/1"}`, Want: want(200, bell.Accepted, "", keep, "")},
		{Name: "200 of an unknown form", Status: 200, Body: `[]`, Want: want(200, bell.Accepted, "", keep, "")},
		row(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", notToken, "", want(400, bell.Rejected, "INVALID_ARGUMENT", check, bell.AlarmCount)),
		row(400, "INVALID_ARGUMENT", "", "Invalid JSON payload", violation, want(400, bell.Rejected, "INVALID_ARGUMENT", keep, bell.AlarmBug)),
		row(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", notToken, violation, want(400, bell.Rejected, "INVALID_ARGUMENT", keep, bell.AlarmBug)),
		row(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "Invalid data payload key: from", "", want(400, bell.Rejected, "INVALID_ARGUMENT", keep, bell.AlarmBug)),
		row(401, "UNAUTHENTICATED", "", "Request had invalid authentication credentials.", "", want(401, bell.RetryCredential, "UNAUTHENTICATED", keep, bell.AlarmConfig)),
		row(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "", "", want(401, bell.Rejected, "THIRD_PARTY_AUTH_ERROR", keep, bell.AlarmConfig)),
		row(401, "UNAUTHENTICATED", "APNS_AUTH_ERROR", "", "", want(401, bell.Rejected, "APNS_AUTH_ERROR", keep, bell.AlarmConfig)),
		row(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch", "", want(403, bell.Rejected, "SENDER_ID_MISMATCH", check, bell.AlarmConfig)),
		row(403, "PERMISSION_DENIED", "", "Permission denied", "", want(403, bell.Rejected, "PERMISSION_DENIED", keep, bell.AlarmPage)),
		row(404, "NOT_FOUND", "UNREGISTERED", "Requested entity was not found.", "", want(404, bell.Rejected, "UNREGISTERED", drop, bell.AlarmCount)),
		row(404, "NOT_FOUND", "", "Requested entity was not found.", "", want(404, bell.Rejected, "NOT_FOUND", keep, bell.AlarmPage)),
		{Name: "404 HTML", Status: 404, Body: "<!DOCTYPE html><title>Error 404", Want: want(404, bell.Rejected, "http_404", keep, bell.AlarmPage)},
		{Name: "413", Status: 413, Want: want(413, bell.Rejected, "http_413", keep, bell.AlarmBug)},
		row(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "", "", want(429, bell.RetryThrottled, "QUOTA_EXCEEDED", keep, bell.AlarmCount)),
		row(429, "RESOURCE_EXHAUSTED", "", "", "", want(429, bell.RetryThrottled, "RESOURCE_EXHAUSTED", keep, bell.AlarmCount)),
		row(500, "INTERNAL", "INTERNAL", "", "", want(500, bell.RetryBackoff, "INTERNAL", keep, bell.AlarmCount)),
		row(500, "INTERNAL", "", "", "", want(500, bell.RetryBackoff, "INTERNAL", keep, bell.AlarmCount)),
		row(503, "UNAVAILABLE", "UNAVAILABLE", "", "", want(503, bell.RetryBackoff, "UNAVAILABLE", keep, bell.AlarmCount)),
		row(503, "UNAVAILABLE", "", "", "", want(503, bell.RetryBackoff, "UNAVAILABLE", keep, bell.AlarmCount)),
		row(400, "INVALID_ARGUMENT", "UNSPECIFIED_ERROR", "", "", want(400, bell.Rejected, "unknown_reason", keep, bell.AlarmBug)),
		row(503, "UNKNOWN", "UNSPECIFIED_ERROR", "", "", want(503, bell.RetryBackoff, "unknown_reason", keep, bell.AlarmCount)),
		row(500, "NOT_FOUND", "UNREGISTERED", "", "", want(500, bell.RetryBackoff, "unknown_reason", keep, bell.AlarmCount)),
		{Name: "401 HTML", Status: 401, Body: "<html>", Want: want(401, bell.RetryCredential, "http_401", keep, bell.AlarmConfig)},
		{Name: "403 HTML", Status: 403, Body: "<html>", Want: want(403, bell.Rejected, "http_403", keep, bell.AlarmPage)},
		{Name: "405 HTML", Status: 405, Body: "<html>", Want: want(405, bell.Rejected, "http_405", keep, bell.AlarmCount)},
	}
	for header, wait := range map[string]time.Duration{"7": 7 * time.Second, "99999999": time.Hour, "-1": 0, "soon": 0} {
		a := row(503, "UNAVAILABLE", "UNAVAILABLE", "", "", want(503, bell.RetryBackoff, "UNAVAILABLE", keep, bell.AlarmCount))
		a.Name, a.Header, a.Want.RetryAfter = "Retry-After "+header, map[string]string{"Retry-After": header}, wait
		list = append(list, a)
	}
	return list
}
