package console

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/planet"
)

// Bounds of what may be asked.
const (
	DefaultLimit = 50  // entries on a page
	MaxLimit     = 500 // entries on a page; about 300 KB of JSON

	maxParam = 256      // bytes of one parameter; LINE Planet's IDs have at most 64 characters
	maxBody  = 16 << 10 // bytes; the longest push token has 4096 characters
)

// query is a parsed query string of which every parameter is known, given at most once,
// short, and free of control characters.
type query struct{ values url.Values }

func parseQuery(raw string, known ...string) (query, error) {
	values, err := url.ParseQuery(raw)
	if err != nil { // the error repeats the input
		return query{}, invalid("The query string is not well-formed; encode special characters with %%.")
	}
	for name, all := range values {
		if !slices.Contains(known, name) {
			return query{}, invalid("There is no parameter %s here; want %s.", shownName(name), strings.Join(known, ", "))
		}
		if len(all) > 1 {
			return query{}, invalid("%s is given %d times; give it once.", name, len(all))
		}
		if len(all[0]) > maxParam || strings.ContainsFunc(all[0], unicode.IsControl) {
			return query{}, invalid("%s: want at most %d characters, none of them a control character.", name, maxParam)
		}
	}
	return query{values}, nil
}

func (q query) text(name string) string { return q.values.Get(name) }

// environment returns the environment, or "" when none is asked for.
func (q query) environment() (planet.Environment, error) {
	text := q.text("environment")
	if text == "" {
		return "", nil
	}
	environment, err := planet.ParseEnvironment(text)
	if err != nil {
		return "", invalid("environment: want evaluation or real.")
	}
	return environment, nil
}

func (q query) limit() (int, error) {
	text := q.text("limit")
	if text == "" {
		return DefaultLimit, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > MaxLimit {
		return 0, invalid("limit: want a number from 1 to %d.", MaxLimit)
	}
	return n, nil
}

// Channels are the channels a device can have, in the order in which they are offered.
func Channels() []bell.Channel {
	return []bell.Channel{bell.APNsVoIP, bell.APNsAlert, bell.FCM, bell.WebPush, bell.LongPoll}
}

// deviceQuery is what GET /admin/v1/devices was asked.
type deviceQuery struct {
	filter device.Filter
	after  string
	limit  int
}

func parseDeviceQuery(raw string) (deviceQuery, error) {
	q, err := parseQuery(raw, "environment", "service_id", "user_id", "channel", "after", "limit")
	if err != nil {
		return deviceQuery{}, err
	}
	environment, err := q.environment()
	if err != nil {
		return deviceQuery{}, err
	}
	limit, err := q.limit()
	if err != nil {
		return deviceQuery{}, err
	}
	channel := bell.Channel(q.text("channel"))
	if channel != "" && !slices.Contains(Channels(), channel) {
		return deviceQuery{}, invalid("channel: want apns_voip, apns_alert, fcm, web_push or longpoll.")
	}
	return deviceQuery{
		filter: device.Filter{
			Environment: string(environment), ServiceID: q.text("service_id"),
			UserID: q.text("user_id"), Channel: channel,
		},
		after: q.text("after"), limit: limit,
	}, nil
}

// callQuery is what GET /admin/v1/calls was asked.
type callQuery struct {
	filter call.Filter
	before call.Cursor
	limit  int
}

func parseCallQuery(raw string) (callQuery, error) {
	q, err := parseQuery(raw, "environment", "service_id", "user_id", "project", "state", "outcome", "since", "until", "before", "limit")
	if err != nil {
		return callQuery{}, err
	}
	environment, err := q.environment()
	if err != nil {
		return callQuery{}, err
	}
	limit, err := q.limit()
	if err != nil {
		return callQuery{}, err
	}
	before, err := parseCursor(q.text("before"))
	if err != nil {
		return callQuery{}, err
	}
	filter := call.Filter{
		Environment: environment,
		User:        planet.UserRef{ServiceID: q.text("service_id"), UserID: q.text("user_id")},
		Project:     q.text("project"),
		State:       bell.CallState(q.text("state")),
		Outcome:     planet.Outcome(q.text("outcome")),
	}
	if filter.State != "" && !slices.Contains(CallStates(), filter.State) {
		return callQuery{}, invalid("state: want ringing, ended or lost.")
	}
	if filter.Outcome != "" && !slices.Contains(planet.Outcomes(), filter.Outcome) {
		return callQuery{}, invalid("outcome: want completed, canceled, declined, busy, missed, push_failed or failed.")
	}
	if filter.Since, err = q.time("since"); err != nil {
		return callQuery{}, err
	}
	if filter.Until, err = q.time("until"); err != nil {
		return callQuery{}, err
	}
	return callQuery{filter: filter, before: before, limit: limit}, nil
}

// CallStates are the states a call can have, in the order in which they are offered.
func CallStates() []bell.CallState {
	return []bell.CallState{bell.CallRinging, bell.CallEnded, bell.CallLost}
}

// time returns a moment, or the zero time when none is asked for.
func (q query) time(name string) (time.Time, error) {
	text := q.text(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.Year() < 1971 || at.Year() > 9999 {
		return time.Time{}, invalid("%s: want a time such as 2026-09-01T12:00:00Z; encode a + as %%2B.", name)
	}
	return at.UTC(), nil
}

// A cursor is written as Unix nanoseconds, a hyphen and the session ID. Clients take it
// as it is.
func formatCursor(c call.Cursor) string {
	return strconv.FormatInt(c.At.UnixNano(), 10) + "-" + string(c.SessionID)
}

func parseCursor(text string) (call.Cursor, error) {
	if text == "" {
		return call.Cursor{}, nil
	}
	at, id, found := strings.Cut(text, "-")
	nanoseconds, err := strconv.ParseInt(at, 10, 64)
	session, idErr := planet.ParseSessionID(id)
	if !found || err != nil || nanoseconds < 1 || idErr != nil {
		return call.Cursor{}, invalid(`before: want the "next" of an earlier answer.`)
	}
	return call.Cursor{At: time.Unix(0, nanoseconds).UTC(), SessionID: session}, nil
}

// readBody decodes a JSON body strictly: a misspelt field is an error, not a default.
func readBody(w http.ResponseWriter, r *http.Request, into any) error {
	return readBodyOf(w, r, into, maxBody)
}

// readBodyOf is readBody for a body of at most limit bytes.
func readBodyOf(w http.ResponseWriter, r *http.Request, into any, limit int64) error {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return bell.E(wrongType, "", nil)
	}
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return bodyError(err)
	}
	if err := d.Decode(new(json.RawMessage)); !errors.Is(err, io.EOF) {
		return invalid("The body: want one JSON object and nothing after it.")
	}
	return nil
}

// bodyError says what is wrong with a body without repeating any value of it: it may
// hold a push token.
func bodyError(err error) error {
	var tooLarge *http.MaxBytesError
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.As(err, &tooLarge):
		return bell.E(bell.TooLarge, fmt.Sprintf("The body is longer than %d bytes.", tooLarge.Limit), nil)
	case errors.As(err, &syntax):
		return invalid("The body is not JSON: see byte %d.", syntax.Offset)
	case errors.As(err, &wrong):
		kind, _, _ := strings.Cut(wrong.Value, " ") // what follows is the value
		return invalid("The body: %s cannot be a JSON %s.", cmp.Or(wrong.Field, "the whole"), kind)
	case errors.Is(err, errSecretShape):
		return invalid("The body: push_token: want a text.")
	}
	if name, found := strings.CutPrefix(err.Error(), "json: unknown field "); found {
		return invalid("There is no field %s here; docs/admin-api.md lists what there is.", shownName(strings.Trim(name, `"`)))
	}
	return invalid("The body is not complete JSON.")
}

// shownName repeats a name that is not known if it looks like one. Anything else may be a
// secret in the wrong place.
func shownName(name string) string {
	if name == "" || len(name) > 24 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
		return "with this name"
	}
	return strconv.Quote(name)
}

func invalid(format string, args ...any) error {
	return bell.E(bell.Invalid, fmt.Sprintf(format, args...), nil)
}
