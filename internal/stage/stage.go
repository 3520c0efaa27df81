// Package stage puts a planetbell server and the simulator together on this machine's
// loopback: for the demo, for whole-program tests and for trying things out. Nothing
// here needs an account, a network or a configuration file.
package stage

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/planetbell/planetbell/examples/web"
	"github.com/planetbell/planetbell/internal/app"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

// Options say how the stage is set. Dir and Log are needed.
type Options struct {
	Dir            string                               // for the database, keys and certificates; must exist
	Log            *slog.Logger                         // of the server
	RingTime       time.Duration                        // how long a call rings; 60 s if 0
	PublicAddress  string                               // of the server; any port of 127.0.0.1 if empty
	AdminAddress   string                               // likewise
	ControlAddress string                               // of the simulator; likewise
	PageAddress    string                               // of the example softphone; there is none if empty
	People         []web.Person                         // who may be chosen there
	Secret         func(name string, length int) string // makes secrets; random hexadecimal if nil
	Change         func(*config.Config, sim.Settings)   // may change the configuration
	World          func(*sim.WorldOptions)              // may change the simulator
	Version        app.Version
}

// Stage is a running server with its surroundings.
type Stage struct {
	World  *sim.World
	App    *app.App
	Config config.Config

	page   *page // nil without a PageAddress
	cancel context.CancelFunc
	done   chan error
}

// New starts the simulator and the server. Close the stage.
func New(ctx context.Context, o Options) (*Stage, error) {
	world, err := newWorld(o)
	if err != nil {
		return nil, fmt.Errorf("start the simulator: %w", err)
	}
	s := &Stage{World: world}
	if err := s.set(ctx, o); err != nil {
		return nil, errors.Join(err, s.page.close(), world.Close())
	}
	return s, nil
}

// set starts what stands before the simulator.
func (s *Stage) set(ctx context.Context, o Options) (err error) {
	if s.Config, err = configure(o, s.World.Settings()); err != nil {
		return err
	}
	if o.PageAddress == "" {
		return s.Start(ctx, o)
	}
	p, l, err := listenPage(ctx, o.PageAddress)
	if err != nil {
		return err
	}
	s.Config.Public.WebOrigins = append(s.Config.Public.WebOrigins, p.origin)
	s.Config.Projects[0].CallerNames = true
	if err := s.Start(ctx, o); err != nil {
		return errors.Join(err, l.Close())
	}
	project := &s.Config.Projects[0]
	err = p.serve(l, s.World, web.Config{
		Server: s.App.PublicURL(), Service: project.ServiceID, ClientKey: project.ClientKey.Reveal(), Region: "JP", People: o.People,
	})
	if err != nil {
		return errors.Join(err, s.Stop())
	}
	s.page = p
	return nil
}

// PageURL is where the example softphone is, or "".
func (s *Stage) PageURL() string {
	if s.page == nil {
		return ""
	}
	return s.page.origin + "/"
}

func newWorld(o Options) (*sim.World, error) {
	wo := sim.WorldOptions{Dir: o.Dir, RingTime: o.RingTime, ControlAddress: o.ControlAddress}
	if o.World != nil {
		o.World(&wo)
	}
	return sim.NewWorld(wo)
}

// Start starts the server, on New's behalf or again after Stop.
func (s *Stage) Start(ctx context.Context, o Options) error {
	a, err := app.New(ctx, s.Config, o.Log, o.Version)
	if err != nil {
		return fmt.Errorf("start the server: %w", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.App, s.cancel, s.done = a, cancel, make(chan error, 1)
	go func() { s.done <- a.Run(running) }()
	p := &s.Config.Projects[0]
	err = s.World.Connect(sim.AppServer{
		BaseURL: a.PublicURL(), CallbackURL: a.PublicURL() + "/cb/" + p.CallbackSecret.Reveal(),
		ServiceID: p.ServiceID, ClientKey: p.ClientKey.Reveal(), APIKey: p.APIKey, APISecret: p.APISecret,
	})
	if err != nil {
		return errors.Join(err, s.Stop())
	}
	return nil
}

// Stop stops the server gracefully and leaves the simulator on.
func (s *Stage) Stop() error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	s.cancel = nil
	return <-s.done
}

// Close stops everything.
func (s *Stage) Close() error { return errors.Join(s.page.close(), s.World.Close(), s.Stop()) }

// configure makes the configuration of a server with one project whose providers are
// the simulator's.
func configure(o Options, w sim.Settings) (config.Config, error) {
	key, err := os.ReadFile(w.APNsKeyFile)
	if err != nil {
		return config.Config{}, err
	}
	account, err := os.ReadFile(w.ServiceAccountFile)
	if err != nil {
		return config.Config{}, err
	}
	secret := o.Secret
	if secret == nil {
		secret = randomSecret
	}
	c := config.Default()
	c.DataDir, c.Database.Path, c.CAFile = o.Dir, filepath.Join(o.Dir, "planetbell.db"), w.CAFile
	c.Public.Address, c.Admin.Address = anyPort(o.PublicAddress), anyPort(o.AdminAddress)
	c.Admin.Token = planet.Secret(secret("admin-token", 64))
	c.AppTokens.SigningKey = planet.Secret(secret("signing-key", 64))
	c.Limits.SignUpsPerMinute = 10_000
	if o.RingTime != 0 {
		c.Calls.RingTime, c.Calls.Safety = o.RingTime, min(c.Calls.Safety, o.RingTime/10)
	}
	p := config.DefaultProject()
	p.Name, p.Environment, p.ServiceID = "demo", planet.Evaluation, "demo-service"
	p.APIKey, p.ServerAPIURL = "demo-api-key", w.ServerAPIURL
	p.APISecret = planet.Secret(secret("api-secret", 64))
	p.ClientKey = planet.Secret(secret("client-key", 32))
	p.CallbackSecret = planet.Secret(secret("callback-secret", 40))
	p.SharedUserIDs = true // one person with several phones
	a := config.DefaultAPNs()
	a.BundleID, a.TeamID, a.KeyID, a.Key = w.BundleID, w.APNsTeamID, w.APNsKeyID, planet.Secret(key)
	a.ProductionURL, a.SandboxURL = w.APNsProductionURL, w.APNsSandboxURL
	a.Servers = []bell.APNsServer{bell.APNsProduction, bell.APNsSandbox}
	p.APNs = []config.APNs{a}
	p.FCM.ServiceAccount, p.FCM.BaseURL = planet.Secret(account), w.FCMURL
	p.WebPush = webPush(w)
	c.Projects = []config.Project{p}
	if o.Change != nil {
		o.Change(&c, w)
	}
	return c, nil
}

// webPush lets browsers of the simulator be rung. Their push service is on loopback, which is
// not allowed otherwise.
func webPush(w sim.Settings) config.WebPush {
	c := config.DefaultProject().WebPush
	c.VAPIDPrivateKey, c.VAPIDSubject = bell.NewVAPIDKey(), "mailto:ops@example.com"
	c.Hosts = append([]string{w.WebPushHost}, c.Hosts...)
	c.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	return c
}

func anyPort(address string) string {
	if address == "" {
		return "127.0.0.1:0"
	}
	return address
}

func randomSecret(_ string, length int) string {
	b := make([]byte, (length+1)/2)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)[:length]
}
