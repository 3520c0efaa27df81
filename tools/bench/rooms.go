package main

import (
	"context"
	"fmt"
	"io"
	"runtime"
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
	w, err := dialWires(ctx, s.url, roomSenders)
	if err != nil {
		return figure{}, err
	}
	defer w.close()
	before, used := heap(), processor()
	start := time.Now()
	rate, took, err := closedLoop(ctx, roomSenders, set.length, func(worker, number int) error {
		return w.get(worker, s.roomEvent(start, number*roomSenders+worker))
	})
	used = processor() - used
	f := figure{
		perSecond: rate, answer: quantilesOf(took), heapBefore: before, heapAfter: heap(),
		processor: used / time.Duration(max(len(took), 1)),
	}
	return f, err
}

// roomSenders is how many connections send events at once: as many as one commit takes.
const roomSenders = 256

// roomEvent is the n-th event of all rooms, as Planet Cloud asks for it.
func (s *server) roomEvent(start time.Time, n int) []byte {
	room, who, turn := n%benchRooms, n/benchRooms%benchParticipants, n/benchRooms/benchParticipants
	began := start.UnixMilli()
	return fmt.Appendf(nil, "/cb/%s/group-call-event?sid=%016x%016x&svc_id=bench-service&id=room-%d"+
		"&user_svc_id=bench-service&user_id=%s&host_svc_id=bench-service&host_id=%s&sc=C&msc=%s&online=%d&mediaType=V"+
		"&setup_time=%d&start_time=%d&end_time=0&ts=%d&ue_type=IOS&display_name=Guest+%d&client_address=192.0.2.1",
		s.secret, start.UnixNano(), room, room, userID(who), userID(0), []string{"C", "M", "D"}[turn%3], 1+who,
		began, began, began+int64(n), who)
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
	fmt.Fprintln(w, "room events\tanswer p50\tp99\tprocessor\theap before\tafter\tbare net/http\tbare grouped SQLite commit\t")
	for i, f := range r[roomsPerSecond] {
		handler, commit := "-", "-"
		if i < len(r[bareWire]) && i < len(r[bareCommit]) {
			handler, commit = fmt.Sprintf("%.0f/s", r[bareWire][i].perSecond), fmt.Sprintf("%.0f/s", r[bareCommit][i].perSecond)
		}
		fmt.Fprintf(w, "%.0f/s\t%s\t%s\t%s\t%.1f MB\t%.1f MB\t%s\t%s\t\n", f.perSecond, round(f.answer.p50), round(f.answer.p99),
			f.processor.Round(time.Microsecond), float64(f.heapBefore)/1e6, float64(f.heapAfter)/1e6, handler, commit)
	}
	if err := w.Flush(); err != nil {
		fmt.Fprintln(out, err)
	}
}
