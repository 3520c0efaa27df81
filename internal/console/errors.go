package console

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
)

// Kinds that only HTTP knows.
const (
	wrongMethod   bell.Kind = "wrong method"
	wrongHost     bell.Kind = "wrong host"
	wrongType     bell.Kind = "wrong content type"
	clientGone    bell.Kind = "client gone"
	internalError bell.Kind = "internal"
)

var errSecretShape = errors.New("want a text")

// answer is what one kind of error looks like outside. The detail is shown when the
// error brings no sentence of its own.
type answer struct {
	status int
	detail string
}

// answers is the one table from kind to answer. What is not in it is internal.
var answers = map[bell.Kind]answer{
	bell.Invalid:      {http.StatusBadRequest, "The request is not valid."},
	bell.Unauthorized: {http.StatusUnauthorized, "The admin token is missing or wrong."},
	bell.Forbidden:    {http.StatusForbidden, "This is not allowed."},
	bell.NotFound:     {http.StatusNotFound, "There is no such thing here."},
	bell.Taken:        {http.StatusConflict, "This is in use by somebody else."},
	bell.TooMany:      {http.StatusTooManyRequests, "Too many requests; wait a moment."},
	bell.Overload:     {http.StatusServiceUnavailable, "The server has more to do than it can; try again."},
	bell.Unavailable:  {http.StatusServiceUnavailable, "The server is busy or its database is not available; try again."},
	bell.TooLarge:     {http.StatusRequestEntityTooLarge, "The request is too large."},
	wrongMethod:       {http.StatusMethodNotAllowed, "This method is not offered here; see the Allow header."},
	wrongHost:         {http.StatusMisdirectedRequest, "The Host header names another server."},
	wrongType:         {http.StatusUnsupportedMediaType, "Send the body as application/json."},
	clientGone:        {499, "The request was given up by its sender."}, // nginx's number; nobody reads it but the log
	internalError:     {http.StatusInternalServerError, "Something went wrong here; the server's log says what."},
}

// problemOf turns an error into what may be shown of it.
func problemOf(ctx context.Context, err error) Problem {
	kind := kindOf(ctx, err)
	a := answers[kind]
	detail := a.detail
	var e *bell.Error
	if kind != internalError && errors.As(err, &e) && e.Message != "" {
		detail = e.Message
	}
	title := http.StatusText(a.status)
	if title == "" {
		title = "Client Closed Request"
	}
	return Problem{Title: title, Status: a.status, Detail: detail, Kind: strings.ReplaceAll(string(kind), " ", "_")}
}

func kindOf(ctx context.Context, err error) bell.Kind {
	kind := bell.KindOf(err)
	if _, known := answers[kind]; known {
		return kind
	}
	switch {
	case errors.Is(context.Cause(ctx), context.Canceled):
		return clientGone
	case errors.Is(err, context.DeadlineExceeded):
		return bell.Unavailable
	}
	return internalError
}

func writeProblem(w http.ResponseWriter, p Problem) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = encode(w, p) // the sender has gone; there is nobody to tell
}

// writeJSON answers with a value.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = encode(w, v) // as in writeProblem
	return nil
}

// encode writes v without HTML escapes: the answer is never read as HTML (nosniff), and
// "<secret>" should look like what it is.
func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
