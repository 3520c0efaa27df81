package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// callbackPath is where the identity provider sends people back to.
const callbackPath = "/signin/oidc/callback"

// maxAdminNames bounds users and tokens: every token is compared with each request's.
const maxAdminNames = 200

func (c *checker) admin(a *Admin) {
	host, _, ok := c.address("admin.address", a.Address)
	reachable := ok && !loopback(host)
	switch {
	case a.Open() && reachable:
		c.wrong("admin.token", "is missing, and admin.address "+a.Address+" can be reached from the network; set a token of at least 16 characters, or admin.users, admin.tokens or admin.oidc, or listen on 127.0.0.1.")
	case a.Open() && a.BehindProxy:
		c.wrong("admin.behind_proxy", "is set, and there are no credentials: to this server everybody who reaches the proxy would be on this machine, with the role admin; set admin.token of at least 16 characters, or admin.users, admin.tokens or admin.oidc, or remove admin.behind_proxy.")
	case a.Open():
		c.warn("admin.token", "is empty: every user and program on this machine can use the admin API.")
	case reachable && !a.TLS.Enabled() && !a.BehindProxy:
		c.warn("admin.address", a.Address+" serves plain HTTP to the network, so tokens and passwords travel in the clear; set admin.tls, or admin.behind_proxy when a proxy in front ends TLS, or listen on 127.0.0.1.")
	}
	if a.BehindProxy && len(a.TrustedProxies) == 0 {
		c.warn("admin.trusted_proxies", "is empty behind a proxy: everybody seems to have the proxy's address, so whoever tries passwords keeps everybody else from signing in with one.")
	}
	if n := len(a.Token); n > 0 && n < minAdminToken {
		c.wrong("admin.token", fmt.Sprintf("%d characters, want at least %d.", n, minAdminToken))
	}
	if a.SessionIdle > a.SessionLifetime {
		c.wrong("admin.session_idle", fmt.Sprintf("%s, want at most admin.session_lifetime (%s).", durationText(a.SessionIdle), durationText(a.SessionLifetime)))
	}
	c.keyPair("admin.tls", a.TLS.CertificateFile, a.TLS.KeyFile)
	c.adminUsers(a)
	c.adminTokens(a)
	c.adminOIDC(a)
}

func (c *checker) adminUsers(a *Admin) {
	if len(a.Users) > maxAdminNames {
		c.wrong("admin.users", fmt.Sprintf("%d entries, want at most %d.", len(a.Users), maxAdminNames))
	}
	for i := range a.Users {
		u, at := &a.Users[i], fmt.Sprintf("admin.users[%d]", i)
		c.adminName(at+".name", u.Name)
		if u.PasswordHash == "" {
			c.wrong(at+".password_hash", "is missing; make one with `planetbell admin hash-password`.")
		} else if _, err := bell.ParsePasswordHash(u.PasswordHash); err != nil {
			c.wrong(at+".password_hash", err.Error()+".")
		}
	}
	same(a.Users, func(u *AdminUser) string { return u.Name }, func(i, first int) {
		c.wrong(fmt.Sprintf("admin.users[%d].name", i), fmt.Sprintf("%s is also the name of admin.users[%d]; give each user a name of their own.", quote(a.Users[i].Name), first))
	})
	same(a.Users, func(u *AdminUser) planet.Secret { return u.PasswordHash }, func(i, first int) {
		c.wrong(fmt.Sprintf("admin.users[%d].password_hash", i), fmt.Sprintf("is the same as admin.users[%d].password_hash; even one password has another hash each time.", first))
	})
}

func (c *checker) adminTokens(a *Admin) {
	if len(a.Tokens) > maxAdminNames {
		c.wrong("admin.tokens", fmt.Sprintf("%d entries, want at most %d.", len(a.Tokens), maxAdminNames))
	}
	for i := range a.Tokens {
		t, at := &a.Tokens[i], fmt.Sprintf("admin.tokens[%d]", i)
		c.adminName(at+".name", t.Name)
		if t.Name == "admin.token" {
			c.wrong(at+".name", "admin.token is the name of that setting's token; choose another.")
		}
		sum, err := hex.DecodeString(t.TokenSHA256.Reveal())
		switch {
		case t.Token == "" && t.TokenSHA256 == "":
			c.wrong(at+".token", "is missing, and token_sha256 too; make one with `planetbell admin token`.")
		case t.Token != "" && t.TokenSHA256 != "":
			c.wrong(at+".token_sha256", "is set, and token too; keep one of them.")
		case t.Token != "" && len(t.Token) < minAdminToken:
			c.wrong(at+".token", fmt.Sprintf("%d characters, want at least %d.", len(t.Token), minAdminToken))
		case t.TokenSHA256 != "" && (err != nil || len(sum) != sha256.Size):
			c.wrong(at+".token_sha256", fmt.Sprintf("%d characters, want 64 hexadecimal; `planetbell admin token` prints a token and its hash.", len(t.TokenSHA256)))
		}
	}
	same(a.Tokens, func(t *AdminToken) string { return t.Name }, func(i, first int) {
		c.wrong(fmt.Sprintf("admin.tokens[%d].name", i), fmt.Sprintf("%s is also the name of admin.tokens[%d]; give each token a name of its own.", quote(a.Tokens[i].Name), first))
	})
	// What the same token may do must not depend on which entry is found first.
	all := append([]AdminToken{{Token: a.Token}}, a.Tokens...)
	same(all, func(t *AdminToken) [sha256.Size]byte { return t.Sum() }, func(i, first int) {
		other := "admin.token"
		if first > 0 {
			other = fmt.Sprintf("admin.tokens[%d]", first-1)
		}
		c.wrong(fmt.Sprintf("admin.tokens[%d].token", i-1), "is the same token as "+other+"; give each entry its own.")
	})
}

// Sum is the token's SHA-256; zero if there is no token, or TokenSHA256 is none.
func (t *AdminToken) Sum() (sum [sha256.Size]byte) {
	if t.Token != "" {
		return sha256.Sum256([]byte(t.Token.Reveal()))
	}
	if raw, err := hex.DecodeString(t.TokenSHA256.Reveal()); err == nil && len(raw) == len(sum) {
		copy(sum[:], raw)
	}
	return sum
}

func (c *checker) adminName(path, name string) {
	strange := strings.ContainsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(".-_@", r))
	})
	switch {
	case name == "":
		c.wrong(path, "is missing; it stands in the audit log.")
	case strange || len(name) > 64:
		c.wrong(path, quote(name)+", want 1 to 64 letters, digits, dots, hyphens, underscores and @.")
	}
}

func (c *checker) adminOIDC(a *Admin) {
	const at = "admin.oidc"
	o := &a.OIDC
	if !o.Enabled() {
		if o.ClientID != "" || o.ClientSecret != "" || o.RedirectURL != "" {
			c.wrong(at+".issuer", "is missing; name the identity provider's address, or remove admin.oidc.")
		}
		return
	}
	c.serverURL(at+".issuer", o.Issuer)
	if o.ClientID == "" {
		c.wrong(at+".client_id", "is missing; it is what the identity provider calls this server.")
	}
	u, err := url.Parse(o.RedirectURL)
	switch {
	case err != nil || u.Host == "" || u.Path != callbackPath || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		c.wrong(at+".redirect_url", "want the admin listener's address with the path "+callbackPath+", such as https://admin.example.com"+callbackPath+".")
	case u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())):
		c.wrong(at+".redirect_url", "want https; plain http is for this machine only.")
	}
	if !slices.Contains(o.Scopes, "openid") {
		c.wrong(at+".scopes", "does not have openid, without which there is no ID token.")
	}
	c.oidcAccess(o)
}

// oidcAccess refuses what would let nobody in, or everybody.
func (c *checker) oidcAccess(o *AdminOIDC) {
	const at = "admin.oidc"
	mapped := slices.Concat(o.Roles.Viewer, o.Roles.Operator, o.Roles.Admin)
	bounded := len(o.AllowedDomains)+len(o.AllowedEmails) > 0
	switch {
	case o.RoleClaim == "" && len(mapped) > 0:
		c.wrong(at+".role_claim", "is missing; say in which claim the values of roles are found.")
	case o.RoleClaim != "" && len(mapped) == 0:
		c.wrong(at+".roles", "is empty; say which values of "+quote(o.RoleClaim)+" are which role.")
	case o.RoleClaim == "" && o.DefaultRole == NoRole:
		c.wrong(at+".default_role", "is none, and there is no role_claim: nobody could sign in.")
	case o.DefaultRole != NoRole && !bounded:
		c.wrong(at+".default_role", "would let everybody in whom the identity provider knows; name allowed_domains or allowed_emails, or use role_claim.")
	}
	for i, value := range mapped {
		if slices.Index(mapped, value) != i {
			c.wrong(at+".roles", fmt.Sprintf("%s stands there twice; give it one role.", quote(value)))
		}
	}
	for i, d := range o.AllowedDomains {
		if strings.ContainsAny(d, "@* /") || !strings.Contains(d, ".") || d != strings.ToLower(d) {
			c.wrong(at+".allowed_domains", fmt.Sprintf("entry %d: %s, want what follows the @, in small letters, such as example.com.", i, quote(d)))
		}
	}
	for i, e := range o.AllowedEmails {
		if name, domain, ok := strings.Cut(e, "@"); !ok || name == "" || domain == "" || e != strings.ToLower(e) {
			c.wrong(at+".allowed_emails", fmt.Sprintf("entry %d: %s, want an e-mail address in small letters.", i, quote(e)))
		}
	}
}

// NoRole is the DefaultRole of who is refused.
const NoRole = bell.Role("none")
