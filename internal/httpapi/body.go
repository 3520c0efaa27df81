package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/planetbell/planetbell/internal/bell"
)

// readBody reads the whole body, at most maxBody.
func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(r.Body)
	if err == nil {
		return body, nil
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return nil, bell.E(bell.TooLarge, "The body is too large; at most "+strconv.FormatInt(tooLarge.Limit, 10)+" bytes are allowed.", nil)
	}
	// The cause is the network's; its text has nothing of the body.
	return nil, bell.E(bell.Invalid, "The body could not be read to its end.", err)
}

// object is a JSON object of a request, by its exact names. Unknown names are
// accepted, because other versions of the clients may send more.
type object map[string]json.RawMessage

// readObject reads the body as a JSON object, whatever the Content-Type says. The
// decoder's own errors are not passed on: they can quote the body, which may hold an
// API key or a push token.
func readObject(r *http.Request) (object, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	var o object
	if err := json.Unmarshal(body, &o); err != nil || o == nil {
		return nil, bell.E(bell.Invalid, "The body must be one JSON object.", nil)
	}
	return o, nil
}

// text returns a string field, or "" when it is missing or null.
func (o object) text(name string) (string, error) {
	raw, ok := o[name]
	if !ok {
		return "", nil
	}
	var s *string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", bell.E(bell.Invalid, name+": must be a string.", nil)
	}
	if s == nil {
		return "", nil
	}
	return *s, nil
}

// needed is text for a field that must be there.
func (o object) needed(name string) (string, error) {
	s, err := o.text(name)
	if err == nil && s == "" {
		return "", bell.E(bell.Invalid, name+": is missing.", nil)
	}
	return s, err
}

// remark returns a field that is only noted, never acted on. It must never be the
// reason to refuse a client, so anything but a string or a number counts as missing.
func (o object) remark(name string) string {
	if s, err := o.text(name); err == nil {
		return s
	}
	var n json.Number
	if err := json.Unmarshal(o[name], &n); err != nil {
		return ""
	}
	return n.String()
}
