package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// PlanKind is how a call is meant to go.
type PlanKind string

// The kinds of plans. A callee that nobody knows needs no plan: the call rings out.
const (
	PlanAnswered   PlanKind = "answered"   // answered After the phone rang, ended after Talk
	PlanDeclined   PlanKind = "declined"   // declined After the phone rang
	PlanCanceled   PlanKind = "canceled"   // the caller hangs up After the call was made
	PlanUnanswered PlanKind = "unanswered" // rings until the ring time is over
	PlanBusy       PlanKind = "busy"       // no Notify, only a Call Event
	PlanByHand     PlanKind = "by-hand"    // people decide: on pages, or with the methods of Call and Leg
)

// byHandTalk ends a conversation of people who forgot it; LINE's own demo cuts calls then, too.
const byHandTalk = 5 * time.Minute

// PlanKinds returns all kinds.
func PlanKinds() []PlanKind {
	return []PlanKind{PlanAnswered, PlanDeclined, PlanCanceled, PlanUnanswered, PlanBusy, PlanByHand}
}

// Plan says what the people and Planet Cloud do during a call. The zero Plan rings out.
type Plan struct {
	Kind  PlanKind // "" is unanswered
	After time.Duration
	Talk  time.Duration
	By    string // name of the phone that answers or declines; "" is whichever is first
	// EndedByCaller says who hangs up an answered call.
	EndedByCaller bool

	// Duplicates is how many more copies of Notify are sent at the same time; UpperCase
	// writes the session ID of the copies in upper case.
	Duplicates int
	UpperCase  bool

	// EditNotify and EditEvent may change the parameters of a callback, EditQuery the
	// encoded query of Notify: for malformed callbacks.
	EditNotify func([]planet.RawParam) []planet.RawParam
	EditEvent  func([]planet.RawParam) []planet.RawParam
	EditQuery  func(string) string
}

// check refuses plans that cannot be followed.
func (p *Plan) check() error {
	if p.Kind == "" {
		p.Kind = PlanUnanswered
	}
	if !slices.Contains(PlanKinds(), p.Kind) {
		return fmt.Errorf("the plan %q is none of %v", p.Kind, PlanKinds())
	}
	if p.Kind == PlanByHand && p.Talk == 0 {
		p.Talk = byHandTalk
	}
	if p.After < 0 || p.Talk < 0 || p.Duplicates < 0 || p.Duplicates > 1000 {
		return fmt.Errorf("the plan's times are negative, or it has more than 1000 duplicates")
	}
	return nil
}

// release is how a call ended, in all of LINE Planet's numbers (docs/line-planet.md 4).
type release struct {
	terminate  int
	code       int
	codeName   string
	reason     int
	reasonName string
	releaser   int // 1 callee, 2 caller, 4 cloud
}

// The releases that a call of the simulator can have.
func releaseOf(kind PlanKind, byCaller bool) release {
	switch kind {
	case PlanAnswered:
		r := release{terminate: 16, code: 1, codeName: "NORMAL", reason: 1001, reasonName: "NORMAL", releaser: 1}
		if byCaller {
			r.releaser = 2
		}
		return r
	case PlanDeclined:
		return release{terminate: 21, code: 3, codeName: "REJECT", reason: 1002, reasonName: "DECLINE", releaser: 1}
	case PlanCanceled:
		return release{terminate: 77, code: 2, codeName: "CANCEL", reason: 1201, reasonName: "CANCEL", releaser: 2}
	case PlanBusy:
		return release{terminate: 17, code: 4, codeName: "USER_BUSY", reason: 1202, reasonName: "BUSY", releaser: 1}
	default:
		return release{terminate: 18, code: 5, codeName: "NO_ANSWER", reason: 1203, reasonName: "NOANSWER", releaser: 2}
	}
}

// pushError is the release of a call whose Notify failed.
func pushError() release {
	return release{terminate: 127, code: 205, codeName: "PUSH_ERROR", reason: 1302, reasonName: "PUSH_ERROR", releaser: 4}
}
