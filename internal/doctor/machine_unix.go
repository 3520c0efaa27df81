//go:build unix

package doctor

import (
	"fmt"
	"math"
	"syscall"
)

// fileLimit is how many files this process may have open. Go has raised it to the hard limit.
func fileLimit() (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	if int64(limit.Cur) < 0 { // no limit, on systems where the number is signed
		return math.MaxInt64, nil
	}
	return uint64(limit.Cur), nil //nolint:unconvert // it is signed on some systems
}
