package serverapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// The kinds of errors, after the table of docs/line-planet.md 7.1. Ask with errors.Is.
var (
	// ErrInvalid says that the request breaks a rule and was not sent.
	ErrInvalid = errors.New("the request is not valid")
	// ErrBadRequest is 400: a header or a parameter is missing or wrong.
	ErrBadRequest = errors.New("LINE Planet does not take the request")
	// ErrUnauthorized is 401: the API key or its secret is wrong.
	ErrUnauthorized = errors.New("LINE Planet does not know the API key, or its secret is wrong")
	// ErrForbidden is 403: the key has no right for the service.
	ErrForbidden = errors.New("the API key has no right for this service")
	// ErrNotFound is 404.
	ErrNotFound = errors.New("there is no such thing")
	// ErrRoomNotFound is 404 for a room: no call is running in it. It is an ErrNotFound.
	ErrRoomNotFound error = roomNotFound{}
	// ErrTooManyRequests is 429, or that this client's own limit leaves no place before the
	// context ends.
	ErrTooManyRequests = errors.New("too many requests")
	// ErrServer is 500: something unclassified is wrong at LINE Planet.
	ErrServer = errors.New("LINE Planet has an internal error")
	// ErrUnavailable is 503: the group call server is not available now.
	ErrUnavailable = errors.New("LINE Planet is not available now")
	// ErrNoAnswer says that no answer came: the connection failed, or the time was over.
	ErrNoAnswer = errors.New("LINE Planet gave no answer")
	// ErrUnexpected is an answer that is not documented, such as a redirect or a success
	// without a session ID.
	ErrUnexpected = errors.New("LINE Planet gave an answer that is not documented")
)

// roomNotFound is the type of [ErrRoomNotFound].
type roomNotFound struct{}

// Error returns the sentence for people.
func (roomNotFound) Error() string { return "no call is running in the room" }

// Is makes it an [ErrNotFound].
func (roomNotFound) Is(target error) bool { return target == ErrNotFound }

// Error is what every method of [Client] returns when something went wrong. It can be
// logged: it has no secret, and no user ID but what LINE Planet put into its message.
type Error struct {
	Operation string // "kick out", "broadcast", "make an agent call"
	// Kind is one of the Err variables.
	Kind error
	// Status is the HTTP status of the last answer; 0 if there was none.
	Status int
	// Reason is LINE Planet's word for the status, such as "TOO_MANY_REQUEST"; empty if it has
	// none.
	Reason string
	// Code and Message are what the answer's body said, each empty if it did not: the form is
	// not documented (docs/line-planet.md 11 no. 22). Message has at most 1 KB; treat it as
	// foreign text.
	Code, Message string
	// Attempts is how many requests were sent, 0 if none.
	Attempts int
	// Retryable says that the same request may work later. The client has repeated it as often
	// as it may.
	Retryable bool
	// RetryAfter is the time that LINE Planet asked to wait; 0 if it did not.
	RetryAfter time.Duration
	// MaybeExecuted says that the request may have been carried out although it failed: do not
	// repeat it without asking.
	MaybeExecuted bool

	cause error
}

// Error returns one sentence.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %v", e.Operation, e.Kind)
	if e.Status != 0 {
		fmt.Fprintf(&b, " (%s)", strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, cmp.Or(e.Reason, e.Code))))
	}
	if e.Message != "" {
		fmt.Fprintf(&b, ": %q", e.Message)
	}
	if e.cause != nil {
		fmt.Fprintf(&b, ": %v", e.cause)
	}
	if e.Attempts > 1 {
		fmt.Fprintf(&b, ", %d times", e.Attempts)
	}
	if e.MaybeExecuted {
		b.WriteString("; it may have been carried out all the same")
	}
	return b.String()
}

// Unwrap returns the kind, and the cause if there is one.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.cause}
}

// statusKind is one row of the table of docs/line-planet.md 7.1.
type statusKind struct {
	kind      error
	reason    string
	retryable bool
}

var statusKinds = map[int]statusKind{
	http.StatusBadRequest:          {ErrBadRequest, "BAD_REQUEST", false},
	http.StatusUnauthorized:        {ErrUnauthorized, "UNAUTHORIZED", false},
	http.StatusForbidden:           {ErrForbidden, "FORBIDDEN", false},
	http.StatusNotFound:            {ErrNotFound, "NOT_FOUND", false},
	http.StatusTooManyRequests:     {ErrTooManyRequests, "TOO_MANY_REQUEST", true},
	http.StatusInternalServerError: {ErrServer, "INTERNAL_SERVER_ERROR", true},
	http.StatusServiceUnavailable:  {ErrUnavailable, "SERVICE_UNAVAILABLE", true},
}

// failure says what a try came to that did not succeed.
func (c *Client) failure(r request, got answer, err error) *Error {
	if err != nil {
		// A server that is not trusted gets nothing, now and later.
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		return &Error{
			Operation: r.operation, Kind: ErrNoAnswer, Status: got.status, cause: err,
			Retryable: !untrusted, MaybeExecuted: !untrusted && !unsent(err),
		}
	}
	row, known := statusKinds[got.status]
	if !known {
		// A gateway on the way can answer 502 or 504 after it passed the request on.
		row = statusKind{kind: ErrUnexpected, retryable: got.status >= 500}
	}
	if r.room && row.kind == ErrNotFound {
		row.kind = ErrRoomNotFound
	}
	// Hidden first: what is cut off would not be found any more.
	code, message := parseProblem([]byte(c.hide(string(got.body))))
	return &Error{
		Operation: r.operation, Kind: row.kind, Status: got.status, Reason: row.reason,
		Code: c.hide(code), Message: c.hide(message), Retryable: row.retryable, RetryAfter: got.retryAfter,
		MaybeExecuted: got.status >= 500 && got.status != http.StatusServiceUnavailable,
	}
}

// noTurn is the error of a request whose context ended, or would end, before its turn.
func (c *Client) noTurn(ctx context.Context, r request, attempts int, err error) *Error {
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	} else if _, ok := ctx.Deadline(); ok { // the limiter knows beforehand
		err = fmt.Errorf("its turn would come after the context's end: %w", context.DeadlineExceeded)
	}
	return &Error{Operation: r.operation, Kind: ErrTooManyRequests, Attempts: attempts, Retryable: true, cause: err}
}

// invalid is the error of a request that is not sent.
func invalid(operation string, err error) error {
	return &Error{Operation: operation, Kind: ErrInvalid, cause: err}
}
