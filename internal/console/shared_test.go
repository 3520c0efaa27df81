package console_test

import (
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
)

// What many pages ask for is found out once.
func TestTheOverviewIsShared(t *testing.T) {
	f := told(t)
	events := &toldEvents{}
	f.events = events
	var ringing atomic.Int32
	f.calls = func(filter call.Filter, _ call.Cursor, _ int) ([]bell.Call, error) {
		if filter.State != bell.CallRinging {
			t.Errorf("asked for %+v", filter)
		}
		ringing.Add(1)
		return []bell.Call{missedCall()}, nil
	}
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
		for what, asked := range map[string]*atomic.Int32{
			"a tally": &f.tallies, "what fails": &f.failings, "what rings": &ringing, "how endpoints do": &events.statuses,
		} {
			if n := asked.Load(); n != int32(turn+1) {
				t.Errorf("turn %d: %s was asked for %d times", turn, what, n)
			}
		}
		now = now.Add(5 * time.Second)
	}
}
