package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/planetbell/planetbell/internal/bell"
)

// Kinds that only HTTP knows.
const (
	methodNotAllowed bell.Kind = "method not allowed"
	uriTooLong       bell.Kind = "URI too long"
)

// answer is what an error of a kind becomes.
type answer struct {
	status  int
	message string // when the error brings no sentence of its own
}

// answers is the one table from kinds to the wire.
var answers = map[bell.Kind]answer{
	bell.Invalid:      {http.StatusBadRequest, "The request is wrong."},
	bell.Unauthorized: {http.StatusUnauthorized, "The app token is missing, wrong or expired; register again."},
	bell.Forbidden:    {http.StatusForbidden, "This is not allowed."},
	bell.NotFound:     {http.StatusNotFound, "There is no such thing."},
	methodNotAllowed:  {http.StatusMethodNotAllowed, "This method is not allowed here."},
	bell.Taken:        {http.StatusConflict, "The ID is in use."},
	bell.TooLarge:     {http.StatusRequestEntityTooLarge, "The request is too large."},
	uriTooLong:        {http.StatusRequestURITooLong, "The request line is too long."},
	bell.TooMany:      {http.StatusTooManyRequests, "Too many requests; wait a minute."},
	bell.Overload:     {http.StatusServiceUnavailable, "The server has more to do than it can; try again soon."},
	bell.Unavailable:  {http.StatusServiceUnavailable, "The server cannot do this now; try again soon."},
}

// unknown is the answer to an error without a kind. Its text is fixed, because nobody
// has looked at what such an error may hold; the log line has the cause.
var unknown = answer{http.StatusInternalServerError, "Something failed on the server; its log says what, under this answer's X-Request-Id."}

// describe turns an error into status and sentence.
func describe(err error) answer {
	kind := bell.KindOf(err)
	if kind == "" && errors.Is(err, context.DeadlineExceeded) {
		kind = bell.Unavailable // our own deadlines: something behind us is too slow
	}
	known, ok := answers[kind]
	if !ok {
		return unknown
	}
	var e *bell.Error
	if errors.As(err, &e) && e.Message != "" {
		known.message = e.Message
	}
	return known
}

// retryAfter is what a refused client is told, in seconds: a limit's bucket has room
// again well within it.
const retryAfter = 60

// fail answers with the envelope of an error and notes it for the log line. It answers a
// client that has left too: it may have closed only its own half of the connection, and if
// nothing were written, net/http would answer 200.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := eventOf(r)
	e.err = err
	e.gone = r.Context().Err() != nil
	known := describe(err)
	switch known.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	a.respond(w, r, known.status, envelope{
		Status: "error", Message: known.message, Code: strconv.Itoa(known.status), Timestamp: a.timestamp(),
	})
}
