package fcm

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Account names a service account.
type Account struct {
	Project string
	Email   string // no secret
}

// ReadAccount reads the file of a service account as a client would. The error is of kind
// bell.Invalid and holds nothing of the file.
func ReadAccount(text planet.Secret) (Account, error) {
	a, err := readAccount(text)
	return Account{a.project, a.email}, err
}

// Probed is what Google said to a service account.
type Probed struct {
	Project string // that the account is of
	// Token is the outcome of asking for an access token; accepted if one was given. Its status is
	// that of the token server, 0 if there was no answer.
	Token bell.Outcome
	// Message is the outcome of a message to a device that does not exist. Zero without a token.
	Message bell.Outcome
}

// Probe asks Google for an access token, and FCM to look at a message to a token that is none
// (docs/push-providers.md 2.1, validate_only): nothing is delivered. It waits until ctx ends and
// leaves nothing running. cfg.Clock also dates the assertion. The error is of kind
// bell.Invalid, of an account or URL that cannot be used.
func Probe(ctx context.Context, cfg Config) (Probed, error) {
	a, err := readAccount(cfg.ServiceAccount)
	if err != nil {
		return Probed{}, err
	}
	p := Probed{Project: a.project}
	if err := cfg.complete(); err != nil {
		return p, err
	}
	send, err := sendURL(cfg.BaseURL, a)
	if err != nil {
		return p, err
	}
	c := &Client{name: cfg.Name, account: a, sendURL: send, now: cfg.Clock, metrics: cfg.Metrics, ctx: context.WithoutCancel(ctx)}
	way := c.newTransport(cfg)
	defer func() {
		way.CloseIdleConnections()
		c.conns.Close()
	}()
	token, failure := grant(ctx, way, a, cfg.Clock())
	if failure != nil {
		p.Token = unanswered(failure.reason)
		p.Token.Status = failure.status
		return p, nil
	}
	p.Token = bell.Outcome{Verdict: bell.Accepted, Status: http.StatusOK}
	body, err := json.Marshal(message{ValidateOnly: true, Message: target{
		Token: strings.Repeat("planetbell-doctor-", 8), Data: map[string]string{"planetbell": "doctor"},
		Android: android{Priority: "high", TTL: "0s"},
	}})
	if err != nil {
		return p, bell.E(bell.Invalid, "the message cannot be written", err)
	}
	p.Message = c.exchange(ctx, way, token.text, body)
	return p, nil
}

// Answered reports whether an outcome shows that FCM would take messages of the project,
// whatever it said of the token.
func Answered(o bell.Outcome) bool {
	return o.Verdict == bell.Accepted || o.Status == http.StatusBadRequest && o.Token == bell.TokenCheck ||
		o.Status == http.StatusNotFound && o.Token == bell.TokenDrop
}
