package call

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Defaults of the backlog's bounds.
const (
	DefaultBacklogItems = 10_000
	DefaultBacklogBytes = 64 << 20
)

// Guesses of what an item and its parts take beside their texts.
const (
	itemSize     = 600
	deliverySize = 300
	outcomeSize  = 700
	eventSize    = 250
)

// backlog holds what was taken while the store could not: callbacks that were answered
// 200, and outcomes of deliveries. replay.go brings it to the store, of each session in
// the order in which it came. It is bounded; what does not fit is refused.
type backlog struct {
	log     *slog.Logger
	metrics *Metrics
	now     func() time.Time
	items   int   // at most
	size    int64 // at most
	wake    chan struct{}

	marked atomic.Bool // whether anything below is worth looking at: a healthy store costs no lock

	mu       sync.Mutex // guards all below
	queue    []*item    // in the order in which they came
	sessions map[callKey]*session
	bytes    int64
	sick     bool      // the store failed, and has not worked since: callbacks need not ask it
	probing  bool      // the replay failed, and has not got through since: it asks with a few items only
	asked    int       // where in the queue the item is that asks next, while it is probing
	since    time.Time // when the trouble began that was told; zero when none was
	recorded int       // items since then
	closed   bool

	claims int                  // claims under way
	left   map[callKey]struct{} // calls that were recorded while one was
}

// session is what the backlog holds of one session.
type session struct {
	items []*item // in the order in which they are to be recorded
	begin *item   // its Notify, or nil
	ended bool    // its Call Event is among the items
}

// item is one thing to be recorded: exactly one of begin, end, entry and outcome is set.
// An entry may come with write, which keeps it and whatever else its capability makes of it.
type item struct {
	key     callKey
	begin   *beginning
	end     *ending
	entry   *bell.JournalEntry
	write   func(context.Context) error
	outcome *outcome
	bytes   int64
	busy    bool // it is being recorded
}

// beginning is a Notify.
type beginning struct {
	call       bell.Call // a copy: its cc_param is erased when the call is over
	deliveries []bell.Delivery
	raw        []planet.RawParam
	outcomes   []outcome // of its deliveries, in order
	written    int       // how many of them the store has
}

// ending is a Call Event.
type ending struct {
	call  bell.Call
	entry bell.JournalEntry
}

// outcome is what became of an attempt, or of a delivery without one.
type outcome struct {
	delivery bell.Delivery
	attempt  bell.Attempt
}

func (o *outcome) same(other *outcome) bool {
	return o.delivery.ID == other.delivery.ID && o.delivery.State == other.delivery.State &&
		o.attempt.Number == other.attempt.Number && o.attempt.StartedAt.Equal(other.attempt.StartedAt)
}

func newBacklog(c *Config) *backlog {
	return &backlog{
		log: c.Log, metrics: c.Metrics, now: c.Now, items: c.BacklogItems, size: c.BacklogBytes,
		wake: make(chan struct{}, 1), sessions: map[callKey]*session{}, left: map[callKey]struct{}{},
	}
}

// holds reports whether anything of a session waits. Then what comes later has to wait too.
func (b *backlog) holds(key callKey) bool {
	if !b.marked.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sessions[key] != nil
}

// troubled reports whether the store need not be asked: it failed, and the replay, which
// asks it all the time, has not got through since.
func (b *backlog) troubled() bool {
	if !b.marked.Load() {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sick && len(b.queue) > 0
}

// notified says what a Notify for the call is, as far as the backlog knows: a repeat, one
// that comes after its Call Event, or neither.
func (b *backlog) notified(key callKey) (repeat, late bool) {
	if !b.marked.Load() {
		return false, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sessions[key]
	if s == nil {
		return false, false
	}
	return s.begin != nil, s.ended
}

// errFull is what is said when there is no room.
var errFull = bell.E(bell.Overload, "Too much waits for the database in memory; this was not taken.", nil)

// push takes an item, or refuses it with bell.Overload. A repeat of one that waits is
// dropped. cc_param of a call that ends is erased even if its end is refused.
func (b *backlog) push(it *item) error {
	it.bytes = sizeOf(it)
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sessions[it.key]
	if it.end != nil && s != nil && s.begin != nil {
		s.begin.begin.call.CCParam = ""
	}
	if s != nil && slices.ContainsFunc(s.items, it.repeats) {
		return nil
	}
	if b.closed || len(b.queue) >= b.items || b.bytes+it.bytes > b.size {
		b.metrics.refused.Inc()
		return errFull
	}
	if s == nil {
		s = &session{}
		b.sessions[it.key] = s
	}
	s.items = slices.Insert(s.items, s.place(it), it)
	s.ended = s.ended || it.end != nil
	if it.begin != nil && s.begin == nil {
		s.begin = it
	}
	b.queue = append(b.queue, it)
	b.count(it.bytes)
	b.marked.Store(true)
	select {
	case b.wake <- struct{}{}:
	default: // is awake
	}
	return nil
}

// place is where an item belongs in its session: at the end. Only an outcome may come late,
// because it was on its way to the store: it goes before the end of the call that it was
// before.
func (s *session) place(it *item) int {
	if it.outcome == nil {
		return len(s.items)
	}
	i := slices.IndexFunc(s.items, func(other *item) bool {
		return other.end != nil && it.outcome.delivery.UpdatedAt.Before(other.end.entry.ReceivedAt)
	})
	if i < 0 {
		return len(s.items)
	}
	return i
}

// repeats reports whether other is the same callback, or the same outcome: delivery asks
// again and again for one that it could not record.
func (it *item) repeats(other *item) bool {
	if it.outcome != nil && other.outcome != nil {
		return it.outcome.same(other.outcome)
	}
	mine, theirs := it.journal(), other.journal()
	return mine != nil && theirs != nil && mine.DedupKey != "" && mine.DedupKey == theirs.DedupKey &&
		mine.Kind == theirs.Kind && mine.Project == theirs.Project
}

func (it *item) journal() *bell.JournalEntry {
	if it.end != nil {
		return &it.end.entry
	}
	return it.entry
}

// count notes a change of size. The caller holds b.mu.
func (b *backlog) count(bytes int64) {
	b.bytes += bytes
	b.metrics.items.Set(float64(len(b.queue)))
	b.metrics.bytes.Set(float64(b.bytes))
}

// follow takes an outcome if the delivery's call waits itself; it goes with it then.
func (b *backlog) follow(key callKey, o outcome) (taken bool, err error) {
	if !b.marked.Load() {
		return false, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sessions[key]
	if s == nil || s.begin == nil {
		return false, nil
	}
	begin := s.begin.begin
	if slices.ContainsFunc(begin.outcomes, func(known outcome) bool { return o.same(&known) }) {
		return true, nil
	}
	if !slices.ContainsFunc(begin.deliveries, func(d bell.Delivery) bool { return d.ID == o.delivery.ID }) {
		return false, nil
	}
	if b.bytes+outcomeSize > b.size {
		b.metrics.refused.Inc()
		return false, errFull
	}
	begin.outcomes = append(begin.outcomes, o)
	s.begin.bytes += outcomeSize
	b.count(outcomeSize)
	return true, nil
}

// claim is called before the store is asked for deliveries that nobody works on. Then rings
// reports whether a call waits, or did when the store was asked: its deliveries are this
// process' own, whatever their rows said. done ends it.
func (b *backlog) claim() (rings func(callKey) bool, done func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.claims++
	rings = func(key callKey) bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		s := b.sessions[key]
		_, left := b.left[key]
		return left || s != nil && s.begin != nil
	}
	return rings, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.claims--; b.claims == 0 {
			clear(b.left)
		}
	}
}

// erase drops cc_param of calls that are over.
func (b *backlog) erase() {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, it := range b.queue {
		if it.begin != nil && !now.Before(it.begin.call.Deadline) {
			it.begin.call.CCParam = ""
		}
	}
}

// failed notes that the store could not be used, and tells it once.
func (b *backlog) failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sick = true
	b.marked.Store(true)
	if b.since.IsZero() {
		b.since, b.recorded = b.now(), 0
		b.log.Error("the database does not record calls; until it does, calls ring from memory and wait there to be recorded", "error", err)
	}
}

// worked notes that the store took a write, and tells once that trouble is over: as a warning, so that
// whoever sees the errors only of a busy server also sees their end.
func (b *backlog) worked() {
	if !b.marked.Load() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sick = false
	if len(b.queue) > 0 {
		return
	}
	b.marked.Store(false)
	if !b.since.IsZero() {
		b.log.Warn("the database records calls again, and what waited is recorded", "after", b.now().Sub(b.since), "items", b.recorded)
		b.since = time.Time{}
	}
}

// remove takes out an item that is recorded or given up. One whose outcomes have grown meanwhile
// stays.
func (b *backlog) remove(it *item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	it.busy, b.probing, b.asked = false, false, 0
	if it.begin != nil && it.begin.written < len(it.begin.outcomes) {
		return
	}
	s := b.sessions[it.key]
	s.items = slices.DeleteFunc(s.items, func(other *item) bool { return other == it })
	if s.begin == it {
		s.begin = nil
		if b.claims > 0 {
			b.left[it.key] = struct{}{}
		}
	}
	if it.end != nil {
		s.ended = slices.ContainsFunc(s.items, func(other *item) bool { return other.end != nil })
	}
	if len(s.items) == 0 {
		delete(b.sessions, it.key)
	}
	if at := slices.Index(b.queue, it); at >= 0 {
		b.queue = slices.Delete(b.queue, at, at+1)
	}
	b.recorded++
	b.count(-it.bytes)
}

// putBack lets an item be tried again, which the store did not take, for it is in trouble or because of
// that item.
func (b *backlog) putBack(it *item, trouble bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	it.busy, b.probing = false, b.probing || trouble
}

// sizeOf guesses what an item takes.
func sizeOf(it *item) int64 {
	n := itemSize
	switch {
	case it.begin != nil:
		n += callSize(&it.begin.call) + len(it.begin.deliveries)*deliverySize + paramSize(it.begin.raw)
	case it.end != nil:
		n += callSize(&it.end.call) + paramSize(it.end.entry.Params)
	case it.entry != nil:
		n += paramSize(it.entry.Params)
	default:
		n += outcomeSize
	}
	return int64(n)
}

func callSize(c *bell.Call) int {
	n := len(c.CallerName) + len(c.CCParam) + len(c.AppServerData) + len(c.STID) + len(c.Caller.UserID) + len(c.Callee.UserID)
	for key, value := range c.AppFields {
		n += len(key) + len(value) + 32
	}
	for i := range c.Events {
		n += eventSize + len(c.Events[i].Data)
	}
	return n
}

func paramSize(params []planet.RawParam) int {
	n := 0
	for _, p := range params {
		n += len(p.Name) + len(p.Value) + 32
	}
	return n
}

// withoutCCParam leaves out what holds cc_param: it is erased before the raw parameters are
// recorded, and the store could not find it in them then.
func withoutCCParam(raw []planet.RawParam, secret planet.CCParam) []planet.RawParam {
	kept := make([]planet.RawParam, 0, len(raw))
	for _, p := range raw {
		if secret == "" || !strings.Contains(p.Value, secret.Reveal()) && !strings.Contains(p.Name, secret.Reveal()) {
			kept = append(kept, p)
		}
	}
	return kept
}

// sick reports whether an error says that the store is in trouble, as opposed to an
// answer of the store, or to more work than it takes.
func sick(err error) bool {
	return errors.Is(err, bell.Unavailable)
}
