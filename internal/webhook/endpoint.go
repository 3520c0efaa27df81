// Package webhook tells the customer's own systems what happened: each event that was
// recorded (bell.Event) goes by HTTP POST, signed by the scheme of Standard Webhooks 1.0, to
// every endpoint that wants its type: at least once, and those of one subject in the order in
// which they were recorded. What an endpoint does not take is tried again over three days,
// then kept as a dead letter that can be replayed. docs/events.md is the contract.
//
// Nothing here can slow a ring: events are read from the database by goroutines of their
// own, bounded for each endpoint, with an HTTP client of their own; the database is asked a
// bounded number of times a second, and no lock is shared with the way of a call.
package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Endpoint is one place of the customer's that wants to be told. It is read-only.
type Endpoint struct {
	Project  string
	Name     string            // unique within the project
	URL      planet.Secret     // may hold a secret; only its host is ever shown
	Fallback planet.Secret     // told instead while URL does not take events; may be empty
	Keys     []bell.SigningKey // each signs; the receiver accepts any
	Types    bell.EventSet     // that it wants
}

// ID names the endpoint in the database, the admin API and metrics: "<project>/<name>".
func (e *Endpoint) ID() string { return e.Project + "/" + e.Name }

// Host is what may be shown of the URL.
func (e *Endpoint) Host() string { return hostOf(e.URL) }

func hostOf(address planet.Secret) string {
	u, err := url.Parse(address.Reveal())
	if err != nil {
		return ""
	}
	return u.Host
}

// print stands for the endpoint's address: a gone endpoint with another address is another.
func (e *Endpoint) print() string {
	sum := sha256.Sum256([]byte(e.URL.Reveal()))
	return hex.EncodeToString(sum[:8])
}
