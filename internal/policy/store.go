package policy

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Store is what policy needs of a database. Each method is one transaction. An error of kind
// bell.Unavailable says that the database is in trouble.
type Store interface {
	// Look answers what a call depends on. Somebody who has no rules, or no name, is no
	// error. It must cost no more than look-ups by primary key: every call waits for it.
	Look(ctx context.Context, q Question) (Facts, error)

	// Block puts somebody on the owner's block list. Who is on it already keeps the time; one
	// more than limit is bell.Invalid, and nothing changes.
	Block(ctx context.Context, owner bell.Owner, b Blocked, limit int) error

	// Unblock takes somebody off the list. Who is not on it is no error.
	Unblock(ctx context.Context, owner bell.Owner, user planet.UserRef) error

	// SetDoNotDisturb replaces the owner's setting. The zero value is nothing set.
	SetDoNotDisturb(ctx context.Context, owner bell.Owner, d DoNotDisturb) error

	// RulesOf returns an owner's rules, the blocked ordered by service ID and user ID. The zero
	// value stands for an owner without any.
	RulesOf(ctx context.Context, owner bell.Owner) (Rules, error)

	// ReplaceRules replaces all of an owner's rules. Who was blocked before keeps the time,
	// who was not gets now; the times in rules are ignored.
	ReplaceRules(ctx context.Context, owner bell.Owner, rules Rules, now time.Time) error
}

// Question is what is to be known about a call.
type Question struct {
	Callee bell.Owner
	Caller planet.UserRef // in the callee's environment
	Rules  bool           // whether Blocked and DoNotDisturb are wanted
	Name   bool           // whether CallerName is
}

// Facts are the answer. What was not asked for is zero.
type Facts struct {
	Blocked      bool // the callee blocks the caller
	DoNotDisturb DoNotDisturb
	CallerName   string // as the caller registered it; anything may be in it
}
