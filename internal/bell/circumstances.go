package bell

import "time"

// MaxDeviceNotes bounds how many devices of a callee are noted with a call; how many more
// there were is counted.
const MaxDeviceNotes = 20

// Circumstances are what was true when a call came in and what nobody can look up later:
// devices change, and a database that was sick is well again. They are kept with the call, to
// tell why a device did not ring.
type Circumstances struct {
	// FromMemory says that the database was in trouble: the call rang from memory, and was
	// recorded later.
	FromMemory bool `json:"from_memory,omitempty"`
	// Overtaken says that the Call Event was on record before the Notify was: nothing rang. Their
	// times do not tell this: a Notify takes a while, and may have come first.
	Overtaken bool `json:"overtaken,omitempty"`
	// Devices are those that were left out, and those that were rung in spite of something,
	// those seen last first; at most MaxDeviceNotes.
	Devices []DeviceNote `json:"devices,omitempty"`
	More    int          `json:"more,omitempty"` // how many further ones there were
}

// DeviceNote is what spoke against a device when a call came in.
type DeviceNote struct {
	DeviceID string    `json:"id"`
	AppType  string    `json:"app_type,omitempty"`
	Channel  Channel   `json:"channel,omitempty"`
	Why      NoteWhy   `json:"why"`
	Reason   string    `json:"reason,omitempty"` // the provider's, of what was forgotten or suspended
	Since    time.Time `json:"since,omitzero"`   // when it was forgotten, suspended, or its sign-in ended
	Rung     bool      `json:"rung,omitempty"`   // it was rung all the same: there was no better one
}

// NoteWhy is what spoke against a device.
type NoteWhy string

// What can speak against a device.
const (
	NoteNoChannel NoteWhy = "no_channel" // it never said how it can be reached: by polls, or by a push token
	NoteForgotten NoteWhy = "forgotten"  // its push token was removed on proof
	NoteExpired   NoteWhy = "expired"    // it polls, and its sign-in had ended
	NoteSuspended NoteWhy = "suspended"  // its push token may be dead
	NoteTooMany   NoteWhy = "too_many"   // more devices than are rung for one call had been seen later
)

// against is the one rule of what speaks against a device at now; empty if nothing does. What
// keeps a device from being reached comes before its suspension.
func (d *Device) against(now time.Time) NoteWhy {
	switch {
	case d.Channel != LongPoll && d.PushToken == "" && !d.ForgottenAt.IsZero():
		return NoteForgotten
	case d.Channel != LongPoll && d.PushToken == "":
		return NoteNoChannel
	case !d.ExpiresAt.IsZero() && !now.Before(d.ExpiresAt):
		return NoteExpired
	case d.Suspended(now):
		return NoteSuspended
	}
	return ""
}

// Note says what spoke against a device at now; ok is false if nothing did.
func (d *Device) Note(now time.Time) (n DeviceNote, ok bool) {
	n = DeviceNote{DeviceID: d.ID, AppType: CleanName(d.AppType), Channel: d.Channel, Why: d.against(now)}
	switch n.Why {
	case "":
		return DeviceNote{}, false
	case NoteForgotten:
		n.Reason, n.Since = d.ForgottenFor, d.ForgottenAt
	case NoteExpired:
		n.Since = d.ExpiresAt
	case NoteSuspended:
		n.Reason, n.Since = d.SuspendedFor, d.StruckAt
	}
	return n, true
}
