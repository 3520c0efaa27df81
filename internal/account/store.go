package account

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// Store is what account needs of a database. Each method is one transaction.
type Store interface {
	// OpenSession records the user (insert, or update display name and region) and
	// the new session. Only with rule.Exclusive is the user's time of registration changed
	// to user.RegisteredAt: nobody has proved to be who had the ID before, so what belongs
	// to the earlier holder, such as the history of calls, must not be shown any more.
	//
	// With rule.Exclusive it first looks at the owner's other sessions that are
	// neither expired at rule.Now nor revoked. If one of them has a device, or was
	// issued after rule.FreeIssuedBefore, it changes nothing and returns an error of
	// kind bell.Taken. Otherwise it revokes them (RevokedAt = rule.Now), and removes the
	// devices of all the owner's earlier sessions, expired ones too: the ID now belongs to
	// somebody else, whose calls must not ring there. Their call rules go too. Devices without a session stay.
	OpenSession(ctx context.Context, user bell.User, session bell.Session, rule SessionRule) error

	// Session returns the session, or bell.NotFound.
	Session(ctx context.Context, id string) (bell.Session, error)

	// RestoreSession records a user and a session that are missing, and leaves
	// existing ones as they are. It repairs lost data from a token's claims.
	RestoreSession(ctx context.Context, user bell.User, session bell.Session) error
}

// SessionRule is the rule under which a user ID may be taken.
type SessionRule struct {
	Now              time.Time
	Exclusive        bool
	FreeIssuedBefore time.Time
}
