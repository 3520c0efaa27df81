package room

import (
	"cmp"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// fact is what one Group Call Event says, in the words of this package.
type fact struct {
	event planet.GroupCallEvent
	at    time.Time // its place in the run's order
	timed bool      // at is LINE Planet's: a repeat of the event has the same
	came  time.Time // by our clock
	user  planet.UserRef
	does  deed
}

// deed is what an event says of its participant.
type deed int

const (
	nothing deed = iota
	changesMedia
	joins
	leaves
)

// newFact reads an event that came at a time. Everything but the session ID or the room may
// be missing (docs/line-planet.md 11 no. 13).
//
// Events are ordered by ts. The one that has none is put where its other times say, a start
// at start_time and an end at end_time, and else where it came.
func newFact(e planet.GroupCallEvent, came time.Time) fact {
	f := fact{event: e, at: e.Time, timed: true, came: came}
	if f.at.IsZero() {
		switch e.Status {
		case planet.RoomStarted:
			f.at = firstOf(e.StartTime, e.SetupTime)
		case planet.RoomEnded:
			f.at = e.EndTime
		}
	}
	if f.at.IsZero() {
		f.at, f.timed = came, false
	}
	if e.Participant.UserID != "" {
		// A user without a service is one of the room's.
		f.user = planet.UserRef{ServiceID: cmp.Or(e.Participant.ServiceID, e.Room.ServiceID), UserID: e.Participant.UserID}
		f.does = deedOf(&e)
	}
	return f
}

// deedOf follows docs/line-planet.md 3.3. Who a start names without msc has joined; else an event
// without msc, or with one that is not known, says nothing of who is in the room.
func deedOf(e *planet.GroupCallEvent) deed {
	switch e.ParticipantStatus {
	case planet.ParticipantConnected:
		return joins
	case planet.ParticipantDisconnected, planet.ParticipantTimedOut:
		return leaves
	case planet.ParticipantMediaChanged:
		return changesMedia
	case "":
		if e.Status == planet.RoomStarted {
			return joins
		}
	}
	return nothing
}

// rank orders events of the same time as far as it matters for Online: an end is the last
// word, and a start the first. Of others nobody knows, and one order for all is enough.
func (f *fact) rank() int {
	switch f.event.Status {
	case planet.RoomStarted:
		return rankStart
	case planet.RoomEnded:
		return rankEnd
	}
	return rankStart + 1 + int(f.does)
}

const (
	rankStart = 0
	rankEnd   = 10
)

func firstOf(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// status is how the customer's systems are told of the deed.
func (f *fact) status() string {
	switch f.does {
	case joins:
		return string(bell.ParticipantJoined)
	case leaves:
		if f.event.ParticipantStatus == planet.ParticipantTimedOut {
			return "timed_out"
		}
		return string(bell.ParticipantLeft)
	case changesMedia:
		return "media_changed"
	}
	return ""
}
