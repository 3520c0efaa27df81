package bell

import (
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Owner says whose a thing is: users and devices belong to an environment and a
// service, so the same user ID in Evaluation and Real are two users.
type Owner struct {
	Environment planet.Environment
	User        planet.UserRef
}

// Channel is the way to a device. Limits, retry rules and metrics are per channel.
type Channel string

// The channels.
const (
	APNsVoIP  Channel = "apns_voip"  // PushKit push; iOS rings through CallKit
	APNsAlert Channel = "apns_alert" // visible notification; the user has to tap it
	FCM       Channel = "fcm"        // Android data message
	WebPush   Channel = "web_push"   // RFC 8030; a browser's service worker shows a notification
	LongPoll  Channel = "longpoll"   // the device asks, and takes the call from its mailbox
)

// APNsServer is one of Apple's two push environments. A token is valid in one only.
type APNsServer string

// The APNs environments.
const (
	APNsProduction APNsServer = "production"
	APNsSandbox    APNsServer = "sandbox"
)

// User is somebody who has registered.
type User struct {
	Owner
	DisplayName  string
	Region       string
	RegisteredAt time.Time
}

// Session is one sign-in of one installation: the app token that carries this ID in
// its "jti". The official clients send no device ID, so a session is what tells two
// devices of a user apart.
type Session struct {
	ID        string // the app token's jti
	Owner     Owner
	Project   string
	IssuedAt  time.Time
	ExpiresAt time.Time
	RevokedAt time.Time // zero while valid
}

// Device is one installation of the app that can ring.
type Device struct {
	ID         string // time-ordered UUID in text form
	Owner      Owner
	Project    string // the project through which it registered; its credentials ring it
	SessionID  string // the session it belongs to; empty for one added by an operator
	AppType    string // as the client says: IOS, ANDROID, DESKTOPWIN, ...
	AppVersion string
	AppID      string // bundle ID or the like, when the client names it; else empty
	ClientID   string // as the client calls this installation, unique for its user; empty when it does not

	Channel   Channel       // empty until the client says how it can be reached
	PushToken planet.Secret // empty for LongPoll
	// PushKeys are the keys of a Web Push subscription, whose endpoint is PushToken; empty for
	// every other channel. See [Subscription].
	PushKeys planet.Secret
	// AlertToken is a second APNs token of the same installation, for what is no call and so
	// must not be a VoIP push. APNsVoIP only; empty when the app gave none.
	AlertToken planet.Secret
	Notices    bool // its polls take what is no call; LongPoll only

	APNsServer        APNsServer // APNs channels only
	APNsServerGuessed bool       // true when the client did not say which
	// APNsServerConfirmed is true once APNsServer took a push for this very token: from then
	// on no other server is tried.
	APNsServerConfirmed bool

	RegisteredAt time.Time // when the push token was last given; compared with APNs' 410 timestamp
	LastSeenAt   time.Time
	ExpiresAt    time.Time // zero: never; LongPoll devices end with their app token

	// What providers said against the push token; all of it ends when the token is given
	// again, or taken by its provider.
	Strikes        int       // refusals that may be the token's fault, in a row
	StruckAt       time.Time // the first of them
	SuspendedUntil time.Time // rung until then only if it is the callee's only device
	SuspendedFor   string    // the provider's reason
	ForgottenAt    time.Time // when the push token was removed on proof; PushToken is empty since
	ForgottenFor   string    // the provider's reason

	// AcknowledgesSince is when the first receipt came from it: from then on, a call without
	// one did not arrive. Zero: it sent none, as LINE's own apps. Only receipts write it.
	AcknowledgesSince time.Time
}

// Reachable reports whether a call can be delivered to the device at now.
func (d *Device) Reachable(now time.Time) bool {
	if d.Channel == "" || (d.Channel != LongPoll && d.PushToken == "") {
		return false
	}
	return d.ExpiresAt.IsZero() || now.Before(d.ExpiresAt)
}

// Over is the device as a delivery over a channel reaches it: an iPhone that rings by VoIP
// pushes shows alerts by a token of its own, and a browser whose page is open takes calls from its
// mailbox, too. What providers said against the one token says nothing of the other way.
func (d Device) Over(channel Channel) Device {
	switch {
	case channel == APNsAlert && d.Channel == APNsVoIP:
		d.Channel, d.PushToken = APNsAlert, d.AlertToken
	case channel == LongPoll && d.Channel == WebPush:
		d.Channel, d.PushToken, d.PushKeys = LongPoll, "", ""
	default:
		return d
	}
	d.Strikes, d.StruckAt, d.SuspendedUntil, d.SuspendedFor = 0, time.Time{}, time.Time{}, ""
	return d
}

// Suspended reports whether the device is, at now, rung only if its user has no other.
func (d *Device) Suspended(now time.Time) bool { return now.Before(d.SuspendedUntil) }
