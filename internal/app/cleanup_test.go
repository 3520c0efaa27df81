package app

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
)

func TestCleanupsRunBackwardsAndAll(t *testing.T) {
	t.Parallel()
	var c cleanups
	var order []string
	broken := errors.New("broken")
	for _, step := range []struct {
		name string
		err  error
	}{{"first", nil}, {"second", broken}, {"third", nil}, {"fourth", context.Canceled}} {
		c.push(step.name, func(context.Context) error {
			order = append(order, step.name)
			return step.err
		})
	}
	err := c.run(t.Context())
	if want := []string{"fourth", "third", "second", "first"}; !slices.Equal(order, want) {
		t.Errorf("ran %v, want %v", order, want)
	}
	if !errors.Is(err, broken) || !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "second: broken") {
		t.Errorf("the error %q does not name both failures", err)
	}
	if err := c.run(t.Context()); err != nil || len(order) != 4 {
		t.Errorf("a second run did something: %v, %v", err, order)
	}
}

func TestIgnoreClosed(t *testing.T) {
	t.Parallel()
	if err := ignoreClosed(net.ErrClosed); err != nil {
		t.Errorf("a closed listener is an error: %v", err)
	}
	if err := ignoreClosed(nil); err != nil {
		t.Errorf("no error became one: %v", err)
	}
	other := errors.New("disk full")
	if err := ignoreClosed(other); !errors.Is(err, other) {
		t.Errorf("another error was swallowed: %v", err)
	}
}
