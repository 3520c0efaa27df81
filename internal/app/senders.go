package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/mailbox"
)

// senders holds one client per credential and server, and is the delivery.Router. Safe
// for concurrent use, also while Watch replaces credentials.
type senders struct {
	mailbox *mailbox.Mailbox
	log     *slog.Logger
	watched []*watched
	reread  chan config.Config // holds one: a configuration that was read anew
	reloads *prometheus.CounterVec
	behind  sync.WaitGroup // of clients that were replaced

	mu       sync.RWMutex              // guards what follows, and where relays lead
	projects map[string]projectSenders // by project name; replaced, never changed
	clients  []*lease
}

// projectSenders are one project's ways to its devices.
type projectSenders struct {
	apps []appleApp
	fcm  delivery.Route
	web  webPush
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
	s.mu.RLock()
	p, ok := s.projects[d.Project]
	s.mu.RUnlock()
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
	case bell.WebPush:
		return p.web.route(d)
	}
	return delivery.Route{}, "no_channel"
}

// project returns a project's ways; none for a project that is not there.
func (s *senders) project(name string) projectSenders {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.projects[name]
}

// apple finds the credential for a device among those of its app: a key may be good for
// one of Apple's servers only, and a certificate for one channel.
func (p projectSenders) apple(d *bell.Device) (delivery.Route, string) {
	apps := p.appsOf(d)
	if len(apps) == 0 {
		return delivery.Route{}, "no_apns_credential"
	}
	way := appleWay{d.APNsServer, d.Channel}
	for _, app := range apps {
		if sender := app.senders[way]; sender != nil {
			return delivery.Route{
				Key:    delivery.RouteKey{Credential: app.credential, Channel: d.Channel, Server: string(d.APNsServer)},
				Sender: sender,
			}, ""
		}
	}
	return delivery.Route{}, "no_" + string(d.Channel) + "_credential_for_" + string(d.APNsServer)
}

// appsOf returns the entries that a device may belong to, the best first: those of the
// bundle ID that the client named, else those of its app type. Entries that name the app
// type go before entries for all types, as an exception goes before the rule.
func (p projectSenders) appsOf(d *bell.Device) []appleApp {
	var named, typed, others []appleApp
	several := false
	for _, a := range p.apps {
		several = several || a.bundleID != p.apps[0].bundleID
		switch {
		case d.AppID != "" && a.bundleID == d.AppID:
			named = append(named, a)
		case slices.Contains(a.appTypes, d.AppType):
			typed = append(typed, a)
		case len(a.appTypes) == 0:
			others = append(others, a)
		}
	}
	switch {
	case len(named) > 0:
		slices.SortStableFunc(named, func(a, b appleApp) int { return a.distance(d) - b.distance(d) })
		return named
	case d.AppID != "" && several: // a named app without credentials must not be guessed
		return nil
	}
	if len(typed) == 0 {
		return others
	}
	return append(typed, others...)
}

// distance is how far an entry is from a device's app type: 0 names it, 1 is for all, 2
// names others.
func (a appleApp) distance(d *bell.Device) int {
	switch {
	case slices.Contains(a.appTypes, d.AppType):
		return 0
	case len(a.appTypes) == 0:
		return 1
	}
	return 2
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
	p := s.project(project.Name)
	for _, channel := range []bell.Channel{bell.APNsVoIP, bell.APNsAlert} {
		if slices.ContainsFunc(p.apps, func(a appleApp) bool { return a.serves(channel) }) {
			channels = append(channels, channel)
		}
	}
	if p.fcm.Sender != nil {
		channels = append(channels, bell.FCM)
	}
	if p.web.sender != nil {
		channels = append(channels, bell.WebPush)
	}
	return channels
}

// routes are the keys of all routes to push providers, as Route names them.
func (s *senders) routes() (keys []delivery.RouteKey) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, p := range s.projects {
		for _, app := range p.apps {
			for way := range app.senders {
				keys = append(keys, delivery.RouteKey{Credential: app.credential, Channel: way.channel, Server: string(way.server)})
			}
		}
		if p.fcm.Sender != nil {
			keys = append(keys, p.fcm.Key)
		}
		if p.web.sender != nil {
			for _, host := range p.web.hosts {
				keys = append(keys, delivery.RouteKey{Credential: p.web.credential, Channel: bell.WebPush, Server: host.String()})
			}
		}
	}
	return keys
}

// warmTimeout bounds the wait for providers at start; a later push connects anew.
const warmTimeout = 15 * time.Second

// Warm opens the connections, so that the first call does not wait for them. What
// fails is told in the log: a provider that is down must not keep the server down.
func (s *senders) Warm(ctx context.Context) {
	ctx, cancel := context.WithTimeoutCause(ctx, warmTimeout, errors.New("the push providers did not answer in time"))
	defer cancel()
	s.mu.RLock()
	clients := slices.Clone(s.clients)
	s.mu.RUnlock()
	var group sync.WaitGroup
	for _, c := range clients {
		group.Go(func() {
			if err := c.Warm(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("a push provider cannot be reached; calls will try again", "error", err)
			}
		})
	}
	group.Wait()
}

// Close ends all connections. Watch must have returned.
func (s *senders) Close() {
	s.mu.RLock()
	clients := slices.Clone(s.clients)
	s.mu.RUnlock()
	for _, c := range clients {
		c.Close()
	}
	s.behind.Wait()
}
