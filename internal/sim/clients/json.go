package clients

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"
)

// object is a JSON object with exact, case-sensitive keys. encoding/json's structs
// match keys in any case, which none of the apps does.
type object map[string]json.RawMessage

var errNotObject = errors.New("is not a JSON object")

// parseObject reads exactly one JSON object.
func parseObject(b []byte) (object, error) {
	if !utf8.Valid(b) {
		return nil, errors.New("is not valid UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	var o object
	if err := d.Decode(&o); err != nil || o == nil {
		return nil, errNotObject
	}
	if d.More() {
		return nil, errors.New("has text after the JSON object")
	}
	return o, nil
}

// has reports whether the key is there and not null.
func (o object) has(key string) bool {
	v, ok := o[key]
	return ok && string(v) != "null"
}

// sub returns the object under key.
func (o object) sub(key string) (object, error) {
	if !o.has(key) {
		return nil, fmt.Errorf("%q is missing", key)
	}
	s, err := parseObject(o[key])
	if err != nil {
		return nil, fmt.Errorf("%q %w", key, err)
	}
	return s, nil
}

// str returns a required JSON string.
func (o object) str(key string) (string, error) {
	if !o.has(key) {
		return "", fmt.Errorf("%q is missing", key)
	}
	return o.optStr(key)
}

// optStr returns a JSON string that may be absent or null.
func (o object) optStr(key string) (string, error) {
	if !o.has(key) {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(o[key], &s); err != nil {
		return "", fmt.Errorf("%q is not a string", key)
	}
	return s, nil
}

// looseStr returns a value as Gson reads a String field: strings, numbers and
// booleans are all taken. Absent and null give "".
func (o object) looseStr(key string) (string, error) {
	if !o.has(key) {
		return "", nil
	}
	raw := o[key]
	switch raw[0] {
	case '"':
		return o.optStr(key)
	case '{', '[':
		return "", fmt.Errorf("%q is not a string", key)
	}
	return string(raw), nil
}

// number returns a required JSON number (not a string).
func (o object) number(key string) (float64, error) {
	if !o.has(key) {
		return 0, fmt.Errorf("%q is missing", key)
	}
	var f float64
	if err := json.Unmarshal(o[key], &f); err != nil || math.IsInf(f, 0) {
		return 0, fmt.Errorf("%q is not a number", key)
	}
	return f, nil
}

// integer returns a required JSON number without a fraction that fits 64 bits.
func (o object) integer(key string) (int64, error) {
	if !o.has(key) {
		return 0, fmt.Errorf("%q is missing", key)
	}
	n, err := strconv.ParseInt(string(o[key]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a 64-bit integer", key)
	}
	return n, nil
}
