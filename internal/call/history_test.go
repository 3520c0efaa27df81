package call_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// A page says where the next one begins, exactly if there is one.
func TestHistoryPages(t *testing.T) {
	stored := []bell.Call{
		{SessionID: "c", NotifiedAt: time.Unix(3, 0), EndedAt: time.Unix(9, 0)},
		{SessionID: "b", EndedAt: time.Unix(2, 0)},
		{SessionID: "a", NotifiedAt: time.Unix(1, 0)},
	}
	for _, c := range []struct {
		limit int
		want  []planet.SessionID
		next  call.Cursor
	}{
		{1, []planet.SessionID{"c"}, call.Cursor{At: time.Unix(3, 0), SessionID: "c"}},
		{2, []planet.SessionID{"c", "b"}, call.Cursor{At: time.Unix(2, 0), SessionID: "b"}},
		{3, []planet.SessionID{"c", "b", "a"}, call.Cursor{}},
		{4, []planet.SessionID{"c", "b", "a"}, call.Cursor{}},
	} {
		x := newExchange(t, nil)
		x.store.history = stored
		asked := call.HistoryQuery{Owner: bob(), SessionID: "s", Direction: call.Incoming, Limit: c.limit}
		page, err := x.History(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		var got []planet.SessionID
		for _, one := range page.Calls {
			got = append(got, one.SessionID)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || page.Next != c.next {
			t.Errorf("pages of %d: next %+v, %s", c.limit, page.Next, diff)
		}
		asked.Limit++
		if diff := cmp.Diff([]any{asked}, x.store.asked); diff != "" {
			t.Error(diff)
		}
	}
	x := newExchange(t, nil)
	x.store.fail["History"] = errDisk
	if _, err := x.History(t.Context(), call.HistoryQuery{Limit: 1}); !errors.Is(err, errDisk) {
		t.Errorf("error %v", err)
	}
}
