// Bench prints planetbell's figures beside the bare limits of the machine it runs on,
// and the ratios. Absolute figures of one machine move by a factor of two within an
// hour, so only figures of one run may be compared.
//
// Load generator, server and pretend provider share the machine's cores.
// Usage: bench [-seconds N] [-rounds N] [-devices N]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/gcpace"
)

// settings of one run.
type settings struct {
	length  time.Duration // of one measurement
	rounds  int           // the middle one is printed
	devices int           // users with one iOS device each
	folder  string        // for databases
	only    string        // part of a measurement's name
}

func main() {
	if !benchmark() {
		os.Exit(1)
	}
}

// benchmark runs the command, and reports whether it went well.
func benchmark() bool {
	seconds := flag.Float64("seconds", 3, "length of one measurement")
	rounds := flag.Int("rounds", 3, "rounds of all measurements, interleaved; medians are printed")
	devices := flag.Int("devices", 1000, "users with one device each")
	profile := flag.String("cpuprofile", "", "write a CPU profile of the whole run to this file")
	only := flag.String("only", "", "run only measurements whose name contains this, and print no tables but those of bulkheads, polls, streams, room events and nodes")
	poll := flag.String("poll", "", "be the clients that poll this URL, with the app tokens on standard input; for the measurement of polls itself")
	streams := flag.String("stream", "", "likewise, for the measurement of streams")
	flag.Parse()
	if *poll != "" || *streams != "" {
		if err := runClients(*poll, *streams); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		return true
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return false
		}
		defer pprof.StopCPUProfile()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, settings{length: time.Duration(*seconds * float64(time.Second)), rounds: max(*rounds, 1), devices: max(*devices, 1), only: *only})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	return err == nil
}

// runClients is the other process of a measurement.
func runClients(poll, stream string) error {
	if poll != "" {
		return runPollClient(poll, "/v2/notification/lp", os.Stdin, os.Stdout, firstByte)
	}
	return runPollClient(stream, "/v2/notification/sse", os.Stdin, os.Stdout, firstCall)
}

func run(ctx context.Context, s settings) (err error) {
	folder, err := os.MkdirTemp("", "planetbell-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	s.folder = folder
	defer gcpace.Start()() // as planetbell serve does; here it is for generator and provider, too

	fmt.Printf("planetbell bench: %s, %d cores, %s; %d rounds of %s each\n", runtime.Version(), runtime.GOMAXPROCS(0), runtime.GOARCH, s.rounds, s.length)
	results := newResults()
	if err := measure(ctx, s, results); err != nil {
		return err
	}
	isolation := bulkheadResults{}
	if strings.Contains(bulkheadName, s.only) {
		for range s.rounds {
			if err := measureBulkheads(ctx, s, isolation); err != nil {
				return err
			}
		}
	}
	if s.only == "" {
		results.print(os.Stdout)
	}
	results.printRooms(os.Stdout)
	if strings.Contains(pollsName, s.only) {
		if err := measurePolls(ctx, s); err != nil {
			return err
		}
	}
	if strings.Contains(streamsName, s.only) {
		if err := measureStreams(ctx, s); err != nil {
			return err
		}
	}
	if strings.Contains(nodesName, s.only) {
		if err := measureNodes(ctx, s); err != nil {
			return err
		}
	}
	if len(isolation) > 0 {
		isolation.print(os.Stdout)
	}
	return nil
}

// measure runs the measurements of one server with the pretend provider.
func measure(ctx context.Context, s settings, results results) (err error) {
	if !slices.ContainsFunc(measurements, func(m measurement) bool { return strings.Contains(m.name, s.only) }) {
		return nil
	}
	fake, err := newProvider()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fake.close()) }()
	server, err := startServer(ctx, s, fake)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()

	for round := range s.rounds {
		for _, m := range measurements {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !strings.Contains(m.name, s.only) {
				continue
			}
			figure, err := m.run(ctx, s, server, fake)
			if err != nil {
				return fmt.Errorf("%s, round %d: %w", m.name, round+1, err)
			}
			results.add(m.name, figure)
			fmt.Fprintf(os.Stderr, "  round %d: %-28s %s\n", round+1, m.name, figure)
		}
	}
	return nil
}

// measurement is one row of figures.
type measurement struct {
	name string
	run  func(context.Context, settings, *server, *provider) (figure, error)
}

// The measurements. Bare limits stand between ours, so that both see the same machine.
var measurements = []measurement{
	{bareHandler, measureBareHandler},
	{bareAnswer, measureBareAnswer},
	{answer1000, measureAnswer},
	{barePushAnswer, measureBarePushAnswer},
	{bareCommit, measureBareCommit},
	{callsPerSecond, measureCalls(0, callers)},
	{barePush, measureBarePush},
	{calls50ms, measureCalls(50*time.Millisecond, callers)},
	{roomsPerSecond, measureRooms},
	{bareWire, measureBareWire},
}

// Names of measurements.
const (
	bareHandler    = "bare net/http handler"
	barePush       = "bare HTTP/2 push"
	bareCommit     = "bare grouped SQLite commit"
	bareAnswer     = "bare net/http, 1,000/s"
	barePushAnswer = "bare HTTP/2 push, 1,000/s"
	answer1000     = "1,000 calls/s"
	callsPerSecond = "calls/s, provider at once"
	calls50ms      = "calls/s, provider 50 ms"
	bulkheadName   = "bulkhead"
	roomsPerSecond = "room events"
	bareWire       = "bare net/http, room events" // by the same client
)
