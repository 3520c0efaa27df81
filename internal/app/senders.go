package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/mailbox"
)

// senders holds one client per credential and server, and is the delivery.Router.
type senders struct {
	projects map[string]projectSenders // by project name
	mailbox  *mailbox.Mailbox
	clients  []client
	log      *slog.Logger
}

// client is what every provider's client offers for its life.
type client interface {
	Warm(ctx context.Context) error
	Close()
}

// projectSenders are one project's ways to its devices.
type projectSenders struct {
	apps []appleApp
	fcm  delivery.Route
}

// appleApp is one app of a project, with a sender for each APNs server and channel that
// its credential is good for.
type appleApp struct {
	bundleID   string
	appTypes   []string
	credential string
	senders    map[appleWay]delivery.Sender
}

type appleWay struct {
	server  bell.APNsServer
	channel bell.Channel
}

// Route finds the way to a device. It implements delivery.Router.
func (s *senders) Route(d *bell.Device) (delivery.Route, string) {
	if d.Channel == bell.LongPoll {
		return delivery.Route{Key: delivery.RouteKey{Credential: d.Project, Channel: bell.LongPoll}, Sender: s.mailbox}, ""
	}
	p, ok := s.projects[d.Project]
	if !ok {
		return delivery.Route{}, "project_not_configured"
	}
	switch d.Channel {
	case bell.APNsVoIP, bell.APNsAlert:
		return p.apple(d)
	case bell.FCM:
		if p.fcm.Sender == nil {
			return delivery.Route{}, "no_fcm_credential"
		}
		return p.fcm, ""
	}
	return delivery.Route{}, "no_channel"
}

// apple finds the app of a device: by the bundle ID that the client named, else by its
// app type, else the project's first.
func (p projectSenders) apple(d *bell.Device) (delivery.Route, string) {
	app, ok := p.app(d)
	if !ok {
		return delivery.Route{}, "no_apns_credential"
	}
	sender := app.senders[appleWay{d.APNsServer, d.Channel}]
	if sender == nil {
		return delivery.Route{}, "no_" + string(d.Channel) + "_credential_for_" + string(d.APNsServer)
	}
	return delivery.Route{
		Key:    delivery.RouteKey{Credential: app.credential, Channel: d.Channel, Server: string(d.APNsServer)},
		Sender: sender,
	}, ""
}

func (p projectSenders) app(d *bell.Device) (appleApp, bool) {
	for _, a := range p.apps {
		if d.AppID != "" && a.bundleID == d.AppID {
			return a, true
		}
	}
	if d.AppID != "" && len(p.apps) > 1 { // a named app without credentials must not be guessed
		return appleApp{}, false
	}
	for _, a := range p.apps {
		if len(a.appTypes) == 0 || slices.Contains(a.appTypes, d.AppType) {
			return a, true
		}
	}
	return appleApp{}, false
}

func (a appleApp) serves(channel bell.Channel) bool {
	for way := range a.senders {
		if way.channel == channel {
			return true
		}
	}
	return false
}

// Channels are those by which a project's devices can be reached.
func (s *senders) Channels(project *bell.Project) []bell.Channel {
	channels := []bell.Channel{bell.LongPoll}
	p := s.projects[project.Name]
	for _, channel := range []bell.Channel{bell.APNsVoIP, bell.APNsAlert} {
		if slices.ContainsFunc(p.apps, func(a appleApp) bool { return a.serves(channel) }) {
			channels = append(channels, channel)
		}
	}
	if p.fcm.Sender != nil {
		channels = append(channels, bell.FCM)
	}
	return channels
}

// warmTimeout bounds the wait for providers at start; a later push connects anew.
const warmTimeout = 15 * time.Second

// Warm opens the connections, so that the first call does not wait for them. What
// fails is told in the log: a provider that is down must not keep the server down.
func (s *senders) Warm(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, warmTimeout, errors.New("the push providers did not answer in time"))
	defer cancel()
	var group sync.WaitGroup
	for _, c := range s.clients {
		group.Go(func() {
			if err := c.Warm(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("a push provider cannot be reached; calls will try again", "error", err)
			}
		})
	}
	group.Wait()
}

// Close ends all connections.
func (s *senders) Close() {
	for _, c := range s.clients {
		c.Close()
	}
}
