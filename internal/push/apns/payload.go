package apns

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Payload limits in bytes; a payload of exactly the limit is taken.
// https://developer.apple.com/documentation/usernotifications/generating-a-remote-notification
const (
	maxVoIPPayload  = 5120
	maxAlertPayload = 4096
)

// payload writes the JSON of a push: the notification's keys at the root, where LINE's
// demo app looks for them, and "aps", empty for VoIP. Optional keys are left out as far
// as the limit asks for it; if that is not enough the error wraps planet.ErrTooLarge.
func (s *Sender) payload(call *bell.Call, now time.Time) ([]byte, error) {
	aps, limit := []byte("{}"), maxVoIPPayload
	if s.channel == bell.APNsAlert {
		limit = maxAlertPayload
		var err error
		if aps, err = alert(call); err != nil {
			return nil, err
		}
	}
	var text []byte
	var failed error
	_, err := call.Payload(now).Fit(limit, func(fields map[string]string) int {
		text, failed = join(aps, fields)
		return len(text)
	})
	if err := errors.Join(err, failed); err != nil {
		return nil, fmt.Errorf("write the payload of the push: %w", err)
	}
	return text, nil
}

// join puts "aps" before the other keys.
func join(aps []byte, fields map[string]string) ([]byte, error) {
	rest, err := compact(fields)
	if err != nil {
		return nil, err
	}
	text := make([]byte, 0, len(rest)+len(aps)+8)
	text = append(text, `{"aps":`...)
	text = append(text, aps...)
	text = append(text, ',')
	return append(text, rest[1:]...), nil
}

// compact is JSON without the escapes that only HTML needs: they would cost room.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode as JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// What an alert shows and how. The user sees "Incoming call" (or "Incoming video call")
// over who calls, with a sound, also in a Focus that lets time-sensitive notifications
// through. mutable-content lets the app's extension replace the text, and the category
// is where an app registers its buttons. A missed call breaks through no Focus.
type aps struct {
	Alert             alertText `json:"alert"`
	Category          string    `json:"category"`
	InterruptionLevel string    `json:"interruption-level,omitempty"`
	MutableContent    int       `json:"mutable-content"`
	Sound             string    `json:"sound"`
}

type alertText struct {
	Title string `json:"title"`
	Body  string `json:"body,omitempty"`
}

// screen is what an alert's purpose makes of it.
type screen struct {
	title, videoTitle string
	category          string
	level             string
}

const timeSensitive = "time-sensitive"

var screens = map[bell.Purpose]screen{
	bell.PurposeCall:       {"Incoming call", "Incoming video call", "INCOMING_CALL", timeSensitive},
	bell.PurposeMissedCall: {"Missed call", "Missed video call", "MISSED_CALL", ""},
	bell.PurposeInvitation: {"Invitation to a call", "Invitation to a video call", "INVITATION", timeSensitive},
	bell.PurposeTest:       {"Test notification", "Test notification", "TEST", ""},
}

// maxCaller bounds the caller's name in an alert, in characters: more is not shown.
const maxCaller = 100

func alert(c *bell.Call) ([]byte, error) {
	caller := cmp.Or(c.CallerName, c.Caller.UserID)
	if r := []rune(caller); len(r) > maxCaller {
		caller = string(r[:maxCaller])
	}
	show := screens[c.Purpose]
	title := show.title
	if c.Type == planet.VideoCall {
		title = show.videoTitle
	}
	return compact(aps{
		Alert: alertText{Title: title, Body: caller}, Category: show.category,
		InterruptionLevel: show.level, MutableContent: 1, Sound: "default",
	})
}

// collapseID makes the alerts of one call, or of one notice, replace each other on the
// device. A hash, because 64 bytes is the most that APNs takes.
func collapseID(id planet.SessionID) string {
	sum := sha256.Sum256([]byte(strings.ToLower(string(id))))
	return hex.EncodeToString(sum[:])
}
