package sim

import (
	"time"

	"github.com/planetbell/planetbell/internal/sim/clients"
)

// PhoneKind is the app that a phone runs, and how it is rung.
type PhoneKind string

// The kinds of phones.
const (
	IOS       PhoneKind = "ios"        // Apple app with PushKit pushes
	Android   PhoneKind = "android"    // Android app, flavour with FCM
	AndroidLP PhoneKind = "android-lp" // Android app, flavour with long polling
	Windows   PhoneKind = "windows"    // Windows app; polls
	MacOS     PhoneKind = "macos"      // Apple app on a Mac; polls
	Web       PhoneKind = "web"        // web app; registers, and cannot be rung
	Browser   PhoneKind = "browser"    // page of one's own, with Web Push; not an app of LINE's
)

// PhoneKinds returns all kinds.
func PhoneKinds() []PhoneKind {
	return []PhoneKind{IOS, Android, AndroidLP, Windows, MacOS, Web, Browser}
}

// profile is what the official apps differ in (docs/line-planet.md 6.6).
type profile struct {
	decoder     clients.Decoder
	appType     string
	appVer      string
	region      string
	displayName bool   // sent in register_user
	keyFirst    bool   // apiKey is the first field of register_user
	accept      string // Accept header; "" is none
	contentType string
	notifyType  string // notificationType; "" never sends update_notification_token
	polls       bool
	// deviceMust and tokenMust: the registration fails when the step does.
	deviceMust bool
	tokenMust  bool
	timeout    time.Duration // of an ordinary request
	pollLimit  time.Duration // of a poll
}

// profileOf returns the profile of a kind.
func profileOf(kind PhoneKind) (profile, bool) {
	apple := profile{
		decoder: clients.Apple{}, appType: "IOS", appVer: "1.4.0", region: "JP", displayName: true,
		accept: "application/json", contentType: "application/json", notifyType: "apnsvoip",
		deviceMust: true, timeout: time.Minute, pollLimit: time.Minute,
	}
	android := profile{
		decoder: clients.Android{}, appType: "ANDROID", appVer: "6.1.0", region: "jp", displayName: true, keyFirst: true,
		accept: "application/json", contentType: "application/json; charset=UTF-8", notifyType: "fcm",
		deviceMust: true, tokenMust: true, timeout: 10 * time.Second, pollLimit: 240 * time.Second,
	}
	switch kind {
	case IOS:
		return apple, true
	case MacOS:
		apple.appType, apple.notifyType, apple.polls = "DESKTOPMAC", "lp", true
		return apple, true
	case Android:
		return android, true
	case AndroidLP:
		android.notifyType, android.polls = "lp", true
		return android, true
	case Windows:
		return profile{
			decoder: clients.Windows{}, appType: "DESKTOPWIN", appVer: "6.2.2.0", region: "JP",
			contentType: "application/json; charset=UTF-8", notifyType: "lp", polls: true,
			deviceMust: true, timeout: time.Minute, pollLimit: time.Minute,
		}, true
	case Web:
		return profile{
			decoder: clients.Web{}, appType: "CHROMEOS", appVer: "140.0.0.0", region: "jp",
			accept: "application/json, text/plain, */*", contentType: "application/json",
			timeout: time.Minute,
		}, true
	case Browser:
		return profile{
			decoder: clients.Browser{}, appType: "WEB", appVer: "1.0.0", region: "jp", displayName: true,
			accept: "application/json", contentType: "application/json", notifyType: "webpush",
			deviceMust: true, tokenMust: true, timeout: time.Minute,
		}, true
	}
	return profile{}, false
}

// apple reports whether the phone runs the Apple app.
func (k PhoneKind) apple() bool { return k == IOS || k == MacOS }

// field is one field of a JSON request, in the order in which the app writes it.
type field struct{ name, value string }

// registerUser returns the fields of register_user.
func (p *Phone) registerUser() []field {
	user := []field{{"userId", p.o.User.UserID}, {"serviceId", p.o.User.ServiceID}, {"region", p.profile.region}}
	if p.profile.displayName && p.o.DisplayName != "" {
		user = append(user, field{"displayName", p.o.DisplayName})
	}
	key := field{"apiKey", p.o.APIKey}
	if p.profile.keyFirst {
		return append([]field{key}, user...)
	}
	return append(user, key)
}

// registerDevice returns the fields of register_device.
func (p *Phone) registerDevice() []field {
	return []field{{"appType", p.profile.appType}, {"appVer", p.profile.appVer}}
}

// updateToken returns the fields of update_notification_token.
func (p *Phone) updateToken() []field {
	ver := p.profile.appVer
	if p.kind == Windows {
		ver = p.o.User.UserID // the app's mistake
	}
	f := []field{
		{"appType", p.profile.appType},
		{"appVer", ver},
		{"notificationType", p.profile.notifyType},
		{"notificationToken", p.Token().Reveal()},
	}
	if !p.kind.apple() {
		return f
	}
	server := "production"
	if p.kind == IOS && p.o.APNs.o.Environment == APNsSandbox {
		server = "developmenet" // the app's spelling
	}
	if f = append(f, field{"apnsServer", server}); p.alert != "" {
		f = append(f, field{"alertToken", p.alert})
	}
	return f
}
