package sqldb

import "github.com/planetbell/planetbell/internal/bell"

// What an event writes. The arguments are RunArgs and the row's ID; RunArgs, environment, session ID
// and the time of the first event; ParticipantArgs, run ID, user ID, service ID and that time.
const (
	UpdateRun = `UPDATE room_runs SET service_id = ?, room_id = ?, project = ?, seen_at = ?, state = ?, reason = ?, ended_at = ?,
		host_service = ?, host_user = ?, setup_at = ?, started_at = ?, online = ?, present = ?, participants = ?, crowded = ?,
		first_event_at = ?, last_event_at = ?, online_at = ?, online_rank = ?, end_event_at = ?, silent_at = ?, invite_by = ?
		WHERE id = ?`
	InsertRun = `INSERT INTO room_runs (service_id, room_id, project, seen_at, state, reason, ended_at,
		host_service, host_user, setup_at, started_at, online, present, participants, crowded,
		first_event_at, last_event_at, online_at, online_rank, end_event_at, silent_at, invite_by,
		environment, session_id, heard_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	InsertParticipant = `INSERT INTO room_participants (state,
		first_joined_at, joined_at, seen_in_at, left_at, timed_out, billing_seconds,
		rel_terminate, rel_disconnect, rel_call_end, rel_releaser_type, rel_releaser, rel_code, rel_code_name, rel_user_code,
		media, media_at, ue_type, ue_type_at, display_name, display_name_at, run_id, user_id, service_id, heard_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	UpdateParticipant = `UPDATE room_participants SET state = ?,
		first_joined_at = ?, joined_at = ?, seen_in_at = ?, left_at = ?, timed_out = ?, billing_seconds = ?,
		rel_terminate = ?, rel_disconnect = ?, rel_call_end = ?, rel_releaser_type = ?, rel_releaser = ?, rel_code = ?,
		rel_code_name = ?, rel_user_code = ?, media = ?, media_at = ?, ue_type = ?, ue_type_at = ?,
		display_name = ?, display_name_at = ? WHERE run_id = ? AND user_id = ? AND service_id = ? AND ? IS NOT NULL`
)

// RunArgs are what can change of a run, in the order of UpdateRun.
func RunArgs(r *bell.RoomRun) []any {
	return []any{
		r.Room.ServiceID, r.Room.RoomID, r.Project, Micros(r.SeenAt), string(r.State), string(r.Reason), Micros(r.EndedAt),
		r.Host.ServiceID, r.Host.UserID, Micros(r.SetupAt), Micros(r.StartedAt), r.Online, r.Present, r.Participants, r.Crowded,
		Micros(r.FirstEventAt), Micros(r.LastEventAt), Micros(r.OnlineAt), r.OnlineRank,
		Micros(r.EndEventAt), Micros(r.SilentAt), Micros(r.InviteBy),
	}
}

// RunColumns are a run's, of "room_runs r".
const RunColumns = "r.environment, r.session_id, r.heard_at, r.service_id, r.room_id, r.project, r.seen_at, r.state, r.reason, r.ended_at, " +
	"r.host_service, r.host_user, r.setup_at, r.started_at, r.online, r.present, r.participants, r.crowded, " +
	"r.first_event_at, r.last_event_at, r.online_at, r.online_rank, r.end_event_at, r.silent_at, r.invite_by"

// RunFields are where RunColumns go to.
func RunFields(r *bell.RoomRun) []any {
	return []any{
		&r.Environment, &r.SessionID,
		At{&r.HeardAt},
		&r.Room.ServiceID, &r.Room.RoomID, &r.Project,
		At{&r.SeenAt},
		&r.State, &r.Reason,
		At{&r.EndedAt},
		&r.Host.ServiceID, &r.Host.UserID,
		At{&r.SetupAt},
		At{&r.StartedAt},
		&r.Online, &r.Present, &r.Participants, &r.Crowded,
		At{&r.FirstEventAt},
		At{&r.LastEventAt},
		At{&r.OnlineAt},
		&r.OnlineRank,
		At{&r.EndEventAt},
		At{&r.SilentAt},
		At{&r.InviteBy},
	}
}

// ParticipantArgs are what can change of a participant, in the order of UpdateParticipant.
func ParticipantArgs(p *bell.Participant) []any {
	r := &p.Release
	var billing any
	if p.BillingSeconds != nil {
		billing = *p.BillingSeconds
	}
	return []any{
		string(p.State), Micros(p.FirstJoinedAt), Micros(p.JoinedAt), Micros(p.SeenInAt), Micros(p.LeftAt), p.TimedOut, billing,
		Number(r.Terminate), Number(r.DisconnectReason), Number(r.CallEndReason), Number(r.ReleaserType), r.Releaser,
		Number(r.Code), r.CodeName, r.UserCode,
		string(p.Media), Micros(p.MediaAt), p.UEType, Micros(p.UETypeAt), p.DisplayName, Micros(p.DisplayNameAt),
	}
}

// ParticipantColumns are a participant's, of "room_participants p".
const ParticipantColumns = "p.user_id, p.service_id, p.state, p.first_joined_at, p.joined_at, p.seen_in_at, p.left_at, " +
	"p.timed_out, p.billing_seconds, p.rel_terminate, p.rel_disconnect, p.rel_call_end, p.rel_releaser_type, p.rel_releaser, " +
	"p.rel_code, p.rel_code_name, p.rel_user_code, p.media, p.media_at, p.ue_type, p.ue_type_at, p.display_name, p.display_name_at"

// ParticipantFields are where ParticipantColumns go to.
func ParticipantFields(p *bell.Participant) []any {
	r := &p.Release
	return []any{
		&p.User.UserID, &p.User.ServiceID, &p.State,
		At{&p.FirstJoinedAt},
		At{&p.JoinedAt},
		At{&p.SeenInAt},
		At{&p.LeftAt},
		&p.TimedOut, &p.BillingSeconds, &r.Terminate, &r.DisconnectReason, &r.CallEndReason, &r.ReleaserType, &r.Releaser,
		&r.Code, &r.CodeName, &r.UserCode, &p.Media,
		At{&p.MediaAt},
		&p.UEType,
		At{&p.UETypeAt},
		&p.DisplayName,
		At{&p.DisplayNameAt},
	}
}
