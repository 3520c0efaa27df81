// Package room holds the rules of group calls. Planet Cloud tells of them by Group Call
// Events, which it may send twice, late, in any order, or not at all; the state of a run
// is made of whatever came, and does not depend on the order of it. reduce.go is the rule,
// and DESIGN.md says why it holds.
//
// Nothing has to be done for a group call (docs/line-planet.md 1.3). What is offered on top
// is to invite people into a room: invite.go.
package room

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// KindGroupCallEvent is the kind of the journal entries.
const KindGroupCallEvent = "group-call-event"

// Defaults of Config.
const (
	// DefaultForgetAfter is after which silence a run is closed: docs/line-planet.md 3.3.
	DefaultForgetAfter = 24 * time.Hour
	// DefaultInviteFor is how long an invitation is good for: as long as a call rings.
	DefaultInviteFor = time.Minute
)

// Keeper records events also while the database is in trouble: package call's backlog.
type Keeper interface {
	// Keep runs write, now or when the database takes it; the entry is what write keeps in
	// the journal, and says whose turn it is. The error is that of a callback that has to
	// be refused: bell.Overload, when too much waits.
	Keep(ctx context.Context, entry bell.JournalEntry, write func(context.Context) error) error
}

// Teller tells a user's devices of something, as a call's devices are rung.
type Teller interface {
	// Tell records the notice with a delivery for each of the callee's devices, and starts
	// them. A notice that is known by its session ID is told to nobody. devices is how many
	// are being told.
	Tell(ctx context.Context, notice bell.Call) (devices int, err error)
	// Withdraw stops what is still to be sent of a notice.
	Withdraw(environment planet.Environment, id planet.SessionID)
}

// Members knows who belongs to a room.
type Members interface {
	// Invites reports whether the members of this room of the project are to be invited when
	// it starts. It is asked for each start, in the database's turn: it must be quick.
	Invites(project string, room planet.RoomRef) bool
	// Of returns them. It may take its time, within ctx.
	Of(ctx context.Context, project *bell.Project, run *bell.RoomRun) ([]planet.UserRef, error)
}

// Projects finds a project by its name.
type Projects interface {
	ByName(name string) (*bell.Project, bool)
}

// Config is what a Service is made of. Store and Keeper are needed; without Teller nobody
// is invited, and without Members nobody when a room starts.
type Config struct {
	Store    Store
	Keeper   Keeper
	Teller   Teller
	Members  Members
	Projects Projects
	// Wants says which outgoing events a project's own systems are told; nil: none.
	Wants       func(project string, t bell.EventType) bool
	ForgetAfter time.Duration    // DefaultForgetAfter if 0
	InviteFor   time.Duration    // DefaultInviteFor if 0
	Now         func() time.Time // time.Now if nil
	Log         *slog.Logger     // none if nil
	Metrics     *Metrics         // not registered if nil
}

// Service takes Group Call Events and invites. It is safe for concurrent use. Run must run
// beside it.
type Service struct {
	Config
	wake  chan struct{}     // members may be waiting to be invited
	ended chan bell.RoomRun // runs that ended, whose invitations are to be withdrawn
}

// endedQueue is how many ended runs may wait; the invitations of others end at their deadline.
const endedQueue = 1024

// New makes a Service.
func New(c Config) *Service {
	if c.Wants == nil {
		c.Wants = func(string, bell.EventType) bool { return false }
	}
	if c.ForgetAfter == 0 {
		c.ForgetAfter = DefaultForgetAfter
	}
	if c.InviteFor == 0 {
		c.InviteFor = DefaultInviteFor
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
	return &Service{Config: c, wake: make(chan struct{}, 1), ended: make(chan bell.RoomRun, endedQueue)}
}

// Take takes a Group Call Event. When it returns nil, the event is on disk, or will be as
// soon as the disk takes it (docs/adr/0005); a repeat changes nothing. It is bell.Overload
// when too much waits for the disk.
func (s *Service) Take(ctx context.Context, project *bell.Project, e planet.GroupCallEvent) error {
	now := s.now()
	entry := bell.JournalEntry{
		ReceivedAt: now, Project: project.Name, Environment: project.Environment,
		Kind: KindGroupCallEvent, SessionID: e.SessionID, DedupKey: e.DedupKey(), Params: e.Raw,
	}
	f := newFact(e, now)
	f.event.Raw, f.event.AppServerData, f.event.STID = nil, "", "" // kept with the entry, if the event has to wait
	err := s.Keeper.Keep(ctx, entry, func(ctx context.Context) error { return s.record(ctx, entry, &f) })
	if err != nil {
		return fmt.Errorf("record an event of room %s/%s: %w", e.Room.ServiceID, e.Room.RoomID, err)
	}
	return nil
}

// now is the time as precisely as databases keep it.
func (s *Service) now() time.Time { return s.Now().UTC().Truncate(time.Microsecond) }

// record writes an event, and what follows from it.
func (s *Service) record(ctx context.Context, entry bell.JournalEntry, f *fact) error {
	touched := Touched{
		RunKey: RunKey{Environment: entry.Environment, SessionID: f.event.SessionID},
		Room:   f.event.Room, User: f.user,
	}
	c, err := s.Store.ChangeRun(ctx, touched, entry, func(known Known) Change { return s.change(&known, entry, f) })
	if err != nil {
		return err
	}
	s.Metrics.event(f, &c)
	s.follow(&c.Run)
	return nil
}

// change is what an event does to a run: the rule of reduce.go, and what is told of it. It
// is pure but for the configuration, because it may be asked twice.
func (s *Service) change(known *Known, entry bell.JournalEntry, f *fact) Change {
	if known.Repeat && !f.timed {
		return Change{Run: known.Run} // it was put where it came first, and not again where it came now
	}
	c := reduce(*known, f)
	if !known.RunKnown {
		c.Run.Project = entry.Project
	}
	if news := !known.RunKnown || known.Run.Room.RoomID == ""; news && s.invitesTo(&c.Run) {
		c.Run.InviteBy = c.Run.HeardAt.Add(s.InviteFor)
	}
	if !c.WriteRun {
		return c
	}
	kind, ok := tells(known, &c)
	if ok && s.Wants(c.Run.Project, kind) {
		run := c.Run // newEvent's goes to the heap; c need not, if nobody wants to know
		c.Events = []bell.Event{newEvent(kind, entry.Environment, &run, f, entry.DedupKey)}
	}
	return c
}

// invitesTo reports whether the members of a room that has started are to be invited.
func (s *Service) invitesTo(r *bell.RoomRun) bool {
	return r.State == bell.RoomOpen && s.Members != nil && s.Teller != nil && s.Members.Invites(r.Project, r.Room)
}

// tells says what the customer's systems are told of a change. A run that is over is not
// heard of again, unless it opens again.
func tells(known *Known, c *Change) (bell.EventType, bool) {
	open, is := known.RunKnown && known.Run.State == bell.RoomOpen, c.Run.State == bell.RoomOpen
	switch {
	case !open && is:
		return bell.EventRoomStarted, true
	case open && is:
		return bell.EventRoomChanged, true
	case open || !known.RunKnown:
		return bell.EventRoomEnded, true
	}
	return "", false
}

// follow wakes Run for what a change has left to do. What is dropped here is found by the
// sweep, or ends by its deadline.
func (s *Service) follow(r *bell.RoomRun) {
	switch {
	case r.State == bell.RoomClosed && s.Teller != nil:
		select {
		case s.ended <- *r:
		default:
		}
	case !r.InviteBy.IsZero():
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}
