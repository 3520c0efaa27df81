package room

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// MaxParticipants is how many participants of one run are kept, so that a run cannot fill
// the database. It is the one thing that depends on the order of arrival: who comes first is
// kept. LINE's largest broadcasts have as many viewers.
const MaxParticipants = 10_000

// State is a run with all its participants.
type State struct {
	Run          bell.RoomRun
	Participants map[planet.UserRef]bell.Participant
}

// Replay makes the state of a run of its events. The result is the same for every order of
// them, and however often each came; only HeardAt and SeenAt, our own clock's, stay empty.
func Replay(events []planet.GroupCallEvent) State {
	s := State{Participants: map[planet.UserRef]bell.Participant{}}
	for i := range events {
		f := newFact(events[i], time.Time{})
		s = s.apply(&f)
	}
	return s
}

// apply changes s.Participants in place.
func (s State) apply(f *fact) State {
	known := Known{Run: s.Run, RunKnown: s.Run.State != ""}
	known.Participant, known.ParticipantKnown = s.Participants[f.user]
	next := reduce(known, f)
	s.Run = next.Run
	if next.WriteParticipant {
		s.Participants[f.user] = next.Participant
	}
	return s
}

// reduce applies one event to what it touches: its run, and its participant. Every field is
// the largest or the smallest of what the events say, by their time and, when that is the
// same, by what they say, or follows from such fields. So the order of arrival does not
// matter, nor does a repeat, and no event has to be remembered; see DESIGN.md.
func reduce(known Known, f *fact) Change {
	c := Change{Run: known.Run, Participant: known.Participant}
	if !known.RunKnown {
		c.Run = bell.RoomRun{SessionID: f.event.SessionID, HeardAt: f.came, Online: -1}
	}
	reduceRun(&c.Run, f)
	if f.does != nothing {
		switch {
		case known.ParticipantKnown || c.Run.Participants < MaxParticipants:
			c.WriteParticipant = reduceParticipant(&c.Participant, f) || !known.ParticipantKnown
			c.Run.Present += presence(&c.Participant) - presence(&known.Participant)
			if !known.ParticipantKnown {
				c.Run.Participants++
			}
		default:
			c.Run.Crowded = true
		}
	}
	settle(&c.Run)
	c.WriteRun = !known.RunKnown || c.Run != known.Run || c.WriteParticipant
	if c.WriteRun {
		latest(&c.Run.SeenAt, f.came)
	}
	return c
}

func presence(p *bell.Participant) int {
	if p.State == bell.ParticipantJoined {
		return 1
	}
	return 0
}

func reduceRun(r *bell.RoomRun, f *fact) {
	e := &f.event
	if e.Room.ServiceID != "" && e.Room.RoomID != "" {
		// One run is of one room. If not, one of them is chosen, and always the same.
		r.Room = lower(r.Room, e.Room, func(x planet.RoomRef) [2]string { return [2]string{x.ServiceID, x.RoomID} })
	}
	if e.Host.UserID != "" {
		host := planet.UserRef{ServiceID: cmp.Or(e.Host.ServiceID, e.Room.ServiceID), UserID: e.Host.UserID}
		r.Host = lower(r.Host, host, func(x planet.UserRef) [2]string { return [2]string{x.ServiceID, x.UserID} })
	}
	earliest(&r.SetupAt, e.SetupTime)
	earliest(&r.StartedAt, e.StartTime)
	earliest(&r.FirstEventAt, f.at)
	latest(&r.LastEventAt, f.at)
	if e.Status == planet.RoomEnded {
		earliest(&r.EndEventAt, firstOf(e.EndTime, f.at))
	}
	if e.Online != nil && newerCount(r, f, *e.Online) {
		r.Online, r.OnlineAt, r.OnlineRank = *e.Online, f.at, f.rank()
	}
}

// newerCount reports whether the event's count is the one to believe.
func newerCount(r *bell.RoomRun, f *fact, online int) bool {
	if r.Online < 0 {
		return true
	}
	return cmp.Or(f.at.Compare(r.OnlineAt), cmp.Compare(f.rank(), r.OnlineRank), cmp.Compare(r.Online, online)) > 0
}

// settle says in which state the run is. A start may leave nobody online: those are waited for.
func settle(r *bell.RoomRun) {
	switch {
	case !r.EndEventAt.IsZero():
		r.State, r.Reason, r.EndedAt = bell.RoomClosed, bell.RoomEnded, r.EndEventAt
	case r.Online == 0 && r.OnlineRank != rankStart:
		r.State, r.Reason, r.EndedAt = bell.RoomClosed, bell.RoomEmpty, r.OnlineAt
	case !r.SilentAt.IsZero() && !r.LastEventAt.After(r.SilentAt):
		r.State, r.Reason, r.EndedAt = bell.RoomClosed, bell.RoomSilent, r.LastEventAt
	default:
		r.State, r.Reason, r.EndedAt = bell.RoomOpen, "", time.Time{}
	}
	if r.State == bell.RoomClosed {
		r.InviteBy = time.Time{}
	}
}

// reduceParticipant reports whether it changed anything.
func reduceParticipant(p *bell.Participant, f *fact) bool {
	e := &f.event
	p.User = f.user
	changed := newest(&p.Media, &p.MediaAt, e.MediaType, f.at)
	changed = newest(&p.UEType, &p.UETypeAt, e.UEType, f.at) || changed
	changed = newest(&p.DisplayName, &p.DisplayNameAt, e.DisplayName, f.at) || changed
	switch f.does {
	case joins:
		changed = earliest(&p.FirstJoinedAt, f.at) || changed
		changed = latest(&p.JoinedAt, f.at) || changed
		changed = latest(&p.SeenInAt, f.at) || changed
	case changesMedia:
		changed = latest(&p.SeenInAt, f.at) || changed
	case leaves:
		if c := f.at.Compare(p.LeftAt); c > 0 || c == 0 && farewell(e) > farewellOf(p) {
			p.LeftAt, p.TimedOut = f.at, e.ParticipantStatus == planet.ParticipantTimedOut
			p.BillingSeconds, p.Release = e.BillingSeconds, e.Release
			changed = true
		}
	}
	p.State = bell.ParticipantLeft
	if p.SeenInAt.After(p.LeftAt) { // in the same instant, a leave is the last word
		p.State = bell.ParticipantJoined
	}
	return changed
}

// farewell is what a leave says, as a text, to choose between two of the same time.
func farewell(e *planet.GroupCallEvent) string {
	return farewellOf(&bell.Participant{
		TimedOut: e.ParticipantStatus == planet.ParticipantTimedOut, BillingSeconds: e.BillingSeconds, Release: e.Release,
	})
}

func farewellOf(p *bell.Participant) string {
	r := &p.Release
	text := fmt.Sprintf("%t %q %q %q", p.TimedOut, r.Releaser, r.CodeName, r.UserCode)
	for _, n := range []*int{r.Terminate, r.DisconnectReason, r.CallEndReason, r.ReleaserType, r.Code} {
		text += " "
		if n != nil {
			text += fmt.Sprint(*n)
		}
	}
	if p.BillingSeconds != nil {
		text += fmt.Sprintf(" %d s", *p.BillingSeconds)
	}
	return text
}

// newest keeps the value of the newest event that has one; of two at the same time the
// larger.
func newest[T ~string](value *T, at *time.Time, said T, when time.Time) bool {
	if said == "" {
		return false
	}
	if c := when.Compare(*at); c < 0 || c == 0 && said <= *value {
		return false
	}
	*value, *at = said, when
	return true
}

// earliest and latest keep a time, ignoring what is unset.
func earliest(kept *time.Time, t time.Time) bool {
	if t.IsZero() || !kept.IsZero() && !t.Before(*kept) {
		return false
	}
	*kept = t
	return true
}

func latest(kept *time.Time, t time.Time) bool {
	if !t.After(*kept) {
		return false
	}
	*kept = t
	return true
}

// lower keeps the smaller of two values, ignoring a zero one.
func lower[T comparable](kept, said T, key func(T) [2]string) T {
	var zero T
	a, b := key(kept), key(said)
	if kept == zero || slices.Compare(b[:], a[:]) < 0 {
		return said
	}
	return kept
}
