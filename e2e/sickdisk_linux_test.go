package e2e

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
)

// smallDisk is a disk of its own, of so many bytes. Only root can make one.
func smallDisk(t *testing.T, bytes int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(bytes)); err != nil {
		t.Skipf("a disk that can be filled cannot be made here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount the disk: %v", err)
		}
	})
	return dir
}

// databaseOn moves the database to a disk.
func databaseOn(disk string) func(*config.Config) {
	return func(c *config.Config) { c.Database.Path = filepath.Join(disk, "data", "planetbell.db") }
}

// The same on a disk that is full, until there is space again.
func TestSickDiskFull(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, 16<<20)
	s := play(t, configured(databaseOn(disk)))
	s.phone("alice", sim.IOS, "alice's iPhone")
	phones := s.sixPhones()

	ballast := fill(t, disk)
	sick := s.callWhileSick(phones, 0)
	s.endWhileSick(sick)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.wantWellAgain(1)
	s.wantRecorded(sick.SessionID(), len(phones))
}

// fill takes all space of a disk.
func fill(t *testing.T, disk string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(disk, "ballast")
	f, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return ballast
}
