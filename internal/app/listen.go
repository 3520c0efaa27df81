package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"syscall"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/console/signin"
	"github.com/planetbell/planetbell/internal/httpapi"
)

// listen opens both listeners and makes their servers; Run serves.
func (a *App) listen(ctx context.Context) error {
	publicTLS, err := publicTLS(a.cfg.Public.TLS, a.log)
	if err != nil {
		return fmt.Errorf("public listener: %w", err)
	}
	adminTLS, err := adminTLS(a.cfg.Admin.TLS, a.log)
	if err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	if a.publicListener, err = open(ctx, "public.address", a.cfg.Public.Address); err != nil {
		return err
	}
	a.cleanups.push("close the public listener", func(context.Context) error { return ignoreClosed(a.publicListener.Close()) })
	if a.adminListener, err = open(ctx, "admin.address", a.cfg.Admin.Address); err != nil {
		return err
	}
	a.cleanups.push("close the admin listener", func(context.Context) error { return ignoreClosed(a.adminListener.Close()) })
	a.public = httpapi.NewServer(a.publicHandler(), a.log)
	a.public.TLSConfig = publicTLS
	signIn, err := a.buildSignIn()
	if err != nil {
		return err
	}
	a.admin = a.adminServer(adminTLS, signIn)
	return nil
}

// open listens on the address of a setting.
func open(ctx context.Context, setting, address string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is in use by another program; stop that one or choose another port: %w", setting, address, err)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%s: this user may not listen on %s; choose a port above 1023 or allow it (CAP_NET_BIND_SERVICE): %w", setting, address, err)
	}
	return nil, fmt.Errorf("%s: %w", setting, err)
}

func (a *App) publicHandler() http.Handler {
	return httpapi.New(httpapi.Config{
		WebOrigins:       a.cfg.Public.WebOrigins,
		TrustedProxies:   a.cfg.Public.TrustedProxies,
		CallbackSources:  a.cfg.Callbacks.AllowFrom,
		Recording:        a.cfg.Callbacks.Recording,
		Hold:             a.cfg.LongPoll.Hold,
		Beat:             a.cfg.Streams.Heartbeat,
		StreamLife:       a.cfg.Streams.Life,
		SignUpsPerMinute: a.cfg.Limits.SignUpsPerMinute,

		AccessTokensPerMinute: a.cfg.Limits.AccessTokensPerMinute,
		InvitationsPerMinute:  a.cfg.Limits.InvitationsPerMinute,

		Now: a.nodes.now(), Brief: a.nodes.cutOff(), Traces: a.callbackTraces(),
		Identity: a.identity,
	}, httpapi.Services{
		Projects: a.projects, Accounts: a.accounts, Devices: a.devices, Calls: a.calls, History: a.calls, Rooms: a.rooms,
		Mailbox: a.mailbox, Receipts: receipts{a.engine, a.mailbox, a.nodes}, Rules: a.policy, WebPush: a.senders,
	}, a.log, a.registry)
}

func (a *App) adminServer(t *tls.Config, signIn signin.Config) *http.Server {
	stopping, stop := context.WithCancel(context.Background()) // ended by Shutdown
	handler := console.New(console.Config{
		Token:  a.cfg.Admin.Token,
		SignIn: signIn,
		// Without credentials the configuration allows loopback only, and so does the console.
		OpenOnLoopback: a.cfg.Admin.Open(),
		Exemplars:      a.traces != nil,
		ProtectMetrics: a.cfg.Admin.ProtectMetrics,
		PublicURL:      a.cfg.Public.ExternalURL(),
		Hosts:          hostsOf(&a.cfg),
		Channels:       a.senders.Channels,
		Ready:          a.readiness,
		Node:           a.nodes.name(a.node),
		AnswerNonce:    func(w http.ResponseWriter, r *http.Request) { httpapi.AnswerNonce(w, r, a.identity) },
		Version:        string(a.version),
		Stopping:       stopping,
		Settings:       a.cfg.Redacted(),
	}, console.Services{
		Devices: a.devices, Calls: a.calls, Rooms: a.rooms, Tokens: a.accounts, Projects: a.projects, Events: a.webhooks, Rules: a.policy,
		Figures: a.store, Window: a.window, Trials: a.engine, Route: func(d *bell.Device) string { _, reason := a.senders.Route(d); return reason },
		Audit: a.store, Watch: &a.watch,
	}, a.log, a.registry)
	server := console.NewServer(handler, a.log)
	server.TLSConfig = t
	server.RegisterOnShutdown(stop)
	return server
}

func (a *App) readiness(context.Context) string {
	if !a.ready.Load() {
		return "The server is starting or stopping."
	}
	return ""
}

func adminTLS(c config.AdminTLS, log *slog.Logger) (*tls.Config, error) {
	if !c.Enabled() {
		return nil, nil
	}
	return fileTLS(c.CertificateFile, c.KeyFile, log)
}

// ignoreClosed: a server that was shut down has closed its listener already.
func ignoreClosed(err error) error {
	if err == nil || isClosed(err) {
		return nil
	}
	return err
}
