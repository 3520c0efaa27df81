package doctor

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"syscall"

	"github.com/planetbell/planetbell/internal/app"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/httpapi"
)

// listeners looks whether the server can listen, or does.
func (e *exam) listeners(ctx context.Context) {
	local := config.Public{Address: e.cfg.Public.Address, TLS: e.cfg.Public.TLS}
	e.listener(ctx, "public.address", e.cfg.Public.Address, func(c *caller) bool { return e.holdsPublic(ctx, c, local) })
	e.listener(ctx, "admin.address", e.cfg.Admin.Address, func(c *caller) bool { return e.holdsAdmin(ctx, c) })
	host, _, err := net.SplitHostPort(e.cfg.Admin.Address)
	if err == nil && open(host) && !e.cfg.Admin.TLS.Enabled() {
		e.fault("admin.address", "admin-exposed", "Console, metrics and admin API can be reached over the network, without TLS.")
	}
}

// open reports whether others than this machine reach a host to listen on.
func open(host string) bool {
	a, err := netip.ParseAddr(host)
	return host != "localhost" && (err != nil || !a.Unmap().IsLoopback())
}

// listener tries to listen, for a moment.
func (e *exam) listener(ctx context.Context, setting, address string, ours func(*caller) bool) {
	if strings.HasSuffix(address, ":0") {
		e.ok(setting, "The system chooses a port.")
		return
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		_ = l.Close()
		e.ok(setting, "%s is free.", address)
	case errors.Is(err, syscall.EADDRINUSE):
		c := newCaller(nil, (&net.Dialer{Timeout: dialTime}).DialContext)
		defer c.close()
		// The certificate is for the public name; who it is shows in the answer.
		c.transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
		if ours(c) {
			e.ok(setting, "%s is held by the running server of this configuration.", address)
			return
		}
		e.fault(setting, "port-taken", "Another program, or a planetbell with another configuration, listens on %s.", address)
	case errors.Is(err, os.ErrPermission):
		e.fault(setting, "port-forbidden", "This user may not listen on %s.", address)
	default:
		e.fault(setting, "port-address", "Nothing can listen on %s: it is no address of this machine.", address)
	}
}

// ours reports whether an answer proves that this server gave it.
func (e *exam) ours(response *http.Response, nonce string) bool {
	return response.Header.Get(httpapi.IdentityHeader) == app.Identity(e.cfg.AppTokens.SigningKey, nonce)
}

// holdsPublic asks who listens. The callback secret goes to this machine only.
func (e *exam) holdsPublic(ctx context.Context, c *caller, local config.Public) bool {
	for i := range e.cfg.Projects {
		p := &e.cfg.Projects[i]
		nonce := rand.Text()
		response, err := c.ask(ctx, http.MethodHead, local.ExternalURL()+"/cb/"+p.CallbackSecret.Reveal()+"/notify", http.Header{httpapi.NonceHeader: {nonce}})
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		if e.ours(response, nonce) {
			return true
		}
	}
	return false
}

// holdsAdmin asks the admin listener, which says who it is also while it starts or stops.
func (e *exam) holdsAdmin(ctx context.Context, c *caller) bool {
	nonce := rand.Text()
	response, err := c.ask(ctx, http.MethodHead, e.cfg.Admin.URL()+"/readyz", http.Header{httpapi.NonceHeader: {nonce}})
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return e.ours(response, nonce)
}
