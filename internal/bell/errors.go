package bell

import "errors"

// Kind is a class of failure that callers act on. Kinds are errors themselves, so
// errors.Is(err, bell.NotFound) works through any wrapping.
type Kind string

// Error makes a Kind usable with errors.Is.
func (k Kind) Error() string { return string(k) }

// The kinds. httpapi maps each to one HTTP status.
const (
	Invalid      Kind = "invalid"      // the request is wrong; say what to change
	Unauthorized Kind = "unauthorized" // no valid credential
	Forbidden    Kind = "forbidden"    // valid credential, but not for this
	NotFound     Kind = "not found"
	Taken        Kind = "taken"       // the ID is in use by somebody else
	TooMany      Kind = "too many"    // a limit on this caller
	Overload     Kind = "overload"    // more than this server can take; nothing was done, and nothing is broken
	Unavailable  Kind = "unavailable" // something is in trouble: a store that is slow, locked, full, damaged or gone
	TooLarge     Kind = "too large"
)

// Error is a failure with a kind, a sentence that may be shown to whoever asked,
// and a hidden cause for the log.
type Error struct {
	Kind    Kind
	Message string // a full sentence without secrets
	Cause   error  // never shown outside; may be nil
}

// E makes an Error.
func E(kind Kind, message string, cause error) *Error {
	return &Error{Kind: kind, Message: message, Cause: cause}
}

// Error returns the message and the cause, for logs.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Message
	}
	return e.Message + ": " + e.Cause.Error()
}

// Unwrap makes errors.Is and errors.As see both the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// KindOf returns the kind of err, or "" when it has none.
func KindOf(err error) Kind {
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	return ""
}
