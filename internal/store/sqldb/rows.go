package sqldb

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Micros is how a time is kept: microseconds since 1970, 0 for the zero time.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// FromMicros is the inverse of Micros, in UTC.
func FromMicros(us int64) time.Time {
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us).UTC()
}

// At scans a time.
type At struct{ To *time.Time }

// Scan implements sql.Scanner.
func (a At) Scan(value any) error {
	us, ok := value.(int64)
	if !ok {
		return fmt.Errorf("a time is kept as %T, want an integer", value)
	}
	*a.To = FromMicros(us)
	return nil
}

// Span scans a duration kept in microseconds.
type Span struct{ To *time.Duration }

// Scan implements sql.Scanner.
func (s Span) Scan(value any) error {
	us, ok := value.(int64)
	if !ok {
		return fmt.Errorf("a duration is kept as %T, want an integer", value)
	}
	*s.To = time.Duration(us) * time.Microsecond
	return nil
}

// EncodeFields writes an app's own keys as JSON; "" when there is none.
func EncodeFields(fields map[string]string) string {
	if len(fields) == 0 {
		return ""
	}
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err) // text by text is always JSON
	}
	return string(text)
}

// appFields scans an app's own keys.
type appFields struct{ to *map[string]string }

// Scan implements sql.Scanner.
func (f appFields) Scan(value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("an app's keys are kept as %T, want text", value)
	}
	*f.to = nil
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), f.to); err != nil {
		return errors.New("an app's keys are not kept as they should be")
	}
	return nil
}

// EncodeCircumstances writes what was true when a call came in as JSON; "" when nothing was
// special.
func EncodeCircumstances(c *bell.Circumstances) string {
	if !c.FromMemory && !c.Overtaken && len(c.Devices) == 0 && c.More == 0 {
		return ""
	}
	text, err := json.Marshal(c)
	if err != nil { // a time beyond the year 9999
		return ""
	}
	return string(text)
}

// circumstances scans what was true when a call came in.
type circumstances struct{ to *bell.Circumstances }

// Scan implements sql.Scanner.
func (c circumstances) Scan(value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf("a call's circumstances are kept as %T, want text", value)
	}
	*c.to = bell.Circumstances{}
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), c.to); err != nil {
		return errors.New("a call's circumstances are not kept as they should be")
	}
	return nil
}

// EncodeParams writes parameters in the form of a query string: every byte survives,
// the order too, and people can read it.
func EncodeParams(params []planet.RawParam) string {
	var b strings.Builder
	size := 0
	for _, p := range params {
		size += len(p.Name) + len("=") + len(p.Value) + len("&")
	}
	b.Grow(size)
	for i, p := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(p.Name))
		b.WriteByte('=')
		b.WriteString(url.QueryEscape(p.Value))
	}
	return b.String()
}

func decodeParams(text string) ([]planet.RawParam, error) {
	if text == "" {
		return nil, nil
	}
	pairs := strings.Split(text, "&")
	params := make([]planet.RawParam, len(pairs))
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		var err error
		if params[i].Name, err = url.QueryUnescape(name); err == nil {
			params[i].Value, err = url.QueryUnescape(value)
		}
		if err != nil {
			return nil, fmt.Errorf("parameter %d of a callback is not kept as it should be", i)
		}
	}
	return params, nil
}

// WithoutCCParam leaves out what holds cc_param. The parser leaves it out already; the
// column that outlives the call must not depend on that.
func WithoutCCParam(params []planet.RawParam, secret planet.CCParam) []planet.RawParam {
	holds := func(p planet.RawParam) bool {
		return p.Name == "param" || p.Name == "cc_param" ||
			secret != "" && (strings.Contains(p.Value, secret.Reveal()) || strings.Contains(p.Name, secret.Reveal()))
	}
	if !slices.ContainsFunc(params, holds) {
		return params
	}
	kept := make([]planet.RawParam, 0, len(params))
	for _, p := range params {
		if !holds(p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// The columns of each kind of row, and the places they go to, in the same order.

const sessionColumns = "s.id, s.environment, s.service_id, s.user_id, s.project, s.issued_at, s.expires_at, s.revoked_at"

func sessionFields(s *bell.Session) []any {
	return []any{
		&s.ID, &s.Owner.Environment, &s.Owner.User.ServiceID, &s.Owner.User.UserID, &s.Project,
		At{&s.IssuedAt},
		At{&s.ExpiresAt},
		At{&s.RevokedAt},
	}
}

// DeviceColumns are a device's, of "devices v".
const DeviceColumns = "v.id, v.environment, v.service_id, v.user_id, v.project, v.session_id, " +
	"v.app_type, v.app_version, v.app_id, v.channel, v.push_token, v.apns_server, v.apns_server_guessed, " +
	"v.registered_at, v.last_seen_at, v.expires_at, v.client_id, v.apns_server_confirmed, " +
	"v.strikes, v.struck_at, v.suspended_until, v.suspended_for, v.forgotten_at, v.forgotten_for, v.alert_token, v.notices, v.push_keys, v.acknowledges_since"

// DeviceFields are where DeviceColumns go to.
func DeviceFields(d *bell.Device) []any {
	return []any{
		&d.ID, &d.Owner.Environment, &d.Owner.User.ServiceID, &d.Owner.User.UserID, &d.Project, &d.SessionID,
		&d.AppType, &d.AppVersion, &d.AppID, &d.Channel, &d.PushToken, &d.APNsServer, &d.APNsServerGuessed,
		At{&d.RegisteredAt},
		At{&d.LastSeenAt},
		At{&d.ExpiresAt},
		&d.ClientID, &d.APNsServerConfirmed, &d.Strikes,
		At{&d.StruckAt},
		At{&d.SuspendedUntil},
		&d.SuspendedFor,
		At{&d.ForgottenAt},
		&d.ForgottenFor, &d.AlertToken, &d.Notices, &d.PushKeys,
		At{&d.AcknowledgesSince},
	}
}

// CallColumns leave out cc_param: only who rings a device may read it.
const CallColumns = "c.environment, c.session_id, c.project, c.label, c.caller_service, c.caller_user, " +
	"c.callee_service, c.callee_user, c.type, c.app_server_data, c.stid, c.suppressed, c.state, c.outcome, " +
	"c.notified_at, c.deadline, c.started_at, c.ended_at, c.duration_us, " +
	"c.rel_terminate, c.rel_disconnect, c.rel_call_end, c.rel_releaser_type, c.rel_releaser, c.rel_code, " +
	"c.rel_code_name, c.rel_user_code, c.purpose, c.about, c.about_at, c.room_service, c.room_id, c.caller_name, c.app_fields, c.missed_at, c.circumstances"

// CallFields are where CallColumns go to.
func CallFields(c *bell.Call) []any {
	r := &c.Release
	return []any{
		&c.Environment, &c.SessionID, &c.Project, &c.Label, &c.Caller.ServiceID, &c.Caller.UserID,
		&c.Callee.ServiceID, &c.Callee.UserID, &c.Type, &c.AppServerData, &c.STID, &c.Suppressed, &c.State, &c.Outcome,
		At{&c.NotifiedAt},
		At{&c.Deadline},
		At{&c.StartedAt},
		At{&c.EndedAt},
		Span{&c.Duration},
		&r.Terminate, &r.DisconnectReason, &r.CallEndReason, &r.ReleaserType, &r.Releaser, &r.Code,
		&r.CodeName, &r.UserCode, &c.Purpose, &c.About,
		At{&c.AboutAt},
		&c.Room.ServiceID, &c.Room.RoomID, &c.CallerName,
		appFields{&c.AppFields},
		At{&c.MissedAt},
		circumstances{&c.Circumstances},
	}
}

// DeliveryColumns need the call too, which knows the session.
const DeliveryColumns = "d.id, c.environment, c.session_id, d.device_id, d.channel, d.state, d.reason, d.attempts, " +
	"d.deadline, d.lease_owner, d.lease_until, d.created_at, d.updated_at, d.continued_at"

// DeliveryFields are where DeliveryColumns go to.
func DeliveryFields(d *bell.Delivery) []any {
	return []any{
		&d.ID, &d.Environment, &d.SessionID, &d.DeviceID, &d.Channel, &d.State, &d.Reason, &d.Attempts,
		At{&d.Deadline},
		&d.LeaseOwner,
		At{&d.LeaseUntil},
		At{&d.CreatedAt},
		At{&d.UpdatedAt},
		At{&d.ContinuedAt},
	}
}

const attemptColumns = "a.delivery_id, a.number, a.started_at, a.took_us, a.verdict, a.reason, a.status, " +
	"a.token, a.alarm, a.retry_after_us, a.dead_since, a.provider_id, a.detail, a.server"

func attemptFields(a *bell.Attempt) []any {
	o := &a.Outcome
	return []any{
		&a.DeliveryID, &a.Number,
		At{&a.StartedAt},
		Span{&a.Took},
		&o.Verdict, &o.Reason, &o.Status,
		&o.Token, &o.Alarm,
		Span{&o.RetryAfter},
		At{&o.DeadSince},
		&o.ProviderID, &o.Detail, &a.Server,
	}
}

const receiptColumns = "d.id, c.environment, c.session_id, d.device_id, r.channel, r.device_at, r.at, r.priority, r.original_priority, r.problem"

func receiptFields(deliveryID *string, r *bell.Receipt) []any {
	return []any{
		deliveryID, &r.Environment, &r.SessionID, &r.DeviceID, &r.Channel,
		At{&r.ReceivedAt},
		At{&r.At},
		&r.Priority, &r.OriginalPriority, &r.Problem,
	}
}

// Into returns a scan function that reads one row into fields.
func Into(fields []any) func(Scanner) error {
	return func(row Scanner) error { return row.Scan(fields...) }
}
