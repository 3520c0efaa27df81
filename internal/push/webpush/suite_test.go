package webpush

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/egress"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const subject = "mailto:ops@example.com"

var (
	pushToken = planet.Secret(testlog.TextSecret("subscription"))
	loopback  = egress.Policy{Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
	b64       = base64.RawURLEncoding
)

// browser is who can read what is sent to it.
type browser struct {
	key  *ecdh.PrivateKey
	auth []byte
}

func newBrowser(t testing.TB) browser {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatalf("make a key: %v", err)
	}
	auth := make([]byte, 16)
	_, _ = rand.Read(auth)
	return browser{key, auth}
}

// keys are its keys as a device has them.
func (b browser) keys() planet.Secret {
	return planet.Secret(b64.EncodeToString(b.key.PublicKey().Bytes()) + "." + b64.EncodeToString(b.auth))
}

// read decrypts a body by RFC 8291 and RFC 8188, written a second time on purpose: from the
// browser's side.
func (b browser) read(body []byte) ([]byte, error) {
	if len(body) < 86 || body[20] != 65 {
		return nil, fmt.Errorf("%d bytes are no message", len(body))
	}
	salt, rs, point, record := body[:16], binary.BigEndian.Uint32(body[16:20]), body[21:86], body[86:]
	if rs < 18 || len(record) > int(rs) || len(record) < 17 {
		return nil, fmt.Errorf("a record of %d bytes where %d are allowed", len(record), rs)
	}
	sender, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, err
	}
	shared, err := b.key.ECDH(sender)
	if err != nil {
		return nil, err
	}
	prk, err := hkdf.Extract(sha256.New, shared, b.auth)
	if err != nil {
		return nil, err
	}
	ikm, err := hkdf.Expand(sha256.New, prk, "WebPush: info\x00"+string(b.key.PublicKey().Bytes())+string(point), 32)
	if err != nil {
		return nil, err
	}
	if prk, err = hkdf.Extract(sha256.New, ikm, salt); err != nil {
		return nil, err
	}
	cek, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: aes128gcm\x00", 16)
	if err != nil {
		return nil, err
	}
	nonce, err := hkdf.Expand(sha256.New, prk, "Content-Encoding: nonce\x00", 12)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(cek)
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	padded, err := gcm.Open(nil, nonce, record, nil)
	if err != nil {
		return nil, err
	}
	text := strings.TrimRight(string(padded), "\x00")
	if !strings.HasSuffix(text, "\x02") {
		return nil, errors.New("the record does not end as the last one does")
	}
	return []byte(strings.TrimSuffix(text, "\x02")), nil
}

// fields are what a message tells the page.
func (b browser) fields(body []byte) (map[string]string, error) {
	text, err := b.read(body)
	if err != nil {
		return nil, err
	}
	var fields map[string]string
	return fields, json.Unmarshal(text, &fields)
}

func testKey(t testing.TB) bell.VAPIDKey {
	t.Helper()
	key, err := bell.ParseVAPIDKey("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw") // RFC 8291's; any will do
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func hostsOf(t testing.TB, endpoint string) bell.PushHosts {
	t.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	h, err := bell.ParsePushHost(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	return bell.PushHosts{h}
}

func newClient(t testing.TB, to pushtest.Target, change func(*Config)) *Client {
	t.Helper()
	cfg := Config{
		Name: "test", Key: testKey(t), Subject: subject, Egress: loopback,
		RootCAs: to.Roots, AttemptTimeout: to.Timeout, Log: to.Log,
	}
	if to.URL != "" {
		cfg.Hosts = hostsOf(t, to.URL)
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

// at is a sender to a browser whose push service is a test's.
type at struct {
	sender  delivery.Sender
	url     string
	browser browser
}

// Send puts the address of the test's server before the token, which is the endpoint's secret.
func (s at) Send(ctx context.Context, ring *bell.Ring, try delivery.Try) bell.Outcome {
	there := *ring
	there.Device.PushToken = planet.Secret(s.url + "/wpush/v2/" + ring.Device.PushToken.Reveal())
	there.Device.PushKeys = s.browser.keys()
	return s.sender.Send(ctx, &there, try)
}

func accept(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Location", "https://push.example.com/m/"+testlog.TextSecret("message"))
	w.WriteHeader(http.StatusCreated)
}

func TestSuite(t *testing.T) {
	b := newBrowser(t)
	pushtest.Run(t, pushtest.Harness{
		Channel: bell.WebPush, PushToken: pushToken, Accept: accept, Answers: answers(),
		New: func(t *testing.T, to pushtest.Target) (delivery.Sender, func()) {
			c := newClient(t, to, nil)
			return at{c, to.URL, b}, c.Close
		},
		CCParam: func(body []byte) (string, error) {
			fields, err := b.fields(body)
			return fields["cc_param"], err
		},
	})
}

// answers is the table of docs/push-providers.md 3.3, row by row, written down a second time on
// purpose.
func answers() []pushtest.Answer {
	const (
		keep, drop = bell.TokenKeep, bell.TokenDrop

		none, count, bug, config, page = bell.AlarmNone, bell.AlarmCount, bell.AlarmBug, bell.AlarmConfig, bell.AlarmPage
	)
	row := func(status int, body, reason string, v bell.Verdict, token bell.TokenAction, alarm bell.Alarm) pushtest.Answer {
		return pushtest.Answer{
			Name: fmt.Sprintf("%d %s", status, body), Status: status, Body: body,
			Want: bell.Outcome{Verdict: v, Reason: reason, Status: status, Token: token, Alarm: alarm},
		}
	}
	apple := func(status int, reason string, v bell.Verdict, token bell.TokenAction, alarm bell.Alarm) pushtest.Answer {
		return row(status, `{"reason":"`+reason+`"}`, reason, v, token, alarm)
	}
	mozilla := func(status, errno int, v bell.Verdict, token bell.TokenAction, alarm bell.Alarm) pushtest.Answer {
		body := fmt.Sprintf(`{"code":%d,"errno":%d,"error":"x","message":"y","more_info":"https://example.com"}`, status, errno)
		return row(status, body, fmt.Sprintf("errno_%d", errno), v, token, alarm)
	}
	list := []pushtest.Answer{
		row(201, "", "", bell.Accepted, keep, none), row(200, "{", "", bell.Accepted, keep, none), row(202, "x", "", bell.Accepted, keep, none),
		row(301, "", "http_301", bell.Rejected, keep, bell.AlarmConfig), row(308, "", "http_308", bell.Rejected, keep, bell.AlarmConfig),
		row(400, "bad ttl", "http_400", bell.Rejected, keep, bug), row(401, "", "http_401", bell.Rejected, keep, config),
		row(403, "<html>", "http_403", bell.Rejected, keep, config), row(404, "", "http_404", bell.Rejected, drop, count),
		row(410, "push subscription has unsubscribed or expired.", "http_410", bell.Rejected, drop, count),
		row(405, "", "http_405", bell.Rejected, keep, bug), row(413, "", "http_413", bell.Rejected, keep, bug),
		row(408, "", "http_408", bell.RetryConnect, keep, count), row(408, "<html>", "http_408", bell.RetryConnect, keep, count),
		row(418, "", "http_418", bell.Rejected, keep, count), row(429, "", "http_429", bell.RetryThrottled, keep, count),
		row(500, "", "http_500", bell.RetryBackoff, keep, count), row(502, "<html>", "http_502", bell.RetryBackoff, keep, count),
		row(503, "", "http_503", bell.RetryBackoff, keep, count), row(507, "", "http_507", bell.RetryBackoff, keep, count),

		apple(400, "BadTtl", bell.Rejected, keep, bug), apple(400, "BadUrgency", bell.Rejected, keep, bug),
		apple(400, "BadWebPushTopic", bell.Rejected, keep, bug), apple(400, "BadWebPushRequest", bell.Rejected, keep, bug),
		apple(400, "IdleTimeout", bell.RetryNow, keep, none),
		apple(404, "BadPath", bell.Rejected, keep, bug), apple(405, "MethodNotAllowed", bell.Rejected, keep, bug),
		apple(413, "PayloadTooLarge", bell.Rejected, keep, bug), apple(429, "TooManyRequests", bell.RetryThrottled, keep, count),
		apple(500, "InternalServerError", bell.RetryBackoff, keep, count), apple(503, "ServiceUnavailable", bell.RetryBackoff, keep, count),
		apple(503, "Shutdown", bell.RetryNow, keep, none),
		row(410, `{"reason":"ExpiredSubscription"}`, "http_410", bell.Rejected, drop, count), // a word of tomorrow

		mozilla(404, 102, bell.Rejected, drop, count), mozilla(410, 103, bell.Rejected, drop, count), mozilla(413, 104, bell.Rejected, keep, bug),
		mozilla(404, 105, bell.Rejected, drop, count), mozilla(410, 106, bell.Rejected, drop, count),
		mozilla(401, 109, bell.Rejected, keep, config), mozilla(403, 109, bell.Rejected, keep, config),
		mozilla(400, 110, bell.Rejected, keep, bug), mozilla(400, 111, bell.Rejected, keep, bug),
		mozilla(503, 201, bell.RetryBackoff, keep, count), mozilla(503, 202, bell.RetryNow, keep, count),
		mozilla(500, 999, bell.RetryBackoff, keep, count),
		row(400, `{"errno":-5}`, "http_400", bell.Rejected, keep, bug), row(400, `{"errno":123456}`, "http_400", bell.Rejected, keep, bug),
	}
	for _, status := range []int{400, 401, 403} {
		list = append(list, apple(status, "VapidPkHashMismatch", bell.Rejected, keep, config))
	}
	for _, reason := range []string{"BadAuthorizationHeader", "BadJwtToken", "BadVapidPublicKey"} {
		for _, status := range []int{400, 401, 403} {
			list = append(list, apple(status, reason, bell.Rejected, keep, page))
		}
	}
	for header, wait := range map[string]time.Duration{"7": 7 * time.Second, "120": 2 * time.Minute, "99999999": time.Hour, "-1": 0, "soon": 0} {
		for status, verdict := range map[int]bell.Verdict{429: bell.RetryThrottled, 503: bell.RetryBackoff} {
			a := row(status, "", fmt.Sprintf("http_%d", status), verdict, keep, count)
			a.Name, a.Header, a.Want.RetryAfter = fmt.Sprintf("%d Retry-After %s", status, header), map[string]string{"Retry-After": header}, wait
			list = append(list, a)
		}
	}
	return list
}
