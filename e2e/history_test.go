package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// pastCall is what the history test reads of GET /v2/calls.
type pastCall struct {
	SID         planet.SessionID `json:"sid"`
	Direction   string           `json:"direction"`
	Peer        struct{ UserID string }
	Outcome     planet.Outcome `json:"outcome"`
	Missed      bool           `json:"missed"`
	CalledAt    int64          `json:"calledAt"`
	StartedAt   int64          `json:"startedAt"`
	EndedBy     string         `json:"endedBy"`
	Explanation string         `json:"explanation"`
}

// history asks for a user's calls as the phone's app would, all pages of them.
func (s *scene) history(p *sim.Phone, query string) (calls []pastCall) {
	s.t.Helper()
	for cursor := ""; ; {
		a := s.do(s.asClient(p, "calls?limit=2&"+query+"&cursor="+cursor))
		if a.status != http.StatusOK {
			s.t.Fatalf("GET /v2/calls?%s was answered %d %s", query, a.status, a.body)
		}
		var page struct {
			Calls []pastCall
			Next  string
		}
		if err := json.Unmarshal(a.envelope(s.t).Data, &page); err != nil {
			s.t.Fatal(err)
		}
		calls = append(calls, page.Calls...)
		if cursor = page.Next; cursor == "" {
			return calls
		}
	}
}

// Both sides of a call see it, each in its own way, and nobody else does.
func TestHistory(t *testing.T) {
	t.Parallel()
	s := play(t)
	caller, callee := s.phone("alice", sim.IOS, "iPhone"), s.phone("bob", sim.IOS, "bob's iPhone")
	stranger := s.phone("carol", sim.IOS, "carol's iPhone")
	type side struct {
		outcome       planet.Outcome
		missed        bool // by the callee
		en, ja, ender string
	}
	var want []side
	var sids []planet.SessionID
	for _, e := range []struct {
		plan sim.Plan
		side
	}{
		{sim.Plan{Kind: sim.PlanAnswered, EndedByCaller: true}, side{planet.OutcomeCompleted, false, "Ended without an error.", "エラーなく終了しました。", "caller"}},
		{sim.Plan{Kind: sim.PlanDeclined}, side{planet.OutcomeDeclined, false, "The callee refused.", "着信者が応答を拒否しました。", "callee"}},
		{sim.Plan{Kind: sim.PlanBusy}, side{planet.OutcomeBusy, false, "The callee was in a call.", "着信者は通話中でした。", "callee"}},
		{sim.Plan{Kind: sim.PlanCanceled}, side{planet.OutcomeCanceled, true, "The caller hung up before the answer.", "応答される前に、発信者が電話を切りました。", "caller"}},
	} {
		c := s.call("alice", "bob", e.plan)
		s.over(c)
		want, sids = append(want, e.side), append(sids, c.SessionID())
	}
	// Planet Cloud could not reach this server: it tells so afterwards, without a Notify.
	const unreached = "0a9b8c7d-0d5f-4a44-9b5e-0b0b6f3f9a02"
	if a := s.callback(s.project(), "call-event", url.Values{
		"sid": {unreached}, "from_service_id": {"demo-service"}, "from_user_id": {"alice"}, "to_service_id": {"demo-service"}, "to_user_id": {"bob"},
		"type": {"A"}, "duration": {"0"}, "disconnect_reason": {"1302"}, "releaser_type": {"4"}, "srcip": {"192.0.2.77"}, "dstip": {"192.0.2.78"},
		"app_svr_data": {testlog.Text}, "user_rel_code": {testlog.Text},
	}); a.status != http.StatusOK {
		t.Fatalf("the event was answered %d", a.status)
	}
	want = append(want, side{
		planet.OutcomePushFailed, true, "The app server could not be called, or answered Notify with a failure.",
		"Planet Cloudがアプリサーバーを呼び出せなかったか、Notifyに対してアプリサーバーがエラーを返しました。", "cloud_server",
	})
	sids = append(sids, unreached)

	for name, view := range map[string]struct {
		phone           *sim.Phone
		direction, peer string
	}{"caller": {caller, "out", "bob"}, "callee": {callee, "in", "alice"}} {
		for _, lang := range []string{"en", "ja"} {
			got := s.history(view.phone, "lang="+lang)
			if len(got) != len(want) {
				t.Fatalf("the %s sees %d calls, want %d: %+v", name, len(got), len(want), got)
			}
			newest := int64(1 << 60)
			for _, c := range got {
				if c.CalledAt > newest {
					t.Errorf("the %s sees calls in the wrong order: %+v", name, got)
				}
				if c.CalledAt != 0 { // or it is known to the second only
					newest = c.CalledAt
				}
				n := slices.Index(sids, c.SID)
				if n < 0 {
					t.Fatalf("the %s sees %s, which nobody made", name, c.SID)
				}
				w := want[n]
				text := map[string]string{"en": w.en, "ja": w.ja}[lang]
				if c.Direction != view.direction || c.Peer.UserID != view.peer || c.Outcome != w.outcome ||
					c.Missed != (w.missed && name == "callee") || c.EndedBy != w.ender || c.Explanation != text {
					t.Errorf("the %s sees %+v, want %+v", name, c, w)
				}
				if talked := w.outcome == planet.OutcomeCompleted; (c.StartedAt != 0) != talked {
					t.Errorf("the %s sees that the conversation of %s began at %d", name, w.outcome, c.StartedAt)
				}
			}
		}
	}
	if got := s.history(callee, "missed=1"); len(got) != 2 || got[0].Outcome == got[1].Outcome {
		t.Errorf("the callee missed %+v", got)
	}
	if got := s.history(caller, "direction=in"); len(got) != 0 {
		t.Errorf("the caller was called: %+v", got)
	}
	if got := s.history(stranger, ""); len(got) != 0 {
		t.Errorf("a stranger sees %+v", got)
	}
	var list struct {
		Calls []struct{ SID planet.SessionID }
	}
	s.admin(http.MethodGet, "/admin/v1/calls?outcome=push_failed&state=ended&since=2020-01-01T00:00:00Z", "", &list)
	if len(list.Calls) != 1 || list.Calls[0].SID != unreached {
		t.Errorf("the operator sees %+v", list)
	}
	why := s.story(unreached).Release.Explanation
	if why == nil || why.EndedBy != planet.PartyCloud || why.Advice == nil || why.Advice.Japanese == "" {
		t.Errorf("explained: %+v", why)
	}
}
