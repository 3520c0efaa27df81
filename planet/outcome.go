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
	r := e.Release
	families := []struct {
		code    *int
		outcome func(int) Outcome
	}{
		{r.DisconnectReason, outcomeOfDisconnectReason},
		{r.CallEndReason, outcomeOfCallEndReason},
		{r.Code, outcomeOfReleaseCode},
		{r.Terminate, outcomeOfTerminate},
	}
	for _, family := range families {
		if family.code == nil {
			continue
		}
		if outcome := family.outcome(*family.code); outcome != "" {
			return outcome
		}
	}
	return OutcomeFailed
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
