package planet

import (
	"errors"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The bounds of values in bytes. Longer free text is cut, because what it came with
// is worth more than its tail.
const (
	maxAppServerData = 4096 // PlanetKit's own limit, counted with a closing NUL by some SDKs
	maxCCParam       = 8192 // samples have up to 404; PlanetKit for Windows holds 1024
	maxForeignID     = 128  // IDs that we only pass on
	maxUserCode      = 512  // PlanetKit for Windows holds 300
	maxDisplayName   = 256  // PlanetKit for Windows holds 128
	maxText          = 256  // reasons, host names
	maxWord          = 64   // enumerations, addresses
)

// The bounds of the raw parameters of one callback, so that a journal stays small.
const (
	maxRawParams = 64
	maxRawBytes  = 16 << 10
	maxRawValue  = 4096
)

// params are the parameters of one callback. The methods never fail: they return the
// zero value for what did not come or makes no sense, because an event that is
// partly strange is still an event. The raw parameters keep what came.
type params struct {
	callback string
	values   url.Values
}

// newParams returns ErrNoParameters if there is nothing to read.
func newParams(callback string, values url.Values) (params, error) {
	for _, all := range values {
		for _, v := range all {
			if v != "" {
				return params{callback: callback, values: values}, nil
			}
		}
	}
	return params{}, ErrNoParameters
}

// problem returns the error about one parameter.
func (p params) problem(name, problem string) error {
	return &ParameterError{Callback: p.callback, Parameter: name, Problem: problem}
}

// first returns the first value, as it came. It can be of any length.
func (p params) first(name string) string {
	if all := p.values[name]; len(all) > 0 {
		return all[0]
	}
	return ""
}

// text returns free text of at most limit bytes that every database and encoder can
// take.
func (p params) text(name string, limit int) string { return repair(p.first(name), limit) }

// sessionID returns the session ID, or the error to refuse the callback with.
func (p params) sessionID() (SessionID, error) {
	text := p.first("sid")
	if text == "" {
		return "", p.problem("sid", "is missing; without it the callback belongs to no call")
	}
	sid, err := ParseSessionID(text)
	if err != nil {
		return "", p.problem("sid", "is wrong: "+err.Error())
	}
	return sid, nil
}

// id returns an ID that we do not have to understand: printable ASCII, bounded.
// LINE Planet's own rule is narrower, but a terminal of another kind (SIP) may have
// an ID of another kind.
func (p params) id(name string) string {
	id := p.first(name)
	if foreignIDProblem(id) != "" {
		return ""
	}
	return id
}

func (p params) user(service, user string) UserRef {
	return UserRef{ServiceID: p.id(service), UserID: p.id(user)}
}

func foreignIDProblem(id string) string {
	switch {
	case len(id) > maxForeignID:
		return "is longer than " + strconv.Itoa(maxForeignID) + " bytes"
	case !printable(id):
		return "has a character that is not printable ASCII"
	}
	return ""
}

// callType returns "" for an unknown type.
func (p params) callType(names ...string) CallType {
	for _, name := range names {
		if t, err := ParseCallType(p.first(name)); err == nil {
			return t
		}
	}
	return ""
}

// appServerData returns app_svr_data if that parameter came, even empty, and else
// its deprecated name; and the deprecated one as it came.
// Source: https://docs.lineplanet.me/web/extended-functions/app-server-data
func (p params) appServerData() (data, stid string) {
	stid = p.text("stid", maxAppServerData)
	if _, ok := p.values["app_svr_data"]; !ok {
		return stid, stid
	}
	return p.text("app_svr_data", maxAppServerData), stid
}

// integer returns the number, or nil if none came. JSON bodies may write it as
// 16.0 or 1.6e1.
func (p params) integer(name string) *int64 {
	text := strings.TrimSpace(p.first(name))
	if text == "" || len(text) > maxWord {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if errors.Is(err, strconv.ErrSyntax) {
		if strings.ContainsFunc(text, notDecimal) {
			return nil // Go's own forms, such as 1_000 and 0x1p4
		}
		f, err := strconv.ParseFloat(text, 64)
		// Beyond 2^53 a float no longer says which integer was meant.
		if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return nil
		}
		return new(int64(f))
	}
	if err != nil {
		return nil
	}
	return &n
}

func notDecimal(r rune) bool { return !strings.ContainsRune("+-.0123456789eE", r) }

// code returns a number of LINE Planet's open sets, or nil. One that does not fit a
// database's integer is not one of them.
func (p params) code(name string) *int {
	n := p.integer(name)
	if n == nil || *n < math.MinInt32 || *n > math.MaxInt32 {
		return nil
	}
	return new(int(*n))
}

// count returns a number that cannot be negative, or nil.
func (p params) count(name string) *int {
	if n := p.code(name); n != nil && *n >= 0 {
		return n
	}
	return nil
}

// seconds64 returns a number of seconds that cannot be negative, or nil.
func (p params) seconds64(name string) *int64 {
	if n := p.integer(name); n != nil && *n >= 0 {
		return n
	}
	return nil
}

const (
	// LINE Planet's pages mix seconds and milliseconds. 10^11 seconds are in the
	// year 5138 and 10^11 milliseconds in 1973, so the two cannot be confused.
	firstMillisecond = 100_000_000_000
	// The last millisecond of the year 9999, after which RFC 3339 and JSON end.
	lastMillisecond = 253_402_300_799_999
)

// time returns a moment in UTC from Unix seconds or milliseconds, or the zero time
// if it is unset.
func (p params) time(name string) time.Time {
	n := p.integer(name)
	switch {
	case n == nil || *n <= 0 || *n > lastMillisecond:
		return time.Time{}
	case *n >= firstMillisecond:
		return time.UnixMilli(*n).UTC()
	}
	return time.Unix(*n, 0).UTC()
}

// duration returns how long they talked. Without a number of its own it is what LINE
// Planet says the number is: the end minus the start.
func (p params) duration(start, end time.Time) time.Duration {
	if n := p.seconds64("duration"); n != nil && *n <= int64(math.MaxInt64/time.Second) {
		return time.Duration(*n) * time.Second
	}
	if start.IsZero() || end.Before(start) {
		return 0
	}
	return end.Sub(start)
}

// raw returns the parameters by name, without param, cut to what a journal can keep.
func (p params) raw() []RawParam {
	names := make([]string, 0, len(p.values))
	for name := range p.values {
		// In any letter case: a key that we do not know must not carry the secret.
		if !strings.EqualFold(name, "param") && !strings.EqualFold(name, "cc_param") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	out := make([]RawParam, 0, min(len(names), maxRawParams))
	room := maxRawBytes
	for _, name := range names {
		for _, value := range p.values[name] {
			kept := RawParam{Name: repair(name, maxName), Value: repair(value, maxRawValue)}
			room -= len(kept.Name) + len(kept.Value)
			if room < 0 || len(out) == maxRawParams {
				return out
			}
			out = append(out, kept)
		}
	}
	return out
}

// repair returns text as valid UTF-8 without NUL, which PostgreSQL cannot store, cut
// to limit bytes between two characters.
func repair(text string, limit int) string {
	// Cut first: no replacement is shorter than what it replaces, so that what is
	// beyond the limit cannot come back, and a huge text costs nothing.
	if len(text) > limit {
		text = cut(text, limit)
	}
	if utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 {
		return text
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.ReplaceAll(text, "\x00", "\uFFFD")
	return cut(text, limit)
}

func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for back := 0; back < utf8.UTFMax && limit > 0 && !utf8.RuneStart(text[limit]); back++ {
		limit--
	}
	return text[:limit]
}

// printable reports whether text has ASCII characters only, no space, no control
// character.
func printable(text string) bool {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}
