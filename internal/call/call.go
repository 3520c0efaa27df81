// Package call holds the rules of 1-to-1 calls: a Notify begins one and rings the
// callee's devices, a Call Event ends it. Every step is on disk before Planet Cloud
// gets its answer; what is sent to devices is package delivery's business.
//
// While the store is in trouble, calls ring all the same, and what was answered 200 waits
// in memory, in a bounded backlog, to be recorded later (docs/line-planet.md 11 nos. 6 and
// 7; docs/adr/0005). Ring in ring.go decides which it is, and replay.go records.
package call

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Defaults of Config. A caller's client gives up after 60 seconds; a push in the last
// five would reach a call that is over.
const (
	DefaultRingTime = 60 * time.Second
	DefaultSafety   = 5 * time.Second
)

// MaxDevices is how many devices of one callee ring. A person has a handful; more are left
// behind by apps that were removed, or are somebody's attempt to fill the server.
const MaxDevices = 100

// Bells rings devices. It is what call needs of delivery.
type Bells interface {
	// Admit makes room for deliveries, and turns those that find none into failed ones. It
	// fails with bell.Overload when none of them found room. What was admitted must be
	// started or dismissed.
	Admit(rings []bell.Ring) error
	// Dismiss gives admitted room back.
	Dismiss(rings []bell.Ring)
	// Start begins to ring. It returns at once.
	Start(rings []bell.Ring)
	// Withdraw stops what is still to be sent for a call.
	Withdraw(environment planet.Environment, id planet.SessionID)
	// Keep makes rings that no process would hold this one's own: their call waits to be
	// recorded, and until then nobody else can learn of it.
	Keep(rings []bell.Ring)
	// Hold says in which state new deliveries are recorded, who works on them, and until
	// when it holds each; nobody does of what lies in a mailbox until the device asks.
	Hold(device *bell.Device, now, deadline time.Time) (state bell.DeliveryState, owner string, until time.Time)
}

// Projects is what the service needs to know of the configuration.
type Projects interface {
	// Reaching finds the project of a service in an environment.
	Reaching(environment planet.Environment, serviceID string) (*bell.Project, bool)
}

// Config is what a Service is made of. Store, Bells and Projects are needed.
type Config struct {
	Store    Store
	Bells    Bells
	Projects Projects
	Watch    *Watch           // whose calls are logged in detail; nobody's if nil
	Policy   Policy           // asked before a call rings; nil: every call rings
	RingTime time.Duration    // DefaultRingTime if 0
	Safety   time.Duration    // how long before the ring's end the last attempt may start; DefaultSafety if 0
	Now      func() time.Time // time.Now if nil
	// Waits reports whether a device polls or holds a stream at this process at the moment; nil: none
	// is known to.
	Waits   func(device string) bool
	Log     *slog.Logger // gets trouble with the store; none if nil
	Metrics *Metrics     // not registered if nil

	// LostAfter is how long after its Notify a call is lost whose Call Event did not come;
	// DefaultLostAfter if 0. LostEvents makes what is recorded with that; nothing if nil.
	LostAfter  time.Duration
	LostEvents LostEvents

	BacklogItems int   // how much may wait for a store in trouble; DefaultBacklogItems if 0
	BacklogBytes int64 // DefaultBacklogBytes if 0
}

// Service begins and ends calls. It is safe for concurrent use. Run must run beside it.
type Service struct {
	store    Store
	bells    Bells
	projects Projects
	policy   Policy
	waits    func(device string) bool
	watch    *Watch
	window   time.Duration
	now      func() time.Time
	log      *slog.Logger
	metrics  *Metrics

	lostAfter  time.Duration
	lostEvents LostEvents
	missed     chan struct{} // holds one: a call was marked as missed

	backlog *backlog
	memory  *memory
	lately  *lately
	flights flights
	reads   sync.WaitGroup // of devices and of policy; one that hangs is not waited for by its Notify
}

// New makes a Service.
func New(c Config) *Service {
	if c.RingTime == 0 {
		c.RingTime = DefaultRingTime
	}
	if c.Safety == 0 {
		c.Safety = DefaultSafety
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
	if c.Waits == nil {
		c.Waits = func(string) bool { return false }
	}
	if c.LostAfter == 0 {
		c.LostAfter = DefaultLostAfter
	}
	if c.BacklogItems == 0 {
		c.BacklogItems = DefaultBacklogItems
	}
	if c.BacklogBytes == 0 {
		c.BacklogBytes = DefaultBacklogBytes
	}
	return &Service{
		store: c.Store, bells: c.Bells, projects: c.Projects, policy: c.Policy, waits: c.Waits, watch: c.Watch, window: c.RingTime - c.Safety, now: c.Now,
		lostAfter: c.LostAfter, lostEvents: c.LostEvents, missed: make(chan struct{}, 1),
		log: c.Log, metrics: c.Metrics, backlog: newBacklog(&c), memory: newMemory(), lately: newLately(),
		flights: flights{under: map[callKey]chan struct{}{}},
	}
}

// begin makes the call of a Notify. The label that devices are told is that of the
// callee's project, because the callee's app checks it.
func (s *Service) begin(project *bell.Project, n planet.NotifyCallback, now time.Time) bell.Call {
	label := project.EnvironmentLabel
	if p, ok := s.projects.Reaching(project.Environment, n.Callee.ServiceID); ok {
		label = p.EnvironmentLabel
	}
	return bell.Call{
		Environment: project.Environment, SessionID: n.SessionID, Project: project.Name, Label: label,
		Caller: n.Caller, Callee: n.Callee, Type: n.Type, CCParam: n.CCParam,
		AppServerData: n.AppServerData, STID: n.STID,
		State: bell.CallRinging, NotifiedAt: now, Deadline: now.Add(s.window),
	}
}

// choose returns the devices that can be reached, at most MaxDevices: those seen last. It
// changes the order only if there are more, and says how many were left out. Suspended
// devices, whose push tokens may be dead, are rung only if there is nothing better: a push
// in vain costs less than a call that nobody hears of.
func choose(devices []bell.Device, now time.Time) (chosen []bell.Device, skipped int) {
	var suspended []bell.Device
	for _, d := range devices {
		switch {
		case !d.Reachable(now):
		case d.Suspended(now):
			suspended = append(suspended, d)
		default:
			chosen = append(chosen, d)
		}
	}
	if len(chosen) == 0 {
		chosen = suspended
	}
	if len(chosen) <= MaxDevices {
		return chosen, 0
	}
	slices.SortStableFunc(chosen, func(a, b bell.Device) int { return b.LastSeenAt.Compare(a.LastSeenAt) })
	return chosen[:MaxDevices], len(chosen) - MaxDevices
}

// rings makes one ring for each device, and two for a browser whose page is open here: the stream
// or poll of the page is faster than its push service, and the push is there when the page dies.
// The page recognises the call by its ID, and one receipt ends both.
func (s *Service) rings(c *bell.Call, devices []bell.Device, now time.Time) []bell.Ring {
	rings := make([]bell.Ring, 0, len(devices))
	for i := range devices {
		d := &devices[i]
		rings = append(rings, s.ring(c, d, now))
		if d.Channel == bell.WebPush && (c.Purpose == bell.PurposeCall || d.Notices) && s.waits(d.ID) {
			page := d.Over(bell.LongPoll)
			rings = append(rings, s.ring(c, &page, now))
		}
	}
	return rings
}

func (s *Service) ring(c *bell.Call, d *bell.Device, now time.Time) bell.Ring {
	state, owner, until := s.bells.Hold(d, now, c.Deadline)
	return bell.Ring{Call: c, Device: *d, Delivery: bell.Delivery{
		ID: bell.NewID(), Environment: c.Environment, SessionID: c.SessionID, DeviceID: d.ID,
		Channel: d.Channel, State: state, Deadline: c.Deadline,
		LeaseOwner: owner, LeaseUntil: until, CreatedAt: now, UpdatedAt: now,
	}}
}

// End takes a Call Event: it records how the call ended, withdraws what is still to be
// sent, erases cc_param, and has the callee told if the call was missed. The event may come
// for a call that was never seen (the callee was busy) or before its Notify; then the
// Notify will ring nothing. While the
// store is in trouble the event waits in memory, and the error is nil; it is bell.Overload
// when too much waits.
func (s *Service) End(ctx context.Context, project *bell.Project, e planet.CallEvent) error {
	// First of all, whatever becomes of the record: nothing may ring after the end.
	s.bells.Withdraw(project.Environment, e.SessionID)
	now := s.now()
	key := callKey{project.Environment, e.SessionID}
	s.lately.end(key, now)
	c := bell.Call{
		Environment: project.Environment, SessionID: e.SessionID, Project: project.Name,
		Caller: e.Caller, Callee: e.Callee, Type: e.Type,
		AppServerData: e.AppServerData, STID: e.STID,
		State: bell.CallEnded, Outcome: e.Outcome(), Release: e.Release,
		StartedAt: e.StartTime, EndedAt: e.EndTime, Duration: e.Duration,
	}
	if c.EndedAt.IsZero() {
		c.EndedAt = now
	}
	s.mark(&c, project, now)
	c.Wanted = project.Events
	entry := bell.JournalEntry{
		ReceivedAt: now, Project: project.Name, Environment: project.Environment,
		Kind: KindCallEvent, SessionID: e.SessionID, DedupKey: e.DedupKey(), Params: e.Raw,
	}
	err := s.keep(ctx, &item{key: key, end: &ending{c, entry}})
	if err != nil {
		return fmt.Errorf("record the end of call %s: %w", e.SessionID, err)
	}
	s.sayEnded(&c, now)
	if !c.MissedAt.IsZero() {
		s.wakeMissed()
	}
	return nil
}

// The kinds of journal entries.
const (
	KindCallEvent       = "call-event"
	KindAgentCallStatus = "agent-call-status"
	KindRecording       = "recording"
)

// JournalItem is a callback to be kept as it came.
type JournalItem struct {
	Kind      string
	SessionID planet.SessionID
	DedupKey  string
	Params    []planet.RawParam
	// Agent is what an Agent Call Status says, without time and project; nil for every other
	// kind. It is recorded with the call, whichever comes first.
	Agent *bell.AgentStatus
}

// Journal keeps a callback. A repeat is dropped. Trouble with the store is as for End.
func (s *Service) Journal(ctx context.Context, project *bell.Project, i JournalItem) error {
	err := s.keep(ctx, &item{key: callKey{project.Environment, i.SessionID}, entry: &bell.JournalEntry{
		ReceivedAt: s.now(), Project: project.Name, Environment: project.Environment,
		Kind: i.Kind, SessionID: i.SessionID, DedupKey: i.DedupKey, Params: i.Params, Agent: i.Agent,
	}})
	if err != nil {
		return fmt.Errorf("keep a %s callback: %w", i.Kind, err)
	}
	return nil
}

// Keep records a callback of another capability by write, which must keep the entry too, and
// can be repeated. Trouble with the store is as for End: then the entry and write wait their
// turn in the same backlog, of each session in the order in which they came, and a repeat of
// an entry that waits is dropped. A backlog of its own would need all of this again.
func (s *Service) Keep(ctx context.Context, entry bell.JournalEntry, write func(context.Context) error) error {
	return s.keep(ctx, &item{key: callKey{entry.Environment, entry.SessionID}, entry: &entry, write: write})
}

// Show returns everything recorded about a call, or bell.NotFound. environment may be
// empty: then the newest call with that session ID is meant.
func (s *Service) Show(ctx context.Context, environment planet.Environment, id planet.SessionID) (Record, error) {
	return s.store.Call(ctx, environment, id)
}

// List returns calls older than the cursor, newest first, at most limit.
func (s *Service) List(ctx context.Context, f Filter, before Cursor, limit int) ([]bell.Call, error) {
	return s.store.Calls(ctx, f, before, limit)
}

// JournalOf returns the callbacks of a session, oldest first.
func (s *Service) JournalOf(ctx context.Context, id planet.SessionID) ([]bell.JournalEntry, error) {
	return s.store.Journal(ctx, id)
}
