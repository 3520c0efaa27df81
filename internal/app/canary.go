package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/planetbell/planetbell/internal/canary"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/planet"
)

// buildCanaries makes the synthetic calls. Their clients ask this process; their callbacks come
// as Planet Cloud's do.
func (a *App) buildCanaries(context.Context) error {
	roots, err := ProviderRoots(a.cfg.CAFile)
	if err != nil {
		return err
	}
	c := canary.Config{
		APIURL: a.PublicURL(), Log: a.log.With("component", "canary"),
		Clients: canaryTransport(roots, ownName(a.cfg.Public)), Callbacks: canaryTransport(roots, ""),
	}
	if len(a.cfg.Canaries) > 0 { // without one there are no metrics of it
		c.Metrics = canary.NewMetrics(a.registry)
	}
	for i := range a.cfg.Canaries {
		if one, ok := a.canary(&a.cfg.Canaries[i]); ok {
			c.Canaries = append(c.Canaries, one)
		}
	}
	a.canaries = canary.New(c)
	return nil
}

// canary finds the project of a synthetic call.
func (a *App) canary(y *config.Canary) (canary.Canary, bool) {
	project, ok := a.projects.ByName(y.Project)
	if !ok {
		return canary.Canary{}, false // the configuration was not checked
	}
	callee := y.CalleeOf(a.nodes.name(a.node))
	return canary.Canary{
		Name: y.Name, Every: y.Every, Timeout: y.Timeout,
		Caller:    planet.UserRef{ServiceID: project.ServiceID, UserID: y.CallerUserID},
		Callee:    planet.UserRef{ServiceID: project.ServiceID, UserID: callee},
		ClientKey: project.ClientKey, CallbackURL: planet.Secret(y.Base(a.cfg.Public) + "/cb/" + project.CallbackSecret.Reveal()),
		Known: func() (planet.Secret, error) { return a.accounts.Vouch(project, callee) },
	}, true
}

// canaryTransport keeps no connection: each call is to find out whether one can be made. The
// clients reach this process by an address that its certificate does not name; name is what it
// does name.
func canaryTransport(roots *x509.CertPool, name string) http.RoundTripper {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, ServerName: name, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 5 * time.Second, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
	}
}

// ownName is the host name that the public listener's certificate has.
func ownName(p config.Public) string {
	u, err := url.Parse(p.BaseURL)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
