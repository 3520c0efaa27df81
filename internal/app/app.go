// Package app puts the server together: it is the only package that knows every other.
// New builds everything and opens the listeners, Run serves until its context ends and
// then stops in the order that loses nothing.
package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/canary"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console/window"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/internal/push/mailbox"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/telemetry"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

// Version is the program's version, for /debug/info.
type Version string

// App is a planetbell server. Make one with New.
type App struct {
	cfg      config.Config
	log      *slog.Logger
	version  Version
	registry *prometheus.Registry
	cleanups cleanups

	projects *bell.Projects
	store    database
	nodes    *nodes // nil when this process has the database alone
	senders  *senders
	engine   *delivery.Engine
	mailbox  *mailbox.Mailbox
	accounts *account.Service
	devices  *device.Service
	calls    *call.Service
	watch    call.Watch
	traces   *telemetry.Traces // nil: calls are not traced
	policy   *policy.Service
	rooms    *room.Service
	webhooks *webhook.Worker
	window   *window.Window
	canaries *canary.Service
	node     string // the name of this process
	owner    string // of leases: another one for each process

	publicListener, adminListener net.Listener
	public, admin                 *http.Server
	ready                         atomic.Bool
}

// New builds a server from a checked configuration and opens its listeners, so that a
// bad credential or a port in use stops the start. Close what New returned by Run.
func New(ctx context.Context, cfg config.Config, log *slog.Logger, version Version) (*App, error) {
	a := &App{cfg: cfg, log: log, version: version, registry: prometheus.NewRegistry(), node: nodeName(cfg.Node)}
	a.window = window.New(a.registry, nil)
	a.owner = a.node + "-" + bell.NewID()
	if cfg.Database.URL != "" {
		a.log = log.With("node", a.node)
	}
	a.registerOwn()
	for _, step := range []func(context.Context) error{a.openStore, a.openTraces, a.openSenders, a.buildServices, a.buildWebhooks, a.listen, a.buildCanaries} {
		if err := step(ctx); err != nil {
			stop, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), cfg.ShutdownTimeout, errShutdown)
			defer cancel()
			return nil, errors.Join(err, a.cleanups.run(stop))
		}
	}
	return a, nil
}

// PublicURL is where Planet Cloud and the clients reach the server from this machine.
func (a *App) PublicURL() string {
	return urlOf(a.publicListener, a.cfg.Public.TLS.Enabled())
}

// AdminURL is where the operator reaches the server from this machine.
func (a *App) AdminURL() string {
	return urlOf(a.adminListener, a.cfg.Admin.TLS.Enabled())
}

// Reload takes over the push credentials of a configuration that was read anew, within
// moments. All other settings need a restart. Safe for concurrent use with Run.
func (a *App) Reload(cfg config.Config) { a.senders.Reload(cfg) }

func urlOf(l net.Listener, secure bool) string {
	if secure {
		return "https://" + l.Addr().String()
	}
	return "http://" + l.Addr().String()
}

// databaseError adds what to do when the reason is not the database's.
func databaseError(what string, err error) error {
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%s: %w; let this user write there, or choose another folder (data_dir)", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (a *App) openSenders(context.Context) error {
	s, err := newSenders(a.cfg, a.log, a.registry)
	if err != nil {
		return err
	}
	a.senders = s
	a.cleanups.push("close the connections to push providers", func(context.Context) error { s.Close(); return nil })
	return nil
}

func (a *App) buildServices(context.Context) error {
	domain := make([]*bell.Project, len(a.cfg.Projects))
	for i := range a.cfg.Projects {
		domain[i] = a.cfg.Projects[i].Domain()
	}
	projects, err := bell.NewProjects(domain)
	if err != nil {
		return err
	}
	a.projects = projects
	if err := a.buildPolicy(); err != nil {
		return err
	}
	ring := new(bells) // engine and calls need each other
	a.cleanups.push("record what waits in memory", func(ctx context.Context) error { a.calls.Stop(ctx); return nil })
	a.calls = call.New(call.Config{
		Store: a.callStore(), Bells: ring, Projects: projects, Policy: a.callPolicy(), Watch: &a.watch, Now: a.nodes.now(),
		Waits:    func(device string) bool { return a.mailbox.Waits(device) },
		RingTime: a.cfg.Calls.RingTime, Safety: a.cfg.Calls.Safety, LostAfter: a.cfg.Calls.LostAfter, LostEvents: a.lostEvents,
		Log: a.log.With("component", "call"), Metrics: call.NewMetrics(a.registry),
	})
	a.devices = device.New(device.Config{
		Store: registry{a.store, a.calls, a.nodes}, Now: a.nodes.now(), Log: a.log.With("component", "device"), Metrics: device.NewMetrics(a.registry),
		ForgetUnseen: a.cfg.Devices.ForgetUnseenAfter,
	})
	a.engine = delivery.New(delivery.Config{
		Store: ledger{a.store, a.calls}, Router: a.senders, Registry: a.devices, Owner: a.owner, Log: a.log.With("component", "delivery"),
		Metrics: a.deliveryMetrics(), MaxInFlight: a.cfg.Limits.DeliveriesInFlight, Tells: a.tells,
		Waits: a.waits(), Now: a.nodes.now(), Watched: a.watch.Call, Traces: a.deliveryTraces(),
	})
	a.cleanups.push("finish or give back deliveries", func(ctx context.Context) error { a.engine.Stop(ctx); return nil })
	box := mailbox.Config{
		Taken: a.engine.Taken, HandedOut: a.engine.HandedOut, Streamed: a.engine.Streamed, MaxWaiting: a.cfg.Limits.LongPolls,
		MaxLetters: a.cfg.Limits.MailboxCalls, Metrics: mailbox.NewMetrics(a.registry),
	}
	a.nodes.join(&box)
	a.mailbox = mailbox.New(box)
	a.cleanups.push("answer waiting polls", func(context.Context) error { a.mailbox.Close(a.stagger()); return nil })
	a.senders.mailbox = a.mailbox
	ring.Engine, ring.mailbox, ring.nodes = a.engine, a.mailbox, a.nodes
	if a.rooms, err = a.newRooms(ring); err != nil {
		return err
	}
	a.accounts, err = account.New(account.Config{Store: register{a.store, a.calls, a.nodes}, Projects: projects, SigningKey: a.cfg.AppTokens.SigningKey, Now: a.nodes.now()})
	if err != nil {
		return err
	}
	return nil
}

// tells reports whether a notice may go by a channel as the project of its callee is set now.
func (a *App) tells(n *bell.Call, channel bell.Channel) bool {
	project, ok := a.projects.Reaching(n.Environment, n.Callee.ServiceID)
	return ok && project.Tells(n.Purpose, channel)
}

// bells makes a call's end reach the mailbox too. The engine comes first: it ends the
// contexts that could still put something in.
type bells struct {
	*delivery.Engine
	mailbox *mailbox.Mailbox
	nodes   *nodes
}

func (b *bells) Withdraw(environment planet.Environment, id planet.SessionID) {
	b.Engine.Withdraw(environment, id)
	b.mailbox.Withdraw(environment, id)
	b.nodes.over(environment, id)
}

// Waits is the mailbox's.
func (b *bells) Waits(device string) bool { return b.mailbox.Waits(device) }

// Start tells other nodes of what lies in a mailbox, too. The call is recorded by then.
func (b *bells) Start(rings []bell.Ring) {
	b.nodes.began(rings)
	b.Engine.Start(rings)
}

// waits says which devices poll here; nil when all do.
func (a *App) waits() func(device string) bool {
	if a.nodes.alone() {
		return nil
	}
	return func(device string) bool { return a.mailbox.Waits(device) }
}

const (
	// pollStagger spreads, at most, the end of waiting polls at a stop, so that their clients do not
	// all come back in the same instant.
	pollStagger = 2 * time.Second
)

var errShutdown = errors.New("the stop took longer than shutdown_timeout")

// stagger is pollStagger, or less when the stop has to be quick.
func (a *App) stagger() time.Duration { return min(pollStagger, a.cfg.ShutdownTimeout/4) }

// Run serves until ctx ends, then stops: readiness off, waiting polls answered, requests
// finished, deliveries finished or left to be continued by the next process, database
// closed; all within shutdown_timeout. It may be called once.
func (a *App) Run(ctx context.Context) error {
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()
	var behind errgroup.Group
	behind.Go(func() error { return a.nodes.run(background) })
	behind.Go(func() error { return a.mailbox.Run(background) })
	behind.Go(func() error { return a.calls.Run(background) })
	behind.Go(func() error { a.senders.Warm(background); a.senders.Watch(background); return nil })
	behind.Go(func() error { a.devices.Run(background); return nil })
	behind.Go(func() error { a.forgetOld(background); return nil })
	behind.Go(func() error { a.rooms.Run(background); return nil })
	behind.Go(func() error { a.webhooks.Run(background); return nil })
	behind.Go(func() error { return a.window.Run(background) })
	canaries, stopCanaries := context.WithCancel(ctx) // they end with the listener, not behind it
	defer stopCanaries()

	group, serving := errgroup.WithContext(ctx)
	group.Go(func() error { return a.engine.Run(background, a.nodes.alone()) })
	group.Go(func() error { return serve(a.public, a.publicListener) })
	group.Go(func() error { return serve(a.admin, a.adminListener) })
	a.ready.Store(true)
	behind.Go(func() error { a.canaries.Run(canaries); return nil })
	a.log.Info("ready", "public", a.PublicURL(), "admin", a.AdminURL(), "projects", len(a.cfg.Projects))

	<-serving.Done()
	stopCanaries()
	a.ready.Store(false)
	a.log.Info("stopping", "cause", context.Cause(serving))
	stop, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), a.cfg.ShutdownTimeout, errShutdown)
	defer cancel()
	err := a.drain(stop)
	stopBackground()
	err = errors.Join(err, shutdown(stop, a.admin, "admin"), group.Wait(), behind.Wait(), a.cleanups.run(stop))
	a.sayStopped(err)
	return err
}

func (a *App) sayStopped(err error) {
	if err != nil {
		a.log.Error("stopped, but not as it should", "error", err)
		return
	}
	a.log.Info("stopped")
}

// drain answers what is waiting and takes nothing new. Polls are ended beside Shutdown,
// because it waits for them and does not end them itself.
func (a *App) drain(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error { a.mailbox.Close(a.stagger()); return nil })
	group.Go(func() error { return shutdown(ctx, a.public, "public") })
	return group.Wait()
}

func shutdown(ctx context.Context, s *http.Server, name string) error {
	if err := s.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("drain the %s listener: %w", name, err), s.Close())
	}
	return nil
}

func serve(s *http.Server, l net.Listener) error {
	var err error
	if s.TLSConfig != nil {
		err = s.ServeTLS(l, "", "")
	} else {
		err = s.Serve(l)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
