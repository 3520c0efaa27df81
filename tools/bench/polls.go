package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/stage"
)

const (
	pollsName = "polls"
	polls     = 15_000 // each is a file of two processes: see "ulimit -n"
	// pollCalls are placed, at pollRate a second, to as many of the polls.
	pollCalls = 1000
	pollRate  = 200
)

// measurePolls measures what a waiting poll takes in memory, beside one of a handler that
// does nothing but wait, and how soon a call is had by one of them. The clients are another
// process, so that their memory does not count, nor their files.
func measurePolls(ctx context.Context, set settings) error {
	const n = polls
	bare, err := bareWait(ctx, n, "-poll", func(w http.ResponseWriter) {})
	if err != nil {
		return fmt.Errorf("polls that wait in a bare handler: %w", err)
	}
	ours, took, err := wait(ctx, set, n, "-poll", "planetbell_longpoll_waiters")
	if err != nil {
		return fmt.Errorf("polls: %w", err)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nfigure\tplanetbell\tbare limit here\tratio\t")
	fmt.Fprintf(w, "memory of a waiting poll, of %d\t%.1f KiB\tnet/http %.1f KiB\t%.2f\t\n", n, ours/1024, bare/1024, ours/bare)
	fmt.Fprintf(w, "call in to poll answered, with %d waiting\tp50 %s p99 %s\t\t\t\n", n-pollCalls, round(took.p50), round(took.p99))
	return w.Flush()
}

// held is the memory that lives: heap and stacks.
func held() float64 {
	runtime.GC()
	runtime.GC() // what the first one's finalizers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// bareWait is the memory of one request in a handler that begins as it is told, and then waits
// for the request's end.
func bareWait(ctx context.Context, n int, clients string, begin func(http.ResponseWriter)) (perPoll float64, err error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	var waiting atomic.Int64
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin(w)
		waiting.Add(1)
		<-r.Context().Done()
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	defer func() {
		err = errors.Join(err, srv.Close())
		<-done
	}()
	before := held()
	c, err := startPollClient(ctx, clients, "http://"+l.Addr().String(), make([]string, n))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := until(ctx, func() bool { return waiting.Load() == int64(n) }); err != nil {
		return 0, err
	}
	return (held() - before) / float64(n), nil
}

// wait is the memory of one poll or stream of ours, which the gauge counts, and how soon they
// have their calls.
func wait(ctx context.Context, set settings, n int, clients, gauge string) (perPoll float64, took quantiles, err error) {
	dir, err := os.MkdirTemp(set.folder, "polls-")
	if err != nil {
		return 0, took, err
	}
	st, err := stage.New(ctx, stage.Options{Dir: dir, Log: slog.New(slog.DiscardHandler), Version: "bench", Change: func(c *config.Config, _ sim.Settings) {
		c.Limits.SignUpsPerMinute, c.Limits.LongPolls = 100_000, n
		c.LongPoll.Hold = 55 * time.Second
	}})
	if err != nil {
		return 0, took, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	tokens, err := signUp(ctx, st, n)
	if err != nil {
		return 0, took, err
	}
	before := held()
	c, err := startPollClient(ctx, clients, st.App.PublicURL(), tokens)
	if err != nil {
		return 0, took, err
	}
	defer func() { err = errors.Join(err, c.stop()) }()
	if err := until(ctx, func() bool { return waiters(ctx, st, gauge) == n }); err != nil {
		return 0, took, err
	}
	perPoll = (held() - before) / float64(n)
	took, err = callPolls(ctx, st, c)
	return perPoll, took, err
}

// signUp gives n users an app token each.
func signUp(ctx context.Context, st *stage.Stage, n int) ([]string, error) {
	client, tokens := newClient(), make([]string, n)
	defer client.CloseIdleConnections()
	p := st.Config.Projects[0]
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, 32)
	for worker := range errs {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[worker] == nil; i = int(next.Add(1)) - 1 {
				tokens[i], errs[worker] = signUpOne(ctx, client, st.App.PublicURL(), map[string]string{
					"userId": userID(i), "serviceId": p.ServiceID, "region": "JP", "apiKey": p.ClientKey.Reveal(),
				})
			}
		})
	}
	group.Wait()
	return tokens, errors.Join(errs...)
}

func signUpOne(ctx context.Context, client *http.Client, url string, body map[string]string) (string, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v2/register_user", strings.NewReader(string(text)))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct{ Data struct{ AccessToken string } }
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&answer); err != nil || answer.Data.AccessToken == "" {
		return "", fmt.Errorf("register_user: %s: %w", resp.Status, err)
	}
	return answer.Data.AccessToken, nil
}

// waiters reads a gauge; -1 when it cannot.
func waiters(ctx context.Context, st *stage.Stage, gauge string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, st.App.AdminURL()+"/metrics", http.NoBody)
	if err != nil {
		return -1
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), gauge+" "); ok {
			n, _ := strconv.ParseFloat(value, 64)
			return int(n)
		}
	}
	return -1
}

// callPolls places calls to the first polls and measures until each client had its call.
func callPolls(ctx context.Context, st *stage.Stage, c *pollClient) (quantiles, error) {
	p := st.Config.Projects[0]
	srv := &server{url: st.App.PublicURL(), secret: p.CallbackSecret.Reveal(), service: p.ServiceID, client: newClient()}
	defer srv.client.CloseIdleConnections()
	began := make([]time.Time, pollCalls)
	err := openLoop(ctx, pollRate, pollCalls*time.Second/pollRate, func(number int, planned time.Time) error {
		began[number] = planned
		return srv.notify(ctx, number)
	})
	if err != nil {
		return quantiles{}, err
	}
	var took []time.Duration
	for range pollCalls {
		user, at, err := c.next()
		if err != nil {
			return quantiles{}, err
		}
		took = append(took, at.Sub(began[user]))
	}
	return quantilesOf(took), nil
}

// until asks again and again, at most two minutes.
func until(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("not all polls arrived within two minutes"))
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for !ready() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// pollClient is the process that polls.
type pollClient struct {
	command *exec.Cmd
	answers *bufio.Scanner
}

// startPollClient starts this program again, as the clients of a server; of which kind, the flag
// says.
func startPollClient(ctx context.Context, flag, url string, tokens []string) (*pollClient, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, filepath.Clean(self), flag, url)
	command.Stdin, command.Stderr = strings.NewReader(strings.Join(tokens, "\n")+"\n"), os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &pollClient{command: command, answers: bufio.NewScanner(out)}, command.Start()
}

// next is the next answer that a client had.
func (c *pollClient) next() (user int, at time.Time, err error) {
	if !c.answers.Scan() {
		return 0, at, errors.Join(errors.New("the polling process has ended"), c.answers.Err())
	}
	var ns int64
	if _, err = fmt.Sscan(c.answers.Text(), &user, &ns); err == nil && (user < 0 || user >= pollCalls) {
		err = fmt.Errorf("poll %d was answered, and nobody called", user)
	}
	return user, time.Unix(0, ns), err
}

func (c *pollClient) stop() error {
	err := c.command.Process.Kill()
	_ = c.command.Wait() // says that it was killed
	return err
}

// firstByte is when a poll is answered.
func firstByte(conn net.Conn) error {
	_, err := conn.Read(make([]byte, 1))
	return err
}

// runPollClient asks for a path with one connection for each token that it reads, once, and prints
// who had its call when, until it is killed. called returns when it has come.
func runPollClient(address, path string, in io.Reader, out io.Writer, called func(net.Conn) error) error {
	var mu sync.Mutex
	var group sync.WaitGroup
	host := strings.TrimPrefix(address, "http://")
	lines := bufio.NewScanner(in)
	pace := time.NewTicker(time.Second / 2000) // each of them is a new device to the server, to be recorded
	defer pace.Stop()
	for i := 0; lines.Scan(); i++ {
		<-pace.C
		conn, err := net.DialTimeout("tcp", host, time.Minute)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", path, host, lines.Text()); err != nil {
			return err
		}
		group.Go(func() {
			if called(conn) != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			fmt.Fprintln(out, i, time.Now().UnixNano())
		})
	}
	group.Wait()
	return lines.Err()
}
