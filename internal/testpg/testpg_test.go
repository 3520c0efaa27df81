package testpg

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/testlog"
)

func TestMain(m *testing.M) {
	if os.Getenv("PLANETBELL_TESTPG_DIES") != "" {
		die()
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(Exit))
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// show returns the value of a setting, or the result of any query of one text.
func show(t *testing.T, conn *pgx.Conn, query string) (value string) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), query).Scan(&value); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return value
}

func TestDatabasesAreFreshAndApart(t *testing.T) {
	one, two := connect(t, Database(t)), connect(t, Database(t))
	run(t, one, "CREATE TABLE mine (n int)")
	run(t, two, "CREATE TABLE mine (n int)") // not there yet
	if got := show(t, one, "SHOW server_encoding"); got != "UTF8" {
		t.Errorf("encoding %s", got)
	}
	if got := show(t, one, "SHOW fsync"); got != "off" {
		t.Errorf("the shared server has fsync %s", got)
	}
}

func TestADatabaseIsDroppedWithItsTest(t *testing.T) {
	var url string
	t.Run("uses one", func(t *testing.T) {
		url = Database(t)
		if _, err := pgx.Connect(t.Context(), url); err != nil { // left open
			t.Fatal(err)
		}
	})
	if conn, err := pgx.Connect(t.Context(), url); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the database is still there")
	}
}

func TestAServerSurvivesItsRestarts(t *testing.T) {
	s := Start(t)
	url := s.Database(t)
	conn := connect(t, url)
	if got := show(t, conn, "SHOW fsync"); got != "on" {
		t.Errorf("a server of one's own has fsync %s", got)
	}
	run(t, conn, "CREATE TABLE kept AS SELECT 'yes' AS word")
	for name, end := range map[string]func() error{"stop": s.Stop, "kill": s.Kill, "none": func() error { return nil }} {
		if err := end(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c, err := pgx.Connect(t.Context(), url); err == nil && name != "none" {
			_ = c.Close(t.Context())
			t.Fatalf("%s: it still answers", name)
		}
		if err := s.Restart(); err != nil {
			t.Fatalf("restart after %s: %v", name, err)
		}
		if got := show(t, connect(t, url), "SELECT word FROM kept"); got != "yes" {
			t.Errorf("after %s: %q", name, got)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err == nil {
		t.Error("a closed server started again")
	}
	if _, err := os.Stat(s.c.folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder was not removed: %v", err)
	}
}

func TestSettingsAreHandedOn(t *testing.T) {
	s := Start(t, NoFsync, "max_connections=17")
	if got := show(t, connect(t, s.URL("postgres")), "SHOW max_connections"); got != "17" {
		t.Errorf("max_connections is %s", got)
	}
	if _, err := New("no_such_setting=1"); err == nil || !strings.Contains(err.Error(), "no_such_setting") {
		t.Errorf("a wrong setting: %v", err)
	}
}

func TestOnlyThePasswordOpens(t *testing.T) {
	wrong := strings.Replace(Database(t), password, testlog.TextSecret("wrong"), 1)
	conn, err := pgx.Connect(t.Context(), wrong)
	if err == nil {
		_ = conn.Close(t.Context())
		t.Fatal("a wrong password opens the database")
	}
	testlog.Keep(t, "error", err.Error())
}

// die is the other test binary: it starts a server, says where, and waits to be killed.
func die() {
	s, err := New(NoFsync)
	if err != nil {
		println(err.Error())
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString(strconv.Itoa(s.c.pid) + " " + s.c.folder + "\n")
	<-time.After(time.Minute)
}

func TestNothingIsLeftOfABinaryThatDies(t *testing.T) {
	if _, err := programs(); err != nil {
		refuse(t, err)
	}
	other := exec.CommandContext(t.Context(), os.Args[0])
	other.Env = append(os.Environ(), "PLANETBELL_TESTPG_DIES=1")
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	number, folder, _ := strings.Cut(strings.TrimSpace(line), " ")
	pid, err := strconv.Atoi(number)
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Process.Kill(); err != nil { // SIGKILL: no clean-up of its own
		t.Fatal(err)
	}
	_ = other.Wait()
	err = wait(func() (bool, error) {
		_, err := os.Stat(folder)
		return errors.Is(err, os.ErrNotExist) && !serves(pid, folder), nil
	})
	if err != nil {
		t.Errorf("process %d or %s is still there: %v", pid, folder, err)
	}
}

// serves reports whether the process runs. One that ended and was not collected by its new
// parent has no command line any more.
func serves(pid int, folder string) bool {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err == nil {
		return strings.Contains(string(line), folder)
	}
	_, noProc := os.Stat("/proc/self")
	return noProc != nil && syscall.Kill(pid, 0) == nil
}

func TestWithoutPostgreSQL(t *testing.T) {
	for _, env := range []string{"", "PLANETBELL_TEST_POSTGRES", "CI"} {
		t.Setenv("CI", "")
		t.Setenv("PLANETBELL_TEST_POSTGRES", "")
		if env != "" {
			t.Setenv(env, "1")
		}
		fake := &fakeTB{TB: t}
		func() {
			defer func() { _ = recover() }()
			refuse(fake, ErrMissing)
		}()
		if fake.failed != (env != "") || !strings.Contains(fake.said, "apt-get install postgresql") {
			t.Errorf("with %q set: failed %t, %q", env, fake.failed, fake.said)
		}
	}
}

// fakeTB notes how the test would end.
type fakeTB struct {
	testing.TB
	failed bool
	said   string
}

func (f *fakeTB) Skip(args ...any)  { f.said = args[0].(error).Error(); panic("skip") }
func (f *fakeTB) Fatal(args ...any) { f.failed, f.said = true, args[0].(error).Error(); panic("fatal") }
