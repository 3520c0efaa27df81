package bell

import (
	"time"

	"github.com/planetbell/planetbell/planet"
)

// RoomState is where one run of a room stands.
type RoomState string

// The states of a run:
//
//	open -> closed
//
// A run is open from the first event that is heard of it. It is closed for good by LINE
// Planet's own word (sc=E). When it was closed for another reason, a newer event opens it
// again: events are lost and late, and the newest one is right (docs/line-planet.md 3.3).
const (
	RoomOpen   RoomState = "open"
	RoomClosed RoomState = "closed"
)

// RoomEnd is why a run is closed.
type RoomEnd string

// The reasons.
const (
	RoomEnded  RoomEnd = "ended"  // LINE Planet said so: sc=E
	RoomEmpty  RoomEnd = "empty"  // the newest event leaves nobody online, and the end did not come
	RoomSilent RoomEnd = "silent" // nothing was heard for a long time (setting rooms.forget_after)
)

// RoomRun is one run of a room: from its first participant to its last. A room is used
// again and again, each time with a new session ID. Package room makes a run of its events,
// whatever their order; what it needs for that is among the fields. Comparable with ==.
type RoomRun struct {
	Environment planet.Environment
	SessionID   planet.SessionID
	Room        planet.RoomRef // empty until an event names it
	Project     string         // whose callback URL the first event came to
	HeardAt     time.Time      // when the first event came, by our clock: the place in lists
	SeenAt      time.Time      // when the last event came that said something new, by our clock

	State   RoomState
	Reason  RoomEnd   // empty while open
	EndedAt time.Time // by LINE Planet's clock; zero while open

	Host      planet.UserRef // who opened the room
	SetupAt   time.Time      // zero if no event said it
	StartedAt time.Time      // zero if no event said it

	// Online is how many participants are connected, by the newest event that says it:
	// the count to believe. -1 while no event did. Present is how many of the participants
	// that we know of are in the room: another number shows that events were lost.
	Online       int
	Present      int
	Participants int  // known, those who left among them
	Crowded      bool // there were more participants than are kept; only Online counts them

	FirstEventAt time.Time // the oldest event's own time
	LastEventAt  time.Time // the newest event's own time
	OnlineAt     time.Time // the time of the event that Online is from
	OnlineRank   int       // its rank among events of the same time; a start has the lowest
	EndEventAt   time.Time // what sc=E says of the end; zero until it came
	SilentAt     time.Time // LastEventAt when the run was closed for its silence; else zero
	InviteBy     time.Time // until when the room's members are still to be invited; zero: they are not
}

// ParticipantState is where a participant stands.
type ParticipantState string

// The states of a participant: joined -> left, and joined again. They stay in the history.
const (
	ParticipantJoined ParticipantState = "joined"
	ParticipantLeft   ParticipantState = "left"
)

// Participant is somebody who is or was in one run of a room. Times are LINE Planet's.
type Participant struct {
	User          planet.UserRef
	State         ParticipantState
	FirstJoinedAt time.Time // zero if no join was heard of
	JoinedAt      time.Time // the newest join
	SeenInAt      time.Time // the newest event that shows them in the room: a join, or other media
	LeftAt        time.Time // the newest leave, also when they are back; zero if there was none

	// What the newest leave said.
	TimedOut       bool // the connection broke, they did not leave
	BillingSeconds *int64
	Release        planet.Release

	// Each by the newest event that names it, whose time stands beside it.
	Media         planet.CallType
	MediaAt       time.Time
	UEType        string // ANDROID, IOS, BROWSER, ...
	UETypeAt      time.Time
	DisplayName   string
	DisplayNameAt time.Time
}
