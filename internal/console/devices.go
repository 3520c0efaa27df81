package console

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/device"
)

func (a *api) listDevices(w http.ResponseWriter, r *http.Request) error {
	q, err := parseDeviceQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	// One more than asked for tells whether there is another page.
	devices, err := a.services.Devices.List(r.Context(), q.filter, q.after, q.limit+1)
	if err != nil {
		return err
	}
	list := DeviceList{Devices: make([]Device, 0, q.limit)}
	if len(devices) > q.limit {
		devices = devices[:q.limit]
		list.Next = devices[q.limit-1].ID
	}
	now := a.Now()
	for i := range devices {
		list.Devices = append(list.Devices, deviceView(&devices[i], now))
	}
	return writeJSON(w, http.StatusOK, list)
}

func (a *api) addDevice(w http.ResponseWriter, r *http.Request) error {
	var in NewDevice
	if err := readBody(w, r, &in); err != nil {
		return err
	}
	project, err := a.project(in.Project)
	if err != nil {
		return err
	}
	noteUser(r.Context(), "device_of", in.UserID, project)
	d, err := a.services.Devices.Add(r.Context(), project, device.NewDevice{
		UserID: in.UserID, Channel: in.Channel, PushToken: in.PushToken.Secret,
		APNsServer: in.APNsServer, AppType: in.AppType, AppID: in.AppID,
	})
	if err != nil {
		return err
	}
	note(r.Context(), slog.String("added_device", d.ID))
	return writeJSON(w, http.StatusCreated, deviceView(&d, a.Now()))
}

func (a *api) removeDevice(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	if !deviceID(id) {
		return bell.E(bell.NotFound, "There is no device with this ID.", nil)
	}
	note(r.Context(), slog.String("removed_device", id))
	if err := a.services.Devices.Remove(r.Context(), id); err != nil {
		return missing(err, "There is no device with this ID.")
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// deviceID reports whether text can be a device's ID. It keeps anything else, such as a
// push token pasted by mistake, out of the log.
func deviceID(text string) bool {
	if len(text) != 36 {
		return false
	}
	for i := range len(text) {
		b := text[i]
		hyphen := i == 8 || i == 13 || i == 18 || i == 23
		hex := b >= '0' && b <= '9' || b >= 'a' && b <= 'f'
		if hyphen != (b == '-') || !hyphen && !hex {
			return false
		}
	}
	return true
}

// missing gives an error of kind bell.NotFound a sentence that says what is not there.
func missing(err error, sentence string) error {
	if bell.KindOf(err) == bell.NotFound {
		return bell.E(bell.NotFound, sentence, err)
	}
	return err
}

func deviceView(d *bell.Device, now time.Time) Device {
	return Device{
		ID: d.ID, Environment: d.Owner.Environment,
		ServiceID: d.Owner.User.ServiceID, UserID: d.Owner.User.UserID,
		Project: d.Project, AppType: d.AppType, AppVersion: d.AppVersion, AppID: d.AppID, ClientID: d.ClientID,
		Channel: d.Channel, PushTokenFingerprint: d.PushToken.Fingerprint(),
		AlertTokenFingerprint: d.AlertToken.Fingerprint(),
		APNsServer:            d.APNsServer, APNsServerGuessed: d.APNsServerGuessed, APNsServerConfirmed: d.APNsServerConfirmed,
		Strikes: d.Strikes, SuspendedUntil: utc(d.SuspendedUntil), SuspendedFor: d.SuspendedFor,
		ForgottenAt: utc(d.ForgottenAt), ForgottenFor: d.ForgottenFor,
		AddedByOperator: d.SessionID == "", Reachable: d.Reachable(now),
		RegisteredAt: utc(d.RegisteredAt), LastSeenAt: utc(d.LastSeenAt), ExpiresAt: utc(d.ExpiresAt),
	}
}

// utc keeps the zero time zero, so that it is left out.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC()
}
