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
	NoteNoChannel NoteWhy = "no_channel" // it never said how it can be reached
	NoteForgotten NoteWhy = "forgotten"  // its push token was removed on proof
	NoteNoToken   NoteWhy = "no_token"   // it has no push token
	NoteExpired   NoteWhy = "expired"    // it polls, and its sign-in had ended
	NoteSuspended NoteWhy = "suspended"  // its push token may be dead
	NoteTooMany   NoteWhy = "too_many"   // more devices than are rung for one call had been seen later
)

// Note says what spoke against a device at now; ok is false if nothing did.
func (d *Device) Note(now time.Time) (n DeviceNote, ok bool) {
	n = DeviceNote{DeviceID: d.ID, AppType: CleanName(d.AppType), Channel: d.Channel}
	switch {
	case d.Channel != LongPoll && d.PushToken == "" && !d.ForgottenAt.IsZero():
		n.Why, n.Reason, n.Since = NoteForgotten, d.ForgottenFor, d.ForgottenAt
	case d.Channel == "":
		n.Why = NoteNoChannel
	case d.Channel != LongPoll && d.PushToken == "":
		n.Why = NoteNoToken
	case !d.ExpiresAt.IsZero() && !now.Before(d.ExpiresAt):
		n.Why, n.Since = NoteExpired, d.ExpiresAt
	case d.Suspended(now):
		n.Why, n.Reason, n.Since = NoteSuspended, d.SuspendedFor, d.StruckAt
	default:
		return DeviceNote{}, false
	}
	return n, true
}
