package console

import (
	"context"
	"time"
)

// sharedFor is how old figures may be that many pages ask for. The overview is drawn anew every
// ten seconds.
const sharedFor = 5 * time.Second

// shared is something that is dear to find out, and found out once for all who ask at about the
// same time. Nobody may change what they get. Safe for concurrent use.
type shared[T any] struct {
	turn  chan struct{} // holds one while somebody finds out
	value T             // guarded by turn, as is at
	at    time.Time
}

func newShared[T any]() *shared[T] { return &shared[T]{turn: make(chan struct{}, 1)} }

// get returns what was found out within sharedFor, or finds out. Who waits for somebody else waits
// until ctx ends.
func (s *shared[T]) get(ctx context.Context, now func() time.Time, find func(context.Context) (T, error)) (T, error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	defer func() { <-s.turn }()
	if age := now().Sub(s.at); age >= 0 && age < sharedFor {
		return s.value, nil
	}
	value, err := find(ctx)
	if err == nil {
		s.value, s.at = value, now()
	}
	return value, err
}
