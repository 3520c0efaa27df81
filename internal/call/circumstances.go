package call

import (
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// noted is what spoke against a callee's devices when a call came in, of which those that
// ring are chosen. The caller waits for it, and for nearly every call there is nothing.
func noted(devices, chosen []bell.Device, now time.Time) (c bell.Circumstances) {
	if len(chosen) == len(devices) && !anySuspended(chosen, now) {
		return c
	}
	rings := make(map[string]bool, len(chosen))
	for i := range chosen {
		rings[chosen[i].ID] = true
	}
	bySeen := make([]int, len(devices))
	for i := range bySeen {
		bySeen[i] = i
	}
	slices.SortStableFunc(bySeen, func(a, b int) int { return devices[b].LastSeenAt.Compare(devices[a].LastSeenAt) })
	for _, i := range bySeen {
		d := &devices[i]
		n, spoken := d.Note(now)
		n.Rung = rings[d.ID]
		switch {
		case !spoken && n.Rung, spoken && n.Rung && n.Why != bell.NoteSuspended:
			continue
		case !spoken:
			n = bell.DeviceNote{DeviceID: d.ID, AppType: bell.CleanName(d.AppType), Channel: d.Channel, Why: bell.NoteTooMany}
		}
		if len(c.Devices) == bell.MaxDeviceNotes {
			c.More++
			continue
		}
		c.Devices = append(c.Devices, n)
	}
	return c
}

func anySuspended(devices []bell.Device, now time.Time) bool {
	for i := range devices {
		if devices[i].Suspended(now) {
			return true
		}
	}
	return false
}
