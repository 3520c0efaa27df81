package app

import (
	"strings"
	"testing"
	"time"
)

// A server that runs forgets what is old, by its settings; what a sweep does is shown in
// package retention.
func TestOldRecordsAreLookedFor(t *testing.T) {
	t.Parallel()
	c := settings(t)
	if c.Retention.Calls != 90*24*time.Hour || c.Retention.Journal != 30*24*time.Hour {
		t.Errorf("kept by default: %+v", c.Retention)
	}
	a, err := New(t.Context(), c, logInto(t, &signal{heard: make(chan struct{})}), "test")
	if err != nil {
		t.Fatal(err)
	}
	stop(t, a)
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if strings.HasPrefix(family.GetName(), "planetbell_retention_") {
			return
		}
	}
	t.Error("nothing looks for old records")
}
