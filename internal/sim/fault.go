package sim

import (
	"fmt"
	"slices"
	"sync/atomic"
)

// FaultTargets returns what [World.SetFault] can make misbehave.
func FaultTargets() []string { return []string{"apns-sandbox", "apns-production", "fcm", "oauth"} }

// SetFault makes a push service answer the next count requests with a, in the place of
// an earlier fault or script. A count of 0 lasts until [World.ClearFaults].
func (w *World) SetFault(target string, a Answer, count int) error {
	if a.Body != "" && a.Status == 0 || a.Status != 0 && (a.Status < 200 || a.Status > 599) {
		return fmt.Errorf("the status %d is not from 200 to 599", a.Status)
	}
	var used atomic.Int64
	next := func() *Answer {
		if count > 0 && used.Add(1) > int64(count) {
			return nil
		}
		return &a
	}
	switch target {
	case "apns-sandbox":
		w.Sandbox.Script(func(APNsRequest) *Answer { return next() })
	case "apns-production":
		w.Production.Script(func(APNsRequest) *Answer { return next() })
	case "fcm":
		w.FCM.Script(func(FCMRequest) *Answer { return next() })
	case "oauth":
		w.FCM.ScriptToken(func(TokenRequest) *Answer { return next() })
	default:
		return fmt.Errorf("the target %q is none of %v", target, slices.Sorted(slices.Values(FaultTargets())))
	}
	return nil
}

// ClearFaults ends all faults and scripts.
func (w *World) ClearFaults() {
	w.Sandbox.Script(nil)
	w.Production.Script(nil)
	w.FCM.Script(nil)
	w.FCM.ScriptToken(nil)
}
