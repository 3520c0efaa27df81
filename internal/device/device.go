// Package device keeps the registry of what can ring: it turns what clients say about
// themselves into devices, and holds the rules by which a device is registered,
// replaced and moved. It does not send anything.
package device

import (
	"context"
	"fmt"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// seenEvery is how old LastSeenAt may grow before a poll refreshes it: polls come
// every 25 seconds, and each refresh is a write.
const seenEvery = 5 * time.Minute

// Config is what a Service is made of.
type Config struct {
	Store Store
	Now   func() time.Time // time.Now if nil
}

// Service registers devices. It is safe for concurrent use.
type Service struct {
	store Store
	now   func() time.Time
}

// New makes a Service.
func New(c Config) *Service {
	now := c.Now
	if now == nil {
		now = time.Now
	}
	return &Service{store: c.Store, now: now}
}

// Description is what a client says about its installation, in its own words.
type Description struct {
	AppType    string // IOS, ANDROID, DESKTOPMAC, DESKTOPWIN, BROWSER, ...; free text
	AppVersion string // free text; one official client sends the user ID here
	AppID      string // bundle ID, when a project has several apps; official clients send none
}

// Address is how a client wants to be reached.
type Address struct {
	Description
	NotificationType string // apnsvoip, apns, fcm, gcm or lp
	Token            planet.Secret
	APNsServer       string // production, development, sandbox; also the misspelt developmenet
}

// Register records the installation behind an app token. Registering again changes
// what is said and leaves the rest; it never fails because of what is said.
func (s *Service) Register(ctx context.Context, id bell.Identity, d Description) error {
	_, err := s.store.ChangeDevice(ctx, id.SessionID, func(current *bell.Device) (bell.Device, error) {
		next := s.start(current, id)
		describe(&next, d)
		// RegisteredAt stays: it says when the push token was last given, and APNs' word that a
		// token is dead is compared with it.
		next.LastSeenAt = s.now()
		return next, nil
	})
	if err != nil {
		return fmt.Errorf("register a device of %s: %w", id.Owner.User, err)
	}
	return nil
}

// UpdateToken records how the installation can be reached. A device that was never
// registered is created. The error kind is bell.Invalid when the address cannot be
// one; the message says what to change.
func (s *Service) UpdateToken(ctx context.Context, id bell.Identity, a Address) error {
	reach, err := parseAddress(a)
	if err != nil {
		return err
	}
	_, err = s.store.ChangeDevice(ctx, id.SessionID, func(current *bell.Device) (bell.Device, error) {
		next := s.start(current, id)
		describe(&next, a.Description)
		reach.apply(&next)
		next.ExpiresAt = time.Time{}
		if next.Channel == bell.LongPoll {
			next.ExpiresAt = id.ExpiresAt
		}
		next.RegisteredAt, next.LastSeenAt = s.now(), s.now()
		return next, nil
	})
	if err != nil {
		return fmt.Errorf("update the push token of a device of %s: %w", id.Owner.User, err)
	}
	return nil
}

// Polling says which device a long poll belongs to. A poll is itself the sign that
// the device can be reached by long polling, because LINE's Apple demo starts to
// poll before it has said so; a device with a push channel keeps that channel.
func (s *Service) Polling(ctx context.Context, id bell.Identity) (string, error) {
	known, err := s.store.DeviceBySession(ctx, id.SessionID)
	if err == nil && known.Channel != "" && s.now().Sub(known.LastSeenAt) < seenEvery {
		return known.ID, nil
	}
	d, err := s.store.ChangeDevice(ctx, id.SessionID, func(current *bell.Device) (bell.Device, error) {
		next := s.start(current, id)
		if next.Channel == "" {
			next.Channel, next.ExpiresAt = bell.LongPoll, id.ExpiresAt
			next.RegisteredAt = s.now()
		}
		next.LastSeenAt = s.now()
		return next, nil
	})
	if err != nil {
		return "", fmt.Errorf("find the polling device of %s: %w", id.Owner.User, err)
	}
	return d.ID, nil
}

// NewDevice is a device that an operator adds, without a client's registration.
type NewDevice struct {
	UserID     string
	Channel    bell.Channel // apns_voip, apns_alert or fcm
	PushToken  planet.Secret
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
	r, err := newReach(n.Channel, n.PushToken, n.APNsServer)
	if err != nil {
		return bell.Device{}, err
	}
	d := bell.Device{
		ID:      bell.NewID(),
		Owner:   bell.Owner{Environment: project.Environment, User: planet.UserRef{ServiceID: project.ServiceID, UserID: n.UserID}},
		Project: project.Name, RegisteredAt: s.now(), LastSeenAt: s.now(),
	}
	describe(&d, Description{AppType: n.AppType, AppID: n.AppID})
	r.apply(&d)
	if err := s.store.AddDevice(ctx, d); err != nil {
		return bell.Device{}, fmt.Errorf("add a device of %s: %w", d.Owner.User, err)
	}
	return d, nil
}

// List returns a page of devices after the given ID, at most limit.
func (s *Service) List(ctx context.Context, f Filter, after string, limit int) ([]bell.Device, error) {
	return s.store.Devices(ctx, f, after, limit)
}

// Remove forgets a device; bell.NotFound when there is none with this ID.
func (s *Service) Remove(ctx context.Context, id string) error {
	return s.store.RemoveDevice(ctx, id)
}

// start is the device to change: the current one, or a new one of this identity. A
// session that now belongs to another project or user cannot be: its token says so.
func (s *Service) start(current *bell.Device, id bell.Identity) bell.Device {
	if current != nil {
		return *current
	}
	return bell.Device{
		ID: bell.NewID(), Owner: id.Owner, Project: id.Project.Name, SessionID: id.SessionID,
		RegisteredAt: s.now(), LastSeenAt: s.now(),
	}
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
