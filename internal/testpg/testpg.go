// Package testpg gives tests a private PostgreSQL: a cluster in a temporary folder, on a
// free port of the loopback, run by an unprivileged user, gone when the test is over and
// also when the test binary dies.
//
// Most tests call [Database]: a fresh, empty database on one server that the whole test
// binary shares. Tests of outages call [Start] and get a server of their own, which they
// may stop, kill and restart. Packages that use Database end with
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(testpg.Exit)) }
//
// What PostgreSQL logs is kept for the search for secrets, like other logs of tests
// (package testlog).
package testpg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/planetbell/planetbell/internal/testlog"
)

// NoFsync is a setting for tests that do not pull the plug: commits do not wait for the
// disk. It is safe where only PostgreSQL is stopped or killed, because what a process
// wrote outlives it; it makes small tests several times faster.
const NoFsync = "fsync=off"

// user owns the cluster; it exists in it only, not on this machine.
const user = "planetbell"

// patience is how long PostgreSQL may take to start, to stop or to make a database. It
// is far more than it needs: test machines are busy.
const patience = time.Minute

// ErrMissing says that this machine has no PostgreSQL that could be started.
var ErrMissing = errors.New("PostgreSQL's server programs (initdb, postgres) are not on this machine: apt-get install postgresql, or put their folder into PATH")

// Server is one private PostgreSQL server. Its methods may be used concurrently, but
// Stop, Kill, Restart and Close wait for one another.
type Server struct {
	port     int
	settings []string
	c        *cluster

	mu     sync.Mutex
	closed bool
	dbs    atomic.Int64
}

// Start starts a server of the test's own and stops it when the test is over. Settings are
// PostgreSQL's own, "name=value", for example [NoFsync]; without that one commits
// are on disk. Where PostgreSQL is missing the test is skipped, or fails if
// PLANETBELL_TEST_POSTGRES or CI is set.
func Start(tb testing.TB, settings ...string) *Server {
	tb.Helper()
	s, err := New(settings...)
	if err != nil {
		refuse(tb, err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return s
}

// New is Start for programs; they call Close. The error is [ErrMissing] where there is no
// PostgreSQL.
func New(settings ...string) (*Server, error) {
	c, err := newCluster()
	if err != nil {
		return nil, err
	}
	s := &Server{c: c, settings: settings}
	for range 5 { // another process may take the port first
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.start(); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(err, s.Close())
}

// freePort returns a port of the loopback that nobody listens on, below those that the
// kernel gives to connections: a server that is down for a while gets it back.
func freePort() (int, error) {
	var err error
	for range 50 {
		port := 18000 + int(randomByte())*50 + int(randomByte())%50
		l, listenErr := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if listenErr == nil {
			return port, l.Close()
		}
		err = listenErr
	}
	return 0, fmt.Errorf("find a free port on the loopback: %w", err)
}

// start starts the server on its port and waits until it answers.
func (s *Server) start() error {
	args := []string{
		"-c", "listen_addresses=127.0.0.1", "-p", strconv.Itoa(s.port),
		"-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "fsync=on",
	}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	if err := s.c.launch(args); err != nil {
		return err
	}
	answers := func() (bool, error) {
		if !s.c.alive() {
			return false, fmt.Errorf("PostgreSQL ended while it started; it said: %s", s.c.lastWords())
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		conn, err := pgx.Connect(ctx, s.URL("postgres"))
		if err != nil {
			return false, nil //nolint:nilerr // not yet
		}
		return true, conn.Close(ctx)
	}
	if err := wait(answers); err != nil {
		return errors.Join(err, s.c.stop(true))
	}
	return nil
}

// wait asks until done says yes or fails, or patience is over.
func wait(done func() (bool, error)) error {
	over := time.Now().Add(patience)
	for tick := time.NewTicker(20 * time.Millisecond); ; <-tick.C {
		ok, err := done()
		switch {
		case err != nil || ok:
			tick.Stop()
			return err
		case time.Now().After(over):
			tick.Stop()
			return fmt.Errorf("PostgreSQL did not do it within %s", patience)
		}
	}
}

// URL returns how to connect to a database of the server; "postgres" is always there. It
// holds the password, a canary.
func (s *Server) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword(user, password), Host: s.Addr(),
		Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return u.String()
}

// password is a canary: whoever prints it is found by make test.
var password = testlog.TextSecret("postgres-password")

// Addr returns where the server listens, for a proxy before it.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Database makes a fresh, empty database and returns its URL. The database is dropped,
// with whoever is still connected to it, when the test is over.
func (s *Server) Database(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("test_%d", s.dbs.Add(1))
	if err := s.do("CREATE DATABASE " + name + " TEMPLATE template0"); err != nil {
		tb.Fatalf("make a database: %v", err)
	}
	tb.Cleanup(func() {
		if !s.running() {
			return // the test left it down, and the folder goes with it
		}
		if err := s.do("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			tb.Errorf("drop the test's database: %v", err)
		}
	})
	return s.URL(name)
}

func (s *Server) do(statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c.alive()
}

// Stop stops the server as an operator does: connections are cut, transactions rolled
// back, the rest is on disk. A server that is down already stays down.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c.stop(false)
}

// Kill ends the server at once (SIGKILL). The next start recovers from its log.
func (s *Server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.c.stop(true)
}

// Restart stops the server if it is up, and starts it on the same port with the same
// data. It returns when the server answers.
func (s *Server) Restart() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("restart PostgreSQL: it was closed, its folder is gone")
	}
	if err := s.c.stop(false); err != nil {
		return err
	}
	var err error
	for range 10 { // processes of a killed server may still hold its memory or its port
		if err = s.start(); err == nil {
			return nil
		}
		<-time.After(200 * time.Millisecond)
	}
	return err
}

// Close stops the server and removes its folder.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return errors.Join(s.c.stop(false), s.c.remove())
}

// shared is the server of the whole test binary.
var shared struct {
	sync.Mutex
	server *Server
	err    error
}

// Database returns the URL of a fresh, empty database on the server that all tests of the
// test binary share, and that the first of them starts, without fsync: see [NoFsync]. It
// skips or fails like [Start], and the database ends like that of [Server.Database].
func Database(tb testing.TB) string {
	tb.Helper()
	shared.Lock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = New(NoFsync, "full_page_writes=off")
	}
	s, err := shared.server, shared.err
	shared.Unlock()
	if err != nil {
		refuse(tb, err)
	}
	return s.Database(tb)
}

// Exit ends the test binary with the code, after it has stopped the shared server: it is
// for goleak.Cleanup in TestMain. Without it the server ends a moment after the binary.
func Exit(code int) {
	shared.Lock()
	if shared.server != nil {
		if err := shared.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "stop PostgreSQL:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// refuse ends the test: PostgreSQL could not be started.
func refuse(tb testing.TB, err error) {
	tb.Helper()
	required := os.Getenv("CI") != "" || os.Getenv("PLANETBELL_TEST_POSTGRES") != ""
	if errors.Is(err, ErrMissing) && !required {
		tb.Skip(err)
	}
	tb.Fatal(err)
}
