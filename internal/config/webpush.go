package config

import (
	"net/netip"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// PlaceholderVAPIDSubject is what `planetbell init` writes when it knows no contact.
const PlaceholderVAPIDSubject = "mailto:you@example.com"

// WebPush is one VAPID key, by which push services know the server (RFC 8292), and the push
// services that browsers may name.
type WebPush struct {
	// VAPIDPrivateKey signs: a P-256 private key, its 32 bytes in base64url or PEM. Browsers
	// subscribe for its public key, so another one ends all subscriptions. Empty: no Web Push.
	VAPIDPrivateKey planet.Secret `koanf:"vapid_private_key"`
	// VAPIDPrivateKeyFile is where Load read VAPIDPrivateKey from. Empty: it was given.
	VAPIDPrivateKeyFile string `koanf:"-"`
	// VAPIDSubject is whom a push service may write to when something is wrong: mailto: and an
	// address, or an https URL.
	VAPIDSubject string `koanf:"vapid_subject"`
	// Hosts are the push services that subscriptions may name: a host, or "*." before a domain
	// for all hosts in it; port 443 unless one is named.
	Hosts []string `koanf:"hosts" default:"fcm.googleapis.com,*.push.services.mozilla.com,*.push.apple.com,*.notify.windows.com"`
	// AllowPrivate are addresses or CIDR ranges that push services may have although they are
	// not public. For tests, and push services of one's own. Empty: public addresses only.
	AllowPrivate []netip.Prefix `koanf:"allow_private"`
}

// Enabled reports whether there is a VAPID key.
func (w *WebPush) Enabled() bool { return w.VAPIDPrivateKey != "" }

// Endpoints are the push services that subscriptions may name; none without a VAPID key.
// Invalid entries are left out: Load refuses them.
func (w *WebPush) Endpoints() bell.PushHosts {
	if !w.Enabled() {
		return nil
	}
	hosts := make(bell.PushHosts, 0, len(w.Hosts))
	for _, text := range w.Hosts {
		if h, err := bell.ParsePushHost(text); err == nil {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// webPush checks the VAPID key, and whom subscriptions may name.
func (c *checker) webPush(w *WebPush, at string) {
	for _, text := range w.Hosts {
		if _, err := bell.ParsePushHost(text); err != nil {
			c.wrong(at+".hosts", err.Error()+".")
		}
	}
	if !w.Enabled() {
		if w.VAPIDSubject != "" {
			c.warn(at+".vapid_subject", "does nothing without vapid_private_key: no browser will ring.")
		}
		return
	}
	if _, err := bell.ParseVAPIDKey(w.VAPIDPrivateKey); err != nil {
		c.wrong(at+".vapid_private_key", err.Error()+".")
	}
	if err := bell.CheckVAPIDSubject(w.VAPIDSubject); err != nil {
		c.wrong(at+".vapid_subject", err.Error()+".")
	}
	if w.VAPIDSubject == PlaceholderVAPIDSubject {
		c.warn(at+".vapid_subject", "is a placeholder; put in how push services can reach you.")
	}
	if len(w.Hosts) == 0 {
		c.wrong(at+".hosts", "is empty: no subscription could be registered; name push services, or leave it out.")
	}
	if len(w.AllowPrivate) > 0 {
		c.warn(at+".allow_private", "lets pages of any user make the server send to addresses that are not public; it is for tests.")
	}
}
