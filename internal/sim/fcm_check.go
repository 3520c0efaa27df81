package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	maxFCMData   = 4096                    // keys and values (docs/push-providers.md 2.1)
	maxFCMTTL    = 2_419_200 * time.Second // 28 days
	typeFCMError = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
	typeBad      = "type.googleapis.com/google.rpc.BadRequest"
)

var (
	fcmTTL = regexp.MustCompile(`^\d+(\.\d{1,9})?s$`)
	// fcmToken is loose: tokens of today have about 160 characters with one colon,
	// installation IDs have 22. Google publishes no format.
	fcmToken = regexp.MustCompile(`^[A-Za-z0-9_:\-]{20,1000}$`)
)

// fcmError is a refusal of FCM.
type fcmError struct {
	status  int
	code    string // errorCode or status word; "" is the front end's HTML
	message string
	fcm     bool   // has an FcmError detail
	field   string // has a BadRequest detail about this field
}

// statusWords are google.rpc codes by HTTP status.
var statusWords = map[int]string{
	400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
	429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
}

// envelope returns the google.rpc.Status of the refusal.
func (e *fcmError) envelope() any {
	var details []any
	if e.fcm {
		details = append(details, map[string]string{"@type": typeFCMError, "errorCode": e.code})
	}
	if e.field != "" {
		violation := map[string]string{"field": e.field, "description": e.message}
		details = append(details, map[string]any{"@type": typeBad, "fieldViolations": []any{violation}})
	}
	word := statusWords[e.status]
	if word == "" {
		word = "UNKNOWN"
	}
	body := map[string]any{"code": e.status, "message": e.message, "status": word}
	if details != nil {
		body["details"] = details
	}
	return map[string]any{"error": body}
}

// badField is a refusal of our own payload.
func badField(field, message string) *fcmError {
	return &fcmError{status: http.StatusBadRequest, code: "INVALID_ARGUMENT", message: message, field: field}
}

// judge runs the checks of docs/push-providers.md 6.2.
func (f *FCM) judge(r *http.Request, body []byte) (*FCMMessage, *fcmError) {
	project, ok := strings.CutPrefix(r.URL.Path, "/v1/projects/")
	if ok {
		project, ok = strings.CutSuffix(project, "/messages:send")
	}
	if !ok || r.Method != http.MethodPost || strings.Contains(project, "/") {
		return nil, &fcmError{status: http.StatusNotFound, message: "no such page"}
	}
	if e := f.checkBearer(r); e != nil {
		return nil, e
	}
	if project != f.o.ProjectID {
		return nil, &fcmError{
			status: http.StatusForbidden, code: "PERMISSION_DENIED",
			message: "Permission 'cloudmessaging.messages.create' denied on the resource, or it does not exist.",
		}
	}
	m := &FCMMessage{At: f.clock.Now(), Header: r.Header, Body: body}
	target, e := parseMessage(body, m)
	if e != nil {
		return nil, e
	}
	if e := f.checkCall(m); e != nil {
		return nil, e
	}
	if target == "token" || target == "fid" {
		if e := f.checkTarget(m.Token); e != nil {
			return nil, e
		}
	}
	m.Name = f.newName()
	return m, nil
}

// checkCall is the strict call test.
func (f *FCM) checkCall(m *FCMMessage) *fcmError {
	switch {
	case !f.o.Strict:
		return nil
	case m.Notification:
		return badField("message.notification", "call test: a notification object keeps the app asleep")
	case isNotice(m.Data):
		return checkNotice(m)
	case m.Priority != "high":
		return badField("message.android.priority", "call test: the priority is not high, the call waits for Doze to end")
	case m.TTL == nil || *m.TTL > f.o.RingTime:
		return badField("message.android.ttl", "call test: the ttl is missing or longer than the ring")
	}
	return nil
}

// checkNotice is the strict test of what is no call: it may be kept for a day, and what is not
// urgent must not wake the device, which would cost the calls their priority.
func checkNotice(m *FCMMessage) *fcmError {
	switch {
	case m.TTL == nil || *m.TTL > maxNotice:
		return badField("message.android.ttl", "notice test: the ttl is missing or longer than a day")
	case m.Data["app_event"] == missedCall && m.Priority != "normal":
		return badField("message.android.priority", "notice test: a missed call wakes the device")
	}
	return nil
}

// maxNotice is how long a push service may keep what is no call.
const maxNotice = 24 * time.Hour

// checkTarget looks the registration token up.
func (f *FCM) checkTarget(token string) *fcmError {
	f.mu.Lock()
	d := f.devices[token]
	f.mu.Unlock()
	switch {
	case d == nil || !fcmToken.MatchString(token):
		return &fcmError{
			status: http.StatusBadRequest, code: "INVALID_ARGUMENT", fcm: true,
			message: "The registration token is not a valid FCM registration token",
		}
	case d.foreign:
		return &fcmError{status: http.StatusForbidden, code: "SENDER_ID_MISMATCH", fcm: true, message: "SenderId mismatch"}
	case d.gone:
		return &fcmError{status: http.StatusNotFound, code: "UNREGISTERED", fcm: true, message: "Requested entity was not found."}
	}
	return nil
}

// fields is a JSON object that knows proto JSON's two spellings of a name.
type fields map[string]json.RawMessage

// take removes and returns a field, in snake case or camel case. null counts as absent.
func (o fields) take(name string) (json.RawMessage, bool) {
	for _, n := range []string{name, camel(name)} {
		if v, ok := o[n]; ok {
			delete(o, n)
			return v, string(v) != "null"
		}
	}
	return nil, false
}

// camel turns snake case into camel case.
func camel(name string) string {
	words := strings.Split(name, "_")
	for i, w := range words[1:] {
		words[i+1] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

// rest refuses the first field that was not taken.
func (o fields) rest(at string) *fcmError {
	names := make([]string, 0, len(o))
	for n := range o {
		names = append(names, n)
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return badField(at, fmt.Sprintf("Invalid JSON payload received. Unknown name %q at '%s': Cannot find field.", names[0], at))
}

// into decodes a field strictly.
func into(raw json.RawMessage, field string, to any) *fcmError {
	if err := json.Unmarshal(raw, to); err != nil {
		return badField(field, fmt.Sprintf("Invalid value at '%s'", field))
	}
	return nil
}

// parseMessage reads the body of a send and returns which target it names.
func parseMessage(body []byte, m *FCMMessage) (target string, e *fcmError) {
	var top, msg fields
	if err := json.Unmarshal(body, &top); err != nil || top == nil {
		return "", badField("", "Invalid JSON payload received.")
	}
	if v, ok := top.take("validate_only"); ok {
		if e := into(v, "validate_only", &m.ValidateOnly); e != nil {
			return "", e
		}
	}
	v, ok := top.take("message")
	if !ok {
		return "", badField("message", "Request contains an invalid argument: message is missing.")
	}
	if e := into(v, "message", &msg); e != nil {
		return "", e
	}
	if e := top.rest("request"); e != nil {
		return "", e
	}
	if target, e = parseTarget(msg, m); e != nil {
		return "", e
	}
	if e := parseData(msg, m); e != nil {
		return "", e
	}
	if e := parseAndroid(msg, m); e != nil {
		return "", e
	}
	if _, ok := msg.take("notification"); ok {
		m.Notification = true
	}
	for _, other := range []string{"name", "webpush", "apns", "fcm_options"} {
		msg.take(other)
	}
	return target, msg.rest("message")
}

// parseTarget wants exactly one target.
func parseTarget(msg fields, m *FCMMessage) (target string, e *fcmError) {
	for _, name := range []string{"token", "fid", "topic", "condition"} {
		v, ok := msg.take(name)
		if !ok {
			continue
		}
		if target != "" {
			return "", badField("message", "Invalid value at 'message': oneof field 'target' is already set.")
		}
		target = name
		var s string
		if e := into(v, "message."+name, &s); e != nil {
			return "", e
		}
		if name == "token" || name == "fid" {
			m.Token = s
		}
	}
	if target == "" {
		return "", badField("message", "Recipient of the message is not set.")
	}
	return target, nil
}

// parseData reads the map of strings, and checks its keys and size.
func parseData(msg fields, m *FCMMessage) *fcmError {
	v, ok := msg.take("data")
	if !ok {
		return nil
	}
	var raw map[string]json.RawMessage
	if e := into(v, "message.data", &raw); e != nil {
		return e
	}
	m.Data = make(map[string]string, len(raw))
	size := 0
	for key, value := range raw {
		var s *string
		if err := json.Unmarshal(value, &s); err != nil || s == nil {
			return badField("message.data[0].value", "Invalid value at 'message.data[0].value' (TYPE_STRING)")
		}
		m.Data[key] = *s
		size += len(key) + len(*s)
	}
	for key := range m.Data {
		reserved := key == "from" || key == "message_type" || strings.HasPrefix(key, "google") || strings.HasPrefix(key, "gcm")
		if reserved {
			e := badField("message.data", "Invalid data payload key: "+key)
			e.fcm = true // the real one has both details
			return e
		}
	}
	if size > maxFCMData {
		e := badField("message.data", "Android message is too big")
		e.fcm = true
		return e
	}
	return nil
}

// parseAndroid checks the android object.
func parseAndroid(msg fields, m *FCMMessage) *fcmError {
	v, ok := msg.take("android")
	if !ok {
		return nil
	}
	var a fields
	if e := into(v, "message.android", &a); e != nil {
		return e
	}
	if v, ok := a.take("priority"); ok {
		var p string
		if e := into(v, "message.android.priority", &p); e != nil {
			return e
		}
		if m.Priority = strings.ToLower(p); m.Priority != "high" && m.Priority != "normal" {
			return badField("message.android.priority", "Invalid value at 'message.android.priority' (AndroidMessagePriority)")
		}
	}
	if v, ok := a.take("ttl"); ok {
		if e := parseTTL(v, m); e != nil {
			return e
		}
	}
	if v, ok := a.take("direct_boot_ok"); ok {
		var b bool
		if e := into(v, "message.android.direct_boot_ok", &b); e != nil {
			return e
		}
	}
	_, notification := a.take("notification")
	m.Notification = m.Notification || notification
	for _, other := range []string{"collapse_key", "restricted_package_name", "data", "fcm_options", "bandwidth_constrained_ok"} {
		a.take(other)
	}
	return a.rest("message.android")
}

// parseTTL reads a proto JSON duration.
func parseTTL(raw json.RawMessage, m *FCMMessage) *fcmError {
	const field = "message.android.ttl"
	var s string
	if e := into(raw, field, &s); e != nil {
		return e
	}
	d, err := time.ParseDuration(s)
	if err != nil || !fcmTTL.MatchString(s) {
		return badField(field, "Invalid value at 'message.android.ttl' (Duration), Illegal duration format")
	}
	if d > maxFCMTTL {
		return badField(field, "Invalid value at 'message.android.ttl': longer than four weeks")
	}
	m.TTL = &d
	return nil
}
