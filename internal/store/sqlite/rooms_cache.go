package sqlite

import (
	"fmt"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/planet"
)

// Bounds of roomCache: 10 MB at most.
const (
	cachedRuns         = 4096
	cachedParticipants = 16_384
)

// roomCache is what the writer has read or written of rooms that are in use, so that an
// event need not be read back what the last one wrote: that is a third of its work. There is
// one writer, and it alone changes these rows, through ChangeRun. Whoever deletes some has
// to forget them here. A rollback empties it.
//
// A run's row is written once for a transaction and not once for an event: in between it is
// unwritten, and who looks for runs by anything but their key calls writeRuns first.
type roomCache struct {
	runs         recent[room.RunKey, cachedRun]
	participants recent[participantKey, bell.Participant]
	unwritten    []room.RunKey // at most one for each operation of a transaction
	failed       error         // of a row that could not be written; it fails the transaction
}

type cachedRun struct {
	id        int64
	run       bell.RoomRun
	unwritten bool // the row is older

	young bool // made since the cache was
	turn  int  // of participants, when it was made
}

type participantKey struct {
	run  int64
	user planet.UserRef
}

func newRoomCache() *roomCache {
	return &roomCache{
		runs:         recent[room.RunKey, cachedRun]{half: cachedRuns / 2},
		participants: recent[participantKey, bell.Participant]{half: cachedParticipants / 2},
	}
}

// recent keeps a bounded number of values in two generations: when the younger one is full
// it becomes the older, and what was older and not used since is forgotten.
type recent[K comparable, V any] struct {
	half           int
	younger, older map[K]V
	turns          int // how often the younger became the older; what was put is kept for one at least
}

func (r *recent[K, V]) get(key K) (V, bool) {
	if v, ok := r.younger[key]; ok {
		return v, true
	}
	v, ok := r.older[key]
	if ok {
		r.put(key, v)
	}
	return v, ok
}

func (r *recent[K, V]) put(key K, value V) {
	if r.younger == nil || len(r.younger) >= r.half {
		if _, ok := r.younger[key]; !ok {
			r.older, r.younger = r.younger, make(map[K]V)
			r.turns++
		}
	}
	r.younger[key] = value
}

// rolledBack forgets what may not have been written.
func (l *link) rolledBack() { l.rooms = newRoomCache() }

// participant says what is known of the one that is touched, and whether it is certain. Who
// is not here is nowhere, if the run is so young that nobody can have been forgotten since:
// that spares the first event of each the look into the database.
func (c *roomCache) participant(touched room.Touched, run int64, known *room.Known) (certain bool) {
	if known.Participant, known.ParticipantKnown = c.participants.get(participantKey{run, touched.User}); known.ParticipantKnown {
		return true
	}
	cached, _ := c.runs.get(touched.RunKey)
	return cached.id == run && cached.young && c.participants.turns-cached.turn <= 1
}

// putRun notes a run whose row is to be written before the transaction ends.
func (c *roomCache) putRun(key room.RunKey, id int64, run *bell.RoomRun) {
	cached, _ := c.runs.get(key)
	if !cached.unwritten {
		c.unwritten = append(c.unwritten, key)
	}
	cached.id, cached.run, cached.unwritten = id, *run, true
	c.runs.put(key, cached)
}

// writeRuns writes the rows of the runs that have changed. The cache cannot have lost one:
// it keeps many times more than a transaction has operations.
func (l *link) writeRuns() error {
	if l.rooms.failed != nil {
		return l.rooms.failed
	}
	for _, key := range l.rooms.unwritten {
		known, _ := l.rooms.runs.get(key)
		if _, err := l.Exec(sqldb.UpdateRun, append(sqldb.RunArgs(&known.run), known.id)...); err != nil {
			return fmt.Errorf("write a run of a room: %w", err)
		}
		known.unwritten = false
		l.rooms.runs.put(key, known)
	}
	l.rooms.unwritten = l.rooms.unwritten[:0]
	return nil
}
