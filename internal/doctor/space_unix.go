//go:build linux || darwin

package doctor

import (
	"fmt"
	"syscall"
)

// space is what a folder's file system has free for this user, and in all; in bytes.
func space(folder string) (free, size uint64, err error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(folder, &s); err != nil {
		return 0, 0, fmt.Errorf("ask how much room there is: %w", err)
	}
	return s.Bavail * uint64(s.Bsize), s.Blocks * uint64(s.Bsize), nil
}
