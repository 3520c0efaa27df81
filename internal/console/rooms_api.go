package console

import (
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// RoomRun is one run of a room: one group call.
type RoomRun struct {
	Environment planet.Environment `json:"environment"`
	ServiceID   string             `json:"service_id"`
	RoomID      string             `json:"room_id"`
	SID         planet.SessionID   `json:"sid"`
	Project     string             `json:"project"`
	State       bell.RoomState     `json:"state"`
	Reason      bell.RoomEnd       `json:"reason,omitempty"` // why it is closed
	Host        *User              `json:"host,omitempty"`

	HeardAt      time.Time `json:"heard_at"` // by our clock; all others are LINE Planet's
	SetupAt      time.Time `json:"setup_at,omitzero"`
	StartedAt    time.Time `json:"started_at,omitzero"`
	EndedAt      time.Time `json:"ended_at,omitzero"`
	FirstEventAt time.Time `json:"first_event_at,omitzero"`
	LastEventAt  time.Time `json:"last_event_at,omitzero"`

	Online           *int `json:"online,omitempty"` // as LINE Planet says; absent while it did not
	Present          int  `json:"present"`          // participants we know to be in; another number shows lost events
	ParticipantCount int  `json:"participant_count"`
	Crowded          bool `json:"crowded,omitempty"` // more participants than are kept
}

// RoomRunList is a page of runs, those heard of last first. Next is the "before" of the next
// page; it is empty on the last one.
type RoomRunList struct {
	Runs []RoomRun `json:"runs"`
	Next string    `json:"next,omitempty"`
}

// RoomRunStory is a run with a page of its participants, ordered by user ID. Next is the
// "after" of the next page; it is empty on the last one.
type RoomRunStory struct {
	Run          RoomRun       `json:"run"`
	Participants []Participant `json:"participants"`
	Next         string        `json:"next,omitempty"`
}

// Participant is somebody who is or was in a run.
type Participant struct {
	ServiceID      string                `json:"service_id"`
	UserID         string                `json:"user_id"`
	DisplayName    string                `json:"display_name,omitempty"`
	State          bell.ParticipantState `json:"state"`
	FirstJoinedAt  time.Time             `json:"first_joined_at,omitzero"`
	JoinedAt       time.Time             `json:"joined_at,omitzero"` // the newest join
	LeftAt         time.Time             `json:"left_at,omitzero"`   // the newest leave, also of one who is back
	TimedOut       bool                  `json:"timed_out,omitempty"`
	Media          string                `json:"media,omitempty"` // audio, video, or the wire value when unknown
	UEType         string                `json:"ue_type,omitempty"`
	BillingSeconds *int64                `json:"billing_seconds,omitempty"` // of the newest leave
	Release        *Release              `json:"release,omitempty"`         // of the newest leave
}
