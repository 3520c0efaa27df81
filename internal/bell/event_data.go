package bell

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// What events say: docs/events.md explains every field. The names are a contract with the
// customer's own systems; fields are added, never renamed or given another meaning. Nothing
// here may hold cc_param, a push token or an address.

type eventUser struct {
	ServiceID string `json:"service_id"`
	UserID    string `json:"user_id"`
}

type eventCall struct {
	Project       string             `json:"project"`
	Environment   planet.Environment `json:"environment"`
	SID           planet.SessionID   `json:"sid"`
	Caller        eventUser          `json:"caller"`
	Callee        eventUser          `json:"callee"`
	Type          string             `json:"type"` // audio, video, or the wire value when unknown
	AppServerData string             `json:"app_server_data,omitempty"`
	STID          string             `json:"stid,omitempty"`
}

type eventRinging struct {
	eventCall
	NotifiedAt time.Time `json:"notified_at"`
	Deadline   time.Time `json:"deadline"` // no attempt to ring starts after it
	Devices    int       `json:"devices"`  // that ring
}

type eventEnded struct {
	eventCall
	State      CallState      `json:"state"` // ended, or lost: its Call Event never came
	Outcome    planet.Outcome `json:"outcome,omitempty"`
	NotifiedAt time.Time      `json:"notified_at,omitzero"`
	StartedAt  time.Time      `json:"started_at,omitzero"` // of the conversation
	EndedAt    time.Time      `json:"ended_at,omitzero"`
	DurationMS int64          `json:"duration_ms"` // of the conversation
	Suppressed Suppression    `json:"suppressed,omitempty"`
	Release    eventRelease   `json:"release"`
}

type eventRelease struct {
	EndedBy  string          `json:"ended_by,omitempty"` // caller, callee, cloud_server, ...
	UserCode string          `json:"user_code,omitempty"`
	Reasons  []ReleaseReason `json:"reasons"` // the most telling first
}

type eventMissed struct {
	eventCall
	Outcome planet.Outcome `json:"outcome"` // missed, canceled or push_failed
	EndedAt time.Time      `json:"ended_at,omitzero"`
}

type eventDelivery struct {
	eventCall
	Purpose    Purpose       `json:"purpose,omitempty"` // empty for a call
	DeliveryID string        `json:"delivery_id"`
	DeviceID   string        `json:"device_id"`
	Channel    Channel       `json:"channel"`
	State      DeliveryState `json:"state"` // failed or expired
	Reason     string        `json:"reason,omitempty"`
	Attempts   int           `json:"attempts"`
}

type eventDevice struct {
	Project     string             `json:"project"`
	Environment planet.Environment `json:"environment"`
	User        eventUser          `json:"user"`
	DeviceID    string             `json:"device_id"`
	AppType     string             `json:"app_type,omitempty"`
	AppVersion  string             `json:"app_version,omitempty"`
	AppID       string             `json:"app_id,omitempty"`
	Channel     Channel            `json:"channel,omitempty"`
	What        string             `json:"what"` // device, or push_token: then the device is kept and cannot ring
	Why         Removal            `json:"why"`
	Reason      string             `json:"reason,omitempty"` // the push provider's
}

type eventTest struct {
	Project     string             `json:"project"`
	Environment planet.Environment `json:"environment"`
}

// Removal is why a device, or its push token, was forgotten.
type Removal string

// The reasons of a removal.
const (
	RemovedOnRequest Removal = "removed"         // an operator removed it
	RemovedReplaced  Removal = "replaced"        // the same installation registered anew
	RemovedMoved     Removal = "token_moved"     // another device registered its push token
	RemovedDead      Removal = "token_dead"      // its push provider says that the token is gone
	RemovedUnseen    Removal = "unseen"          // it made no contact for too long
	RemovedTakenOver Removal = "user_taken_over" // somebody else signed up with its user ID
)

func userOf(u planet.UserRef) eventUser { return eventUser{u.ServiceID, u.UserID} }

func callOf(c *Call) eventCall {
	kind := string(c.Type)
	switch c.Type {
	case planet.AudioCall:
		kind = "audio"
	case planet.VideoCall:
		kind = "video"
	}
	return eventCall{
		Project: c.Project, Environment: c.Environment, SID: c.SessionID, Caller: userOf(c.Caller), Callee: userOf(c.Callee),
		Type: kind, AppServerData: c.AppServerData, STID: c.STID,
	}
}

func callSubject(environment planet.Environment, id planet.SessionID) string {
	return "call/" + string(environment) + "/" + string(id)
}

// RingingEvent tells that a Notify was taken and that devices ring, perhaps none.
func RingingEvent(c *Call, devices int) Event {
	return eventOf(c, EventCallRinging, c.NotifiedAt, eventRinging{
		eventCall: callOf(c), NotifiedAt: utc(c.NotifiedAt), Deadline: utc(c.Deadline), Devices: devices,
	})
}

// EndedEvents tell that a call is over, and, if it is in wanted, that the callee did not get
// to answer it. Only what is wanted is made; a notice is no call, and makes none. A call that
// was kept away is not told as missed: the callee did not want to hear of it.
func EndedEvents(c *Call, wanted EventSet) []Event {
	var events []Event
	if c.Purpose != PurposeCall {
		return nil
	}
	over := utc(c.EndedAt)
	if over.IsZero() {
		over = c.Deadline // of a call that is lost, or whose end is no time, nothing later is known
	}
	if wanted.Has(EventCallEnded) {
		ended := eventOf(c, EventCallEnded, over, eventEnded{
			eventCall: callOf(c), State: c.State, Outcome: c.Outcome,
			NotifiedAt: utc(c.NotifiedAt), StartedAt: utc(c.StartedAt), EndedAt: utc(c.EndedAt), DurationMS: c.Duration.Milliseconds(), Suppressed: c.Suppressed,
			Release: eventRelease{EndedBy: EndedBy(&c.Release), UserCode: c.Release.UserCode, Reasons: ReleaseReasons(&c.Release)},
		})
		if c.State == CallLost { // its Call Event may come after all, and is told too
			ended.ID = EventID(EventCallEnded, string(c.Environment), string(c.SessionID), string(CallLost))
		}
		events = append(events, ended)
	}
	if wanted.Has(EventCallMissed) && Missed(c.Outcome) && c.Suppressed == RingsAll {
		events = append(events, eventOf(c, EventCallMissed, over, eventMissed{
			eventCall: callOf(c), Outcome: c.Outcome, EndedAt: utc(c.EndedAt),
		}))
	}
	return events
}

// DeliveryFailedEvent tells that a device could not be rung. Only the call's identity, its
// parties and its purpose are used of c.
func DeliveryFailedEvent(c *Call, d *Delivery) Event {
	e := eventOf(c, EventDeliveryFailed, d.UpdatedAt, eventDelivery{
		eventCall: callOf(c), Purpose: c.Purpose, DeliveryID: d.ID, DeviceID: d.DeviceID, Channel: d.Channel,
		State: d.State, Reason: d.Reason, Attempts: d.Attempts,
	})
	e.ID = EventID(EventDeliveryFailed, d.ID)
	return e
}

// DeviceRemovedEvent tells that a device was forgotten, or, when why is RemovedDead, that its
// push token was.
func DeviceRemovedEvent(d *Device, why Removal, now time.Time) Event {
	data := eventDevice{
		Project: d.Project, Environment: d.Owner.Environment, User: userOf(d.Owner.User), DeviceID: d.ID,
		AppType: d.AppType, AppVersion: d.AppVersion, AppID: d.AppID, Channel: d.Channel, What: "device", Why: why,
	}
	if why == RemovedDead {
		data.What, data.Reason = "push_token", d.ForgottenFor
	}
	return Event{
		ID:      EventID(EventDeviceRemoved, d.ID, string(why), strconv.FormatInt(now.UnixMicro(), 10)),
		Type:    EventDeviceRemoved,
		Project: d.Project, Subject: "device/" + d.ID, At: now, Data: encode(data),
	}
}

// TestEvent is what an operator sends to see whether events arrive.
func TestEvent(p *Project, now time.Time) Event {
	id := NewID()
	return Event{
		ID: EventID(EventTest, id), Type: EventTest, Project: p.Name, Subject: "test/" + id, At: now,
		Data: encode(eventTest{Project: p.Name, Environment: p.Environment}),
	}
}

func eventOf(c *Call, t EventType, at time.Time, data any) Event {
	return Event{
		ID: EventID(t, string(c.Environment), string(c.SessionID)), Type: t, Project: c.Project,
		Subject: callSubject(c.Environment, c.SessionID), At: at, Data: encode(data),
	}
}

// encode writes JSON. Texts that are not UTF-8 come out with U+FFFD. What is passed here can
// always be written; if it could not, a call must not be lost for it.
func encode(data any) []byte {
	text, err := json.Marshal(data)
	if err != nil {
		return []byte("{}")
	}
	return text
}

// utc leaves the zero time what it is, so that omitzero leaves it out, and takes a year that
// RFC 3339 cannot write, which only a forged callback can hold, for no time at all.
func utc(t time.Time) time.Time {
	if t.IsZero() || t.UTC().Year() > 9999 || t.UTC().Year() < 1 {
		return time.Time{}
	}
	return t.UTC()
}
