package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// logged writes one line with the given attributes and returns it.
func logged(t *testing.T, format string, attrs ...any) string {
	t.Helper()
	var b bytes.Buffer
	log, err := NewLogger(&b, "debug", format)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("said", attrs...)
	testlog.Keep(t, "log line", b.String())
	return b.String()
}

func TestFormats(t *testing.T) {
	for _, test := range []struct{ format, want string }{
		{FormatJSON, `"msg":"said","device":"d-1"`},
		{FormatText, `INF said device=d-1`},
		{FormatAuto, `"msg":"said","device":"d-1"`}, // a buffer is no terminal
	} {
		got := logged(t, test.format, "device", "d-1")
		if !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q in it", test.format, got, test.want)
		}
		if strings.Contains(got, "\x1b[") {
			t.Errorf("%s: colour codes outside a terminal: %q", test.format, got)
		}
	}
}

// Durations carry their unit in both formats, with as many digits as tell something.
func TestDurations(t *testing.T) {
	for _, test := range []struct {
		took time.Duration
		want string
	}{
		{0, "0s"},
		{999, "999ns"},
		{38_958, "39µs"},
		{1_752_130, "1.75ms"},
		{-1_752_130, "-1.75ms"},
		{999_999_999, "1s"},
		{2_781_101_074, "2.781s"},
		{90 * time.Second, "1m30s"},
		{math.MinInt64, "-2562047h47m16.854775808s"}, // has no opposite to round with
	} {
		if got, want := logged(t, FormatJSON, "took", test.took), fmt.Sprintf(`"took":%q`, test.want); !strings.Contains(got, want) {
			t.Errorf("%q, want %s in it", got, want)
		}
		if got, want := logged(t, FormatText, "took", test.took), "took="+test.want+"\n"; !strings.HasSuffix(got, want) {
			t.Errorf("%q, want %s at its end", got, want)
		}
		if got := logged(t, FormatJSON, slog.Group("poll", "took", test.took)); !strings.Contains(got, `{"took":"`+test.want+`"}`) {
			t.Errorf("%q, want %s in its group", got, test.want)
		}
	}
}

func TestAFileIsNoTerminal(t *testing.T) {
	name := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	log, err := NewLogger(f, "info", FormatAuto)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("said")
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(got, []byte("{")) {
		t.Errorf("%q, want JSON", got)
	}
}

func TestLevels(t *testing.T) {
	for level, want := range map[string]slog.Level{
		"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
	} {
		for _, format := range []string{FormatJSON, FormatText} {
			log, err := NewLogger(&bytes.Buffer{}, level, format)
			if err != nil {
				t.Fatal(err)
			}
			ctx := context.Background()
			if !log.Enabled(ctx, want) || log.Enabled(ctx, want-1) {
				t.Errorf("%s, %s: writes from another level on", level, format)
			}
		}
	}
}

func TestWrongLevelAndFormat(t *testing.T) {
	for _, test := range []struct{ level, format, want string }{
		{"loud", FormatJSON, `log level "loud": want debug, info, warn or error`},
		{"info", "xml", `log format "xml": want auto, json or text`},
	} {
		_, err := NewLogger(&bytes.Buffer{}, test.level, test.format)
		if err == nil || err.Error() != test.want {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
}

func TestSecretsByKeyAreTakenOut(t *testing.T) {
	secret := testlog.TextSecret("log")
	for _, key := range []string{
		"token", "push_token", "pushToken", "Authorization", "cc_param", "CCParam", "param", "api_secret", "x-voip-sla-key",
		"apiKey", "client_key", "cookie", "Set-Cookie", "p12_password", "signing_key", "private_key", "subscription_url", "credentials",
	} {
		for _, format := range []string{FormatJSON, FormatText} {
			for _, value := range []any{secret, []byte(secret), errors.New(secret), fmt.Stringer(text(secret)), []string{secret}} {
				got := logged(t, format, key, value)
				if strings.Contains(got, testlog.Text) || !strings.Contains(got, "<secret>") {
					t.Errorf("%s as %T in %s: not redacted", key, value, format)
				}
			}
			got := logged(t, format, slog.Group(key, "inner", secret))
			if strings.Contains(got, testlog.Text) {
				t.Errorf("group %s in %s: not redacted", key, format)
			}
		}
	}
}

type text string

func (s text) String() string { return string(s) }

func TestWhatIsNoSecretStays(t *testing.T) {
	for _, test := range []struct {
		key   string
		value any
		want  string
	}{
		{"tokens_dropped", 3, `"tokens_dropped":3`},
		{"token_age", 2 * time.Second, `"token_age":"2s"`},
		{"token_refreshed", true, `"token_refreshed":true`},
		{"token_fingerprint", "0a1b2c3d", `"token_fingerprint":"0a1b2c3d"`},
		{"token", "", `"token":""`},
		{"params", 4, `"params":4`},
		{"user", "service/alice", `"user":"service/alice"`},
		{"error", errors.New("no route"), `"error":"no route"`},
	} {
		if got := logged(t, FormatJSON, test.key, test.value); !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q in it", test.key, got, test.want)
		}
	}
	if got := logged(t, FormatJSON, "note", "x"); !strings.Contains(got, `"msg":"said"`) || !strings.Contains(got, `"level":"INFO"`) {
		t.Errorf("the line's own parts are touched: %q", got)
	}
}

func TestSecretTypesPrintAsSecret(t *testing.T) {
	for _, format := range []string{FormatJSON, FormatText} {
		got := logged(t, format, "value", planet.Secret(testlog.TextSecret("typed")), "call", planet.CCParam(testlog.CCParam(1)))
		if strings.Contains(got, testlog.Text) || strings.Count(got, "<secret>") != 2 {
			t.Errorf("%s: %q", format, got)
		}
	}
}

func TestURLsOfFailedRequestsAreTakenOut(t *testing.T) {
	address := "https://push.example.com/3/device/" + testlog.HexSecret(1, 64)
	failed := &url.Error{Op: "Post", URL: address, Err: errors.New("connection reset")}
	for name, err := range map[string]error{
		"as it is": failed,
		"wrapped":  fmt.Errorf("send to a device: %w", failed),
		"joined":   errors.Join(errors.New("first"), failed),
	} {
		for _, format := range []string{FormatJSON, FormatText} {
			got := logged(t, format, "error", err)
			if strings.Contains(got, testlog.Hex) {
				t.Errorf("%s, %s: the URL is in the line", name, format)
			}
			if !strings.Contains(got, "connection reset") || !strings.Contains(got, "<url>") {
				t.Errorf("%s, %s: %q, want the cause to stay", name, format, got)
			}
		}
	}
}

func TestLoggersMadeFromItAreGuardedToo(t *testing.T) {
	var b bytes.Buffer
	log, err := NewLogger(&b, "info", FormatJSON)
	if err != nil {
		t.Fatal(err)
	}
	log.With("token", testlog.TextSecret("with")).WithGroup("request").Info("said", "authorization", testlog.TextSecret("group"))
	testlog.Keep(t, "log line", b.String())
	if strings.Contains(b.String(), testlog.Text) {
		t.Error("a derived logger writes secrets")
	}
}
