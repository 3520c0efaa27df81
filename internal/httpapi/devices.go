package httpapi

import (
	"net/http"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/planet"
)

// registerDevice notes what a client says about its installation: POST
// /v2/register_device.
func (a *api) registerDevice(w http.ResponseWriter, r *http.Request, id bell.Identity) error {
	body, err := readObject(r)
	if err != nil {
		return err
	}
	said, err := description(body)
	if err != nil {
		return err
	}
	notice, err := a.services.Devices.Register(r.Context(), id, said)
	if err != nil {
		return err
	}
	a.succeed(w, r, contact(notice))
	return nil
}

// updateNotificationToken notes how an installation can be reached: POST
// /v2/update_notification_token.
func (a *api) updateNotificationToken(w http.ResponseWriter, r *http.Request, id bell.Identity) error {
	body, err := readObject(r)
	if err != nil {
		return err
	}
	address, err := readAddress(body)
	if err != nil {
		return err
	}
	notice, err := a.services.Devices.UpdateToken(r.Context(), id, address)
	if err != nil {
		return err
	}
	a.succeed(w, r, contact(notice))
	return nil
}

// contact is the data of an answer to a device: empty as LINE's clients know it, unless
// something has become of the push token that the device gave before.
type contact struct {
	Removed   string `json:"pushTokenRemoved,omitempty"`
	Suspended string `json:"pushTokenSuspended,omitempty"`
}

// description reads what a client says about itself. appVer is free text: LINE's
// Windows client sends the user ID in it.
func description(body object) (device.Description, error) {
	appType, err := body.text("appType")
	if err != nil {
		return device.Description{}, err
	}
	appID, err := body.text("appId") // ours: LINE's clients do not say which app they are
	if err != nil {
		return device.Description{}, err
	}
	deviceID, err := body.text("deviceId") // ours: LINE's clients send none
	if err != nil {
		return device.Description{}, err
	}
	return device.Description{AppType: appType, AppVersion: body.remark("appVer"), AppID: appID, DeviceID: deviceID}, nil
}

// token is text for a push token. If it may be an object, that is taken as it stands in the
// body: pages have a subscription as one.
func (o object) token(name string, mayBeObject bool) (string, error) {
	if raw := o[name]; mayBeObject && len(raw) > 0 && raw[0] == '{' {
		return string(raw), nil
	}
	return o.text(name)
}

func readAddress(body object) (device.Address, error) {
	said, err := description(body)
	if err != nil {
		return device.Address{}, err
	}
	kind, err := body.needed("notificationType")
	if err != nil {
		return device.Address{}, err
	}
	token, err := body.token("notificationToken", device.BySubscription(kind))
	if err != nil {
		return device.Address{}, err
	}
	server, err := body.text("apnsServer")
	if err != nil {
		return device.Address{}, err
	}
	alert, err := body.text("alertToken") // ours: LINE's clients send none
	if err != nil {
		return device.Address{}, err
	}
	return device.Address{
		Description: said, NotificationType: kind, Token: planet.Secret(token), APNsServer: server, AlertToken: planet.Secret(alert),
	}, nil
}
