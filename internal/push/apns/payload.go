package apns

import (
	"bytes"
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
	n := call.Notification(now)
	aps, limit := []byte("{}"), maxVoIPPayload
	if s.channel == bell.APNsAlert {
		limit = maxAlertPayload
		var err error
		if aps, err = alert(n); err != nil {
			return nil, err
		}
	}
	var text []byte
	var failed error
	_, err := n.Fit(limit, func(fields map[string]string) int {
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
// is where an app registers its answer and decline buttons.
type aps struct {
	Alert             alertText `json:"alert"`
	Category          string    `json:"category"`
	InterruptionLevel string    `json:"interruption-level"`
	MutableContent    int       `json:"mutable-content"`
	Sound             string    `json:"sound"`
}

type alertText struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

// maxCaller bounds the caller's name in an alert, in characters: more is not shown.
const maxCaller = 100

func alert(n planet.Notification) ([]byte, error) {
	caller := n.CallerName
	if caller == "" {
		caller = n.Caller.UserID
	}
	if r := []rune(caller); len(r) > maxCaller {
		caller = string(r[:maxCaller])
	}
	title := "Incoming call"
	if n.Type == planet.VideoCall {
		title = "Incoming video call"
	}
	return compact(aps{
		Alert: alertText{Title: title, Body: caller}, Category: "INCOMING_CALL",
		InterruptionLevel: "time-sensitive", MutableContent: 1, Sound: "default",
	})
}

// collapseID makes the alerts of one call replace each other on the device. A hash,
// because 64 bytes is the most that APNs takes.
func collapseID(id planet.SessionID) string {
	sum := sha256.Sum256([]byte(strings.ToLower(string(id))))
	return hex.EncodeToString(sum[:])
}
