package planet

// Outcome returns how the call ended, in one word for call history.
//
// They talked if the event says so by its duration or start time, whatever the
// numbers say. Else the numbers decide, the most reliable family that came first:
// disconnect_reason, call_end_reason, rel_code, terminate. A number that only says
// that the call ended normally, or that we do not know, decides nothing, and the
// next family is asked. LINE Planet gives no mapping between the families; this is
// planetbell's.
func (e CallEvent) Outcome() Outcome {
	if e.Duration > 0 || !e.StartTime.IsZero() {
		return OutcomeCompleted
	}
	if outcome := e.Release.deciding().outcome; outcome != "" {
		return outcome
	}
	return OutcomeFailed
}

// decision is a number of a release, and the outcome that it decides; "" if it decides
// nothing.
type decision struct {
	family  Family
	reason  ReasonInfo
	outcome Outcome
}

// deciding returns the number that decides the outcome. If none does, it is the first that
// came, and if none came, the zero decision.
func (r Release) deciding() decision {
	var first decision
	for _, f := range []struct {
		name    Family
		code    *int
		explain func(int) ReasonInfo
		outcome func(int) Outcome
	}{
		{FamilyDisconnectReason, r.DisconnectReason, DisconnectReason, outcomeOfDisconnectReason},
		{FamilyCallEndReason, r.CallEndReason, CallEndReason, outcomeOfCallEndReason},
		{FamilyReleaseCode, r.Code, ReleaseCode, outcomeOfReleaseCode},
		{FamilyTerminate, r.Terminate, TerminateReason, outcomeOfTerminate},
	} {
		if f.code == nil {
			continue
		}
		d := decision{family: f.name, reason: f.explain(*f.code), outcome: f.outcome(*f.code)}
		if d.outcome != "" {
			return d
		}
		if first.family == "" {
			first = d
		}
	}
	return first
}

// The functions below return "" for a number that decides nothing.

func outcomeOfDisconnectReason(code int) Outcome {
	switch code {
	case 1201:
		return OutcomeCanceled
	case 1002:
		return OutcomeDeclined
	case 1202, 1204, 1205:
		return OutcomeBusy
	case 1203:
		return OutcomeMissed
	case 1302, 1313:
		return OutcomePushFailed
	case 1001:
		return ""
	}
	return failedIf(DisconnectReason(code).Known)
}

func outcomeOfCallEndReason(code int) Outcome {
	switch code {
	case 1000:
		return OutcomeCanceled
	case 1003:
		return OutcomeDeclined
	case 1001, 1024:
		return OutcomeBusy
	case 1002:
		return OutcomeMissed
	case 1020:
		return OutcomePushFailed
	case 1004, 1005, 1100:
		return ""
	}
	return failedIf(CallEndReason(code).Known)
}

func outcomeOfReleaseCode(code int) Outcome {
	switch code {
	case 0, 1, 1000:
		return ""
	}
	if !ReleaseCode(code).Known {
		return ""
	}
	return outcomeOfDisconnectReason(DisconnectReasonOf(code))
}

func outcomeOfTerminate(code int) Outcome {
	switch code {
	case 77:
		return OutcomeCanceled
	case 21:
		return OutcomeDeclined
	case 17:
		return OutcomeBusy
	case 18:
		return OutcomeMissed
	}
	return ""
}

func failedIf(known bool) Outcome {
	if known {
		return OutcomeFailed
	}
	return ""
}
