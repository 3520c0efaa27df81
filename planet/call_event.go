package planet

import "net/url"

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
