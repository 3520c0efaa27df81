package signin

import "github.com/planetbell/planetbell/internal/bell"

// Via is how somebody proved who they are. It is stable, for programs.
type Via string

// The values of [Via].
const (
	// ViaToken is an API token in the header Authorization.
	ViaToken Via = "token"
	// ViaPassword is a session that began with a name and a password.
	ViaPassword Via = "password"
	// ViaOIDC is a session that began at an identity provider (OpenID Connect).
	ViaOIDC Via = "oidc"
	// ViaLoopback is a request from this machine, while no credentials are configured.
	ViaLoopback Via = "loopback"
)

// Principal is who asks. The zero value is nobody, who may do nothing.
type Principal struct {
	Name string // as the configuration or the identity provider has it, at most 128 characters
	Role bell.Role
	Via  Via
}
