package call

import (
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// noted is what spoke against a callee's devices when a call came in, of which those that
// ring are chosen.
func noted(devices, chosen []bell.Device, now time.Time) bell.Circumstances {
	rings := make(map[string]bool, len(chosen))
	for i := range chosen {
		rings[chosen[i].ID] = true
	}
	var c bell.Circumstances
	bySeen := slices.Clone(devices) // which nobody else has
	slices.SortStableFunc(bySeen, func(a, b bell.Device) int { return b.LastSeenAt.Compare(a.LastSeenAt) })
	for i := range bySeen {
		d := &bySeen[i]
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
