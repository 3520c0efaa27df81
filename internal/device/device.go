// Package device keeps the registry of what can ring: it turns what clients say about
// themselves into devices, and holds the rules by which a device is registered,
// replaced and moved, and by which what push providers say makes its token confirmed,
// suspended or forgotten. It does not send anything. internal/device/DESIGN.md has the
// rules with their reasons; judge, in rules.go, is the one place that decides them.
package device

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// seenEvery is how old LastSeenAt may grow before a poll refreshes it: polls come
// every 25 seconds, and each refresh is a write.
const seenEvery = 5 * time.Minute

// DefaultForgetUnseen is how long a device is kept that makes no contact: FCM ends a token
// after as long.
const DefaultForgetUnseen = 270 * 24 * time.Hour

// Config is what a Service is made of. Only Store is needed.
type Config struct {
	Store        Store
	Log          *slog.Logger     // gets what becomes of push tokens, by their fingerprints; none if nil
	Metrics      *Metrics         // unregistered ones if nil
	ForgetUnseen time.Duration    // DefaultForgetUnseen if 0
	Now          func() time.Time // time.Now if nil
}

// Service registers devices. It is safe for concurrent use. Use Run to make it forget
// devices that are gone.
type Service struct {
	Config
	shares *shares
	polls  *polls
}

// New makes a Service. It starts nothing.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	if c.ForgetUnseen == 0 {
		c.ForgetUnseen = DefaultForgetUnseen
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Service{Config: c, shares: newShares(), polls: newPolls()}
}

// Description is what a client says about its installation, in its own words.
type Description struct {
	AppType    string // IOS, ANDROID, DESKTOPMAC, DESKTOPWIN, BROWSER, ...; free text
	AppVersion string // free text; one official client sends the user ID here
	AppID      string // bundle ID, when a project has several apps; official clients send none
	// DeviceID is what the app calls this installation: at most 128 printable ASCII
	// characters. The same ID in a new session of the same user is the same device.
	// Official clients send none.
	DeviceID string
}

// Address is how a client wants to be reached.
type Address struct {
	Description
	NotificationType string        // apnsvoip, apns, fcm, gcm, webpush or lp
	Token            planet.Secret // of webpush a subscription, as JSON
	APNsServer       string        // production, development, sandbox; also the misspelt developmenet
	// AlertToken is the app's other APNs token, for notices; with apnsvoip only. Official
	// clients send none.
	AlertToken planet.Secret
}

// Notice is what a device is told when it makes contact: what had become of the push token
// that it gave before. Zero when there is nothing to tell.
type Notice struct {
	Removed   string // the push token was removed; the provider's reason
	Suspended string // the push token is rung only if the user has no other; the provider's reason
}

func (s *Service) notice(d *bell.Device) Notice {
	switch {
	case !d.ForgottenAt.IsZero():
		return Notice{Removed: d.ForgottenFor}
	case d.Suspended(s.Now()):
		return Notice{Suspended: d.SuspendedFor}
	}
	return Notice{}
}

// Register records the installation behind an app token. Registering again changes
// what is said and leaves the rest. The error kind is bell.Invalid when the DeviceID
// cannot be one; nothing else that is said is a reason to refuse.
func (s *Service) Register(ctx context.Context, id bell.Identity, d Description) (Notice, error) {
	notice, err := s.change(ctx, id, d, func(*bell.Device) {
		// RegisteredAt stays: it says when the push token was last given, and APNs' word that a
		// token is dead is compared with it.
	})
	if err != nil {
		return Notice{}, fmt.Errorf("register a device of %s: %w", id.Owner.User, err)
	}
	return notice, nil
}

// UpdateToken records how the installation can be reached. A device that was never
// registered is created. The error kind is bell.Invalid when the address or DeviceID
// cannot be one; the message says what to change. The notice is about the push token
// before this one.
func (s *Service) UpdateToken(ctx context.Context, id bell.Identity, a Address) (Notice, error) {
	reach, err := parseAddress(id.Project, a)
	if err != nil {
		return Notice{}, err
	}
	write, cancel := s.patience(ctx, reach.channel)
	defer cancel()
	notice, err := s.change(write, id, a.Description, func(next *bell.Device) {
		reach.apply(next)
		next.ExpiresAt = time.Time{}
		if next.Channel == bell.LongPoll {
			next.ExpiresAt = id.ExpiresAt
		}
		next.RegisteredAt = s.Now()
	})
	if busy(err) && reach.channel == bell.LongPoll && s.pollsAlready(ctx, id) {
		return notice, nil
	}
	if err != nil {
		return Notice{}, fmt.Errorf("update the push token of a device of %s: %w", id.Owner.User, err)
	}
	return notice, nil
}

// change writes the device that a client means, with what it says.
func (s *Service) change(ctx context.Context, id bell.Identity, said Description, further func(*bell.Device)) (Notice, error) {
	if err := checkClientID(said.DeviceID); err != nil {
		return Notice{}, err
	}
	var notice Notice
	key := Key{SessionID: id.SessionID, Owner: id.Owner, ClientID: said.DeviceID}
	_, err := s.Store.ChangeDevice(ctx, key, func(known Known) (bell.Device, error) {
		next := s.start(known, id)
		notice = s.notice(&next)
		describe(&next, said)
		if said.DeviceID != "" {
			next.ClientID = said.DeviceID
		}
		further(&next)
		next.LastSeenAt = s.Now()
		return next, nil
	})
	if err != nil {
		return Notice{}, err // not even looked at: the closure may still be at work on it
	}
	return notice, nil
}

// Polling says which device a long poll belongs to. A poll is itself the sign that
// the device can be reached by long polling, because LINE's Apple demo starts to
// poll before it has said so; a device with a push channel keeps that channel unless
// its push token was forgotten.
//
// While the store is in trouble, a device that can be read, or that polled lately, goes on
// to poll: it would miss calls that ring from memory.
//
// notices says that the poll's client knows what is no call; it is remembered, so that others
// are not told in vain.
func (s *Service) Polling(ctx context.Context, id bell.Identity, notices bool) (string, error) {
	known, unread := s.Store.DeviceBySession(ctx, id.SessionID)
	if unread == nil {
		s.polls.remember(id.SessionID, known.ID, s.Now())
		if hasWay(&known) && s.Now().Sub(known.LastSeenAt) < seenEvery && (known.Notices || !notices) {
			return known.ID, nil
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, refreshBudget, errRefreshTooSlow)
	defer cancel()
	d, err := s.Store.ChangeDevice(ctx, Key{SessionID: id.SessionID, Owner: id.Owner}, func(known Known) (bell.Device, error) {
		next := s.start(known, id)
		if !hasWay(&next) {
			next.Channel, next.ExpiresAt = bell.LongPoll, id.ExpiresAt
			next.RegisteredAt = s.Now()
		}
		next.LastSeenAt, next.Notices = s.Now(), notices
		return next, nil
	})
	if deviceID, ok := s.polls.recall(id.SessionID, s.Now()); ok && busy(err) && (unread == nil || busy(unread)) {
		return deviceID, nil
	}
	if err != nil {
		return "", fmt.Errorf("find the polling device of %s: %w", id.Owner.User, err)
	}
	s.polls.remember(id.SessionID, d.ID, s.Now())
	return d.ID, nil
}

// NewDevice is a device that an operator adds, without a client's registration.
type NewDevice struct {
	UserID     string
	Channel    bell.Channel  // apns_voip, apns_alert, fcm or web_push
	PushToken  planet.Secret // of web_push a subscription, as JSON
	APNsServer string
	AppType    string
	AppID      string
}

// Add records a device for a user of the project.
func (s *Service) Add(ctx context.Context, project *bell.Project, n NewDevice) (bell.Device, error) {
	if err := planet.ValidateUserID(n.UserID); err != nil {
		return bell.Device{}, bell.E(bell.Invalid, "user ID: "+err.Error(), nil)
	}
	if n.Channel == bell.LongPoll {
		return bell.Device{}, bell.E(bell.Invalid, "A long polling device cannot be added: it registers itself, and its app token names its mailbox.", nil)
	}
	r, err := newReach(project, n.Channel, n.PushToken, n.APNsServer)
	if err != nil {
		return bell.Device{}, err
	}
	d := bell.Device{
		ID:      bell.NewID(),
		Owner:   bell.Owner{Environment: project.Environment, User: planet.UserRef{ServiceID: project.ServiceID, UserID: n.UserID}},
		Project: project.Name, RegisteredAt: s.Now(), LastSeenAt: s.Now(),
	}
	describe(&d, Description{AppType: n.AppType, AppID: n.AppID})
	r.apply(&d)
	if err := s.Store.AddDevice(ctx, d); err != nil {
		return bell.Device{}, fmt.Errorf("add a device of %s: %w", d.Owner.User, err)
	}
	return d, nil
}

// List returns a page of devices after the given ID, at most limit.
func (s *Service) List(ctx context.Context, f Filter, after string, limit int) ([]bell.Device, error) {
	return s.Store.Devices(ctx, f, after, limit)
}

// Show returns a device; bell.NotFound when there is none with this ID.
func (s *Service) Show(ctx context.Context, id string) (bell.Device, error) {
	return s.Store.Device(ctx, id)
}

// Of returns all devices of an owner, oldest first.
func (s *Service) Of(ctx context.Context, owner bell.Owner) ([]bell.Device, error) {
	return s.Store.DevicesOf(ctx, owner)
}

// Remove forgets a device; bell.NotFound when there is none with this ID.
func (s *Service) Remove(ctx context.Context, id string) error {
	return s.Store.RemoveDevice(ctx, id)
}

// hasWay reports whether a device has said how it is reached, and its push token was not
// forgotten since.
func hasWay(d *bell.Device) bool { return d.Channel == bell.LongPoll || d.PushToken != "" }

// start is the device to change: that of the session, or that which the same user's client
// called by the same ID in another session, or a new one. A session that now belongs to
// another project or user cannot be: its token says so.
//
// When there are both, they are one installation. The older one's ID stays, because rings
// under way and mailboxes know it; how to reach it is what the session said, if it did.
func (s *Service) start(known Known, id bell.Identity) bell.Device {
	session, older := known.OfSession, known.OfClient
	switch {
	case older == nil && session == nil:
		return bell.Device{
			ID: bell.NewID(), Owner: id.Owner, Project: id.Project.Name, SessionID: id.SessionID,
			RegisteredAt: s.Now(), LastSeenAt: s.Now(),
		}
	case older == nil:
		return *session
	case session != nil && session.Channel != "":
		next := *session
		next.ID = older.ID
		return next
	}
	next := *older
	next.Project, next.SessionID = id.Project.Name, id.SessionID
	if session != nil {
		describe(&next, Description{AppType: session.AppType, AppVersion: session.AppVersion, AppID: session.AppID})
	}
	if next.Channel == bell.LongPoll {
		next.ExpiresAt = id.ExpiresAt // it polls with this session's app token from now on
	}
	return next
}

// describe takes over what the client says, and keeps what it now leaves out.
func describe(d *bell.Device, said Description) {
	for _, field := range []struct {
		to   *string
		text string
	}{{&d.AppType, said.AppType}, {&d.AppVersion, said.AppVersion}, {&d.AppID, said.AppID}} {
		if field.text != "" {
			*field.to = bell.Clip(field.text)
		}
	}
}
