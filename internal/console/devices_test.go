package console_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestListDevices(t *testing.T) {
	f := newFake(t)
	var filter device.Filter
	f.devices = func(asked device.Filter, after string, limit int) ([]bell.Device, error) {
		filter = asked
		if after != "" || limit != console.DefaultLimit+1 {
			t.Errorf("asked after %q, limit %d", after, limit)
		}
		silent := bell.Device{ID: pad, Owner: phoneOf("bob").Owner, Project: "main", SessionID: "s", RegisteredAt: noon}
		doubted := phoneOf("bob")
		doubted.ID, doubted.ClientID, doubted.APNsServerGuessed, doubted.APNsServerConfirmed = poll, "bobs-tablet", false, true
		doubted.Strikes, doubted.SuspendedUntil, doubted.SuspendedFor = 2, noon.Add(time.Minute), "BadDeviceToken"
		forgotten := phoneOf("bob")
		forgotten.PushToken, forgotten.ForgottenAt, forgotten.ForgottenFor = "", noon.Add(-time.Hour), "Unregistered"
		return []bell.Device{phoneOf("bob"), silent, doubted, forgotten}, nil
	}
	w := ask(t, newHandler(t, f, testConfig()), "GET",
		"/admin/v1/devices?environment=evaluation&service_id=bell-eval&user_id=bob&channel=apns_voip", "")
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	want := device.Filter{Environment: "evaluation", ServiceID: "bell-eval", UserID: "bob", Channel: bell.APNsVoIP}
	if diff := cmp.Diff(want, filter); diff != "" {
		t.Errorf("filter (-want +got):\n%s", diff)
	}
	golden(t, "devices.json", indented(t, w.Body))
}

func TestDevicePages(t *testing.T) {
	f := newFake(t)
	all := []bell.Device{{ID: phone}, {ID: pad}, {ID: poll}}
	f.devices = func(_ device.Filter, after string, limit int) ([]bell.Device, error) {
		var page []bell.Device
		for _, d := range all {
			if d.ID > after && len(page) < limit {
				page = append(page, d)
			}
		}
		return page, nil
	}
	h := newHandler(t, f, testConfig())
	var pages [][]string
	for after := ""; ; {
		list := decode[console.DeviceList](t, ask(t, h, "GET", "/admin/v1/devices?limit=2&after="+after, ""))
		var ids []string
		for _, d := range list.Devices {
			ids = append(ids, d.ID)
		}
		pages = append(pages, ids)
		if after = list.Next; after == "" {
			break
		}
	}
	if diff := cmp.Diff([][]string{{phone, pad}, {poll}}, pages); diff != "" {
		t.Errorf("pages (-want +got):\n%s", diff)
	}
	all = all[:2]
	if list := decode[console.DeviceList](t, ask(t, h, "GET", "/admin/v1/devices?limit=2", "")); list.Next != "" {
		t.Errorf("a full last page names a next one: %q", list.Next)
	}
	all = nil
	if w := ask(t, h, "GET", "/admin/v1/devices", ""); strings.TrimSpace(w.Body.String()) != `{"devices":[]}` {
		t.Errorf("no devices: %s", w.Body)
	}
}

func TestAddDevice(t *testing.T) {
	f := newFake(t)
	token := testlog.HexSecret(3, 64)
	var got device.NewDevice
	f.add = func(p *bell.Project, n device.NewDevice) (bell.Device, error) {
		if p.Name != "main" {
			t.Errorf("project %s", p.Name)
		}
		got = n
		d := phoneOf(n.UserID)
		d.SessionID, d.PushToken, d.Channel = "", n.PushToken, n.Channel
		return d, nil
	}
	w := ask(t, newHandler(t, f, testConfig()), "POST", "/admin/v1/devices", `{"project":"main","user_id":"bob",
		"channel":"apns_alert","push_token":"`+token+`","apns_server":"sandbox","app_type":"DESKTOPMAC","app_id":"com.example"}`)
	if w.Code != http.StatusCreated {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	want := device.NewDevice{
		UserID: "bob", Channel: bell.APNsAlert, PushToken: planet.Secret(token),
		APNsServer: "sandbox", AppType: "DESKTOPMAC", AppID: "com.example",
	}
	if got != want {
		t.Errorf("the registry was asked to add something else: user %s, channel %s, server %s", got.UserID, got.Channel, got.APNsServer)
	}
	d := decode[console.Device](t, w)
	if !d.AddedByOperator || d.PushTokenFingerprint != planet.Secret(token).Fingerprint() || d.ID != phone {
		t.Errorf("answer %+v", d)
	}
}

func TestBodiesThatAreRefused(t *testing.T) {
	secret := testlog.HexSecret(4, 64)
	tests := []struct {
		name, contentType, body string
		status                  int
		kind, detail            string
	}{
		{"no body", "application/json", "", 400, "invalid", "not complete JSON"},
		{"form", "application/x-www-form-urlencoded", "push_token=" + secret, 415, "wrong_content_type", "application/json"},
		{"no type", "", "{}", 415, "wrong_content_type", "application/json"},
		{"not JSON", "application/json", "{" + secret, 400, "invalid", "not JSON"},
		{"cut off", "application/json", `{"push_token":"` + secret, 400, "invalid", "not complete"},
		{"list", "application/json", "[]", 400, "invalid", "the whole cannot be a JSON array"},
		{"token as number", "application/json", `{"push_token":5}`, 400, "invalid", "push_token: want a text"},
		{"user as number", "application/json", `{"user_id":12345}`, 400, "invalid", "user_id cannot be a JSON number."},
		{"misspelt", "application/json", `{"user":"bob"}`, 400, "invalid", `"user"`},
		{"two objects", "application/json", `{"project":"main"}{}`, 400, "invalid", "nothing after it"},
		{"rest", "application/json", `{"project":"main"} ` + secret, 400, "invalid", "nothing after it"},
		{"huge", "application/json", `{"push_token":"` + strings.Repeat("a", 17<<10) + `"}`, 413, "too_large", "16384 bytes"},
		{"no project", "application/json", `{"user_id":"bob"}`, 400, "invalid", "project: name the project"},
		{"unknown project", "application/json; charset=utf-8", `{"project":"moon"}`, 404, "not_found", "no project"},
	}
	for _, path := range []string{"/admin/v1/devices", "/admin/v1/access_tokens"} {
		for _, test := range tests {
			if path == "/admin/v1/access_tokens" && strings.Contains(test.body, "push_token") {
				continue // there is no such field
			}
			t.Run(path+" "+test.name, func(t *testing.T) {
				w := ask(t, newHandler(t, newFake(t), testConfig()), "POST", path, test.body, header("Content-Type", test.contentType))
				wantProblem(t, w, test.status, test.kind, test.detail)
			})
		}
	}
}

func TestRemoveDevice(t *testing.T) {
	f := newFake(t)
	var removed string
	f.remove = func(id string) error {
		removed = id
		if id == pad {
			return bell.NotFound
		}
		return nil
	}
	h := newHandler(t, f, testConfig())
	if w := ask(t, h, "DELETE", "/admin/v1/devices/"+phone, ""); w.Code != http.StatusNoContent || removed != phone || w.Body.Len() != 0 {
		t.Errorf("status %d, removed %q", w.Code, removed)
	}
	wantProblem(t, ask(t, h, "DELETE", "/admin/v1/devices/"+pad, ""), http.StatusNotFound, "not_found", "There is no device with this ID.")
	removed = ""
	for _, bad := range []string{"x", testlog.HexSecret(1, 64), strings.Replace(phone, "-", "a", 1), strings.ToUpper(strings.Replace(phone, "0", "F", 1))} {
		wantProblem(t, ask(t, h, "DELETE", "/admin/v1/devices/"+bad, ""), http.StatusNotFound, "not_found", "no device")
		if removed != "" {
			t.Errorf("the registry was asked to remove something that is no ID")
		}
	}
}
