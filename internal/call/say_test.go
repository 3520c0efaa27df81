package call_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// lines logs to a buffer, and returns the lines with a message without their times. Neither a
// secret nor a user may be in any line.
func (x *exchange) lines(t *testing.T, c call.Config) func(message string) []map[string]any {
	t.Helper()
	var out bytes.Buffer
	c.Log = slog.New(slog.NewJSONHandler(io.MultiWriter(&out, testlog.Writer(t)), nil))
	c.Store, c.Bells, c.Projects = x.store, x.bells, x.projects
	x.Service = call.New(c)
	return func(message string) (found []map[string]any) {
		for line := range strings.Lines(out.String()) {
			for _, never := range []string{testlog.Text, testlog.Hex, "alice", "bob"} {
				if strings.Contains(line, never) {
					t.Errorf("%q is in the log: %s", never, line)
				}
			}
			fields := map[string]any{}
			if err := json.Unmarshal([]byte(line), &fields); err != nil {
				t.Fatal(err)
			}
			if fields["msg"] == message {
				delete(fields, "time")
				found = append(found, fields)
			}
		}
		return found
	}
}

func TestEveryEndIsOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		lines := x.lines(t, call.Config{})
		x.store.devices[bob()] = []bell.Device{device("a", bell.FCM), device("b", bell.LongPoll)}
		if _, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil {
			t.Fatal(err)
		}
		<-time.After(20 * time.Second)
		answered, caller := event("s1"), 2
		answered.Duration, answered.Release.ReleaserType = 12*time.Second, &caller
		noAnswer := 1203
		unseen := event("s2")
		unseen.Release = planet.Release{DisconnectReason: &noAnswer, Releaser: "bob <" + testlog.Text + ">"}
		for _, e := range []planet.CallEvent{answered, unseen, answered, unseen} {
			if err := x.End(t.Context(), x.acme, e); err != nil {
				t.Fatal(err)
			}
		}
		by := bell.EndedBy(&answered.Release)
		want := []map[string]any{
			{
				"level": "INFO", "msg": "call ended", "sid": "s1", "project": "acme", "outcome": "completed", "ended_by": by,
				"ring_ms": 8000.0, "devices": 2.0, "talk_ms": 12000.0,
			},
			{
				"level": "INFO", "msg": "call ended", "sid": "s2", "project": "acme", "outcome": "missed", "ended_by": "other",
				"release": "disconnect_reason 1203 NOANSWER", "talk_ms": 0.0,
			},
		}
		if diff := cmp.Diff(want, lines("call ended")); diff != "" || by == "" {
			t.Errorf("ended by %q: %s", by, diff)
		}
	})
}

// An end that was refused is said when it is taken.
func TestRefusedEndIsSaidLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		lines := x.lines(t, call.Config{})
		x.store.fail["EndCall"] = bell.E(bell.Invalid, "No.", nil)
		if err := x.End(t.Context(), x.acme, event("s1")); err == nil || len(lines("call ended")) != 0 {
			t.Fatalf("error %v, lines %v", err, lines("call ended"))
		}
		delete(x.store.fail, "EndCall")
		if err := x.End(t.Context(), x.acme, event("s1")); err != nil || len(lines("call ended")) != 1 {
			t.Errorf("error %v, lines %v", err, lines("call ended"))
		}
	})
}

func TestEveryLostCallIsOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange(t, nil)
		lines := x.lines(t, call.Config{LostAfter: time.Hour})
		if _, err := x.Ring(t.Context(), x.acme, notify("s1")); err != nil {
			t.Fatal(err)
		}
		x.running(t)
		<-time.After(2 * time.Hour)
		synctest.Wait()
		got := lines("call lost")
		if len(got) != 1 || got[0]["sid"] != "s1" || got[0]["project"] != "acme" || got[0]["age_ms"].(float64) < 3.6e6 {
			t.Errorf("%v", got)
		}
	})
}
