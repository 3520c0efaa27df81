package config

import (
	"net/netip"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Admin is the operator's listener: console, admin API, metrics, health.
type Admin struct {
	// Address is host:port to listen on; loopback by default.
	Address string `koanf:"address" default:"127.0.0.1:8081"`
	// Token opens the admin API ("Authorization: Bearer"), with the role admin. At least 16
	// characters. While there is no Token, none of Tokens, no one of Users and no OIDC,
	// everybody who reaches the address is let in, which is allowed on loopback only and not
	// behind a proxy.
	Token planet.Secret `koanf:"token"`
	// TLS makes the listener speak HTTPS.
	TLS AdminTLS `koanf:"tls"`
	// BehindProxy says that a proxy in front ends TLS, so that plain HTTP on a non-loopback
	// address is meant, and cookies are for HTTPS only. Wants credentials, also on loopback: a
	// proxy on this machine would pass for it.
	BehindProxy bool `koanf:"behind_proxy" default:"false"`
	// TrustedProxies are the proxies whose X-Forwarded-For is believed: addresses or CIDR ranges.
	// Empty: none, the limits of sign-ins and the audit log have the peer's own address.
	TrustedProxies []netip.Prefix `koanf:"trusted_proxies"`
	// ProtectMetrics makes /metrics want the role viewer. Off: it is open to whoever reaches
	// the address.
	ProtectMetrics bool `koanf:"protect_metrics" default:"false"`
	// Users sign in to the console with a password.
	Users []AdminUser `koanf:"users"`
	// Tokens open the admin API, each with a role of its own.
	Tokens []AdminToken `koanf:"tokens"`
	// OIDC lets people sign in through an identity provider.
	OIDC AdminOIDC `koanf:"oidc"`
	// SessionIdle is how long a session is kept that does nothing. 5 minutes to 30 days.
	SessionIdle time.Duration `koanf:"session_idle" default:"12h" min:"5m" max:"720h"`
	// SessionLifetime is how long a session lasts at most. 5 minutes to 90 days, and not less
	// than SessionIdle.
	SessionLifetime time.Duration `koanf:"session_lifetime" default:"168h" min:"5m" max:"2160h"`
}

// AdminTLS is the admin listener's certificate.
type AdminTLS struct {
	// CertificateFile is the PEM certificate with its chain.
	CertificateFile string `koanf:"certificate_file" path:"yes"`
	// KeyFile is the PEM private key of CertificateFile.
	KeyFile string `koanf:"key_file" path:"yes"`
}

// AdminUser is somebody who signs in with a password.
type AdminUser struct {
	// Name is unique: 1 to 64 letters, digits, dots, hyphens, underscores and @.
	Name string `koanf:"name"`
	// PasswordHash is an Argon2id PHC string, made by "planetbell admin hash-password".
	PasswordHash planet.Secret `koanf:"password_hash"`
	// Role is what the user may do. Changing it, or PasswordHash, ends the user's sessions.
	Role bell.Role `koanf:"role" default:"viewer" oneof:"viewer operator admin"`
}

// AdminToken is an API token. It has either Token or TokenSHA256.
type AdminToken struct {
	// Name is unique, and stands in the audit log: as a user's.
	Name string `koanf:"name"`
	// Token is the token itself. At least 16 characters.
	Token planet.Secret `koanf:"token"`
	// TokenSHA256 is the SHA-256 of a random token, 64 hexadecimal characters, as "planetbell
	// admin token" prints it: then the configuration does not hold the token.
	TokenSHA256 planet.Secret `koanf:"token_sha256"`
	// Role is what the token may do.
	Role bell.Role `koanf:"role" default:"viewer" oneof:"viewer operator admin"`
}

// AdminOIDC is an identity provider (OpenID Connect) for sign-in.
type AdminOIDC struct {
	// Issuer is the provider's https address, under which it is discovered. Empty: none.
	Issuer string `koanf:"issuer"`
	// ClientID is what the provider calls this server.
	ClientID string `koanf:"client_id"`
	// ClientSecret is the password for ClientID. Empty: a public client, protected by PKCE.
	ClientSecret planet.Secret `koanf:"client_secret"`
	// RedirectURL is where the provider sends people back to, as it is registered there:
	// https://<the admin listener>/signin/oidc/callback.
	RedirectURL string `koanf:"redirect_url"`
	// Scopes are asked for; openid is needed.
	Scopes []string `koanf:"scopes" default:"openid,profile,email"`
	// RoleClaim is the claim of the ID token that Roles are found in: a text or a list of them.
	RoleClaim string `koanf:"role_claim"`
	// Roles say which values of RoleClaim are which role. The highest counts.
	Roles OIDCRoles `koanf:"roles"`
	// DefaultRole is the role of who has none by RoleClaim: a role, or none, who is refused.
	DefaultRole bell.Role `koanf:"default_role" default:"none" oneof:"none viewer operator admin"`
	// AllowedDomains and AllowedEmails are whose verified e-mail addresses are let in: of these
	// domains, or exactly these. Both empty: everybody who has a role.
	AllowedDomains []string `koanf:"allowed_domains"`
	AllowedEmails  []string `koanf:"allowed_emails"`
}

// OIDCRoles are values of a claim.
type OIDCRoles struct {
	Viewer   []string `koanf:"viewer"`
	Operator []string `koanf:"operator"`
	Admin    []string `koanf:"admin"`
}

// Enabled reports whether people can sign in through the provider.
func (o *AdminOIDC) Enabled() bool { return o.Issuer != "" }

// Open reports whether there are no credentials, so that everybody on this machine is let in.
func (a *Admin) Open() bool {
	return a.Token == "" && len(a.Users) == 0 && len(a.Tokens) == 0 && !a.OIDC.Enabled()
}
