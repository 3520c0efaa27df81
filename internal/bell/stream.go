package bell

import (
	"context"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Stream is a device's wish to be told of calls as they come, one after another. It is
// one more kind of poll, which acknowledges and stays: Hold is how long, at most.
type Stream struct {
	Poll
	Environment planet.Environment
	// Beat is after how long without an event there is a [StreamBeat].
	Beat time.Duration
	// Known are the calls and notices that the device has already, by its own word, the
	// oldest first. They are not handed to it again, and it is told of their end.
	Known []planet.SessionID
	// Arrived records that the device has something of Known. Needed if there is any.
	Arrived func(ctx context.Context, id planet.SessionID) Arrival
}

// Arrival is what the record says of something that a device has.
type Arrival struct {
	Unknown  bool      // it was never for this device, or the record could not be asked
	Over     bool      // the call has ended
	Deadline time.Time // until when it rings; zero if that is not known
}

// StreamKind says what a stream is told.
type StreamKind int

// The kinds of what a stream is told.
const (
	StreamOpened StreamKind = iota // it has begun; the first
	StreamLetter                   // a call, or a notice
	StreamEnded                    // something that the device knows of has ended
	StreamBeat                     // nothing has happened for a while
	StreamOver                     // it is over, and the device should begin another; the last
)

// Why a call ended that a stream was told of.
const (
	EndedByCall     = "ended"   // the call is over, or what was noticed is
	EndedByDeadline = "expired" // it has rung for as long as it may
)

// StreamEvent is one thing that a stream is told.
type StreamEvent struct {
	Kind      StreamKind
	SessionID planet.SessionID // of StreamLetter and StreamEnded
	Payload   Payload          // of StreamLetter
	Notice    bool             // the letter is no call
	Why       string           // of StreamEnded: EndedByCall or EndedByDeadline
	// Known are what the device knows of once it has this event, and has not ended: of
	// StreamLetter and StreamEnded. They make the event's ID.
	Known []planet.SessionID
	// Later is, of StreamOver, that the device should not come back at once: it has more
	// polls and streams than it may.
	Later bool
}
