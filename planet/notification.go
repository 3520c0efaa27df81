package planet

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Notification is what a callee's device must get for a 1-to-1 call: the keys that
// LINE's demo clients read ("cc_param", "app_*", "_env") and a few of our own.
// Source: https://docs.lineplanet.me/getting-started/essentials/appserver-role
type Notification struct {
	CCParam          CCParam
	Caller           UserRef
	Callee           UserRef
	Type             CallType
	EnvironmentLabel string // "_env"; never empty
	AppServerData    string
	STID             string
	SessionID        SessionID // "app_session_id"
	CallerName       string    // "app_caller_name"; may be empty
	SentAt           time.Time // "app_sent_at", Unix milliseconds as text
	ExpiresAt        time.Time // "app_expires_at", Unix milliseconds as text
	// AppFields are further keys, "app_...", that mean something to the app only. What does
	// not fit the bounds of [AppFields] is left out; they go before everything else when the
	// payload is too large.
	AppFields map[string]string
}

// The keys of a notification. The "sid" of app_caller_sid means service ID.
const (
	keyCCParam       = "cc_param"
	keyCallerService = "app_caller_sid"
	keyCallerUser    = "app_caller_uid"
	keyCalleeService = "app_callee_sid"
	keyCalleeUser    = "app_callee_uid"
	keyCallType      = "app_call_type"
	keyEnvironment   = "_env"
	keySTID          = "app_stid"
	keyAppServerData = "app_app_svr_data"
	keySessionID     = "app_session_id"
	keyCallerName    = "app_caller_name"
	keySentAt        = "app_sent_at"
	keyExpiresAt     = "app_expires_at"
)

// droppable are the keys that a device can do without, the first to go first: stid
// repeats the app server data, which the app can ask its server for by the session
// ID, which is therefore the last.
var droppable = []string{keySTID, keyAppServerData, keyCallerName, keySentAt, keyExpiresAt, keySessionID}

// unknownLabel stands for an environment label that was not set: LINE's Apple demo
// drops a call without one, and no client looks at its value.
const unknownLabel = "unknown"

// ErrTooLarge says that a notification does not fit even without all that a device
// can do without.
var ErrTooLarge = errors.New("the notification is too large")

// Fields returns the notification as text by key, for a provider's payload or a
// long-poll answer. Required keys are always there, "app_call_type" and "_env" never
// empty; optional keys only when they have a value. The map holds cc_param in the
// clear: it is for the device only.
func (n Notification) Fields() map[string]string {
	fields := map[string]string{
		keyCCParam:       n.CCParam.Reveal(),
		keyCallerService: n.Caller.ServiceID,
		keyCallerUser:    n.Caller.UserID,
		keyCalleeService: n.Callee.ServiceID,
		keyCalleeUser:    n.Callee.UserID,
		keyCallType:      string(n.Type),
		keyEnvironment:   n.EnvironmentLabel,
	}
	if n.Type == "" {
		fields[keyCallType] = string(AudioCall)
	}
	if n.EnvironmentLabel == "" {
		fields[keyEnvironment] = unknownLabel
	}
	optional := func(key, value string) {
		if value != "" {
			fields[key] = value
		}
	}
	optional(keySTID, n.STID)
	optional(keyAppServerData, n.AppServerData)
	optional(keySessionID, string(n.SessionID))
	optional(keyCallerName, n.CallerName)
	optional(keySentAt, milliseconds(n.SentAt))
	optional(keyExpiresAt, milliseconds(n.ExpiresAt))
	addAppFields(fields, n.AppFields)
	return fields
}

// Fit returns the fields without as many optional ones as it takes until size, which
// is the length of the whole payload in bytes, is at most limit. What goes first are the
// app's own keys, then app_stid, then app_app_svr_data, then the keys of our own. What a
// client needs is never touched; if it does not fit, the error wraps [ErrTooLarge].
//
// size is called with a map that it must not keep or change, once per field left
// out and once before; nil means the bytes of keys and values alone.
func (n Notification) Fit(limit int, size func(map[string]string) int) (map[string]string, error) {
	fields := n.Fields()
	if got := fit(fields, droppable, limit, size); got > limit {
		return nil, tooLarge(got, limit)
	}
	return fields, nil
}

func tooLarge(got, limit int) error {
	return fmt.Errorf("%w: %d bytes are left when everything optional is left out, and at most %d are allowed",
		ErrTooLarge, got, limit)
}

func plainSize(fields map[string]string) int {
	n := 0
	for key, value := range fields {
		n += len(key) + len(value)
	}
	return n
}

func milliseconds(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return strconv.FormatInt(at.UnixMilli(), 10)
}
