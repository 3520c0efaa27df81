package testpg

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// cluster is a data folder, the server process that runs on it, and a watchdog that ends
// both when this process dies. No goroutine waits for the server: a shared one outlives
// its tests, and would look like a leak.
type cluster struct {
	bin    string // folder of the programs
	folder string
	log    *os.File
	as     *syscall.Credential // nil: as we are

	pid      int // of the server; 0 when it is down
	watchdog *exec.Cmd
	tell     io.WriteCloser // the watchdog's input
}

// guard reads the pid of the running server, or an empty line, until this process closes
// the pipe or dies; the kernel closes it then. It ends the server and removes the folder. A
// signal at the parent's death (PR_SET_PDEATHSIG) would come when a thread ends.
const guard = `
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
	kill -QUIT "$pid" 2>/dev/null
	n=0
	while [ $n -lt 100 ] && kill -0 "$pid" 2>/dev/null; do n=$((n + 1)); sleep 0.1; done
fi
rm -rf "$1"
`

// newCluster finds the programs and makes a data folder. The server is not started yet.
func newCluster() (c *cluster, err error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	c = &cluster{bin: bin}
	if c.as, err = unprivileged(); err != nil {
		return nil, err
	}
	if c.folder, err = os.MkdirTemp("", "planetbell-postgres-"); err != nil {
		return nil, err
	}
	if err := c.watch(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(c.folder))
	}
	if err := c.init(); err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

// programs returns the folder of initdb and postgres. Debian keeps it out of PATH.
func programs() (string, error) {
	folders := filepath.SplitList(os.Getenv("PATH"))
	if out, err := exec.Command("pg_config", "--bindir").Output(); err == nil {
		folders = append(folders, strings.TrimSpace(string(out)))
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	for _, folder := range append(folders, debian...) {
		if runs(filepath.Join(folder, "initdb")) && runs(filepath.Join(folder, "postgres")) {
			return folder, nil
		}
	}
	return "", ErrMissing
}

func runs(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil && filepath.IsAbs(program)
}

// unprivileged returns whom to run PostgreSQL as, since it refuses to run as root.
func unprivileged() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := osuser.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
		gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and this machine has neither a user postgres nor nobody: run the tests as another user")
}

// watch starts the watchdog. It has a process group of its own, like the server: an
// interrupt from the terminal is for the tests.
func (c *cluster) watch() (err error) {
	c.watchdog = exec.Command("/bin/sh", "-c", guard, "sh", c.folder)
	c.watchdog.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if c.tell, err = c.watchdog.StdinPipe(); err != nil {
		return err
	}
	return c.watchdog.Start()
}

// init makes the data folder with initdb.
func (c *cluster) init() (err error) {
	if c.log, err = logFile(c.folder); err != nil {
		return err
	}
	secret := filepath.Join(c.folder, "password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	if c.as != nil {
		for _, path := range []string{c.folder, secret} {
			if err := os.Chown(path, int(c.as.Uid), int(c.as.Gid)); err != nil {
				return err
			}
		}
	}
	initdb := c.command("initdb", "-D", c.data(), "-U", user, "--pwfile", secret, "-E", "UTF8", "--locale", "C",
		"--auth-host", "scram-sha-256", "--auth-local", "reject", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb in %s: %w: %s", c.folder, err, out)
	}
	return os.Remove(secret)
}

// logFile is where the server's log goes: to what is searched for secrets, or else to
// the folder that is removed.
func logFile(folder string) (*os.File, error) {
	path := filepath.Join(folder, "log")
	if kept := os.Getenv("PLANETBELL_TEST_LOGS"); kept != "" {
		path = filepath.Join(kept, filepath.Base(folder)+".log")
	}
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
}

func (c *cluster) data() string { return filepath.Join(c.folder, "data") }

// command is a program of PostgreSQL's, run as an unprivileged user, without the
// environment's PG variables.
func (c *cluster) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(c.bin, name), args...)
	cmd.Dir = c.folder // one that the user may enter
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: c.as}
	return cmd
}

// launch starts the server process and tells the watchdog.
func (c *cluster) launch(args []string) error {
	server := c.command("postgres", append([]string{"-D", c.data()}, args...)...)
	server.Stdout, server.Stderr = c.log, c.log
	if err := server.Start(); err != nil {
		return fmt.Errorf("start PostgreSQL: %w", err)
	}
	c.pid = server.Process.Pid
	if err := server.Process.Release(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(c.tell, c.pid)
	return err
}

// alive reports whether the server process runs. Only here is its end collected, so the
// number is nobody else's before.
func (c *cluster) alive() bool {
	if c.pid == 0 {
		return false
	}
	pid, err := syscall.Wait4(c.pid, nil, syscall.WNOHANG, nil)
	if err == nil && pid == 0 || errors.Is(err, syscall.EINTR) {
		return true
	}
	c.pid = 0
	fmt.Fprintln(c.tell) // if the watchdog is gone, there is nobody to tell
	return false
}

// stop ends the server process, at once or in order, and waits for its end.
func (c *cluster) stop(kill bool) error {
	signal := syscall.SIGINT // PostgreSQL's "fast shutdown"
	if kill {
		signal = syscall.SIGKILL
	}
	if !c.alive() {
		return nil
	}
	if err := syscall.Kill(c.pid, signal); err != nil {
		return fmt.Errorf("stop PostgreSQL: %w", err)
	}
	err := wait(func() (bool, error) { return !c.alive(), nil })
	if err != nil && !kill {
		return errors.Join(err, c.stop(true))
	}
	return err
}

// remove ends the watchdog, which removes the folder.
func (c *cluster) remove() error {
	err := errors.Join(c.tell.Close(), c.watchdog.Wait())
	if c.log != nil {
		err = errors.Join(err, c.log.Close())
	}
	return err
}

// lastWords returns the end of the server's log.
func (c *cluster) lastWords() string {
	const most = 2000
	info, err := c.log.Stat()
	if err != nil {
		return err.Error()
	}
	text := make([]byte, most)
	n, _ := c.log.ReadAt(text, max(0, info.Size()-most))
	return string(bytes.TrimSpace(text[:n]))
}

func randomByte() byte {
	var b [1]byte
	_, _ = rand.Read(b[:]) // never fails
	return b[0]
}
