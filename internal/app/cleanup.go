package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
)

// cleanups are what has to be undone, in the order in which it was done. The moment a
// resource exists its cleanup is pushed; stopping runs them backwards.
type cleanups []cleanup

type cleanup struct {
	name string
	run  func(ctx context.Context) error
}

func (c *cleanups) push(name string, run func(ctx context.Context) error) {
	*c = append(*c, cleanup{name, run})
}

// run undoes everything, newest first, and joins the errors. One failure does not keep
// the others from running.
func (c *cleanups) run(ctx context.Context) error {
	var errs []error
	for _, step := range slices.Backward(*c) {
		if err := step.run(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", step.name, err))
		}
	}
	*c = nil
	return errors.Join(errs...)
}

func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }
