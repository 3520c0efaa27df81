package config

import (
	"net"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Enabled reports whether the listener speaks HTTPS.
func (t PublicTLS) Enabled() bool {
	return t.CertificateFile != "" || t.KeyFile != "" || t.ACME.Enabled()
}

// Enabled reports whether certificates come through ACME.
func (a ACME) Enabled() bool { return len(a.Domains) > 0 }

// Enabled reports whether the listener speaks HTTPS.
func (t AdminTLS) Enabled() bool { return t.CertificateFile != "" || t.KeyFile != "" }

// Enabled reports whether there is a Firebase credential.
func (f FCM) Enabled() bool { return f.ServiceAccount != "" }

// Deadline is how long after Notify the last attempt may start: RingTime less Safety.
func (c Calls) Deadline() time.Duration { return c.RingTime - c.Safety }

// Domain returns the project as the domain knows it, without its push credentials.
func (p *Project) Domain() *bell.Project {
	label := p.EnvironmentLabel
	if label == "" {
		label = string(p.Environment)
	}
	return &bell.Project{
		Name: p.Name, Environment: p.Environment, ServiceID: p.ServiceID,
		APIKey: p.APIKey, APISecret: p.APISecret, ClientKey: p.ClientKey, CallbackSecret: p.CallbackSecret,
		EnvironmentLabel: label, SharedUserIDs: p.SharedUserIDs, UnknownCallee404: p.UnknownCallee == Refuse,
		AppTokenLifetime: p.AppTokenLifetime, IssuedAtSkew: p.IssuedAtSkew, Events: p.wanted(),
		TellMissedCalls: p.MissedCalls.Push, VoIPInvitations: p.Invitations.VoIP,
		PushHosts: p.WebPush.Endpoints(),
	}
}

// wanted is what any of the project's endpoints wants to be told.
func (p *Project) wanted() bell.EventSet {
	var all bell.EventSet
	for i := range p.Events {
		all = all.Union(p.Events[i].Wanted())
	}
	return all
}

// Wanted is what the endpoint wants to be told: Types, or everything.
func (e *Endpoint) Wanted() bell.EventSet {
	if len(e.Types) == 0 {
		return bell.Events(bell.EventTypes()...)
	}
	return bell.Events(e.Types...)
}

// ExternalURL returns how the server is seen from outside, without a trailing slash:
// BaseURL, or an address to reach it from the same machine.
func (p Public) ExternalURL() string {
	if p.BaseURL != "" {
		return strings.TrimRight(p.BaseURL, "/")
	}
	scheme := "http://"
	if p.TLS.Enabled() {
		scheme = "https://"
	}
	return scheme + reachable(p.Address)
}

// URL returns how the admin listener is reached from the same machine.
func (a Admin) URL() string {
	scheme := "http://"
	if a.TLS.Enabled() {
		scheme = "https://"
	}
	return scheme + reachable(a.Address)
}

// reachable replaces a host that means "every interface" by one that can be called.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// CallbackURL is one URL to register in the LINE Planet Console.
type CallbackURL struct {
	Field string // the Console's name for it, such as notify_cb
	Path  string // what follows the secret, such as notify
	URL   string // whole; it contains the secret
}

// CallbackURLs returns the project's callback URLs, with the secret as its argument
// says: pass CallbackSecret.Reveal() to register them and a mask to show them.
func (p *Project) CallbackURLs(public Public, recording bool, secret string) []CallbackURL {
	base := public.ExternalURL() + "/cb/" + secret + "/"
	urls := []CallbackURL{
		{Field: "notify_cb", Path: "notify"},
		{Field: "on_call_evt_cb", Path: "call-event"},
		{Field: "on_gcall_evt_cb", Path: "group-call-event"},
		{Field: "agent_call_status_cb", Path: "agent-call-status"},
	}
	if recording {
		urls = append(urls, CallbackURL{Field: "on_call_rec_cb", Path: "recording"})
	}
	for i := range urls {
		urls[i].URL = base + urls[i].Path
	}
	return urls
}

// MaskedSecret stands for a callback secret in what is printed: its public
// fingerprint, which tells two secrets apart and opens nothing.
func MaskedSecret(s planet.Secret) string { return "***" + s.Fingerprint() + "***" }
