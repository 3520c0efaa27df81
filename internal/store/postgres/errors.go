package postgres

import (
	"context"
	"errors"
	"io"
	"net"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
)

// refusal is what PostgreSQL said of a statement. It leaves out the detail, in which rows are
// quoted: they may hold push tokens.
type refusal struct {
	code       string // SQLSTATE
	message    string
	constraint string
}

// Error implements error.
func (r *refusal) Error() string {
	text := "PostgreSQL says: " + r.message + " (" + r.code
	if r.constraint != "" {
		text += ", " + r.constraint
	}
	return text + ")"
}

// lost is the end of a connection, or one that could not be made. It says neither how we
// connect nor as whom.
type lost struct{ err error }

// Error implements error.
func (l *lost) Error() string { return "the connection to PostgreSQL: " + l.err.Error() }

// Unwrap gives the cause.
func (l *lost) Unwrap() error { return l.err }

// inward turns what pgx reports into what can be told apart, and told. Others stay.
func inward(err error) error {
	if err == nil {
		return nil
	}
	var connect *pgconn.ConnectError
	var said *pgconn.PgError
	var parse *pgconn.ParseConfigError
	switch {
	case errors.As(err, &said):
		return &refusal{code: said.Code, message: said.Message, constraint: said.ConstraintName}
	case errors.As(err, &parse):
		return errors.New("the URL of the database cannot be used")
	case errors.As(err, &connect):
		return &lost{connect.Unwrap()}
	case broken(err):
		return &lost{err}
	}
	return err
}

// broken reports whether an error is about the connection: it ended, or did not answer in time.
func broken(err error) bool {
	var network net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errClosed) || errors.As(err, &network) || pgconn.SafeToRetry(err)
}

// errClosed says that Close was called.
var errClosed = errors.New("the store was closed")

// The errors of which a transaction is run again (PostgreSQL, appendix A). A row that appears
// between a look and an insert is a unique violation: the next look finds it.
var again = map[string]bool{
	"40001": true, // serialization_failure
	"40P01": true, // deadlock_detected
	"23505": true, // unique_violation
	"0A000": true, // feature_not_supported: "cached plan must not change result type", after a migration
	"26000": true, // invalid_sql_statement_name: a pooler has given us another connection
	"42P05": true, // duplicate_prepared_statement: likewise
}

// lockNotAvailable is the SQLSTATE of a lock that was waited for in vain.
const lockNotAvailable = "55P03"

// heldUp reports whether a statement waited for a lock in vain. Nothing was written.
func heldUp(err error) bool { return codeOf(err) == lockNotAvailable }

// held is the error of one write whose row somebody else has locked. The database is well, so
// it is not bell.Unavailable: whoever can keep the write and try again later does.
func held(err error) error {
	return bell.E(bell.Overload, "Another transaction holds what is to be written; try again later.", errors.Join(call.ErrHeld, err))
}

// unsettled is the error of a transaction that was run as often as is worth it.
func unsettled(err error) error {
	if again[codeOf(err)] {
		return bell.E(bell.Unavailable, sentences["40"], err)
	}
	return err
}

// sentences say what the operator has to do about trouble with the database, by SQLSTATE or
// its first three or two characters; two are the class.
var sentences = map[string]string{
	"08":    "The connection to the database broke.",
	"28":    "The database refuses our user or password; check database.url.",
	"3D":    "The database does not exist; create it, or check database.url.",
	"42501": "The database user may not do what is needed; let it own the tables.",
	"53":    "The database is out of resources; look at its log.",
	"53100": "The database's disk is full; free some space.",
	"53200": "The database is out of memory; give it more.",
	"53300": "The database takes no more connections; raise max_connections, or let each node open fewer.",
	"55P03": "The database is busy; something holds a lock for long.",
	"57014": "The database took too long for a statement.",
	"57P":   "The database is stopping or starting.",
	"25006": "The database is a standby or read-only; name the primary in database.url.",
	"25P":   "The database ended a transaction that took too long.",
	"42P05": "A pooler mixes up prepared statements; add default_query_exec_mode=exec to database.url.",
	"26":    "A pooler mixes up prepared statements; add default_query_exec_mode=exec to database.url.",
	"40":    "The database could not settle a conflict of transactions; try again.",
	"58":    "The database server has trouble with its files; look at its log.",
	"XX":    "The database server reports an internal error; look at its log.",
}

// own are the classes of what one operation, or its values, did wrong: to repeat it would not
// help, and others that shared its transaction go well without it. What is in neither list may
// pass, and nothing may be given up for it.
var own = map[string]bool{
	"22": true, // data exception
	"23": true, // integrity constraint violation
	"42": true, // syntax error or access rule violation
	"54": true, // program limit exceeded: a value is too large for an index
	"P0": true, // an operator's own trigger refused it
}

// codeOf is an error's SQLSTATE, or "".
func codeOf(err error) string {
	if said, ok := errors.AsType[*refusal](err); ok {
		return said.code
	}
	return ""
}

// trouble returns the sentence of an error that is about the database and not about one
// operation; repeating the operation at once would not help. It is "" for other errors.
func trouble(err error) string {
	if code := codeOf(err); len(code) == 5 {
		for _, n := range []int{5, 3, 2} {
			if s, ok := sentences[code[:n]]; ok {
				return s
			}
		}
		if own[code[:2]] {
			return ""
		}
		return "The database cannot do it now; look at its log."
	}
	if _, ok := errors.AsType[*lost](err); ok {
		if errors.Is(err, context.DeadlineExceeded) {
			return "The database did not answer in time."
		}
		return "The database cannot be reached."
	}
	return ""
}

// outward gives an error its kind: trouble with the database itself is bell.Unavailable,
// everything else stays as it is.
func outward(err error) error {
	if err == nil || bell.KindOf(err) != "" {
		return err
	}
	if s := trouble(err); s != "" {
		return bell.E(bell.Unavailable, s, err)
	}
	return err
}
