package sqlite

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// forbidLog makes the store's open write-ahead log one that can only be read.
func forbidLog(t *testing.T, s *Store) {
	t.Helper()
	path, err := filepath.EvalSymlinks(s.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	replaced := 0
	for _, e := range entries {
		if target, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || target != path {
			continue
		}
		var fd int
		if _, err := fmt.Sscan(e.Name(), &fd); err != nil {
			t.Fatal(err)
		}
		other, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(other, fd, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Close(other); err != nil {
			t.Fatal(err)
		}
		replaced++
	}
	if replaced == 0 {
		t.Fatal("the store has no open write-ahead log")
	}
}

// A file that suddenly takes no writes fails them; the next connection works as soon as the
// file does.
func TestDiskFailsUnderTheWriter(t *testing.T) {
	s, told := sickbed(t, t.TempDir())
	forbidLog(t, s)
	wantUnavailable(t, "BeginCall", s.begin(t, 1, time.Minute), "cannot be used")
	wantRecovered(t, s, told)
}
