package planet

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func missedCall() Notice {
	return Notice{
		Event: MissedCallEvent, ID: "0d5f", Caller: UserRef{"svc", "alice"}, Callee: UserRef{"svc", "bob"},
		CallerName: "Alice", Type: VideoCall, EnvironmentLabel: "real", About: callSID,
		CalledAt: time.UnixMilli(1700000000123), SentAt: time.UnixMilli(1700000060000), AppFields: map[string]string{"app_color": "red"},
	}
}

func TestFieldsOfAMissedCall(t *testing.T) {
	want := map[string]string{
		"app_event": "missed_call", "app_session_id": "0d5f", "app_call_session_id": callSID,
		"app_caller_sid": "svc", "app_caller_uid": "alice", "app_caller_name": "Alice",
		"app_callee_sid": "svc", "app_callee_uid": "bob", "app_call_type": "V", "_env": "real",
		"app_called_at": "1700000000123", "app_sent_at": "1700000060000", "app_color": "red",
	}
	if diff := cmp.Diff(want, missedCall().Fields()); diff != "" {
		t.Error(diff)
	}
}

func TestFieldsOfAnInvitation(t *testing.T) {
	n := Notice{
		Event: InvitationEvent, ID: "0d60", Callee: UserRef{"svc", "bob"}, Room: RoomRef{"svc", "lobby"},
		ExpiresAt: time.UnixMilli(1700000090000),
	}
	want := map[string]string{
		"app_event": "invitation", "app_session_id": "0d60", "app_callee_sid": "svc", "app_callee_uid": "bob",
		"app_room_service_id": "svc", "app_room_id": "lobby", "app_expires_at": "1700000090000", "_env": "unknown",
	}
	if diff := cmp.Diff(want, n.Fields()); diff != "" {
		t.Error(diff)
	}
}

// An app's own keys never stand for one of the protocol's: cc_param in a notice would ring.
func TestAppFieldsOverrideNothing(t *testing.T) {
	hostile := map[string]string{
		"cc_param": "x", "_env": "x", "app_session_id": "x", "app_event": "x", "app_call_session_id": "x", "app_alert": "x",
		"app_": "x", "app_Upper": "x", "app_ü": "x", "app_a.b": "x", "google.x": "x", "from": "x", "": "x", "app_empty": "",
		"app_" + strings.Repeat("k", MaxAppFieldKey): "x",
	}
	for name, fields := range map[string]func() map[string]string{
		"a notice": func() map[string]string {
			n := missedCall()
			n.AppFields = hostile
			return n.Fields()
		},
		"a call": func() map[string]string { n := fullNotification(); n.AppFields = hostile; return n.Fields() },
	} {
		for key, value := range fields() {
			if value == "x" {
				t.Errorf("%s has %q as its app wanted", name, key)
			}
		}
	}
	if got := AppFields(hostile); got != nil {
		t.Errorf("%v", got)
	}
}

func TestAppFieldsAreBounded(t *testing.T) {
	many := map[string]string{}
	for i := range 3 * MaxAppFields {
		many[fmt.Sprintf("app_%02d", i)] = "v"
	}
	got := AppFields(many)
	if keys := slices.Sorted(maps.Keys(got)); len(keys) != MaxAppFields || keys[MaxAppFields-1] != fmt.Sprintf("app_%02d", MaxAppFields-1) {
		t.Errorf("%v", keys)
	}
	most := MaxAppFieldSum - len("app_a")
	got = AppFields(map[string]string{"app_a": strings.Repeat("x", most), "app_b": "y"})
	if len(got) != 1 || len(got["app_a"]) != most {
		t.Errorf("%d keys", len(got))
	}
	got = AppFields(map[string]string{"app_a": strings.Repeat("x", most+1), "app_b": "y\xff"})
	if diff := cmp.Diff(map[string]string{"app_b": "y\uFFFD"}, got); diff != "" {
		t.Error(diff)
	}
}

// An app's own keys go before anything that somebody else may need.
func TestFitDropsAppFieldsFirst(t *testing.T) {
	n := fullNotification()
	n.AppFields = map[string]string{"app_a": "1", "app_b": "2"}
	want := fullFields()
	want["app_a"], want["app_b"] = "1", "2"
	for _, key := range []string{"app_b", "app_a", "app_stid"} {
		limit := plainSize(want) - 1
		delete(want, key)
		got, err := n.Fit(limit, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %s: %s", key, diff)
		}
	}
	m := missedCall()
	want = m.Fields()
	for _, key := range []string{"app_color", "app_caller_name", "app_sent_at", "app_called_at"} {
		limit := plainSize(want) - 1
		delete(want, key)
		got, err := m.Fit(limit, nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %s: %s", key, diff)
		}
	}
	if _, err := m.Fit(plainSize(want)-1, nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v is not ErrTooLarge", err)
	}
}

func TestAppFieldsProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		given := rapid.MapOf(rapid.OneOf(rapid.String(), rapid.StringMatching(`app_[a-z0-9_]{0,70}`)), rapid.String()).Draw(t, "fields")
		got := AppFields(given)
		if plainSize(got) > MaxAppFieldSum || len(got) > MaxAppFields {
			t.Fatalf("%d keys of %d bytes", len(got), plainSize(got))
		}
		for key := range got {
			if !ValidAppField(key) {
				t.Fatalf("%q", key)
			}
		}
		if diff := cmp.Diff(got, AppFields(got)); diff != "" {
			t.Fatalf("cleaned twice it is another: %s", diff)
		}
	})
}
