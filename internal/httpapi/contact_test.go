package httpapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/device"
)

// A device is told what had become of its push token; LINE's clients see the empty object
// that they know as long as there is nothing to tell.
func TestDeviceIsToldOfItsPushToken(t *testing.T) {
	for _, test := range []struct {
		notice device.Notice
		data   string
	}{
		{device.Notice{}, `"data":{}`},
		{device.Notice{Removed: "Unregistered"}, `"data":{"pushTokenRemoved":"Unregistered"}`},
		{device.Notice{Suspended: "BadDeviceToken"}, `"data":{"pushTokenSuspended":"BadDeviceToken"}`},
	} {
		w := newWorld(t)
		w.devices.register = func(context.Context, bell.Identity, device.Description) (device.Notice, error) {
			return test.notice, nil
		}
		w.devices.updateToken = func(context.Context, bell.Identity, device.Address) (device.Notice, error) {
			return test.notice, nil
		}
		for _, r := range good()[1:3] {
			out := w.do(r.method, r.target, r.body, r.headers...)
			out.want(t, http.StatusOK)
			if !strings.Contains(string(out.body), test.data+",") {
				t.Errorf("%s: %s, want %s", r.name, out.body, test.data)
			}
		}
	}
}

func TestDeviceIDReachesTheRegistry(t *testing.T) {
	for body, want := range map[string]string{
		`"deviceId":"6F9619FF-8B86"`: "6F9619FF-8B86", `"deviceId":null`: "", `"other":1`: "",
	} {
		w := newWorld(t)
		var got []string
		w.devices.register = func(_ context.Context, _ bell.Identity, d device.Description) (device.Notice, error) {
			got = append(got, d.DeviceID)
			return device.Notice{}, nil
		}
		w.devices.updateToken = func(_ context.Context, _ bell.Identity, a device.Address) (device.Notice, error) {
			got = append(got, a.DeviceID)
			return device.Notice{}, nil
		}
		w.do("POST", "/v2/register_device", `{`+body+`}`, as(appToken)...).want(t, http.StatusOK)
		w.do("POST", "/v2/update_notification_token", `{"notificationType":"lp",`+body+`}`, as(appToken)...).want(t, http.StatusOK)
		if len(got) != 2 || got[0] != want || got[1] != want {
			t.Errorf("%s arrived as %q", body, got)
		}
	}
}
