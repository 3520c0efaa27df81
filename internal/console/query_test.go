package console

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestQueriesThatAreRefused(t *testing.T) {
	tests := []struct{ query, want string }{
		{"limit=0", "limit: want a number from 1 to 500"},
		{"limit=501", "limit:"},
		{"limit=ten", "limit:"},
		{"environment=moon", "environment: want evaluation or real"},
		{"user_id=a&user_id=b", "user_id is given 2 times"},
		{"user_id=%zz", "not well-formed"},
		{"a;b", "not well-formed"},
		{"user_id=a%0ab", "control character"},
		{"user_id=" + strings.Repeat("a", 257), "at most 256"},
		{"user=bob", `no parameter "user" here; want environment, service_id, user_id`},
	}
	for _, test := range tests {
		_, errDevices := parseDeviceQuery(test.query)
		_, errCalls := parseCallQuery(test.query)
		for _, err := range []error{errDevices, errCalls} {
			if bell.KindOf(err) != bell.Invalid || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: error %v, want one with %q", test.query, err, test.want)
			}
		}
	}
	for _, query := range []string{"channel=pigeon", "before=1-a"} {
		if _, err := parseDeviceQuery(query); bell.KindOf(err) != bell.Invalid {
			t.Errorf("devices?%s: %v", query, err)
		}
	}
	for _, query := range []string{
		"before=x", "before=5", "before=-5-a", "before=0-a", "before=5-", "before=5-a_b", "after=a",
		"state=over", "state=RINGING", "outcome=lost", "since=yesterday", "since=2026-09-01", "until=1788264000", "until=2026-09-01T12:00:00+09:00",
		"since=0001-01-01T00:00:00Z",
	} {
		if _, err := parseCallQuery(query); bell.KindOf(err) != bell.Invalid {
			t.Errorf("calls?%s: %v", query, err)
		}
	}
}

func TestCallFilters(t *testing.T) {
	since, until := time.Date(2026, 9, 1, 12, 0, 0, 5e8, time.UTC), time.Date(2026, 9, 1, 15, 0, 0, 0, time.UTC)
	got, err := parseCallQuery("environment=real&service_id=s&user_id=u&project=shop&state=ended&outcome=push_failed" +
		"&since=2026-09-01T12:00:00.5Z&until=2026-09-02T00:00:00%2B09:00")
	if err != nil {
		t.Fatal(err)
	}
	want := call.Filter{
		Environment: planet.Real, User: planet.UserRef{ServiceID: "s", UserID: "u"}, Project: "shop",
		State: bell.CallEnded, Outcome: planet.OutcomePushFailed, Since: since, Until: until,
	}
	if diff := cmp.Diff(want, got.filter); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, state := range CallStates() {
		if _, err := parseCallQuery("state=" + string(state)); err != nil {
			t.Errorf("%s: %v", state, err)
		}
	}
	for _, outcome := range planet.Outcomes() {
		if _, err := parseCallQuery("outcome=" + string(outcome)); err != nil {
			t.Errorf("%s: %v", outcome, err)
		}
	}
}

func TestCursorComesBackAsItWent(t *testing.T) {
	want := call.Cursor{At: time.Date(2026, 9, 1, 12, 0, 0, 123456000, time.UTC), SessionID: "9a1b2c3d-0000-4000-8000-00000000000a"}
	got, err := parseCursor(formatCursor(want))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, seed := range []string{
		"", "limit=5", "environment=real&service_id=s&user_id=u&channel=fcm&after=x&limit=500",
		"before=1788264000000000000-9a1b&limit=1", "state=lost&outcome=missed&since=2026-09-01T12:00:00Z&until=x&project=p", "limit=%31", "user_id=%00", "a;b", "environment=REAL",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if q, err := parseDeviceQuery(raw); err == nil {
			if q.limit < 1 || q.limit > MaxLimit || len(q.filter.UserID) > maxParam || len(q.after) > maxParam {
				t.Errorf("%q is taken as %+v", raw, q)
			}
		} else if bell.KindOf(err) != bell.Invalid {
			t.Errorf("%q: %v is not the sender's mistake", raw, err)
		}
		if q, err := parseCallQuery(raw); err == nil {
			if q.limit < 1 || q.limit > MaxLimit {
				t.Errorf("%q is taken as %+v", raw, q)
			}
			if q.before == (call.Cursor{}) {
				return
			}
			if again, err := parseCursor(formatCursor(q.before)); err != nil || again != q.before {
				t.Errorf("cursor of %q: %v, %v", raw, again, err)
			}
		}
	})
}

func TestSentSecretIsShownByJSONOnly(t *testing.T) {
	n := NewDevice{Project: "main", PushToken: SentSecret{planet.Secret(testlog.TextSecret("token"))}}
	for what, text := range printed(n) {
		if strings.Contains(text, testlog.Text) {
			t.Errorf("%s shows the secret", what)
		}
	}
	var b strings.Builder
	if err := encode(&b, n); err != nil || !strings.Contains(b.String(), testlog.TextSecret("token")) {
		t.Errorf("the receiver does not get the secret (%v)", err)
	}
}

// printed is v in every way a program commonly prints a value, but JSON.
func printed(v any) map[string]string {
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
	return map[string]string{
		"%v": fmt.Sprintf("%v", v), "%+v": fmt.Sprintf("%+v", v), "%#v": fmt.Sprintf("%#v", v), "slog": log.String(),
	}
}
