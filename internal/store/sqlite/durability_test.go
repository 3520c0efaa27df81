package sqlite

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/planet"
)

// TestKilledProcessLosesNothing kills a process that records calls, at a random
// instant, and looks for every call that it had acknowledged.
func TestKilledProcessLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "planetbell.db")
	for round := range 5 {
		acknowledged := killAfter(t, path, 1+rand.IntN(2000))
		s := openStore(t, path) // also shows that the lock is free
		for _, sid := range acknowledged {
			record, err := s.Call(t.Context(), planet.Evaluation, planet.SessionID(sid))
			if err != nil || len(record.Deliveries) != 1 {
				t.Errorf("round %d: call %s has %d deliveries, %v", round, sid, len(record.Deliveries), err)
			}
		}
		var integrity string
		err := s.readers.read(t.Context(), func(l *link) error {
			_, err := l.One(`PRAGMA integrity_check`, sqldb.Into([]any{&integrity}))
			return err
		})
		if err != nil || integrity != "ok" {
			t.Errorf("round %d: integrity check says %q, %v", round, integrity, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		t.Logf("round %d: %d acknowledged calls are there", round, len(acknowledged))
	}
}

// killAfter runs this test binary as a child that writes, kills it when it has
// acknowledged n calls, and returns all that it had acknowledged by then.
func killAfter(t *testing.T, path string, n int) []string {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatalf("StdoutPipe: %v", err)
	}
	if err := child.Start(); err != nil {
		t.Fatalf("start the child: %v", err)
	}
	var acknowledged []string
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // a line without an end is not acknowledged
			break
		}
		acknowledged = append(acknowledged, line[:len(line)-1])
		if len(acknowledged) == n {
			if err := child.Process.Kill(); err != nil {
				t.Fatalf("kill the child: %v", err)
			}
		}
	}
	if err := child.Wait(); err == nil {
		t.Fatal("the child ended before it was killed")
	}
	if len(acknowledged) < n {
		t.Fatalf("the child acknowledged %d calls and died by itself", len(acknowledged))
	}
	return acknowledged
}

// writeUntilKilled is the child: it records calls and prints those that are recorded.
func writeUntilKilled(path string) int {
	s, err := Open(context.Background(), Config{Path: path, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var mu sync.Mutex // of standard output
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for {
				c, deliveries, raw := benchCall(1)
				found, err := s.BeginCall(context.Background(), c, deliveries, raw)
				if err != nil || found != call.Began {
					fmt.Fprintln(os.Stderr, found, err)
					return
				}
				mu.Lock()
				_, err = io.WriteString(os.Stdout, string(c.SessionID)+"\n")
				mu.Unlock()
				if err != nil {
					return // the parent is gone
				}
			}
		})
	}
	wg.Wait()
	return 1
}

func TestReopeningKeepsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "planetbell.db")
	s := openStore(t, path)
	c, deliveries, raw := benchCall(1)
	if _, err := s.BeginCall(t.Context(), c, deliveries, raw); err != nil {
		t.Fatalf("BeginCall: %v", err)
	}
	device := bell.Device{ID: deliveries[0].DeviceID, Owner: c.CalleeOwner(), Channel: bell.LongPoll}
	if err := s.AddDevice(t.Context(), device); err != nil {
		t.Fatalf("AddDevice: %v", err)
	}
	before, err := s.Call(t.Context(), c.Environment, c.SessionID)
	if err != nil {
		t.Fatalf("Call: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	for _, left := range []string{path + "-wal", path + "-shm"} {
		if _, err := os.Stat(left); !os.IsNotExist(err) {
			t.Errorf("%s is left after Close: %v", filepath.Base(left), err)
		}
	}

	s = openStore(t, path)
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}()
	after, err := s.Call(t.Context(), c.Environment, c.SessionID)
	if err != nil {
		t.Fatalf("Call: %v", err)
	}
	equal(t, after, before)
	rings, err := s.ClaimDeliveries(t.Context(), claimAll(c.NotifiedAt))
	if err != nil || len(rings) != 1 || rings[0].Call.CCParam != c.CCParam {
		t.Errorf("ClaimDeliveries = %d rings, %v; want the one with its cc_param", len(rings), err)
	}
}
