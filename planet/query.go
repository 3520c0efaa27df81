package planet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/url"
	"strings"
)

// The bounds of what one callback may bring. App server data has up to 4096 bytes,
// percent-encoded three times as many, and comes under two names; with param that
// is about 26 KB.
const (
	maxQuery      = 64 << 10
	maxParameters = 128
	maxName       = 128
)

// ErrNoParameters says that a callback came with no parameters, or with empty ones
// only: the test button of the LINE Planet Console, or somebody's browser. Answer
// 200 and do nothing.
var ErrNoParameters = errors.New("the callback has no parameters: it is a dry run and means nothing")

// ParameterError says what is wrong with a callback. It never holds the value of a
// parameter, so that it can be logged and answered.
type ParameterError struct {
	Callback  string // "Notify", "Call Event", ...; empty when not known yet
	Parameter string // its name on the wire; empty when all of it is wrong
	Problem   string // such as "is missing"
}

// Error returns a sentence.
func (e *ParameterError) Error() string {
	where := "callback"
	if e.Callback != "" {
		where = e.Callback + " callback"
	}
	if e.Parameter == "" {
		return fmt.Sprintf("the %s %s", where, e.Problem)
	}
	return fmt.Sprintf("parameter %q of the %s %s", e.Parameter, where, e.Problem)
}

// ParseQuery decodes the query of a callback's URL, without its "?". It takes at most
// 64 KiB and 128 parameters. Of a repeated name the parsers of this package use the
// first value.
//
// It differs from [url.ParseQuery] in one thing: a semicolon is an ordinary
// character, as RFC 3986 allows, because a client's app server data may hold one.
// Errors are of type [*ParameterError].
func ParseQuery(rawQuery string) (url.Values, error) {
	if len(rawQuery) > maxQuery {
		return nil, &ParameterError{Problem: fmt.Sprintf("has %d bytes of parameters; at most %d are allowed", len(rawQuery), maxQuery)}
	}
	count := strings.Count(rawQuery, "&") + 1
	if count > maxParameters {
		return nil, tooMany()
	}
	values := make(url.Values, count)
	// One array for all values: a slice per name costs an allocation each.
	array := make([]string, 0, count)
	for rawQuery != "" {
		var pair string
		pair, rawQuery, _ = strings.Cut(rawQuery, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := unescapeName(name)
		if err != nil {
			return nil, err
		}
		text, err := url.QueryUnescape(value)
		if err != nil {
			return nil, &ParameterError{Parameter: name, Problem: "is not percent-encoded correctly"}
		}
		if old, repeated := values[name]; repeated {
			values[name] = append(old, text)
			continue
		}
		array = append(array, text)
		values[name] = array[len(array)-1 : len(array) : len(array)]
	}
	return values, nil
}

func unescapeName(raw string) (string, error) {
	name, err := url.QueryUnescape(raw)
	if err != nil {
		return "", &ParameterError{Problem: "has a parameter name that is not percent-encoded correctly"}
	}
	return name, checkName(name)
}

func checkName(name string) error {
	if len(name) > maxName {
		return &ParameterError{Problem: fmt.Sprintf("has a parameter name of more than %d bytes", maxName)}
	}
	return nil
}

func tooMany() error {
	return &ParameterError{Problem: fmt.Sprintf("has too many parameters; at most %d are allowed", maxParameters)}
}

// ParseBody decodes the body of a callback that came by POST: a form, or a flat JSON
// object whose values are strings, numbers or booleans (a null counts as not there).
// LINE Planet documents GET only; this is for gateways that turn one into the other.
// The bounds are those of [ParseQuery]; without a content type, a body that begins
// with "{" is taken as JSON. An empty body gives no values. Errors are of type
// [*ParameterError].
func ParseBody(contentType string, body []byte) (url.Values, error) {
	if len(body) > maxQuery {
		return nil, &ParameterError{Problem: fmt.Sprintf("has a body of %d bytes; at most %d are allowed", len(body), maxQuery)}
	}
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return url.Values{}, nil
	}
	media := "application/x-www-form-urlencoded"
	if contentType != "" {
		var err error
		if media, _, err = mime.ParseMediaType(contentType); err != nil {
			return nil, &ParameterError{Problem: "has a Content-Type header that cannot be read"}
		}
	} else if body[0] == '{' {
		media = "application/json"
	}
	switch {
	case media == "application/x-www-form-urlencoded":
		return ParseQuery(string(body))
	case media == "application/json" || strings.HasSuffix(media, "+json"):
		return parseObject(body)
	}
	return nil, &ParameterError{Problem: "has a body that is neither a form nor JSON; use application/x-www-form-urlencoded or application/json"}
}

// parseObject reads the object token by token, because decoding into a map would
// make the last of a repeated name win, and a form makes the first win.
func parseObject(body []byte) (url.Values, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	if start, err := dec.Token(); err != nil || start != json.Delim('{') {
		return nil, notJSON()
	}
	values := make(url.Values)
	for n := 0; dec.More(); n++ {
		if n == maxParameters {
			return nil, tooMany()
		}
		token, err := dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, notJSON()
		}
		if err := checkName(name); err != nil {
			return nil, err
		}
		value, ok, err := scalar(dec, name)
		if err != nil {
			return nil, err
		}
		if ok {
			values[name] = append(values[name], value)
		}
	}
	if _, err := dec.Token(); err != nil { // the closing brace
		return nil, notJSON()
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, notJSON()
	}
	return values, nil
}

// scalar reads one value as text; ok is false for a null.
func scalar(dec *json.Decoder, name string) (value string, ok bool, err error) {
	token, err := dec.Token()
	if err != nil {
		return "", false, notJSON()
	}
	switch v := token.(type) {
	case string:
		return v, true, nil
	case json.Number:
		return v.String(), true, nil
	case bool:
		return fmt.Sprint(v), true, nil
	case nil:
		return "", false, nil
	}
	return "", false, &ParameterError{Parameter: name, Problem: "is an object or a list; only strings, numbers and booleans are allowed"}
}

// notJSON does not pass on the decoder's error, which can quote the body.
func notJSON() error {
	return &ParameterError{Problem: "has a body that is not one JSON object"}
}
