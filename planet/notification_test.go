package planet

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/testlog"
)

func fullNotification() Notification {
	return Notification{
		CCParam:          CCParam(testlog.CCParam(1)),
		Caller:           UserRef{"caller-service", "alice"},
		Callee:           UserRef{"callee-service", "bob"},
		Type:             VideoCall,
		EnvironmentLabel: "real",
		AppServerData:    "data",
		STID:             "data",
		SessionID:        callSID,
		CallerName:       "Alice",
		SentAt:           time.UnixMilli(1770000000123),
		ExpiresAt:        time.UnixMilli(1770000055123),
	}
}

func requiredFields() map[string]string {
	return map[string]string{
		"cc_param": testlog.CCParam(1), "app_caller_sid": "caller-service", "app_caller_uid": "alice",
		"app_callee_sid": "callee-service", "app_callee_uid": "bob", "app_call_type": "V", "_env": "real",
	}
}

func fullFields() map[string]string {
	fields := requiredFields()
	maps.Copy(fields, map[string]string{
		"app_stid": "data", "app_app_svr_data": "data", "app_session_id": callSID, "app_caller_name": "Alice",
		"app_sent_at": "1770000000123", "app_expires_at": "1770000055123",
	})
	return fields
}

func TestFields(t *testing.T) {
	if diff := cmp.Diff(fullFields(), fullNotification().Fields()); diff != "" {
		t.Error(diff)
	}
}

func TestFieldsWithoutTheOptional(t *testing.T) {
	n := fullNotification()
	n.AppServerData, n.STID, n.SessionID, n.CallerName = "", "", "", ""
	n.SentAt, n.ExpiresAt = time.Time{}, time.Time{}
	if diff := cmp.Diff(requiredFields(), n.Fields()); diff != "" {
		t.Error(diff)
	}
}

// LINE's Apple demo drops a call that lacks a key, whatever the value would have been.
func TestFieldsOfNothing(t *testing.T) {
	want := map[string]string{
		"cc_param": "", "app_caller_sid": "", "app_caller_uid": "", "app_callee_sid": "", "app_callee_uid": "",
		"app_call_type": "A", "_env": "unknown",
	}
	if diff := cmp.Diff(want, Notification{}.Fields()); diff != "" {
		t.Error(diff)
	}
}

func TestFitDropsInOrder(t *testing.T) {
	n := fullNotification()
	want := fullFields()
	limit := plainSize(want)
	got, err := n.Fit(limit, plainSize)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("everything fits, but: %s", diff)
	}
	for _, key := range []string{"app_stid", "app_app_svr_data", "app_caller_name", "app_sent_at", "app_expires_at", "app_session_id"} {
		limit = plainSize(want) - 1
		delete(want, key)
		got, err := n.Fit(limit, plainSize)
		if err != nil {
			t.Fatalf("without %s: %v", key, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("after %s: %s", key, diff)
		}
	}
	if diff := cmp.Diff(requiredFields(), want); diff != "" {
		t.Errorf("what is never dropped: %s", diff)
	}
	_, err = n.Fit(plainSize(want)-1, plainSize)
	wantProblem(t, err, "when everything optional is left out")
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("error %v is not ErrTooLarge", err)
	}
	testlog.Keep(t, "error", err.Error())
	if strings.Contains(err.Error(), testlog.Text) {
		t.Error("the error holds cc_param")
	}
}

func TestFitWithoutASizeCountsBytes(t *testing.T) {
	n := fullNotification()
	limit := plainSize(requiredFields())
	got, err := n.Fit(limit, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(requiredFields(), got); diff != "" {
		t.Error(diff)
	}
}

// With the largest app server data and a cc_param of 1 KB the call must still fit
// Apple's and Google's limits.
func TestFitRealLimits(t *testing.T) {
	n := fullNotification()
	n.CCParam = CCParam(strings.Repeat("A", 1024))
	n.AppServerData = strings.Repeat("ア", 1365)
	n.STID = n.AppServerData
	payload := func(fields map[string]string) int {
		text, err := json.Marshal(fields)
		if err != nil {
			t.Error(err)
		}
		return len(text)
	}
	for limit, withData := range map[int]bool{4096: false, 5120: false, 6000: true, 20000: true} {
		got, err := n.Fit(limit, payload)
		if err != nil {
			t.Fatal(err)
		}
		if payload(got) > limit {
			t.Errorf("%d bytes of %d", payload(got), limit)
		}
		if _, ok := got["app_app_svr_data"]; ok != withData {
			t.Errorf("limit %d: app server data is there: %v", limit, ok)
		}
		if got["cc_param"] != n.CCParam.Reveal() || got["app_session_id"] != callSID {
			t.Errorf("limit %d: lost too much", limit)
		}
	}
}

func TestFitProperties(t *testing.T) {
	text := rapid.StringN(0, 50, 200)
	rapid.Check(t, func(t *rapid.T) {
		n := fullNotification()
		n.AppServerData, n.STID, n.CallerName = text.Draw(t, "data"), text.Draw(t, "stid"), text.Draw(t, "name")
		all := n.Fields()
		limit := rapid.IntRange(0, plainSize(all)+10).Draw(t, "limit")
		got, err := n.Fit(limit, plainSize)
		if err != nil {
			if !errors.Is(err, ErrTooLarge) || limit >= plainSize(requiredFields()) {
				t.Fatalf("limit %d: %v", limit, err)
			}
			return
		}
		if plainSize(got) > limit {
			t.Fatalf("%d bytes of %d", plainSize(got), limit)
		}
		for key := range requiredFields() {
			if got[key] != all[key] {
				t.Fatalf("%s was touched", key)
			}
		}
		for key, value := range got {
			if all[key] != value {
				t.Fatalf("%s was invented", key)
			}
		}
		if diff := cmp.Diff(n.Fields(), all); diff != "" {
			t.Fatalf("the notification changed: %s", diff)
		}
	})
}
