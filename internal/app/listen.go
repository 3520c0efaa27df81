package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/httpapi"
)

// listen opens both listeners and makes their servers; Run serves.
func (a *App) listen(ctx context.Context) error {
	publicTLS, err := publicTLS(a.cfg.Public.TLS)
	if err != nil {
		return fmt.Errorf("public listener: %w", err)
	}
	adminTLS, err := adminTLS(a.cfg.Admin.TLS)
	if err != nil {
		return fmt.Errorf("admin listener: %w", err)
	}
	var lc net.ListenConfig
	if a.publicListener, err = lc.Listen(ctx, "tcp", a.cfg.Public.Address); err != nil {
		return fmt.Errorf("public.address: %w", err)
	}
	a.cleanups.push("close the public listener", func(context.Context) error { return ignoreClosed(a.publicListener.Close()) })
	if a.adminListener, err = lc.Listen(ctx, "tcp", a.cfg.Admin.Address); err != nil {
		return fmt.Errorf("admin.address: %w", err)
	}
	a.cleanups.push("close the admin listener", func(context.Context) error { return ignoreClosed(a.adminListener.Close()) })
	a.public = httpapi.NewServer(a.publicHandler(), a.log)
	a.public.TLSConfig = publicTLS
	a.admin = a.adminServer(adminTLS)
	return nil
}

func (a *App) publicHandler() http.Handler {
	return httpapi.New(httpapi.Config{
		WebOrigins:       a.cfg.Public.WebOrigins,
		TrustedProxies:   a.cfg.Public.TrustedProxies,
		CallbackSources:  a.cfg.Callbacks.AllowFrom,
		Recording:        a.cfg.Callbacks.Recording,
		Hold:             a.cfg.LongPoll.Hold,
		SignUpsPerMinute: a.cfg.Limits.SignUpsPerMinute,
	}, httpapi.Services{
		Projects: a.projects, Accounts: a.accounts, Devices: a.devices, Calls: a.calls, Mailbox: a.mailbox,
	}, a.log, a.registry)
}

func (a *App) adminServer(t *tls.Config) *http.Server {
	handler := console.New(console.Config{
		Token: a.cfg.Admin.Token,
		// Without a token the configuration allows loopback only, and so does the console.
		OpenOnLoopback: a.cfg.Admin.Token == "",
		PublicURL:      a.cfg.Public.ExternalURL(),
		Hosts:          hostsOf(a.cfg.Public),
		Channels:       a.senders.Channels,
		Ready:          a.readiness,
		Version:        string(a.version),
	}, console.Services{
		Devices: a.devices, Calls: a.calls, Tokens: a.accounts, Projects: a.projects,
	}, a.log, a.registry)
	return &http.Server{
		Handler: handler, TLSConfig: t,
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
	}
}

// hostsOf are the names under which the admin listener may be addressed: an operator may
// have put it behind the public name.
func hostsOf(p config.Public) []string {
	if u, err := url.Parse(p.BaseURL); err == nil && u.Hostname() != "" {
		return []string{u.Hostname()}
	}
	return nil
}

func (a *App) readiness(context.Context) string {
	if !a.ready.Load() {
		return "The server is starting or stopping."
	}
	return ""
}

func adminTLS(c config.AdminTLS) (*tls.Config, error) {
	if !c.Enabled() {
		return nil, nil
	}
	return fileTLS(c.CertificateFile, c.KeyFile)
}

// ignoreClosed: a server that was shut down has closed its listener already.
func ignoreClosed(err error) error {
	if err == nil || isClosed(err) {
		return nil
	}
	return err
}
