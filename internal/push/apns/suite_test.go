package apns

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
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

const bundle = "com.example.bell"

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("make a key: %v", err)
	}
	return key
}

func p8(t testing.TB, key any) planet.Secret {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("write a key: %v", err)
	}
	return planet.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func tokenCredential(t testing.TB) Credential {
	t.Helper()
	c, err := TokenCredential("TEAM123456", "KEY1234567", p8(t, newKey(t)))
	if err != nil {
		t.Fatalf("token credential: %v", err)
	}
	return c
}

func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

// newClient makes a client to a test server, which change can alter.
func newClient(t testing.TB, to pushtest.Target, change func(*Config)) *Client {
	t.Helper()
	cfg := Config{
		Name: "test", Server: bell.APNsSandbox, Credential: tokenCredential(t),
		BaseURL: to.URL, RootCAs: to.Roots, Proxy: noProxy, AttemptTimeout: to.Timeout, Log: to.Log,
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

func newSender(t testing.TB, c *Client, channel bell.Channel) *Sender {
	t.Helper()
	s, err := c.Sender(bundle, channel)
	if err != nil {
		t.Fatalf("new sender: %v", err)
	}
	return s
}

func accept(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Apns-Id", r.Header.Get("Apns-Id"))
}

var pushToken = planet.Secret(testlog.HexSecret(1, 64))

func TestSuite(t *testing.T) {
	for _, channel := range []bell.Channel{bell.APNsVoIP, bell.APNsAlert} {
		t.Run(string(channel), func(t *testing.T) {
			pushtest.Run(t, pushtest.Harness{
				Channel: channel, PushToken: pushToken, Accept: accept, Answers: answers(),
				New: func(t *testing.T, to pushtest.Target) (delivery.Sender, func()) {
					c := newClient(t, to, nil)
					return newSender(t, c, channel), c.Close
				},
				CCParam: func(body []byte) (string, error) {
					var payload struct {
						CCParam string `json:"cc_param"`
					}
					err := json.Unmarshal(body, &payload)
					return payload.CCParam, err
				},
			})
		})
	}
}

// answers is the table of docs/push-providers.md 1.6, row by row, written down a second
// time on purpose.
func answers() []pushtest.Answer {
	reason := func(status int, word string, v bell.Verdict, token bell.TokenAction, alarm bell.Alarm) pushtest.Answer {
		return pushtest.Answer{
			Name: fmt.Sprintf("%d %s", status, word), Status: status, Body: `{"reason":"` + word + `"}`,
			Want: bell.Outcome{Verdict: v, Reason: word, Status: status, Token: token, Alarm: alarm},
		}
	}
	const (
		keep, check, drop = bell.TokenKeep, bell.TokenCheck, bell.TokenDrop
		no                = bell.Rejected
	)
	list := []pushtest.Answer{
		{Name: "200", Status: 200, Want: bell.Outcome{Verdict: bell.Accepted, Status: 200, Token: keep}},
		reason(400, "BadCollapseId", no, keep, bell.AlarmBug),
		reason(400, "BadDeviceToken", bell.RetryOtherHost, check, bell.AlarmCount),
		reason(400, "BadExpirationDate", no, keep, bell.AlarmBug),
		reason(400, "BadMessageId", no, keep, bell.AlarmBug),
		reason(400, "BadPriority", no, keep, bell.AlarmBug),
		reason(400, "BadTopic", no, keep, bell.AlarmConfig),
		reason(400, "DeviceTokenNotForTopic", no, check, bell.AlarmConfig),
		reason(400, "DuplicateHeaders", no, keep, bell.AlarmBug),
		reason(400, "IdleTimeout", bell.RetryNow, keep, bell.AlarmNone),
		reason(400, "InvalidPushType", no, keep, bell.AlarmBug),
		reason(400, "MissingDeviceToken", no, drop, bell.AlarmBug),
		reason(400, "MissingTopic", no, keep, bell.AlarmConfig),
		reason(400, "PayloadEmpty", no, keep, bell.AlarmBug),
		reason(400, "TopicDisallowed", no, keep, bell.AlarmConfig),
		reason(403, "BadCertificate", no, keep, bell.AlarmPage),
		reason(403, "BadCertificateEnvironment", no, keep, bell.AlarmConfig),
		// The token is new, so it cannot be replaced: a clock is wrong.
		reason(403, "ExpiredProviderToken", no, keep, bell.AlarmPage),
		reason(403, "Forbidden", no, keep, bell.AlarmPage),
		reason(403, "InvalidProviderToken", no, keep, bell.AlarmPage),
		reason(403, "MissingProviderToken", no, keep, bell.AlarmBug),
		reason(403, "UnrelatedKeyIdInToken", bell.RetryCredential, keep, bell.AlarmConfig),
		reason(403, "BadEnvironmentKeyIdInToken", no, keep, bell.AlarmPage),
		reason(403, "BadEnvironmentKeyInToken", no, keep, bell.AlarmPage),
		reason(404, "BadPath", no, keep, bell.AlarmBug),
		reason(405, "MethodNotAllowed", no, keep, bell.AlarmBug),
		reason(410, "ExpiredToken", no, drop, bell.AlarmCount),
		reason(410, "Unregistered", no, drop, bell.AlarmCount),
		reason(413, "PayloadTooLarge", no, keep, bell.AlarmBug),
		// There is no earlier token to go back to.
		reason(429, "TooManyProviderTokenUpdates", no, keep, bell.AlarmPage),
		reason(429, "TooManyRequests", bell.RetryThrottled, keep, bell.AlarmCount),
		reason(500, "InternalServerError", bell.RetryBackoff, keep, bell.AlarmCount),
		reason(503, "ServiceUnavailable", bell.RetryBackoff, keep, bell.AlarmCount),
		reason(503, "Shutdown", bell.RetryNow, keep, bell.AlarmNone),
	}
	return append(list, specialAnswers()...)
}

// specialAnswers are those where more than status and reason decides, and those that
// nobody has seen yet.
func specialAnswers() []pushtest.Answer {
	unknown := func(status int, v bell.Verdict, token bell.TokenAction) pushtest.Answer {
		return pushtest.Answer{
			Name: fmt.Sprintf("unknown reason %d", status), Status: status, Body: `{"reason":"NewInTwentySeven"}`,
			Want: bell.Outcome{Verdict: v, Reason: "unknown_reason", Status: status, Token: token, Alarm: bell.AlarmCount},
		}
	}
	gone := func(name, timestamp string, since time.Time) pushtest.Answer {
		return pushtest.Answer{
			Name: "410 with " + name, Status: 410, Body: `{"reason":"Unregistered","timestamp":` + timestamp + `}`,
			Want: bell.Outcome{Verdict: bell.Rejected, Reason: "Unregistered", Status: 410, Token: bell.TokenDrop, Alarm: bell.AlarmCount, DeadSince: since},
		}
	}
	return []pushtest.Answer{
		gone("a timestamp", "1767225600123", time.UnixMilli(1767225600123).UTC()),
		gone("a timestamp of the year 9999", "253402300799000", time.Time{}),
		gone("a negative timestamp", "-5", time.Time{}),
		gone("a timestamp in quotes", `"1767225600123"`, time.Time{}),
		unknown(400, bell.Rejected, bell.TokenKeep),
		unknown(403, bell.Rejected, bell.TokenKeep),
		unknown(410, bell.Rejected, bell.TokenDrop),
		unknown(429, bell.RetryThrottled, bell.TokenKeep),
		unknown(500, bell.RetryBackoff, bell.TokenKeep),
		unknown(503, bell.RetryBackoff, bell.TokenKeep),
		{
			Name: "410 of something else", Status: 410, Body: "<html>Gone</html>",
			Want: bell.Outcome{Verdict: bell.Rejected, Reason: "http_410", Status: 410, Token: bell.TokenKeep, Alarm: bell.AlarmCount},
		},
		{
			Name: "known reason with another status", Status: 502, Body: `{"reason":"Unregistered"}`,
			Want: bell.Outcome{Verdict: bell.RetryBackoff, Reason: "unknown_reason", Status: 502, Token: bell.TokenKeep, Alarm: bell.AlarmCount},
		},
	}
}

// quiet is for servers whose clients misbehave on purpose.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
