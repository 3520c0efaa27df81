package httpapi_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/device"
)

// webPush has one key for all.
type webPush struct {
	err      error
	panics   any
	identity bell.Identity
}

const publicKey = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"

func (p *webPush) WebPushKey(id bell.Identity) (string, error) {
	if p.panics != nil {
		panic(p.panics)
	}
	p.identity = id
	return publicKey, p.err
}

func TestWebPushKey(t *testing.T) {
	w := newWorld(t)
	out := w.do("GET", "/v2/web_push/key", "", as(appToken)...)
	out.want(t, http.StatusOK)
	if out.envelope.Data["publicKey"] != publicKey || w.webPush.identity.Project != w.project {
		t.Errorf("%s for project %v", out.body, w.webPush.identity.Project)
	}
	w.webPush.err = bell.E(bell.NotFound, "The project has no Web Push.", nil)
	out = w.do("GET", "/v2/web_push/key", "", as(appToken)...)
	out.want(t, http.StatusNotFound)
	if !strings.Contains(out.envelope.Message, "no Web Push") {
		t.Errorf("%s", out.body)
	}
}

// A page sends its subscription as the object that the browser gave it, or as text. No other
// kind of token may be an object.
func TestSubscriptionsAreTaken(t *testing.T) {
	w := newWorld(t)
	var got device.Address
	w.devices.updateToken = func(_ context.Context, _ bell.Identity, a device.Address) (device.Notice, error) {
		got = a
		return device.Notice{}, nil
	}
	subscription := `{"endpoint":"https://push.example.com/` + pushToken + `","keys":{"p256dh":"a","auth":"b"}}`
	for _, token := range []string{subscription, strconv.Quote(subscription), " " + subscription + " "} {
		for _, kind := range []string{"webpush", "web_push", "WEBPUSH"} {
			got = device.Address{}
			w.do("POST", "/v2/update_notification_token", `{"notificationType":"`+kind+`","notificationToken":`+token+`}`, as(appToken)...).want(t, http.StatusOK)
			if got.Token.Reveal() != subscription || got.NotificationType != kind {
				t.Errorf("%s with %.1s: the registry got %d characters", kind, token, len(got.Token))
			}
		}
	}
	for _, body := range []string{
		`{"notificationType":"fcm","notificationToken":` + subscription + `}`,
		`{"notificationType":"webpush","notificationToken":[` + subscription + `]}`,
		`{"notificationType":"webpush","notificationToken":1}`,
	} {
		out := w.do("POST", "/v2/update_notification_token", body, as(appToken)...)
		out.want(t, http.StatusBadRequest)
		if !strings.Contains(out.envelope.Message, "notificationToken: must be a string") || strings.Contains(string(out.body), pushToken) {
			t.Errorf("%s", out.body)
		}
	}
	w.do("POST", "/v2/notification/ack", `{"sid":"`+sid+`","channel":"webpush"}`, as(appToken)...).want(t, http.StatusOK)
}
