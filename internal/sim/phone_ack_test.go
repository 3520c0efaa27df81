package sim

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sessionAnswer is a poll's answer with a call whose session is named.
func sessionAnswer(sid string) func(http.ResponseWriter) {
	b, _ := json.Marshal(map[string]string{
		"app_call_type": "A", "app_callee_uid": "bob", "app_callee_sid": "svc", "app_caller_uid": "alice",
		"app_caller_sid": "svc", "_env": "real", "cc_param": "cc", "app_session_id": sid,
	})
	return success(string(b))
}

// receipt returns the next receipt that came, and skips other requests.
func (s *stub) receipt() (r receiptBody) {
	s.t.Helper()
	for {
		q := s.next()
		if q.Path != "/v2/notification/ack" {
			continue
		}
		if err := json.Unmarshal([]byte(q.Body), &r); err != nil || q.Method != http.MethodPost || q.Header.Get("Authorization") == "" {
			s.t.Errorf("%s %s without a token or not JSON: %v", q.Method, q.Body, err)
		}
		return r
	}
}

func TestPhoneThatAcknowledges(t *testing.T) {
	at := testNow.UnixMilli()
	tests := []struct {
		kind PhoneKind
		ring func(*phoneRig)
		want receiptBody
	}{
		{IOS, func(r *phoneRig) {
			r.onAPNs(APNsPush{Body: []byte(`{"aps":{},"cc_param":"cc","app_caller_sid":"svc","app_session_id":"s1"}`)})
		}, receiptBody{SID: "s1", Channel: "apnsvoip", ReceivedAt: at}},
		{Android, func(r *phoneRig) {
			r.onFCM(FCMMessage{Priority: "high", Data: map[string]string{"cc_param": "cc", "app_session_id": "s1"}})
		}, receiptBody{SID: "s1", Channel: "fcm", ReceivedAt: at, Priority: "high", OriginalPriority: "high"}},
		{AndroidLP, func(r *phoneRig) { r.stub.polls <- sessionAnswer("s1") }, receiptBody{SID: "s1", Channel: "lp", ReceivedAt: at}},
		{Windows, func(r *phoneRig) { r.stub.polls <- sessionAnswer("s1") }, receiptBody{SID: "s1", Channel: "lp", ReceivedAt: at}},
	}
	for _, test := range tests {
		t.Run(string(test.kind), func(t *testing.T) {
			events := make(chan Event, 100)
			r := newPhoneRig(t, test.kind, func(o *PhoneOptions) {
				o.Acknowledges, o.OnEvent = true, func(e Event) { events <- e }
			})
			r.start()
			for range 2 { // a repeat is acknowledged too, and does not ring
				test.ring(r)
				if diff := cmp.Diff(test.want, r.stub.receipt()); diff != "" {
					t.Error(diff)
				}
				for e := range events {
					if e.Kind == EventReceipt {
						break
					}
				}
			}
			if _, err := r.AwaitReceived(testContext(t), 1); err != nil {
				t.Fatal(err)
			}
			r.Close()
			if s := r.Stats(); len(r.Received()) != 1 || s.Repeats != 1 || s.Acknowledged != 2 {
				t.Errorf("rang %d times, %+v", len(r.Received()), s)
			}
		})
	}
}

// A poll says that its client acknowledges only if it does.
// A phone that holds a stream acknowledges each call, rings once, stops when the stream says so,
// and takes up where the last stream ended.
func TestPhoneThatHoldsAStream(t *testing.T) {
	r := newPhoneRig(t, MacOS, func(o *PhoneOptions) { o.Streams, o.Notices = true, true })
	event := func(name, id, data string) string {
		return "event: " + name + "\nid: " + id + "\ndata: " + data + "\n\n"
	}
	call := `{"app_call_type":"A","app_callee_uid":"bob","app_callee_sid":"svc","app_caller_uid":"alice","app_caller_sid":"svc","_env":"real","cc_param":"cc","app_session_id":"s1"}`
	streams := []string{
		"retry: 7000\n\n:\n\n" + event("call", "1.s1", call) + event("call", "1.s1", call) + event("notice", "1.s1.n1", `{"app_event":"missed_call","app_session_id":"n1","_env":"real"}`),
		event("ended", "", `{"app_session_id":"s1","why":"ended"}`),
		event("call", "1.s2", `{"app_session_id":"s2"}`),
	}
	var answers []func(http.ResponseWriter)
	for _, text := range streams {
		answers = append(answers, func(w http.ResponseWriter) { _, _ = w.Write([]byte(text)) })
	}
	refused := func(w http.ResponseWriter) {
		w.Header().Set("Retry-After", "3")
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	unauthorized := func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }
	r.stub.script("sse", append(answers, refused, unauthorized)...)
	r.start()
	var lastIDs []string
	for _, wait := range []time.Duration{7 * time.Second, streamRetry, streamRetry, 3 * time.Second, 0} {
		q := r.stub.next()
		for q.Path != "/v2/notification/sse" {
			q = r.stub.next()
		}
		if q.Query != "notices=1" || q.Header.Get("Authorization") == "" {
			t.Errorf("asked with %q", q.Query)
		}
		lastIDs = append(lastIDs, q.Header.Get("Last-Event-ID"))
		if wait > 0 {
			if err := r.clock.AwaitWaiters(testContext(t), 1, wait); err != nil {
				t.Fatalf("the phone does not wait for %v", wait)
			}
			r.clock.Advance(wait)
		}
	}
	if diff := cmp.Diff([]string{"", "1.s1.n1", "", "", ""}, lastIDs); diff != "" {
		t.Errorf("Last-Event-ID (-want +got):\n%s", diff)
	}
	if ends, err := r.AwaitEnded(testContext(t), 1); err != nil || ends[0].SessionID != "s1" {
		t.Errorf("ends %+v, %v", ends, err)
	}
	if n := len(r.Received()); n != 1 || r.Received()[0].Via != "stream" {
		t.Errorf("received %+v", r.Received())
	}
	if n := r.Notices(); len(n) != 1 || n[0].Via != "stream" {
		t.Errorf("notices %+v", n)
	}
	if s := r.Stats(); s.Repeats != 1 || s.Err == nil {
		t.Errorf("stats %+v", s)
	}
}

func TestPollsOfAPhoneThatAcknowledges(t *testing.T) {
	for want, acknowledges := range map[string]bool{"": false, "ack=1": true} {
		r := newPhoneRig(t, AndroidLP, func(o *PhoneOptions) { o.Acknowledges = acknowledges })
		r.start()
		for q := r.stub.next(); ; q = r.stub.next() {
			if q.Path == "/v2/notification/lp" {
				if q.Query != want {
					t.Errorf("polls with %q, want %q", q.Query, want)
				}
				break
			}
		}
	}
}

// LINE's apps send no receipt, and neither does anybody for a call that does not say its
// session.
func TestPhonesThatDoNotAcknowledge(t *testing.T) {
	for _, acknowledges := range []bool{false, true} {
		r := newPhoneRig(t, Android, func(o *PhoneOptions) { o.Acknowledges = acknowledges })
		data := map[string]string{"cc_param": "cc"}
		if !acknowledges {
			data["app_session_id"] = "s1"
		}
		for n := range 2 {
			r.onFCM(FCMMessage{Data: data})
			if _, err := r.AwaitReceived(testContext(t), n+1); err != nil {
				t.Fatal(err)
			}
		}
		r.Close()
		if n := len(r.stub.arrived); n != 0 {
			t.Errorf("acknowledges %t: %d requests", acknowledges, n)
		}
	}
}

func TestReceiptThatIsRefusedIsTrouble(t *testing.T) {
	r := newPhoneRig(t, Android, func(o *PhoneOptions) { o.Acknowledges = true })
	r.stub.script("ack", failure(http.StatusServiceUnavailable))
	events := make(chan Event, 10)
	r.o.OnEvent = func(e Event) { events <- e }
	r.onFCM(FCMMessage{Data: map[string]string{"cc_param": "cc", "app_session_id": "s1"}})
	for e := range events {
		if e.Kind == EventTrouble {
			break
		}
	}
	if s := r.Stats(); s.Err == nil || s.Acknowledged != 0 {
		t.Errorf("%+v", s)
	}
}
