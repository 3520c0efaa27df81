//go:build !race

package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

// guests is how many take part in a group call.
const guests = 25

// told to whatever node is next, event by event.
type groupCall struct {
	ref     planet.RoomRef
	story   *sim.RoomStory
	ordered bool // each event is sent when the one before was answered
	lost    atomic.Int64
}

// groupCalls tells group calls while the load lasts. Half of them come in order, each event at
// the next node; the others in any order, several at once. A third of all comes twice.
func (l *load) groupCalls(count int) []*groupCall {
	project := l.n.projects[1]
	var rooms []*groupCall
	for i := range count {
		ref := planet.RoomRef{ServiceID: project.service(), RoomID: fmt.Sprintf("room%d", i)}
		g := &groupCall{ref: ref, story: sim.NewRoomStory(ref, guests, time.Now().Add(-time.Hour), true, uint64(i)+1), ordered: i%2 == 0}
		rooms = append(rooms, g)
		l.work.Go(func() { l.tellRoom(project, g) })
	}
	return rooms
}

func (l *load) tellRoom(project nodesProject, g *groupCall) {
	var all [][]planet.RawParam
	for _, e := range g.story.Events {
		all = append(all, e)
		if rand.IntN(3) == 0 {
			all = append(all, e)
		}
	}
	pause := l.span / time.Duration(len(all))
	if !g.ordered {
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	for _, params := range all {
		values := url.Values{}
		for _, p := range params {
			values.Add(p.Name, p.Value)
		}
		send := func() {
			if _, at := l.tell(project, "group-call-event", values, eventTries); at.IsZero() {
				g.lost.Add(1)
			}
		}
		if g.ordered {
			send()
		} else {
			sending.Go(send)
		}
		if rest(l.n.ctx, pause) != nil {
			return
		}
	}
}

// checkRooms compares what the nodes know of a group call with the ordered replay of its story,
// and what the customer's system was told with what it should be.
func (n *nodes) checkRooms(rooms []*groupCall) {
	n.t.Helper()
	told, repeats := n.told()
	events := 0
	for i, g := range rooms {
		if lost := g.lost.Load(); lost > 0 {
			n.t.Errorf("%d events of a group call were never answered 200", lost)
			continue
		}
		want := replay(n.t, g.story)
		run, people, err := n.groupCall(n.list[i%len(n.list)], g.ref, g.story.SessionID)
		if err != nil {
			n.t.Errorf("group call %s: %v", g.ref.RoomID, err)
			continue
		}
		sameRun(n.t, run, want.Run)
		if len(people) != len(want.Participants) {
			n.t.Errorf("group call %s has %d participants, want %d", g.ref.RoomID, len(people), len(want.Participants))
		}
		for user, p := range want.Participants {
			samePerson(n.t, people[user], p, &want.Run)
		}
		events += len(told[string(g.story.SessionID)])
		n.checkRoomEvents(g, told[string(g.story.SessionID)])
	}
	n.t.Logf("rooms: %d group calls, half of them in order, told by %d events; %d repeats of events in all", len(rooms), events, repeats)
}

// checkRoomEvents: the end is told once and last. If the events came in order, so are they told.
func (n *nodes) checkRoomEvents(g *groupCall, events []told) {
	n.t.Helper()
	ends := 0
	for i, e := range events {
		switch {
		case e.Type == string(bell.EventRoomEnded):
			ends++
			if i != len(events)-1 {
				n.t.Errorf("group call %s: its end is told as number %d of %d", g.ref.RoomID, i+1, len(events))
			}
		case !g.ordered:
		case (e.Type == string(bell.EventRoomStarted)) != (i == 0):
			n.t.Errorf("group call %s: event %d is %s", g.ref.RoomID, i+1, e.Type)
		case i > 0 && e.Timestamp.Before(events[i-1].Timestamp):
			if n.faults.away("", time.Time{}, time.Now()) { // an event waited in memory, and the next was recorded by another node
				n.t.Logf("group call %s: event %d is told after a later one, in the disorder that a fault explains", g.ref.RoomID, i+1)
				continue
			}
			n.t.Errorf("group call %s: event %d is told after a later one", g.ref.RoomID, i+1)
		}
	}
	if ends != 1 || g.ordered && len(events) != len(g.story.Events) {
		n.t.Errorf("group call %s (in order: %v): %d events are told of %d, %d of them its end", g.ref.RoomID, g.ordered, len(events), len(g.story.Events), ends)
	}
}

// groupCall is what a node knows of a run.
func (n *nodes) groupCall(d *node, ref planet.RoomRef, sid planet.SessionID) (console.RoomRun, map[planet.UserRef]console.Participant, error) {
	r, err := http.NewRequestWithContext(n.ctx, http.MethodGet,
		"http://"+d.admin+"/admin/v1/rooms/"+ref.ServiceID+"/"+ref.RoomID+"/runs/"+string(sid)+"?limit=150", http.NoBody)
	if err != nil {
		return console.RoomRun{}, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+secret("admin-token", 64))
	resp, err := n.watch.client.Do(r)
	if err != nil {
		return console.RoomRun{}, nil, err
	}
	defer resp.Body.Close()
	var page console.RoomRunStory
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil || resp.StatusCode != http.StatusOK {
		return console.RoomRun{}, nil, fmt.Errorf("answered %d: %w", resp.StatusCode, err)
	}
	people := map[planet.UserRef]console.Participant{}
	for _, p := range page.Participants {
		people[planet.UserRef{ServiceID: p.ServiceID, UserID: p.UserID}] = p
	}
	return page.Run, people, nil
}
