package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/planetbell/planetbell/internal/console"
)

// askEvery is how often the admin API is asked. Phones finish registering in the
// background, as the official apps do, and nobody tells when they are done.
const askEvery = 10 * time.Millisecond

// AwaitDevices waits until n devices can ring, or ctx ends.
func (s *Stage) AwaitDevices(ctx context.Context, n int) error {
	ticker := time.NewTicker(askEvery)
	defer ticker.Stop()
	for {
		reachable, err := s.reachable(ctx)
		if err != nil {
			return fmt.Errorf("ask the admin API for devices: %w", err)
		}
		if reachable >= n {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d devices can ring: %w", reachable, n, context.Cause(ctx))
		}
	}
}

func (s *Stage) reachable(ctx context.Context) (n int, err error) {
	after := ""
	for {
		var page console.DeviceList
		if err := s.ask(ctx, "/admin/v1/devices?after="+after, &page); err != nil {
			return 0, err
		}
		for _, d := range page.Devices {
			if d.Reachable {
				n++
			}
		}
		if after = page.Next; after == "" {
			return n, nil
		}
	}
}

// ask reads from the admin API.
func (s *Stage) ask(ctx context.Context, path string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.App.AdminURL()+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+s.Config.Admin.Token.Reveal())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the admin API answered %s", resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
