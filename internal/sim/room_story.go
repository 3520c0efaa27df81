package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// RoomStory is a whole group call that has happened already: every event of one run of a room,
// in order. Its times are its own, so that it can be told in any order.
type RoomStory struct {
	Ref       planet.RoomRef
	SessionID planet.SessionID
	Events    [][]planet.RawParam // as Planet Cloud sends them, oldest first

	rand *rand.Rand
}

// NewRoomStory makes up a group call with a number of participants, the same for the same
// seed: all join, some change media, leave, time out or come back, now and then several in the
// same millisecond. With ends, all leave at last and the room ends.
func NewRoomStory(ref planet.RoomRef, participants int, start time.Time, ends bool, seed uint64) *RoomStory {
	s := &RoomStory{Ref: ref, rand: rand.New(rand.NewPCG(seed, seed))}
	e := roomEvent{
		sid: fmt.Sprintf("%016x%016x", s.rand.Uint64(), s.rand.Uint64()), ref: ref, media: planet.AudioCall,
		setup: start, at: start, status: planet.RoomStarted, what: planet.ParticipantConnected,
	}
	s.SessionID = planet.SessionID(e.sid)
	online := map[int]bool{}
	tell := func(who int, what planet.ParticipantStatus) {
		switch what {
		case planet.ParticipantConnected:
			online[who] = true
		case planet.ParticipantDisconnected, planet.ParticipantTimedOut:
			delete(online, who)
		}
		e.who = Participant{
			User:        planet.UserRef{ServiceID: ref.ServiceID, UserID: fmt.Sprintf("guest-%d", who)},
			DisplayName: fmt.Sprintf("Guest %d", who), UEType: []string{"ANDROID", "IOS", "BROWSER"}[who%3],
		}
		e.what, e.online = what, len(online)
		if ends && len(online) == 0 {
			e.status, e.end = planet.RoomEnded, e.at
		}
		s.Events = append(s.Events, e.params())
		e.status = planet.RoomChanged
		e.at = e.at.Add(time.Duration(s.rand.IntN(4)) * 20 * time.Millisecond)
	}
	e.host = planet.UserRef{ServiceID: ref.ServiceID, UserID: "guest-0"}
	for who := range participants {
		tell(who, planet.ParticipantConnected)
		e.at = e.at.Add(time.Millisecond)
		other := s.rand.IntN(participants) // guest 0 stays until the end
		switch in := online[other]; {
		case s.rand.IntN(2) == 0 || other == 0:
		case !in && other < who:
			tell(other, planet.ParticipantConnected)
		case in:
			tell(other, []planet.ParticipantStatus{
				planet.ParticipantMediaChanged, planet.ParticipantDisconnected, planet.ParticipantTimedOut,
			}[s.rand.IntN(3)])
		}
		e.at = e.at.Add(time.Millisecond)
	}
	if ends {
		for _, who := range slices.Backward(slices.Sorted(keys(online))) {
			tell(who, planet.ParticipantDisconnected)
		}
	}
	return s
}

func keys(m map[int]bool) func(func(int) bool) {
	return func(yield func(int) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// TellShuffled sends all events to the service's project in an order of their own, a share of
// them twice, several at once: they are late, early and repeated. It returns the callbacks.
func (c *Cloud) TellShuffled(ctx context.Context, s *RoomStory, duplicates float64) ([]Callback, error) {
	c.mu.Lock()
	p, ok := c.projects[s.Ref.ServiceID]
	c.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("the service %q is no project of this cloud; add it with AddProject", s.Ref.ServiceID)
	}
	all := slices.Clone(s.Events)
	for _, e := range s.Events {
		if s.rand.Float64() < duplicates {
			all = append(all, e)
		}
	}
	s.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	sent := make([]Callback, len(all))
	var next atomic.Int64
	var work sync.WaitGroup
	for range 16 {
		work.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(all); i = int(next.Add(1)) - 1 {
				sent[i] = c.send(ctx, p, "group-call-event", all[i], nil)
			}
		})
	}
	work.Wait()
	return sent, ctx.Err()
}
