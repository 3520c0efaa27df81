package audit

import (
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// Whatever is in an entry can be kept by both databases and shown on a terminal.
func TestEntriesAreBounded(t *testing.T) {
	long := strings.Repeat("é\x00\x1b[31m\u202e\n", 100)
	e := New(Entry{At: time.Unix(1, 1234), Who: long, Via: long, Remote: long, Action: long, Object: long})
	for _, text := range []string{e.Who, e.Via, e.Remote, e.Action, e.Object} {
		if len(text) > bell.MaxText || strings.ContainsAny(text, "\x00\x1b\n\u202e") || text == "" {
			t.Errorf("%q", text)
		}
	}
	if e.At.Nanosecond() != 1000 || e.At.Location() != time.UTC || e.ID == "" || e.ID == New(e).ID {
		t.Errorf("%+v", e)
	}
}
