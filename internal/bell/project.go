package bell

import (
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Project is one (environment, service ID) pair with its LINE Planet keys. One
// process serves many. It is read-only after start.
type Project struct {
	Name           string // the operator's short name for it
	Environment    planet.Environment
	ServiceID      string
	APIKey         string
	APISecret      planet.Secret
	ClientKey      planet.Secret // what clients send as apiKey in register_user
	CallbackSecret planet.Secret // the path segment of its callback URLs

	EnvironmentLabel string        // sent to clients as "_env"
	SharedUserIDs    bool          // several installations may register the same user ID
	UnknownCallee404 bool          // answer 404 to Notify when the callee has no device
	AppTokenLifetime time.Duration // of the token that register_user gives out
	IssuedAtSkew     time.Duration // subtracted from iat of PlanetKit access tokens
	TellMissedCalls  bool          // to the callee's devices that can show a notification
	VoIPInvitations  bool          // the project's apps report a call to CallKit for a VoIP push without cc_param
	PushHosts        PushHosts     // the push services that Web Push subscriptions may name; none: no Web Push
	Events           EventSet      // that some endpoint of the customer's wants to be told; no other is made
}

// Reaches reports whether the project's callbacks may name serviceID's users. A
// caller may belong to another service; a callee belongs to one that is configured.
func (p *Project) Reaches(environment planet.Environment, serviceID string) bool {
	return p.Environment == environment && p.ServiceID == serviceID
}
