// Package planet is LINE Planet's protocol, seen from an app server: the
// identifiers, the callbacks that Planet Cloud sends, release reasons, the
// access token that a PlanetKit client presents, and the notification that must
// reach the callee's device.
//
// It knows nothing of HTTP servers, databases or push providers, and depends on
// the standard library and a JWT library only, so that any Go program can use it.
// Start with [ParseNotify] (a call is coming in), [Notification] (what the
// callee's device must get) and [AccessTokenIssuer] (what a caller's client needs).
//
// LINE Planet and PlanetKit are marks of their owners. This package is
// independent of them.
package planet
