package serverapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode"

	"github.com/planetbell/planetbell/planet"
)

const (
	maxProblem = 1 << 10 // bytes of a body that become a message
	maxCode    = 64
)

// parseProblem reads the body of an error. Its form is not documented: a JSON object's
// "message", and its "code" or "status", else the text (docs/line-planet.md 11 no. 22).
func parseProblem(body []byte) (code, message string) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return "", printable(string(body), maxProblem)
	}
	code = word(fields["code"])
	if code == "" {
		code = word(fields["status"])
	}
	if message = word(fields["message"]); message == "" {
		message = string(body)
	}
	return printable(code, maxCode), printable(message, maxProblem)
}

// word returns JSON text or a JSON number as text, and anything else as "".
func word(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil {
		return number.String()
	}
	return ""
}

// printable returns at most limit bytes of foreign text, on one line, in valid UTF-8.
func printable(text string, limit int) string {
	text = strings.ToValidUTF8(text[:min(len(text), limit)], "")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return -1
	}, text))
}

// parseSession reads the session ID of an agent call: "data.sid", or "sid" beside it. Which
// of them it is was not visible; both are seen in code of others.
func parseSession(body []byte) (planet.SessionID, error) {
	var outer struct {
		SessionID json.RawMessage `json:"sid"`
		Data      json.RawMessage `json:"data"`
	}
	if json.Unmarshal(bytes.TrimSpace(body), &outer) != nil {
		return "", errors.New("the answer is no JSON object")
	}
	var inner struct {
		SessionID json.RawMessage `json:"sid"`
	}
	_ = json.Unmarshal(outer.Data, &inner) // whatever else it is, it has no session ID
	text := word(inner.SessionID)
	if text == "" {
		text = word(outer.SessionID)
	}
	return planet.ParseSessionID(text)
}
