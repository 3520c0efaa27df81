package planet

import (
	"errors"
	"fmt"
	"strings"
)

// The bounds of identifiers, in bytes. The pages of LINE Planet do not list them;
// they are those of the PlanetKit for Web SDK and of the quickstarts.
const (
	maxSessionID = 64  // 36 with hyphens (1-to-1) and 32 without (group) are in use
	maxID        = 64  // user, room and service IDs
	maxAPIKey    = 512 // keys in use have about 160; a bound against mistakes, not a rule
)

// UserRef names a user: IDs are unique only within a service.
type UserRef struct {
	ServiceID string
	UserID    string
}

// String returns "service/user".
func (u UserRef) String() string { return u.ServiceID + "/" + u.UserID }

// SessionID is the identity of one call or of one run of a room, always in lower
// case: Planet Cloud writes it in either case. Make one with [ParseSessionID].
type SessionID string

// ParseSessionID returns text as a session ID in lower case. It takes 1 to 64
// letters, digits and hyphens: 1-to-1 calls have a UUID, group calls 32 hexadecimal
// digits, and no page promises that it stays so.
func ParseSessionID(text string) (SessionID, error) {
	switch {
	case text == "":
		return "", errors.New("the session ID is empty; it has 1 to 64 letters, digits and hyphens")
	case len(text) > maxSessionID:
		return "", fmt.Errorf("the session ID has %d bytes; at most %d are allowed", len(text), maxSessionID)
	}
	if i := firstOutside(text, "-"); i >= 0 {
		return "", fmt.Errorf("the session ID has a forbidden character at byte %d; only letters, digits and hyphens are allowed", i+1)
	}
	return SessionID(strings.ToLower(text)), nil
}

// CallType says whether a call began as audio or video.
type CallType string

// The values of [CallType] as they travel on the wire.
const (
	AudioCall CallType = "A"
	VideoCall CallType = "V"
)

// ParseCallType returns the call type that text names: "A" or "V", in either letter
// case.
func ParseCallType(text string) (CallType, error) {
	switch text {
	case "A", "a":
		return AudioCall, nil
	case "V", "v":
		return VideoCall, nil
	}
	return "", errors.New(`the call type is unknown; it is "A" for audio or "V" for video`)
}

// Environment is one of LINE Planet's two worlds; keys, hosts and users of one
// mean nothing in the other.
type Environment string

// The environments, in the words that clients receive as "_env".
const (
	Evaluation Environment = "evaluation"
	Real       Environment = "real"
)

// ParseEnvironment returns the environment that text names, in any letter case.
func ParseEnvironment(text string) (Environment, error) {
	switch e := Environment(strings.ToLower(text)); e {
	case Evaluation, Real:
		return e, nil
	}
	return "", fmt.Errorf("the environment is unknown; it is %q or %q", Evaluation, Real)
}

// PlanetBaseURL returns the URL that clients configure PlanetKit with, without a
// slash at its end, or "" for an unknown environment.
// Source: https://docs.lineplanet.me/getting-started/essentials/development-environment
func (e Environment) PlanetBaseURL() string {
	switch e {
	case Evaluation:
		return "https://voipnx-saturn.line-apps-rc.com"
	case Real:
		return "https://voipnx-saturn.line-apps.com"
	}
	return ""
}

// APIBaseURL returns the URL under which an app server reaches LINE Planet's Server
// API, without a slash at its end, or "" for an unknown environment. It is another
// host than [Environment.PlanetBaseURL].
// Source: https://docs.lineplanet.me/getting-started/essentials/development-environment
func (e Environment) APIBaseURL() string {
	switch e {
	case Evaluation:
		return "https://vpnx-stn-api.line-apps-rc.com"
	case Real:
		return "https://vpnx-stn-api.line-apps.com"
	}
	return ""
}

// ValidateUserID returns nil if id can be a user ID: 1 to 64 ASCII letters, digits,
// hyphens and underscores, as PlanetKit itself demands. Letter case matters. The
// error does not repeat the ID.
func ValidateUserID(id string) error { return validateID("user ID", id, maxID, "-_") }

// ValidateRoomID returns nil if id can be a room ID. The rule is that of
// [ValidateUserID].
func ValidateRoomID(id string) error { return validateID("room ID", id, maxID, "-_") }

// ValidateServiceID returns nil if id can be a service ID: 1 to 64 ASCII letters,
// digits, dots and hyphens. An underscore is not allowed.
func ValidateServiceID(id string) error { return validateID("service ID", id, maxID, ".-") }

// ValidateAPIKey returns nil if key can be an API key: ASCII letters, digits,
// hyphens and underscores. LINE Planet gives no length; 512 is a bound against
// pasting the wrong text. The error does not repeat the key.
func ValidateAPIKey(key string) error { return validateID("API key", key, maxAPIKey, "-_") }

func validateID(what, id string, limit int, punctuation string) error {
	switch {
	case id == "":
		return fmt.Errorf("the %s is empty; give 1 to %d characters", what, limit)
	case len(id) > limit:
		return fmt.Errorf("the %s has %d bytes; at most %d are allowed", what, len(id), limit)
	}
	if i := firstOutside(id, punctuation); i >= 0 {
		return fmt.Errorf("the %s has a forbidden character at byte %d; only ASCII letters, digits and %q are allowed",
			what, i+1, punctuation)
	}
	return nil
}

// firstOutside returns the index of the first byte that is neither an ASCII letter
// or digit nor in punctuation, or -1.
func firstOutside(text, punctuation string) int {
	for i := range len(text) {
		c := text[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
			continue
		}
		if strings.IndexByte(punctuation, c) < 0 {
			return i
		}
	}
	return -1
}
