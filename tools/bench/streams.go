package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"text/tabwriter"
)

const (
	streamsName = "streams"
	streams     = 10_000
)

// measureStreams measures what an idle stream takes in memory, beside one of a handler that
// flushes a line and waits, and how soon a call is an event on one of them.
func measureStreams(ctx context.Context, set settings) error {
	const n = streams
	bare, err := bareWait(ctx, n, "-stream", func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "retry: 1000\n\n")
		_ = http.NewResponseController(w).Flush() // a client that has left counts all the same
	})
	if err != nil {
		return fmt.Errorf("streams of a bare handler: %w", err)
	}
	ours, took, err := wait(ctx, set, n, "-stream", "planetbell_streams_open")
	if err != nil {
		return fmt.Errorf("streams: %w", err)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nfigure\tplanetbell\tbare limit here\tratio\t")
	fmt.Fprintf(w, "memory of an idle stream, of %d\t%.1f KiB\tnet/http %.1f KiB\t%.2f\t\n", n, ours/1024, bare/1024, ours/bare)
	fmt.Fprintf(w, "call in to event on its stream, with %d open\tp50 %s p99 %s\t\t\t\n", n, round(took.p50), round(took.p99))
	return w.Flush()
}

// firstCall returns when a stream has brought a call.
func firstCall(conn net.Conn) error {
	buf, seen := make([]byte, 512), []byte(nil)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return err
		}
		seen = append(seen, buf[:n]...)
		if bytes.Contains(seen, []byte("event: call")) {
			return nil
		}
		seen = seen[max(0, len(seen)-len("event: call")):]
	}
}
