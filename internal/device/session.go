package device

import (
	"context"
	"fmt"

	"github.com/planetbell/planetbell/internal/bell"
)

// DeviceOf returns the ID of the device of an app token, or bell.NotFound when there is
// none. Unlike Polling it changes nothing.
func (s *Service) DeviceOf(ctx context.Context, id bell.Identity) (string, error) {
	d, err := s.Store.DeviceBySession(ctx, id.SessionID)
	if err != nil {
		return "", fmt.Errorf("find the device of a session of %s: %w", id.Owner.User, err)
	}
	return d.ID, nil
}
