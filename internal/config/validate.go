package config

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// checker looks for what would fail later, or would work and not be meant.
type checker struct {
	*problems
	now         time.Time
	secretFiles []string // that were looked at
}

// The shortest secrets that cannot be guessed, and what HS256 asks of its key (RFC 7518
// section 3.2): 32 bytes, 64 characters in hexadecimal.
const (
	minAdminToken = 16
	minSigningKey = 64
)

// shortMemory is what a person may well not open an app for.
const shortMemory = 30 * 24 * time.Hour

func (c *checker) config(cfg *Config) {
	if info, err := os.Stat(cfg.DataDir); err == nil && !info.IsDir() {
		c.wrong("data_dir", cfg.DataDir+" is a file, want a folder.")
	}
	if cfg.CAFile != "" {
		c.certificates("ca_file", cfg.CAFile)
	}
	c.nodes(cfg)
	c.public(&cfg.Public)
	c.admin(&cfg.Admin)
	if cfg.Public.Address == cfg.Admin.Address && !strings.HasSuffix(cfg.Public.Address, ":0") {
		c.wrong("admin.address", "is the same as public.address; the two listeners need an address each.")
	}
	c.signingKey(cfg)
	if cfg.Calls.Safety >= cfg.Calls.RingTime {
		c.wrong("calls.safety", fmt.Sprintf("%s, want less than calls.ring_time (%s).", durationText(cfg.Calls.Safety), durationText(cfg.Calls.RingTime)))
	}
	if cfg.Calls.RingTime > time.Minute {
		c.warn("calls.ring_time", "is longer than the 60 seconds that PlanetKit waits for an answer; later pushes reach calls that are over.")
	}
	if cfg.LongPoll.Hold >= cfg.Calls.RingTime {
		c.wrong("long_poll.hold", fmt.Sprintf("%s, want less than calls.ring_time (%s), or a client that polls anew may miss a whole call.",
			durationText(cfg.LongPoll.Hold), durationText(cfg.Calls.RingTime)))
	}
	if cfg.Devices.ForgetUnseenAfter < shortMemory {
		c.warn("devices.forget_unseen_after", "is less than 30 days: the phone of somebody who does not open the app for so long rings no more.")
	}
	c.retention("retention.calls", cfg.Retention.Calls)
	c.retention("retention.journal", cfg.Retention.Journal)
	c.retention("retention.audit", cfg.Retention.Audit)
	if keep := cfg.Retention.Calls; keep > 0 && keep < cfg.Calls.LostAfter {
		c.wrong("retention.calls", fmt.Sprintf("%s, want at least calls.lost_after, %s: a call must not be removed while its end is waited for.",
			durationText(keep), durationText(cfg.Calls.LostAfter)))
	}
	c.projects(cfg)
	c.canaries(cfg)
	c.telemetry(&cfg.Telemetry.Traces)
}

// retention refuses what would remove calls that ring, or that people still ask about.
func (c *checker) retention(path string, keep time.Duration) {
	if keep > 0 && keep < 24*time.Hour {
		c.wrong(path, fmt.Sprintf("%s, want at least 24h, or 0s to keep everything.", durationText(keep)))
	}
}

func (c *checker) signingKey(cfg *Config) {
	const path = "app_tokens.signing_key"
	text := cfg.AppTokens.SigningKey.Reveal()
	_, err := hex.DecodeString(text)
	switch {
	case text == "":
		c.wrong(path, "is missing; make one with `openssl rand -hex 32`.")
	case err != nil:
		c.wrong(path, fmt.Sprintf("%d characters that are not all hexadecimal, want at least %d hexadecimal; make one with `openssl rand -hex 32`.", len(text), minSigningKey))
	case len(text) < minSigningKey:
		c.wrong(path, fmt.Sprintf("%d characters, want at least %d hexadecimal; make one with `openssl rand -hex 32`.", len(text), minSigningKey))
	}
	for i, p := range cfg.Projects {
		if text != "" && p.APISecret == cfg.AppTokens.SigningKey {
			c.wrong(path, fmt.Sprintf("is the same as projects[%d].api_secret; an app token could then pass as an access token of LINE Planet.", i))
		}
	}
}

func (c *checker) public(p *Public) {
	host, port, ok := c.address("public.address", p.Address)
	switch {
	case !ok || p.TLS.Enabled() || p.BehindProxy || loopback(host):
	default:
		c.wrong("public.address", p.Address+" would serve plain HTTP to the network; set public.tls, or public.behind_proxy: true when a proxy in front ends TLS.")
	}
	if p.BehindProxy && len(p.TrustedProxies) == 0 {
		c.warn("public.trusted_proxies", "is empty behind a proxy: every client seems to have the proxy's address, so limits per address count them all as one.")
	}
	c.baseURL(p)
	for i, origin := range p.WebOrigins {
		if !isOrigin(origin) {
			c.wrong("public.web_origins", fmt.Sprintf("entry %d: want scheme and host only, such as https://app.example.com.", i))
		}
	}
	t := &p.TLS
	if t.ACME.Enabled() {
		c.acme(p, port)
	}
	c.keyPair("public.tls", t.CertificateFile, t.KeyFile)
}

func (c *checker) acme(p *Public, port string) {
	a := &p.TLS.ACME
	if p.TLS.CertificateFile != "" || p.TLS.KeyFile != "" {
		c.wrong("public.tls.acme", "cannot be used together with certificate_file; keep one of them.")
	}
	if port != "443" {
		c.warn("public.tls.acme", "the authority knocks on port 443, and public.address has port "+port+"; forward 443 to it.")
	}
	for i, domain := range a.Domains {
		if strings.Contains(domain, "*") || !strings.Contains(domain, ".") || strings.ContainsAny(domain, ":/ ") || net.ParseIP(domain) != nil {
			c.wrong("public.tls.acme.domains", fmt.Sprintf("entry %d: %s, want a full host name; names with * and addresses are not possible here.", i, quote(domain)))
		}
	}
	if a.Email != "" && !strings.Contains(a.Email, "@") {
		c.wrong("public.tls.acme.email", "want an e-mail address.")
	}
	if a.DirectoryURL != "" {
		c.serverURL("public.tls.acme.directory_url", a.DirectoryURL)
	}
}

// baseURL holds to docs/line-planet.md 3.7: what is registered is scheme, host and path; how
// Planet Cloud treats a query in it is unknown.
func (c *checker) baseURL(p *Public) {
	const path = "public.base_url"
	if p.BaseURL == "" {
		return
	}
	u, err := url.Parse(p.BaseURL)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		c.wrong(path, "want a URL such as https://calls.example.com.")
	case u.User != nil:
		c.wrong(path, "contains a user name or password; leave it out, the callback secret protects the URLs.")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		c.wrong(path, "has a query or fragment; LINE Planet appends its own query, so give scheme, host and path only.")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		c.warn(path, "is not https: callbacks carry key material of calls (cc_param) and the callback secret in the clear.")
	}
}

// address checks host:port. Host names other than localhost are allowed: they resolve
// at start.
func (c *checker) address(path, address string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		c.wrong(path, quote(address)+", want host:port, such as 127.0.0.1:8080.")
		return "", "", false
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		c.wrong(path, quote(address)+", want a port from 0 to 65535.")
		return "", "", false
	}
	return host, port, true
}

// loopback reports whether a host can be reached from this machine only.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func isOrigin(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.Scheme+"://"+u.Host == strings.ToLower(origin)
}

// serverURL checks the address of a server that we call. Plain HTTP is for fakes on the
// same machine.
func (c *checker) serverURL(path, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		c.wrong(path, "want a URL of scheme, host and perhaps a path, such as https://push.example.com.")
	case u.Scheme == "https":
	case u.Scheme == "http" && loopback(u.Hostname()):
	default:
		c.wrong(path, "want https; plain http is for a fake on the same machine.")
	}
}

// privateFiles warns about files with secrets that everybody on the machine can read.
func (c *checker) privateFiles(d *decoder) {
	for _, s := range d.secrets {
		c.private(s.path, s.name)
	}
	if d.file == "" {
		return
	}
	for path, source := range d.layers.sources {
		if field, ok := fieldAt(configType, strings.Split(path, ".")); ok && field.Type == secretType && source == d.file {
			c.private("", d.file)
			return
		}
	}
}

func (c *checker) private(path, name string) {
	if name != "" {
		c.secretFiles = append(c.secretFiles, name)
	}
	info, err := os.Stat(name)
	if err != nil || runtime.GOOS == "windows" || info.Mode().Perm()&0o004 == 0 {
		return
	}
	where, message := c.where(path), name+" holds"
	if path == "" { // the configuration file itself
		where, message = name, "holds"
	}
	c.warnings = append(c.warnings, Problem{
		Where: where, Path: path,
		Message: fmt.Sprintf("%s a secret and every user of this machine can read it (mode %04o); `chmod o-r` it.", message, info.Mode().Perm()),
	})
}

// same lists the earlier projects with the same value, for every project but the first.
func same[T any, K comparable](list []T, of func(*T) K, report func(index, first int)) {
	seen := map[K]int{}
	var empty K
	for i := range list {
		value := of(&list[i])
		if first, ok := seen[value]; ok && value != empty {
			report(i, first)
			continue
		}
		seen[value] = i
	}
}

// characters says how a secret differs from what is wanted, without showing any of it.
func characters(s planet.Secret, allowed func(r rune) bool) (length int, strange bool) {
	return len(s), strings.ContainsFunc(s.Reveal(), func(r rune) bool { return !allowed(r) })
}
