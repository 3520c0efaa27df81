package sim

import (
	"fmt"
	"slices"
	"strings"
)

// FaultTargets returns what [World.AddFault] can make misbehave.
func FaultTargets() []string {
	return []string{"apns-sandbox", "apns-production", "fcm", "oauth", "server-api", "webpush"}
}

// Faults returns the faults of a target; the error lists the targets.
func (w *World) Faults(target string) (*Faults, error) {
	switch target {
	case "apns-sandbox":
		return w.Sandbox.Faults(), nil
	case "apns-production":
		return w.Production.Faults(), nil
	case "fcm":
		return w.FCM.Faults(), nil
	case "oauth":
		return w.FCM.TokenFaults(), nil
	case "server-api":
		return w.API.Faults(), nil
	case "webpush":
		return w.WebPush.Faults(), nil
	}
	return nil, fmt.Errorf("the target %q is none of %s", target, strings.Join(slices.Sorted(slices.Values(FaultTargets())), ", "))
}

// AddFault makes something go wrong at a target, beside what already does.
func (w *World) AddFault(target string, f Fault) error {
	faults, err := w.Faults(target)
	if err != nil {
		return err
	}
	return faults.Add(f)
}

// SetFault makes a push service answer the next count requests with a, in the place of
// an earlier answer or script. A count of 0 lasts until [World.ClearFaults].
func (w *World) SetFault(target string, a Answer, count int) error {
	faults, err := w.Faults(target)
	if err != nil {
		return err
	}
	f := Fault{Kind: FaultAnswer, Answer: a, Count: max(count, 0)}
	if err := f.check(faults.provider); err != nil {
		return err
	}
	w.clearScript(target)
	faults.Clear(FaultAnswer)
	return faults.Add(f)
}

// ClearFaults ends all faults and scripts. What broke stays broken: closed connections,
// and those that fell silent.
func (w *World) ClearFaults() {
	for _, target := range FaultTargets() {
		w.clearScript(target)
		if faults, err := w.Faults(target); err == nil {
			faults.Clear()
		}
	}
}

// clearScript ends the script of a target.
func (w *World) clearScript(target string) {
	switch target {
	case "apns-sandbox":
		w.Sandbox.Script(nil)
	case "apns-production":
		w.Production.Script(nil)
	case "fcm":
		w.FCM.Script(nil)
	case "oauth":
		w.FCM.ScriptToken(nil)
	case "webpush":
		w.WebPush.Script(nil)
	}
}
