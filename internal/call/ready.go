package call

import (
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// Readiness says whether a device would ring if its user were called now, and if not, why.
type Readiness string

// The values of [Readiness]. All but the first two say why it would not ring.
const (
	ReadyNow     Readiness = "ready"
	ReadyAtLast  Readiness = "ready_suspended" // suspended, and rung all the same, because the user has no better device
	NotSuspended Readiness = "suspended"       // its push token may be dead; the user's other devices ring
	NotForgotten Readiness = "forgotten"       // its provider said that the push token is dead
	NotAddressed Readiness = "no_address"      // the app never said how it can be reached
	NotExpired   Readiness = "expired"         // its app token has ended, and with it its polls
	NotRouted    Readiness = "no_route"        // nothing leads to it: no credential that fits, or no such project
	NotAmongMany Readiness = "too_many"        // the user has more than MaxDevices, and this one was seen longer ago
)

// Rings reports whether the device would ring.
func (r Readiness) Rings() bool { return r == ReadyNow || r == ReadyAtLast }

// DeviceReadiness is a device with what a call now would make of it.
type DeviceReadiness struct {
	Device    bell.Device
	Readiness Readiness
	Reason    string // the provider's, of a suspension or a token that is dead; the router's, of a missing route
}

// Ready says which of a user's devices would ring now, in the order given. devices must be all
// of them, because it depends on the others whether a suspended one rings. It is the choice
// that Ring makes; route says why nothing leads to a device, and is empty if something does.
func Ready(devices []bell.Device, now time.Time, route func(*bell.Device) string) []DeviceReadiness {
	chosen, _ := choose(devices, now)
	rings := map[string]bool{}
	for i := range chosen {
		rings[chosen[i].ID] = true
	}
	all := make([]DeviceReadiness, 0, len(devices))
	for i := range devices {
		r := DeviceReadiness{Device: devices[i]}
		r.Readiness, r.Reason = ready(&devices[i], rings[devices[i].ID], now, route)
		all = append(all, r)
	}
	return all
}

func ready(d *bell.Device, chosen bool, now time.Time, route func(*bell.Device) string) (Readiness, string) {
	n, _ := d.Note(now)
	if r, kept := unreachable[n.Why]; kept {
		return r, n.Reason
	}
	why := route(d)
	suspended := n.Why == bell.NoteSuspended
	switch {
	case chosen && why != "":
		return NotRouted, why
	case chosen && suspended:
		return ReadyAtLast, n.Reason
	case chosen:
		return ReadyNow, ""
	case suspended:
		return NotSuspended, n.Reason
	}
	return NotAmongMany, ""
}

// unreachable is how it is called that a device cannot be reached.
var unreachable = map[bell.NoteWhy]Readiness{
	bell.NoteForgotten: NotForgotten,
	bell.NoteNoChannel: NotAddressed,
	bell.NoteExpired:   NotExpired,
}
