//go:build unix

package main

import (
	"syscall"
	"time"
)

// processor is how much of it this process has used: 0 if the system does not say.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
