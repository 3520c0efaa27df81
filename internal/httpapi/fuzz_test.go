package httpapi_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/planet"
)

// FuzzBodies: whatever a client sends, it gets an answer of the contract, and it is
// never our failure.
func FuzzBodies(f *testing.F) {
	for _, req := range good()[:3] {
		f.Add(req.body)
	}
	for _, seed := range []string{"", "null", "{}", "[]", `{"userId":1}`, `{"a":{"b":[1e999]}}`, `{"userId":"a","userId":"b"}`, "\x00", `{"appVer":12.5}`, `"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		w := newWorld(t)
		w.devices.register = func(_ context.Context, _ bell.Identity, d device.Description) (device.Notice, error) {
			var sent map[string]json.RawMessage
			if err := json.Unmarshal([]byte(body), &sent); err != nil {
				t.Errorf("%q is not an object and reached the registry", body)
			}
			var text string
			if err := json.Unmarshal(sent["appType"], &text); err == nil && text != d.AppType {
				t.Errorf("appType %q arrived as %q", text, d.AppType)
			}
			return device.Notice{}, nil
		}
		for _, path := range []string{"/v2/register_user", "/v2/register_device", "/v2/update_notification_token"} {
			out := w.do("POST", path, body, as(appToken)...)
			switch out.StatusCode {
			case http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
			default:
				t.Errorf("%s: status %d for body %q", path, out.StatusCode, body)
			}
		}
	})
}

// FuzzLastEventID: whatever a client says that it has had, what is believed is a few session IDs,
// and the ID that is made of them is what the client said.
func FuzzLastEventID(f *testing.F) {
	for _, seed := range []string{"", "1", "1." + sid, "1.a.b", "1.a.a", "2.a", "1.A", "1..", "1.a\x00", strings.Repeat("1.", 20), "1." + strings.Repeat("a", 65)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w := newWorld(t)
		var known []planet.SessionID
		w.mailbox.stream = func(_ context.Context, s *bell.Stream, write func(bell.StreamEvent) bool) error {
			known = s.Known
			write(bell.StreamEvent{Kind: bell.StreamOpened})
			write(bell.StreamEvent{Kind: bell.StreamEnded, SessionID: sid, Why: bell.EndedByCall, Known: s.Known})
			return nil
		}
		r := httptest.NewRequest("GET", "/v2/notification/sse", nil)
		r.Header.Set("Authorization", "Bearer "+appToken)
		r.Header.Set("Last-Event-ID", text)
		out := httptest.NewRecorder()
		w.start().ServeHTTP(out, r)
		if len(known) > 8 {
			t.Errorf("%d session IDs", len(known))
		}
		for _, id := range known {
			if got, err := planet.ParseSessionID(string(id)); err != nil || got != id {
				t.Errorf("session ID %q", id)
			}
		}
		want := "\nid: \n"
		if len(known) > 0 {
			want = "\nid: " + text + "\n"
		}
		if !strings.Contains(out.Body.String(), want) {
			t.Errorf("%q became %q", text, out.Body)
		}
	})
}

// FuzzReceipt: whatever a client sends, a receipt that reaches the engine has a session ID
// and nothing but known words.
func FuzzReceipt(f *testing.F) {
	for _, seed := range []string{
		`{"sid":"` + sid + `"}`, `{"sid":"` + strings.ToUpper(sid) + `","channel":"lp","receivedAt":1700000000000}`,
		`{"sid":"a","channel":"fcm","priority":"normal","originalPriority":"high"}`, `{"sid":"a","receivedAt":-1}`,
		`{"sid":"a","receivedAt":1e999}`, `{"sid":null}`, `{"sid":"\u0000"}`, `[]`, ``,
	} {
		f.Add(seed)
	}
	words := map[string]bool{"": true, "high": true, "normal": true}
	f.Fuzz(func(t *testing.T, body string) {
		w := newWorld(t)
		taken := false
		w.receipts.receive = func(_ context.Context, r bell.Receipt) error {
			taken = true
			if id, err := planet.ParseSessionID(string(r.SessionID)); err != nil || id != r.SessionID {
				t.Errorf("session ID %q", r.SessionID)
			}
			if r.DeviceID != "device-1" || r.Environment != planet.Evaluation || r.At.IsZero() {
				t.Errorf("from device %q in %q at %v", r.DeviceID, r.Environment, r.At)
			}
			if !words[r.Priority] || !words[r.OriginalPriority] || r.ReceivedAt.Year() > 9999 {
				t.Errorf("the receipt holds %q, %q, %v", r.Priority, r.OriginalPriority, r.ReceivedAt)
			}
			switch r.Channel {
			case "", bell.FCM, bell.APNsVoIP, bell.APNsAlert, bell.LongPoll:
			default:
				t.Errorf("channel %q", r.Channel)
			}
			return nil
		}
		out := w.do("POST", "/v2/notification/ack", body, as(appToken)...)
		if good := out.StatusCode == http.StatusOK; good != taken {
			t.Errorf("status %d, taken: %t", out.StatusCode, taken)
		}
		switch out.StatusCode {
		case http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		default:
			t.Errorf("status %d for body %q", out.StatusCode, body)
		}
	})
}

// FuzzCallback: whatever comes with the right secret is taken or refused with a
// sentence; what rings rings with the bytes that came.
func FuzzCallback(f *testing.F) {
	f.Add(notifyQuery()[1:], "", "")
	f.Add("", notifyQuery()[1:], "application/x-www-form-urlencoded")
	f.Add("", `{"sid":"`+sid+`","to_service_id":"my-service","to_user_id":"bob","param":"e+/="}`, "application/json")
	f.Add("sid=%zz&&=;", `{"sid":[`, "text/plain; charset")
	f.Fuzz(func(t *testing.T, query, body, contentType string) {
		w := newWorld(t)
		w.calls.ring = func(_ context.Context, _ *bell.Project, n planet.NotifyCallback) (call.RingResult, error) {
			if n.SessionID == "" || n.CCParam == "" || n.Callee.UserID == "" || n.Callee.ServiceID != service {
				t.Errorf("rung without what it needs: %v %v", n.SessionID, n.Callee)
			}
			return call.RingResult{}, nil
		}
		for _, kind := range []string{"notify", "call-event", "group-call-event", "agent-call-status"} {
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				r := httptest.NewRequest(method, cb(kind), strings.NewReader(body))
				r.URL.RawQuery = query
				r.Header.Set("Content-Type", contentType)
				out := w.send(r)
				switch {
				case out.StatusCode == http.StatusOK, out.StatusCode == http.StatusRequestEntityTooLarge:
				case out.StatusCode == http.StatusBadRequest && kind == "notify":
				default:
					t.Errorf("%s %s: status %d", method, kind, out.StatusCode)
				}
			}
		}
	})
}
