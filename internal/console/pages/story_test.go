package pages

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console/window"
	"github.com/planetbell/planetbell/internal/verdict"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

const sid = planet.SessionID("9a1b2c3d-0000-4000-8000-00000000000a")

var english = Words{planet.English}

// told is a call that an iPhone took at the second attempt, and a PC fetched and acknowledged.
func told() StoryOf {
	attempt := func(n int, after, took time.Duration, o bell.Outcome) bell.Attempt {
		return bell.Attempt{Number: n, StartedAt: noon.Add(after), Took: took, Outcome: o}
	}
	bob := bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "svc", UserID: "bob"}}
	return StoryOf{
		Now: noon.Add(30 * time.Second),
		Record: call.Record{
			Call: bell.Call{
				Environment: planet.Evaluation, SessionID: sid, Project: "main", Caller: planet.UserRef{ServiceID: "svc", UserID: "alice"},
				Callee: bob.User, Type: planet.AudioCall, State: bell.CallRinging, NotifiedAt: noon, Deadline: noon.Add(55 * time.Second),
			},
			Deliveries: []call.DeliveryRecord{
				{
					Delivery: bell.Delivery{ID: "d1", DeviceID: "0198f000-0000-7000-8000-000000000001", Channel: bell.APNsVoIP, State: bell.DeliveryAccepted, CreatedAt: noon, Deadline: noon.Add(55 * time.Second)},
					Device:   bell.Device{ID: "0198f000-0000-7000-8000-000000000001", Owner: bob, Project: "main", AppType: "IOS", Channel: bell.APNsVoIP, PushToken: "token"},
					Attempts: []bell.Attempt{
						attempt(1, 2*time.Millisecond, 400*time.Millisecond, bell.Outcome{Verdict: bell.RetryBackoff, Status: 503, Reason: "ServiceUnavailable"}),
						attempt(2, time.Second, 50*time.Millisecond, bell.Outcome{Verdict: bell.Accepted, Status: 200, ProviderID: "d1"}),
					},
				},
				{
					Delivery: bell.Delivery{ID: "d2", DeviceID: "0198f000-0000-7000-8000-000000000002", Channel: bell.LongPoll, State: bell.DeliveryReceived, CreatedAt: noon},
					Device:   bell.Device{ID: "0198f000-0000-7000-8000-000000000002"},
					Attempts: []bell.Attempt{attempt(1, 3*time.Millisecond, 0, bell.Outcome{Verdict: bell.Accepted})},
					Receipt:  bell.Receipt{At: noon.Add(20 * time.Millisecond)},
				},
			},
		},
		Verdict: verdict.Verdict{Rang: true, Sentence: verdict.Text{English: "It rings.", Japanese: "着信中です。"}},
		Journal: []bell.JournalEntry{{ReceivedAt: noon, Kind: "notify", Params: []planet.RawParam{{Name: "sid", Value: string(sid)}, {Name: "param", Value: "the secret"}}}},
	}
}

// golden compares a drawn part with a file under testdata.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; run the test with -update", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func TestAStory(t *testing.T) {
	p, err := New()
	if err != nil {
		t.Fatal(err)
	}
	of := told()
	story := NewStory(english, of)
	var b bytes.Buffer
	if err := p.Part(&b, "call", "story", Frame{Words: english, Now: of.Now}, story); err != nil {
		t.Fatal(err)
	}
	golden(t, "story.html", b.Bytes())
	if strings.Contains(b.String(), "the secret") {
		t.Error("cc_param is shown")
	}
	if len(story.Journal[0].Params) != 1 {
		t.Error("cc_param is in the journal")
	}
}

func TestWhatIsGoingOn(t *testing.T) {
	of := told()
	if story := NewStory(english, of); !story.Going || story.Saying.Tone != Live {
		t.Errorf("a ringing call: going %v, %s", story.Going, story.Saying.Tone)
	}
	of.Record.Call.State, of.Record.Call.Outcome = bell.CallEnded, planet.OutcomeMissed
	of.Journal = append(of.Journal, bell.JournalEntry{ReceivedAt: noon.Add(20 * time.Second), Kind: "call-event"})
	if !NewStory(english, of).Going {
		t.Error("ten seconds after the end a receipt may come")
	}
	of.Now = noon.Add(time.Minute)
	if NewStory(english, of).Going {
		t.Error("a call that is over is followed")
	}
	of.Notices = []call.Record{{Call: bell.Call{Deadline: noon.Add(3 * time.Minute)}, Deliveries: []call.DeliveryRecord{{Delivery: bell.Delivery{State: bell.DeliverySending}}}}}
	if !NewStory(english, of).Going {
		t.Error("a notice is under way")
	}
}

func TestTheScale(t *testing.T) {
	s := newScale(time.Minute)
	last := -1.0
	for _, d := range []time.Duration{-time.Second, 0, time.Millisecond, 10 * time.Millisecond, time.Second, 59 * time.Second, time.Minute, time.Hour} {
		at := s.at(d)
		if at < 0 || at > 100 || at < last || d > 0 && d <= time.Minute && at == last {
			t.Errorf("%v is at %v, after %v", d, at, last)
		}
		last = at
	}
	if b := s.bar(time.Minute, time.Minute, "", ""); b.X != "99.30%" || b.Width != "0.70%" {
		t.Errorf("a bar at the end: %+v", b)
	}
	if ticks := s.ticks(english); ticks[0].Label != "0" || ticks[len(ticks)-1].Label != "60.0 s" || len(ticks) < 5 {
		t.Errorf("%+v", ticks)
	}
}

func TestTroubles(t *testing.T) {
	well := OverviewOf{Now: noon, Look: window.Look{Since: noon}}
	if o := NewOverview(english, &well); o.Tone != Good || len(o.Troubles) != 0 {
		t.Errorf("nothing is wrong: %+v", o.Troubles)
	}
	bad := OverviewOf{
		Now: noon, Node: "a",
		Minutes: []call.Minute{
			{At: noon.Add(-time.Minute), State: bell.CallEnded, Outcome: planet.OutcomePushFailed, Calls: 3},
			{At: noon.Add(-30 * time.Minute), State: bell.CallEnded, Outcome: planet.OutcomeCompleted, Calls: 9},
		},
		Look: window.Look{
			Since: noon, DeadLetters: 2,
			Expiring: []window.Expiring{{Credential: "old", Left: -time.Hour}, {Credential: "soon", Left: time.Hour}, {Credential: "fine", Left: 99 * 24 * time.Hour}},
			Routes: []window.Route{
				{RouteKey: window.RouteKey{Credential: "down", Channel: "fcm"}, Open: true, Attempts: 40, Failed: 30},
				{RouteKey: window.RouteKey{Credential: "ill", Channel: "fcm"}, Attempts: 10, Failed: 3},
				{RouteKey: window.RouteKey{Credential: "fine", Channel: "fcm"}, Attempts: 100, Failed: 3},
			},
		},
		Failing:   []call.FailingGroup{{State: bell.DeliveryFailed, Count: 5}, {State: bell.DeliveryExpired, Count: 50}},
		Endpoints: []webhook.Status{{Endpoint: "main/crm", Health: webhook.Gone}, {Endpoint: "main/ok", Health: webhook.Up}},
	}
	o := NewOverview(english, &bad)
	var tones []Tone
	for _, trouble := range o.Troubles {
		tones = append(tones, trouble.Tone)
	}
	if diff := cmp.Diff([]Tone{Bad, Bad, Bad, Warn, Warn, Warn, Warn, Warn}, tones); diff != "" || o.Tone != Bad {
		t.Errorf("%s\n%+v", diff, o.Troubles)
	}
	if !strings.Contains(o.Chart, `"Names"`) || len(o.Bars) != 2 || len(o.Outcomes) != 2 || o.Outcomes[0].Width != "75.00%" {
		t.Errorf("chart %s, %d bars, outcomes %+v", o.Chart, len(o.Bars), o.Outcomes)
	}
}

func TestWouldAUserRing(t *testing.T) {
	owner := bell.Owner{Environment: planet.Real, User: planet.UserRef{ServiceID: "svc", UserID: "bob"}}
	d := bell.Device{ID: "x", Owner: owner, Channel: bell.FCM, PushToken: "token"}
	for _, test := range []struct {
		ready call.Readiness
		quiet bool
		tone  Tone
	}{
		{call.ReadyNow, false, Good}, {call.ReadyAtLast, false, Good}, {call.NotForgotten, false, Bad}, {call.ReadyNow, true, Warn},
	} {
		u := NewUser(english, &UserOf{Owner: owner, Devices: []call.DeviceReadiness{{Device: d, Readiness: test.ready}}, Quiet: test.quiet, Now: noon})
		if u.Tone != test.tone || !strings.Contains(u.Headline, "bob") {
			t.Errorf("%s, quiet %v: %s %s", test.ready, test.quiet, u.Tone, u.Headline)
		}
	}
	if u := NewUser(english, &UserOf{Owner: owner, Now: noon}); u.Tone != Bad || u.Fix == "" {
		t.Errorf("without devices: %+v", u)
	}
}

func TestLengths(t *testing.T) {
	for d, want := range map[time.Duration]string{
		1500 * time.Microsecond: "1.5 ms", 250 * time.Millisecond: "250 ms", 1234 * time.Millisecond: "1.23 s", 75 * time.Second: "75.0 s",
		10 * time.Minute: "10 min", 30 * time.Hour: "30 h", 72 * time.Hour: "3 d", -time.Second: "−1.00 s",
	} {
		if got := english.Length(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	if got := english.Count(1234567); got != "1,234,567" {
		t.Error(got)
	}
}
