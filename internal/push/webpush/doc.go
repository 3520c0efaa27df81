// Package webpush rings browsers through the push service that each of them named: a message
// that only the browser can read (RFC 8291), from a server that the push service knows by its
// VAPID key (RFC 8292), that lives no longer than the ring (RFC 8030).
//
// A [Client] is one project. Its Send makes one attempt, says by one table (classify.go) what
// came of it, and leaves retries to package delivery. Where a subscription leads was chosen by
// a client, so it is held to a list of push services and, when the connection is made, to
// public addresses (sender.go, client.go).
//
// docs/push-providers.md 3 has the rules with their sources.
package webpush
