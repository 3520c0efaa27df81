package planet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// ParseGroupCallEvent reads the parameters of a Group Call Event callback, decoded by
// [ParseQuery] or [ParseBody].
//
// A session ID, or the room's service ID and room ID, must be there and right; else
// the error is a [*ParameterError], or [ErrNoParameters] for a dry run. Everything
// else may be missing, as for [ParseCallEvent]: real start events lack the user ID.
func ParseGroupCallEvent(values url.Values) (GroupCallEvent, error) {
	p, err := newParams("Group Call Event", values)
	if err != nil {
		return GroupCallEvent{}, err
	}
	room := RoomRef{ServiceID: p.id("svc_id"), RoomID: p.id("id")}
	sid, err := p.sessionID()
	if err != nil && (room.ServiceID == "" || room.RoomID == "") {
		return GroupCallEvent{}, err
	}
	e := GroupCallEvent{
		SessionID:         sid,
		Room:              room,
		Participant:       p.user("user_svc_id", "user_id"),
		Host:              p.user("host_svc_id", "host_id"),
		Status:            RoomStatus(strings.ToUpper(p.text("sc", maxWord))),
		ParticipantStatus: ParticipantStatus(strings.ToUpper(p.text("msc", maxWord))),
		SetupTime:         p.time("setup_time"),
		StartTime:         p.time("start_time"),
		EndTime:           p.time("end_time"),
		Time:              p.time("ts"),
		Online:            p.count("online"),
		MediaType:         p.callType("media_type", "mediaType"), // the docs' table and the docs' example
		UEType:            p.text("ue_type", maxWord),
		DisplayName:       p.text("display_name", maxDisplayName),
		ClientAddress:     p.text("client_address", maxWord),
		DataCenter:        p.text("rc_idc", maxWord),
		BillingSeconds:    p.seconds64("billing_sec"),
		Release:           p.release(),
		Raw:               p.raw(),
	}
	e.AppServerData, e.STID = p.appServerData()
	return e, nil
}

// DedupKey returns the same text for every repeat of the event, and never that of
// another callback of any kind. A room has many events in one run; they are told
// apart by who did what and when. An event without a time is told apart by all that
// came with it. The time comes first and has a fixed width: the keys of a run grow as
// texts, which spares a database that keeps them in order much work.
func (e GroupCallEvent) DedupKey() string {
	which := string(e.SessionID)
	if which == "" {
		which = url.QueryEscape(e.Room.ServiceID) + ":" + url.QueryEscape(e.Room.RoomID)
	}
	var when string
	if e.Time.IsZero() {
		when = "raw-" + fingerprint(e.Raw)
	} else {
		when = fmt.Sprintf("%013d", e.Time.UnixMilli())
	}
	// Escaped, so that no ID can look like two.
	return strings.Join([]string{
		"group-call-event", when, which,
		url.QueryEscape(e.Participant.ServiceID), url.QueryEscape(e.Participant.UserID),
		url.QueryEscape(string(e.Status)), url.QueryEscape(string(e.ParticipantStatus)),
	}, "/")
}

func fingerprint(raw []RawParam) string {
	h := sha256.New()
	for _, p := range raw {
		// A hash never fails to write. Quoted, so that the borders cannot move.
		_, _ = h.Write(strconv.AppendQuote(strconv.AppendQuote(nil, p.Name), p.Value))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
