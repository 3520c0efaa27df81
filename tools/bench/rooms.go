package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"runtime"
	"strconv"
	"text/tabwriter"
	"time"
)

// The bench's group calls: 50 rooms of 200 participants each, who come, change media and
// leave, so that every event says something new.
const (
	benchRooms        = 50
	benchParticipants = 200
)

// measureRooms sends as many Group Call Events as go through, over HTTP. Each connection
// has events of its own; those of a room come over all of them, and so not in order.
func measureRooms(ctx context.Context, set settings, s *server, _ *provider) (figure, error) {
	before := heap()
	start := time.Now()
	rate, took, err := closedLoop(ctx, roomSenders, set.length, func(worker, number int) error {
		return s.roomEvent(context.WithoutCancel(ctx), start, number*roomSenders+worker)
	})
	f := figure{perSecond: rate, answer: quantilesOf(took), heapBefore: before, heapAfter: heap()}
	return f, err
}

// roomSenders is how many connections send events at once: as many as one commit takes.
const roomSenders = 256

// roomEvent sends the n-th event of all rooms.
func (s *server) roomEvent(ctx context.Context, start time.Time, n int) error {
	room, who, turn := n%benchRooms, n/benchRooms%benchParticipants, n/benchRooms/benchParticipants
	id := strconv.Itoa(room)
	now := strconv.FormatInt(start.UnixMilli()+int64(n), 10)
	q := url.Values{
		"sid": {fmt.Sprintf("%016x%016x", start.UnixNano(), room)}, "svc_id": {"bench-service"}, "id": {"room-" + id},
		"user_svc_id": {"bench-service"}, "user_id": {userID(who)}, "host_svc_id": {"bench-service"}, "host_id": {userID(0)},
		"sc": {"C"}, "msc": {[]string{"C", "M", "D"}[turn%3]}, "online": {strconv.Itoa(1 + who)}, "mediaType": {"V"},
		"setup_time": {strconv.FormatInt(start.UnixMilli(), 10)}, "start_time": {strconv.FormatInt(start.UnixMilli(), 10)}, "end_time": {"0"},
		"ts": {now}, "ue_type": {"IOS"}, "display_name": {"Guest " + strconv.Itoa(who)}, "client_address": {"192.0.2.1"},
	}
	return get(ctx, s.client, s.url+"/cb/"+s.secret+"/group-call-event?"+q.Encode())
}

// heap is what lives on the heap, of load generator, server and provider together.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// printRooms writes the figures of group calls, each round and not only the middle one:
// whether memory grows is seen over rounds.
func (r results) printRooms(out io.Writer) {
	if len(r[roomsPerSecond]) == 0 {
		return
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out)
	fmt.Fprintln(w, "room events\tanswer p50\tp99\theap before\tafter\tbare net/http\tbare grouped SQLite commit\t")
	for i, f := range r[roomsPerSecond] {
		handler, commit := "-", "-"
		if i < len(r[bareHandler]) && i < len(r[bareCommit]) {
			handler, commit = fmt.Sprintf("%.0f/s", r[bareHandler][i].perSecond), fmt.Sprintf("%.0f/s", r[bareCommit][i].perSecond)
		}
		fmt.Fprintf(w, "%.0f/s\t%s\t%s\t%.1f MB\t%.1f MB\t%s\t%s\t\n", f.perSecond, round(f.answer.p50), round(f.answer.p99),
			float64(f.heapBefore)/1e6, float64(f.heapAfter)/1e6, handler, commit)
	}
	if err := w.Flush(); err != nil {
		fmt.Fprintln(out, err)
	}
}
