package planet

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// ParseNotify reads the parameters of a Notify callback, decoded by [ParseQuery] or
// [ParseBody].
//
// The session ID, the callee and "param" must be there and right, because without
// them nothing can ring; else the error is a [*ParameterError], or [ErrNoParameters]
// for a dry run. A caller may be missing or of an unknown service. A call type that
// is missing or unknown counts as audio, which asks least of the callee's device.
func ParseNotify(values url.Values) (NotifyCallback, error) {
	p, err := newParams("Notify", values)
	if err != nil {
		return NotifyCallback{}, err
	}
	n := NotifyCallback{Type: p.callType("type")}
	if n.SessionID, err = p.sessionID(); err != nil {
		return NotifyCallback{}, err
	}
	if n.Callee, err = p.callee(); err != nil {
		return NotifyCallback{}, err
	}
	if n.Caller, err = p.caller(); err != nil {
		return NotifyCallback{}, err
	}
	if n.CCParam, err = p.ccParam(); err != nil {
		return NotifyCallback{}, err
	}
	if n.Type == "" {
		n.Type = AudioCall
	}
	n.AppServerData, n.STID = p.appServerData()
	n.Raw = p.raw()
	return n, nil
}

// DedupKey returns the same text for every repeat of the callback, and never that of
// another callback of any kind.
func (n NotifyCallback) DedupKey() string { return "notify/" + string(n.SessionID) }

func (p params) callee() (UserRef, error) {
	u := UserRef{ServiceID: p.first("to_service_id"), UserID: p.first("to_user_id")}
	if err := p.required("to_service_id", ValidateServiceID); err != nil {
		return UserRef{}, err
	}
	return u, p.required("to_user_id", ValidateUserID)
}

func (p params) required(name string, validate func(string) error) error {
	value := p.first(name)
	if value == "" {
		return p.problem(name, "is missing; without it nobody can be rung")
	}
	if err := validate(value); err != nil {
		return p.problem(name, "is wrong: "+err.Error())
	}
	return nil
}

// caller takes any ID that is harmless to pass on: Planet Cloud knows its caller.
func (p params) caller() (UserRef, error) {
	for _, name := range []string{"from_service_id", "from_user_id"} {
		if problem := foreignIDProblem(p.first(name)); problem != "" {
			return UserRef{}, p.problem(name, problem)
		}
	}
	return p.user("from_service_id", "from_user_id"), nil
}

// ccParam returns "param" unchanged but for spaces. It is base64, so a space can
// only be a '+' that the sender did not percent-encode.
func (p params) ccParam() (CCParam, error) {
	text := strings.ReplaceAll(p.first("param"), " ", "+")
	switch {
	case text == "":
		return "", p.problem("param", "is missing; without it no device can take the call")
	case len(text) > maxCCParam:
		return "", p.problem("param", "is longer than "+strconv.Itoa(maxCCParam)+" bytes")
	case !printable(text):
		return "", p.problem("param", "has a character that is not printable ASCII, so it is not base64")
	}
	return CCParam(text), nil
}

// EmbeddedSessionID returns the session ID that some forms of the text hold inside.
// It is for diagnosis only (one that differs from the callback's is suspicious): the
// text is opaque, and its format may change without notice.
func (c CCParam) EmbeddedSessionID() (SessionID, bool) {
	if len(c) > maxCCParam {
		return "", false
	}
	text := strings.TrimRight(string(c), "=")
	inside, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return "", false
	}
	var content struct {
		SID string `json:"sid"`
	}
	if json.Unmarshal(inside, &content) != nil {
		return "", false
	}
	sid, err := ParseSessionID(content.SID)
	return sid, err == nil
}
