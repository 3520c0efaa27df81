package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/testlog"
)

// hangs ends a test that hangs; nothing is measured by it.
const hangs = 2 * time.Minute

// The demo rings every phone and shows how each call ended.
func TestDemo(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), hangs)
	defer cancel()
	var out, errs bytes.Buffer
	code := run(ctx, []string{
		"demo", "--once", "--ring-time", "2s", "--log-level", "warn",
		"--public-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--control-address", "127.0.0.1:0", "--page-address", "127.0.0.1:0",
	}, nil, &out, &errs)
	testlog.Keep(t, "demo", out.String()+errs.String())
	if code != 0 {
		t.Fatalf("exit code %d, output:\n%s\n%s", code, out.String(), errs.String())
	}
	if first, _, _ := strings.Cut(out.String(), "\n"); !strings.HasPrefix(first, "Open http://127.0.0.1:") {
		t.Errorf("the first line is %q, want the address of the softphone", first)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	wants := []string{
		"Call 1 of 4", "bob's Mac answers", "ended with 1206 MULTIDEV_ANSWER", "the call is over: NORMAL", "call-event was answered 200 in ",
		"Call 2 of 4", "the call is over: DECLINE",
		"Call 3 of 4", "the call is over: CANCEL",
		"Call 4 of 4", "the call is over: NOANSWER",
	}
	rest := text
	for _, want := range wants { // in this order
		_, after, found := strings.Cut(rest, want)
		if !found {
			t.Fatalf("%q is missing or out of order in:\n%s", want, out.String())
		}
		rest = after
	}
	for _, p := range demoPhones {
		if p.UserID == "bob" && strings.Count(text, p.Name+" rings: got a call by") != 2 {
			t.Errorf("%s did not get both calls:\n%s", p.Name, out.String())
		}
	}
	if n := strings.Count(text, "call-event was answered 200"); n != len(demoCalls) {
		t.Errorf("%d Call Events were answered, want %d", n, len(demoCalls))
	}
}

// Ctrl-C while phones ring is a normal end, and leaves no files behind.
func TestDemoInterrupted(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &watched{until: "Call 1 of 4", then: cancel}
	code := run(ctx, []string{
		"demo", "--public-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--control-address", "127.0.0.1:0", "--page-address", "127.0.0.1:0",
	}, nil, out, out)
	if code != 0 {
		t.Errorf("exit code %d, output:\n%s", code, out.text())
	}
	left, err := filepath.Glob(filepath.Join(tmp, "planetbell-demo-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// watched is an output that calls then once it holds until.
type watched struct {
	until string
	then  func()

	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.buf.Write(p)
	if w.then != nil && strings.Contains(w.buf.String(), w.until) {
		w.then()
		w.then = nil
	}
	return n, err
}

func (w *watched) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.String()
}

// The simulator writes a configuration with which a server works as it is.
func TestSimWithServe(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), hangs)
	defer cancel()
	dir := t.TempDir()
	public, admin, control := freeAddress(t), freeAddress(t), freeAddress(t)
	var commands sync.WaitGroup
	start := func(ready string, args ...string) *watched {
		up := make(chan struct{})
		out := &watched{until: ready, then: func() { close(up) }}
		commands.Go(func() {
			if code := run(ctx, args, nil, out, out); code != 0 {
				t.Errorf("%v: exit code %d:\n%s", args, code, out.text())
			}
		})
		select {
		case <-up:
		case <-ctx.Done():
			t.Fatalf("%v did not come up:\n%s", args, out.text())
		}
		return out
	}
	simulator := start("Now start the server", "sim", "--dir", dir, "--control-address", control,
		"--public-address", public, "--admin-address", admin, "--ring-time", "15s", "--phone", "bob:ios", "--phone", "bob:ios", "--phone", "bob:android")
	simulator.mu.Lock()
	phones := make(chan struct{})
	simulator.until, simulator.then = "The server answers", func() { close(phones) }
	simulator.mu.Unlock()
	start("is up", "serve", "--config", filepath.Join(dir, "planetbell.yaml"))
	select {
	case <-phones:
	case <-ctx.Done():
		t.Fatalf("the simulator did not find the server:\n%s", simulator.text())
	}
	list := []string{"device", "list", "--json", "--config", filepath.Join(dir, "planetbell.yaml")}
	for ringable := 0; ringable < 3; {
		var out bytes.Buffer
		if code := run(ctx, list, nil, &out, &out); code != 0 {
			t.Fatalf("device list: exit code %d: %s", code, out.String())
		}
		ringable = strings.Count(out.String(), `"reachable": true`)
	}

	report := placeCall(t, control, `{"from":"alice","to":"bob","plan":"answered","after":"500ms","wait":true}`)
	if len(report.Legs) != 3 || report.Reason != "NORMAL" {
		t.Errorf("%d phones rang and the call ended with %s, want 3 and NORMAL", len(report.Legs), report.Reason)
	}
	testlog.Keep(t, "sim", simulator.text())
	cancel()
	commands.Wait()
}

func TestSimRefusesOddPhones(t *testing.T) {
	for _, phone := range []string{"bob", ":ios", ""} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"sim", "--dir", t.TempDir(), "--phone", phone}, nil, &out, &errs); code != exitUsage {
			t.Errorf("--phone %q: exit code %d, want %d: %s", phone, code, exitUsage, errs.String())
		}
	}
}

type simReport struct {
	Reason string `json:"reason"`
	Legs   []struct {
		Phone string `json:"phone"`
	} `json:"legs"`
}

func placeCall(t *testing.T, control, body string) (r simReport) {
	t.Helper()
	resp, err := http.Post("http://"+control+"/calls", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// A port that is in use does not stop the demo.
func TestFree(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken := l.Addr().String()
	if got := free(taken); got != "127.0.0.1:0" {
		t.Errorf("free(a taken address) = %s", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if got := free(taken); got != taken {
		t.Errorf("free(%s) = %s, want the same", taken, got)
	}
	if got := free("nonsense"); got != "nonsense" {
		t.Errorf("free(nonsense) = %s: the listener has to say what is wrong with it", got)
	}
}

func TestProgramName(t *testing.T) {
	was := os.Args[0]
	defer func() { os.Args[0] = was }()
	for called, want := range map[string]string{"./bin/planetbell": "./bin/planetbell", "pb": "planetbell"} {
		os.Args[0] = called
		if got := program(); got != want {
			t.Errorf("program() = %s for %s, want %s", got, called, want)
		}
	}
}
