package httpapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func TestReceiptReachesTheEngine(t *testing.T) {
	now := time.UnixMilli(1_700_000_003_000)
	for _, test := range []struct {
		body string
		want bell.Receipt // but for what every receipt has
	}{
		{`{"sid":"` + strings.ToUpper(sid) + `"}`, bell.Receipt{}},
		{`{"sid":"` + sid + `","channel":null,"receivedAt":null,"priority":null,"originalPriority":null,"later":[1]}`, bell.Receipt{}},
		{`{"sid":"` + sid + `","channel":"apnsvoip"}`, bell.Receipt{Channel: bell.APNsVoIP}},
		{`{"sid":"` + sid + `","channel":"apns"}`, bell.Receipt{Channel: bell.APNsAlert}},
		{`{"sid":"` + sid + `","channel":"lp"}`, bell.Receipt{Channel: bell.LongPoll}},
		{`{"sid":"` + sid + `","problem":"DECODE_CALL_PARAM"}`, bell.Receipt{Problem: "DECODE_CALL_PARAM"}},
		{
			`{"sid":"` + sid + `","channel":"fcm","receivedAt":1700000002500,"priority":"normal","originalPriority":"high"}`,
			bell.Receipt{Channel: bell.FCM, ReceivedAt: time.UnixMilli(1_700_000_002_500).UTC(), Priority: "normal", OriginalPriority: "high"},
		},
		{`{"sid":"` + sid + `","receivedAt":1}`, bell.Receipt{ReceivedAt: time.UnixMilli(1).UTC()}},
		{`{"sid":"` + sid + `","receivedAt":253402300799999}`, bell.Receipt{ReceivedAt: time.UnixMilli(253402300799999).UTC()}},
	} {
		w := newWorld(t)
		w.config.Now = func() time.Time { return now }
		var got []bell.Receipt
		w.receipts.receive = func(_ context.Context, r bell.Receipt) error {
			got = append(got, r)
			return nil
		}
		w.do("POST", "/v2/notification/ack", test.body, as(appToken)...).want(t, http.StatusOK)
		test.want.Environment, test.want.SessionID, test.want.DeviceID, test.want.At = planet.Evaluation, sid, "device-1", now
		if diff := cmp.Diff([]bell.Receipt{test.want}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.body, diff)
		}
		if line := w.lines()[0]; line["sid"] != sid {
			t.Errorf("log line %v", line)
		}
	}
}

func TestReceiptOfAStranger(t *testing.T) {
	unknown := bell.E(bell.NotFound, "There is no such device.", nil)
	for name, test := range map[string]struct {
		change func(*world)
		status int
		says   string
	}{
		"a session without a device": {func(w *world) {
			w.devices.deviceOf = func(context.Context, bell.Identity) (string, error) { return "", unknown }
		}, http.StatusNotFound, "This app token has no device, so no call was sent to it."},
		"the registry is away": {func(w *world) {
			w.devices.deviceOf = func(context.Context, bell.Identity) (string, error) {
				return "", bell.E(bell.Unavailable, "The database is away.", nil)
			}
		}, http.StatusServiceUnavailable, "The database is away."},
		"a call that was not for it": {func(w *world) {
			w.everything(bell.E(bell.NotFound, "No call with this session ID was for this device.", nil))
		}, http.StatusNotFound, "No call with this session ID was for this device."},
	} {
		w := newWorld(t)
		test.change(w)
		out := w.do("POST", "/v2/notification/ack", `{"sid":"`+sid+`"}`, as(appToken)...)
		out.want(t, test.status)
		if out.envelope.Message != test.says {
			t.Errorf("%s: message %q", name, out.envelope.Message)
		}
	}
}

// Only a client that says so is handed what is no call, and the contract has both answers.
func TestPollSaysWhetherItKnowsNotices(t *testing.T) {
	for query, want := range map[string]bool{"": false, "?notices=1": true, "?notices=0": false, "?ack=1": false, "?ack=1&notices=1": true} {
		w := newWorld(t)
		var polls []bell.Poll
		w.devices.polling = func(_ context.Context, _ bell.Identity, notices bool) (string, error) {
			if notices != want {
				t.Errorf("%q: the registry is told %t", query, notices)
			}
			return "device-1", nil
		}
		w.mailbox.wait = func(_ context.Context, p bell.Poll) (*bell.Letter, error) {
			polls = append(polls, p)
			return &bell.Letter{SessionID: "n-1", Payload: planet.Notice{
				Event: planet.MissedCallEvent, ID: "n-1", About: sid, Type: planet.AudioCall, CalledAt: time.UnixMilli(1), AppFields: map[string]string{"app_own": "x"},
			}, Done: func(bool) {}}, nil
		}
		out := w.do("GET", "/v2/notification/lp"+query, "", as(appToken)...)
		out.want(t, http.StatusOK)
		if len(polls) != 1 || polls[0].Notices != want {
			t.Errorf("%q: polls %+v, want one that knows notices: %t", query, polls, want)
		}
	}
	w := newWorld(t)
	w.do("GET", "/v2/notification/lp?notices=yes", "", as(appToken)...).want(t, http.StatusBadRequest)
}

// Only "1" is a promise to acknowledge; LINE's clients send nothing, and get a call once.
func TestPollSaysWhetherItAcknowledges(t *testing.T) {
	for query, want := range map[string]bool{"": false, "?ack=1": true, "?ack=0": false, "?ack=": false, "?other=1": false} {
		w := newWorld(t)
		var polls []bell.Poll
		w.mailbox.wait = func(_ context.Context, p bell.Poll) (*bell.Letter, error) {
			polls = append(polls, p)
			return letter(func(bool) {}), nil
		}
		w.do("GET", "/v2/notification/lp"+query, "", as(appToken)...).want(t, http.StatusOK)
		if len(polls) != 1 || polls[0].Acknowledges != want || polls[0].DeviceID != "device-1" || polls[0].Hold < 5*time.Second {
			t.Errorf("%q: polls %+v, want one that acknowledges: %t", query, polls, want)
		}
	}
}
