package policy

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Bounds of what a hook may answer.
const (
	maxAnswer     = 16 << 10 // bytes
	maxFieldValue = 256      // bytes; more would push LINE's own keys out of a push's 4 KB
)

// takenPrefix is kept for keys that planetbell may need some day.
const takenPrefix = "app_bell_"

var errAnswer = errors.New("the answer is not a JSON object of the agreed form, or too long")

// said is a hook's answer on the wire. Whatever is not needed to know whether the call rings
// is taken if it can be, and else left out.
type said struct {
	Ring       *bool                      `json:"ring"`
	Reason     json.RawMessage            `json:"reason"`
	CallerName json.RawMessage            `json:"caller_name"`
	AppFields  map[string]json.RawMessage `json:"app_fields"`
}

// parseAnswer reads a hook's answer. An empty one lets the call ring. dropped is how many
// fields were left out.
func parseAnswer(body []byte) (d bell.Decision, dropped int, err error) {
	if len(body) > maxAnswer {
		return bell.Decision{}, 0, errAnswer
	}
	if strings.TrimSpace(string(body)) == "" {
		return bell.Decision{}, 0, nil
	}
	var a *said
	if err := json.Unmarshal(body, &a); err != nil || a == nil {
		return bell.Decision{}, 0, errAnswer // the decoder's own error quotes the body
	}
	if a.Ring != nil && !*a.Ring {
		return bell.Decision{Suppress: suppression(text(a.Reason))}, 0, nil
	}
	d.CallerName = bell.CleanName(text(a.CallerName))
	fields := map[string]string{}
	for key, raw := range a.AppFields {
		if value := text(raw); len(value) <= maxFieldValue && !strings.HasPrefix(key, takenPrefix) {
			fields[key] = value
		}
	}
	d.AppFields = planet.AppFields(fields)
	return d, len(a.AppFields) - len(d.AppFields), nil
}

// suppression makes one of our words of a hook's reason.
func suppression(reason string) bell.Suppression {
	if s := bell.Suppression(reason); slices.Contains(bell.Suppressions(), s) {
		return s
	}
	return bell.SuppressPolicy
}

// text is a JSON string without NUL, which some databases cannot keep, or "".
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return strings.ReplaceAll(s, "\x00", "")
}

// lifeOf is how long an answer may be used again: Cache-Control's max-age, unless it forbids.
func lifeOf(h http.Header, most time.Duration) time.Duration {
	var life time.Duration
	for _, value := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(value, ",") {
			name, number, _ := strings.Cut(strings.ToLower(strings.TrimSpace(directive)), "=")
			switch name {
			case "no-store", "no-cache":
				return 0
			case "max-age":
				seconds, err := strconv.ParseUint(strings.Trim(number, `"`), 10, 31)
				if err != nil {
					return 0
				}
				life = time.Duration(seconds) * time.Second
			}
		}
	}
	return min(life, most)
}
