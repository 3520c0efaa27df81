// Package signin says who asks on the admin listener: whoever has an API token, signed in with
// a password or through an identity provider, or is on this machine while there are no
// credentials at all. What a role may do is not its business: package console's routes say that.
package signin
