package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console/signin"
)

// buildSignIn makes the credentials of the admin listener from the configuration. Without any
// the listener must be on loopback, and not behind a proxy. The configuration's check says so
// too; this is for a server that was made without it.
func (a *App) buildSignIn() (signin.Config, error) {
	admin := &a.cfg.Admin
	if admin.Open() && !onLoopback(a.adminListener.Addr()) {
		return signin.Config{}, fmt.Errorf("admin.address: %s can be reached from the network, and there are no credentials; set admin.token, or admin.users, admin.tokens or admin.oidc, or listen on 127.0.0.1", admin.Address)
	}
	if admin.Open() && admin.BehindProxy {
		return signin.Config{}, errors.New("admin.behind_proxy: is set, and there are no credentials; set admin.token, or admin.users, admin.tokens or admin.oidc, or remove admin.behind_proxy")
	}
	c := signin.Config{
		Store: a.store, Secure: admin.TLS.Enabled() || admin.BehindProxy, Idle: admin.SessionIdle, Lifetime: admin.SessionLifetime,
		TrustedProxies: admin.TrustedProxies,
	}
	for i := range admin.Users {
		hash, err := bell.ParsePasswordHash(admin.Users[i].PasswordHash)
		if err != nil {
			return signin.Config{}, fmt.Errorf("admin.users[%d].password_hash: %w", i, err)
		}
		c.Users = append(c.Users, signin.User{Name: admin.Users[i].Name, Hash: hash, Role: admin.Users[i].Role})
	}
	for i := range admin.Tokens {
		c.Tokens = append(c.Tokens, signin.Token{Name: admin.Tokens[i].Name, Sum: admin.Tokens[i].Sum(), Role: admin.Tokens[i].Role})
	}
	if !admin.OIDC.Enabled() {
		return c, nil
	}
	roots, err := ProviderRoots(a.cfg.CAFile)
	if err != nil {
		return signin.Config{}, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 2,
	}
	a.cleanups.push("close the connections to the identity provider", func(context.Context) error { transport.CloseIdleConnections(); return nil })
	c.OIDC = oidcOf(&admin.OIDC)
	c.OIDC.Transport = transport
	return c, nil
}

func oidcOf(o *config.AdminOIDC) *signin.OIDC {
	made := &signin.OIDC{
		Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: o.ClientSecret, RedirectURL: o.RedirectURL, Scopes: o.Scopes,
		RoleClaim: o.RoleClaim, Roles: map[string]bell.Role{}, Domains: o.AllowedDomains, Emails: o.AllowedEmails,
	}
	if o.DefaultRole != config.NoRole {
		made.DefaultRole = o.DefaultRole
	}
	for role, values := range map[bell.Role][]string{bell.Viewer: o.Roles.Viewer, bell.Operator: o.Roles.Operator, bell.Admin: o.Roles.Admin} {
		for _, value := range values {
			made.Roles[value] = role
		}
	}
	return made
}

func onLoopback(address net.Addr) bool {
	at, err := netip.ParseAddrPort(address.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// hostsOf are the names under which the admin listener may be addressed: an operator may have
// put it behind the public name, and people come back from an identity provider to its own.
func hostsOf(c *config.Config) []string {
	var hosts []string
	for _, address := range []string{c.Public.BaseURL, c.Admin.OIDC.RedirectURL} {
		if u, err := url.Parse(address); err == nil && u.Hostname() != "" {
			hosts = append(hosts, u.Hostname())
		}
	}
	return hosts
}
