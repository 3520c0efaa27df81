package planet

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
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

// ParseCallEvent reads the parameters of a Call Event callback, decoded by
// [ParseQuery] or [ParseBody].
//
// Only the session ID must be there and right; else the error is a [*ParameterError],
// or [ErrNoParameters] for a dry run. Everything else that is missing or makes no
// sense is left out, also where LINE Planet's pages say that it always comes: an
// event refused is an event lost. Raw keeps it as it came.
func ParseCallEvent(values url.Values) (CallEvent, error) {
	p, err := newParams("Call Event", values)
	if err != nil {
		return CallEvent{}, err
	}
	sid, err := p.sessionID()
	if err != nil {
		return CallEvent{}, err
	}
	e := CallEvent{
		SessionID:      sid,
		Caller:         p.user("from_service_id", "from_user_id"),
		Callee:         p.user("to_service_id", "to_user_id"),
		Type:           p.callType("type"),
		SetupTime:      p.time("setup_time"),
		StartTime:      p.time("start_time"),
		EndTime:        p.time("end_time"),
		BillingSeconds: p.seconds64("billing_sec"),
		CallerAddress:  p.text("srcip", maxWord),
		CalleeAddress:  p.text("dstip", maxWord),
		Release:        p.release(),
		Raw:            p.raw(),
	}
	e.Duration = p.duration(e.StartTime, e.EndTime)
	e.AppServerData, e.STID = p.appServerData()
	return e, nil
}

// DedupKey returns the same text for every repeat of the event, and never that of
// another callback of any kind. A 1-to-1 call has one Call Event, so the session ID
// is enough.
func (e CallEvent) DedupKey() string { return "call-event/" + string(e.SessionID) }

func (p params) release() Release {
	return Release{
		Terminate:        p.code("terminate"),
		DisconnectReason: p.code("disconnect_reason"),
		CallEndReason:    p.code("call_end_reason"),
		ReleaserType:     p.code("releaser_type"),
		Releaser:         p.text("releaser", maxText),
		Code:             p.code("rel_code"),
		CodeName:         p.text("rel_code_str", maxWord),
		UserCode:         p.text("user_rel_code", maxUserCode),
	}
}

// ParseGroupCallEvent reads the parameters of a Group Call Event callback, decoded by
// [ParseQuery] or [ParseBody].
//
// A session ID, or the room's service ID and room ID, must be there and right; else
// the error is a [*ParameterError], or [ErrNoParameters] for a dry run. Everything
// else may be missing, as for [ParseCallEvent]: real start events lack the user ID.
func ParseGroupCallEvent(values url.Values) (GroupCallEvent, error) {
	p, err := newParams("Group Call Event", values)
	if err != nil {
		return GroupCallEvent{}, err
	}
	room := RoomRef{ServiceID: p.id("svc_id"), RoomID: p.id("id")}
	sid, err := p.sessionID()
	if err != nil && (room.ServiceID == "" || room.RoomID == "") {
		return GroupCallEvent{}, err
	}
	e := GroupCallEvent{
		SessionID:         sid,
		Room:              room,
		Participant:       p.user("user_svc_id", "user_id"),
		Host:              p.user("host_svc_id", "host_id"),
		Status:            RoomStatus(strings.ToUpper(p.text("sc", maxWord))),
		ParticipantStatus: ParticipantStatus(strings.ToUpper(p.text("msc", maxWord))),
		SetupTime:         p.time("setup_time"),
		StartTime:         p.time("start_time"),
		EndTime:           p.time("end_time"),
		Time:              p.time("ts"),
		Online:            p.count("online"),
		MediaType:         p.callType("media_type", "mediaType"), // the docs' table and the docs' example
		UEType:            p.text("ue_type", maxWord),
		DisplayName:       p.text("display_name", maxDisplayName),
		ClientAddress:     p.text("client_address", maxWord),
		DataCenter:        p.text("rc_idc", maxWord),
		BillingSeconds:    p.seconds64("billing_sec"),
		Release:           p.release(),
		Raw:               p.raw(),
	}
	e.AppServerData, e.STID = p.appServerData()
	return e, nil
}

// DedupKey returns the same text for every repeat of the event, and never that of
// another callback of any kind. A room has many events in one run; they are told
// apart by who did what and when. An event without a time is told apart by all that
// came with it.
func (e GroupCallEvent) DedupKey() string {
	which := string(e.SessionID)
	if which == "" {
		which = url.QueryEscape(e.Room.ServiceID) + ":" + url.QueryEscape(e.Room.RoomID)
	}
	when := "raw-" + fingerprint(e.Raw)
	if !e.Time.IsZero() {
		when = strconv.FormatInt(e.Time.UnixMilli(), 10)
	}
	// Escaped, so that no ID can look like two.
	return strings.Join([]string{
		"group-call-event", which,
		url.QueryEscape(e.Participant.ServiceID), url.QueryEscape(e.Participant.UserID),
		url.QueryEscape(string(e.Status)), url.QueryEscape(string(e.ParticipantStatus)), when,
	}, "/")
}

func fingerprint(raw []RawParam) string {
	h := sha256.New()
	for _, p := range raw {
		// A hash never fails to write. Quoted, so that the borders cannot move.
		_, _ = h.Write(strconv.AppendQuote(strconv.AppendQuote(nil, p.Name), p.Value))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// ParseAgentCallStatus reads the parameters of an Agent Call Status callback, decoded
// by [ParseQuery] or [ParseBody].
//
// Only the session ID must be there and right; else the error is a [*ParameterError],
// or [ErrNoParameters] for a dry run. The result is compared without letter case: the
// docs' table writes SUCCESS, their example Success.
func ParseAgentCallStatus(values url.Values) (AgentCallStatus, error) {
	p, err := newParams("Agent Call Status", values)
	if err != nil {
		return AgentCallStatus{}, err
	}
	sid, err := p.sessionID()
	if err != nil {
		return AgentCallStatus{}, err
	}
	s := AgentCallStatus{
		SessionID:       sid,
		AgentType:       p.text("agent_type", maxWord),
		MediaSourceType: p.text("media_source_type", maxWord),
		Success:         strings.EqualFold(p.first("result"), "success"),
		FailReason:      p.text("fail_reason", maxText),
		Raw:             p.raw(),
	}
	if s.Success || strings.EqualFold(s.FailReason, "none") {
		s.FailReason = ""
	}
	return s, nil
}

// DedupKey returns the same text for every repeat of the callback, and never that of
// another callback of any kind.
func (s AgentCallStatus) DedupKey() string {
	result := "fail"
	if s.Success {
		result = "success"
	}
	return "agent-call-status/" + string(s.SessionID) + "/" + result
}
