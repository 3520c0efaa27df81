package apns

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/planet"
)

func noticeRing(channel bell.Channel, purpose bell.Purpose) *bell.Ring {
	r := pushtest.Ring(channel, pushToken)
	r.Call.Purpose, r.Call.CCParam, r.Call.About, r.Call.CallerName = purpose, "", "s-1", "Alice"
	r.Call.Room = planet.RoomRef{ServiceID: "planet-demo", RoomID: "lobby"}
	return r
}

// What an alert of a notice shows, and how long Apple may keep it.
func TestAlertOfANotice(t *testing.T) {
	server := pushtest.NewServer(t, accept)
	c := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Timeout: patience}, nil)
	for purpose, test := range map[bell.Purpose]struct {
		aps  string
		kept func(r *bell.Ring) time.Time
	}{
		bell.PurposeMissedCall: {
			`{"alert":{"title":"Missed call","body":"Alice"},"category":"MISSED_CALL","mutable-content":1,"sound":"default"}`,
			func(r *bell.Ring) time.Time { return r.Call.NotifiedAt.Add(24 * time.Hour) },
		},
		bell.PurposeInvitation: {
			`{"alert":{"title":"Invitation to a call","body":"Alice"},"category":"INVITATION","interruption-level":"time-sensitive","mutable-content":1,"sound":"default"}`,
			func(r *bell.Ring) time.Time { return r.Delivery.Deadline },
		},
	} {
		r := noticeRing(bell.APNsAlert, purpose)
		want(t, newSender(t, c, bell.APNsAlert).Send(t.Context(), r, delivery.Try{Number: 1}), bell.Accepted, "")
		got := server.Last(t)
		if expires := got.Header.Get("Apns-Expiration"); expires != strconv.FormatInt(test.kept(r).Unix(), 10) {
			t.Errorf("%s: kept until %s", purpose, expires)
		}
		if got.Header.Get("Apns-Push-Type") != "alert" || got.Header.Get("Apns-Collapse-Id") != collapseID(r.Call.SessionID) {
			t.Errorf("%s: %v", purpose, got.Header)
		}
		var payload map[string]json.RawMessage
		if err := json.Unmarshal(got.Body, &payload); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(test.aps, string(payload["aps"])); diff != "" {
			t.Errorf("%s: %s", purpose, diff)
		}
		if _, ok := payload["cc_param"]; ok || string(payload["app_event"]) != strconv.Quote(string(purpose)) {
			t.Errorf("%s: %s", purpose, got.Body)
		}
	}
}

// A missed call is never a VoIP push, whoever asks for it; an invitation is one where the
// project said so.
func TestNoMissedCallByVoIP(t *testing.T) {
	server := pushtest.NewServer(t, accept)
	c := newClient(t, pushtest.Target{URL: server.URL, Roots: server.Roots, Timeout: patience}, nil)
	s := newSender(t, c, bell.APNsVoIP)
	o := s.Send(t.Context(), noticeRing(bell.APNsVoIP, bell.PurposeMissedCall), delivery.Try{Number: 1})
	if want(t, o, bell.Rejected, "not_a_call"); !o.Unsent || len(server.Requests()) != 0 {
		t.Errorf("%+v, %d requests", o, len(server.Requests()))
	}
	want(t, s.Send(t.Context(), noticeRing(bell.APNsVoIP, bell.PurposeInvitation), delivery.Try{Number: 1}), bell.Accepted, "")
	if got := server.Last(t); got.Header.Get("Apns-Push-Type") != "voip" || got.Header.Get("Apns-Expiration") != "0" {
		t.Errorf("%v", got.Header)
	}
}
