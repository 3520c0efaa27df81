package console_test

import (
	"net/http"
	"sync"
	"testing"
	"time"
)

// What many pages ask for is found out once.
func TestTheOverviewIsShared(t *testing.T) {
	f := told(t)
	config := testConfig()
	now := noon
	config.Now = func() time.Time { return now }
	h := newHandler(t, f, config)
	look := func() {
		var readers sync.WaitGroup
		for range 4 {
			for _, path := range []string{"/", "/admin/v1/overview"} {
				readers.Go(func() {
					if w := ask(t, h, "GET", path, ""); w.Code != http.StatusOK {
						t.Errorf("%s: %d", path, w.Code)
					}
				})
			}
		}
		readers.Wait()
	}
	for turn := range 3 {
		look()
		if tallies, failing := f.tallies.Load(), f.failings.Load(); tallies != int32(turn+1) || failing != int32(turn+1) {
			t.Errorf("turn %d: %d tallies, asked %d times what fails", turn, tallies, failing)
		}
		now = now.Add(5 * time.Second)
	}
}
