package device

import (
	"errors"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
)

func TestDeviceOf(t *testing.T) {
	s, store := newService(t)
	id := identity("s1", "bob")
	if _, err := s.DeviceOf(t.Context(), id); !errors.Is(err, bell.NotFound) {
		t.Errorf("without a device: %v", err)
	}
	if _, err := s.Register(t.Context(), id, Description{}); err != nil {
		t.Fatal(err)
	}
	writes := store.writes
	if got, err := s.DeviceOf(t.Context(), id); err != nil || got != store.only(t).ID || store.writes != writes {
		t.Errorf("DeviceOf = %q, %v, %d writes", got, err, store.writes-writes)
	}
	if _, err := s.DeviceOf(t.Context(), identity("s2", "bob")); !errors.Is(err, bell.NotFound) {
		t.Errorf("another session's: %v", err)
	}
}
