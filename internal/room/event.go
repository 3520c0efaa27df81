package room

import (
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// told is the data of an outgoing event. No address of a client is in it.
type told struct {
	Project     string             `json:"project"`
	Environment planet.Environment `json:"environment"`
	ServiceID   string             `json:"service_id"`
	RoomID      string             `json:"room_id"`
	SID         planet.SessionID   `json:"sid"`
	State       bell.RoomState     `json:"state"`
	Reason      bell.RoomEnd       `json:"reason,omitempty"` // why it is closed
	Online      *int               `json:"online,omitempty"` // absent while no event said it
	StartedAt   time.Time          `json:"started_at,omitzero"`
	EndedAt     time.Time          `json:"ended_at,omitzero"`
	Host        *toldUser          `json:"host,omitempty"`
	Participant *toldParticipant   `json:"participant,omitempty"` // whom the event is about, if it said that
}

// media are the words for the wire's letters.
var media = map[planet.CallType]string{planet.AudioCall: "audio", planet.VideoCall: "video"}

type toldUser struct {
	ServiceID string `json:"service_id"`
	UserID    string `json:"user_id"`
}

type toldParticipant struct {
	toldUser
	Did         string `json:"did"` // joined, left, timed_out or media_changed
	DisplayName string `json:"display_name,omitempty"`
	Media       string `json:"media,omitempty"` // audio or video
}

// newEvent makes the event that tells a change; f is nil when no callback caused it. Its ID is
// the same when the same callback is taken again.
func newEvent(kind bell.EventType, environment planet.Environment, r *bell.RoomRun, f *fact, cause string) bell.Event {
	d := told{
		Project: r.Project, Environment: environment, ServiceID: r.Room.ServiceID, RoomID: r.Room.RoomID, SID: r.SessionID,
		State: r.State, Reason: r.Reason, StartedAt: r.StartedAt, EndedAt: r.EndedAt,
	}
	if r.Online >= 0 {
		d.Online = &r.Online
	}
	if r.Host.UserID != "" {
		d.Host = &toldUser{r.Host.ServiceID, r.Host.UserID}
	}
	at := r.LastEventAt
	if f != nil {
		at = f.at
		if f.does != nothing {
			d.Participant = &toldParticipant{
				toldUser: toldUser{f.user.ServiceID, f.user.UserID}, Did: f.status(),
				DisplayName: f.event.DisplayName, Media: media[f.event.MediaType],
			}
		}
	}
	data, err := json.Marshal(d)
	if err != nil {
		panic(err) // texts and times of four digits' years: parsers let nothing else in
	}
	return bell.Event{
		ID: identity("event", string(kind), string(environment), string(r.SessionID), cause), Type: kind, Project: r.Project,
		Subject: "room/" + string(environment) + "/" + r.Room.ServiceID + "/" + r.Room.RoomID, At: at, Data: data,
	}
}

// namespace keeps our identities apart from everybody else's.
var namespace = uuid.MustParse("6f0f9c1e-8f1b-4f52-9d6e-3a2f6f0b7c11")

// identity is a UUID (version 5) that is the same for the same parts. No part holds NUL.
func identity(parts ...string) string {
	var text []byte
	for _, p := range parts {
		text = append(append(text, p...), 0)
	}
	return uuid.NewSHA1(namespace, text).String()
}
