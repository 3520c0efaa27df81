package device

import (
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Bounds of push tokens. APNs tokens are 32 bytes today, shown as hexadecimal, and
// Apple says not to rely on it; FCM tokens have about 160 characters.
const (
	minAPNsToken = 16
	maxAPNsToken = 200
	maxFCMToken  = 4096
)

// maxClientID bounds what a client may call its installation: UUIDs and vendors' IDs have
// 16 to 64 characters.
const maxClientID = 128

// checkClientID refuses what cannot be an installation's ID. It is compared, so unlike a
// remark it is never clipped.
func checkClientID(id string) error {
	if len(id) > maxClientID || strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r > '~' }) {
		return bell.E(bell.Invalid, "deviceId: want at most "+strconv.Itoa(maxClientID)+" printable ASCII characters, such as a random UUID that the app keeps.", nil)
	}
	return nil
}

// reach is a checked address.
type reach struct {
	channel bell.Channel
	token   planet.Secret
	keys    planet.Secret // of WebPush
	server  bell.APNsServer
	guessed bool
	alert   planet.Secret
}

// apply gives the device its address and ends what was known against its push token. Which
// server took a push for the very same token stays: that is proof, and what a client says
// about it is not.
func (r reach) apply(d *bell.Device) {
	if !d.APNsServerConfirmed || d.Channel != r.channel || d.PushToken != r.token {
		d.APNsServer, d.APNsServerGuessed, d.APNsServerConfirmed = r.server, r.guessed, false
	}
	d.Channel, d.PushToken, d.PushKeys, d.AlertToken = r.channel, r.token, r.keys, r.alert
	acquit(d)
	d.ForgottenAt, d.ForgottenFor = time.Time{}, ""
}

// channels maps what clients call their way of being reached. "gcm" is the name that
// FCM had until 2016, and old clients still send it.
var channels = map[string]bell.Channel{
	"apnsvoip": bell.APNsVoIP,
	"apns":     bell.APNsAlert,
	"fcm":      bell.FCM,
	"gcm":      bell.FCM,
	"webpush":  bell.WebPush,
	"web_push": bell.WebPush,
	"lp":       bell.LongPoll,
}

// BySubscription reports whether a notificationType wants a Web Push subscription, which is
// JSON, for its token.
func BySubscription(notificationType string) bool {
	return channels[strings.ToLower(notificationType)] == bell.WebPush
}

func parseAddress(project *bell.Project, a Address) (reach, error) {
	channel, ok := channels[strings.ToLower(a.NotificationType)]
	if !ok {
		return reach{}, bell.E(bell.Invalid, "notificationType: want apnsvoip, apns, fcm, gcm, webpush or lp.", nil)
	}
	r, err := newReach(project, channel, a.Token, a.APNsServer)
	if err != nil || a.AlertToken == "" {
		return r, err
	}
	if channel != bell.APNsVoIP {
		return reach{}, bell.E(bell.Invalid, "alertToken: is for notificationType apnsvoip only; elsewhere notices come by notificationToken.", nil)
	}
	if r.alert, ok = apnsToken(a.AlertToken); !ok {
		return reach{}, bell.E(bell.Invalid, "alertToken: "+strconv.Itoa(len(a.AlertToken))+" characters, want the app's APNs token as hexadecimal.", nil)
	}
	return r, nil
}

// apnsToken returns a token as it is compared, and whether it can be one of APNs.
func apnsToken(token planet.Secret) (planet.Secret, bool) {
	hex := strings.ToLower(token.Reveal())
	n := len(hex)
	ok := n >= minAPNsToken && n <= maxAPNsToken && n%2 == 0 && strings.Trim(hex, "0123456789abcdef") == ""
	return planet.Secret(hex), ok
}

func newReach(project *bell.Project, channel bell.Channel, token planet.Secret, server string) (reach, error) {
	switch channel {
	case bell.LongPoll: // the token is a placeholder
		return reach{channel: channel}, nil
	case bell.FCM:
		if n := len(token); n == 0 || n > maxFCMToken {
			return reach{}, bell.E(bell.Invalid, "notificationToken: "+strconv.Itoa(n)+" characters, want 1 to "+strconv.Itoa(maxFCMToken)+" for FCM.", nil)
		}
		if strings.ContainsFunc(token.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }) {
			return reach{}, bell.E(bell.Invalid, "notificationToken: an FCM token has no spaces and only ASCII characters.", nil)
		}
		return reach{channel: channel, token: token}, nil
	case bell.APNsVoIP, bell.APNsAlert:
		return newAPNsReach(channel, token, server)
	case bell.WebPush:
		return newBrowserReach(project, token)
	}
	return reach{}, bell.E(bell.Invalid, "channel: want apns_voip, apns_alert, fcm, web_push or longpoll.", nil)
}

// newBrowserReach takes a subscription. Its endpoint is the push token: one browser has one.
func newBrowserReach(project *bell.Project, subscription planet.Secret) (reach, error) {
	if len(project.PushHosts) == 0 {
		return reach{}, bell.E(bell.Invalid, "notificationType: this project has no Web Push.", nil)
	}
	s, err := bell.ParseSubscription(subscription, project.PushHosts)
	if err != nil {
		return reach{}, bell.E(bell.Invalid, "notificationToken: "+err.Error()+".", nil)
	}
	return reach{channel: bell.WebPush, token: s.Endpoint, keys: s.Keys}, nil
}

func newAPNsReach(channel bell.Channel, token planet.Secret, server string) (reach, error) {
	hex, ok := apnsToken(token)
	if !ok {
		return reach{}, bell.E(bell.Invalid, "notificationToken: "+strconv.Itoa(len(token))+" characters, want the APNs token as hexadecimal.", nil)
	}
	r := reach{channel: channel, token: hex}
	switch strings.ToLower(server) {
	case "":
		r.server, r.guessed = bell.APNsProduction, true
	case "production", "prod":
		r.server = bell.APNsProduction
	case "development", "developmenet", "dev", "sandbox": // the misspelling is LINE's Apple demo's
		r.server = bell.APNsSandbox
	default:
		return reach{}, bell.E(bell.Invalid, "apnsServer: want production or development.", nil)
	}
	return r, nil
}
