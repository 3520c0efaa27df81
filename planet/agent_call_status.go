package planet

import (
	"net/url"
	"strings"
)

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
