package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/planet"
)

// FuzzTell feeds the story whatever a server may answer: nothing of it may reach the
// terminal but printable text.
func FuzzTell(f *testing.F) {
	golden, err := os.ReadFile("testdata/admin_call_show.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(golden))
	f.Add(`{}`)
	f.Add(`{"call":{"state":"ended","outcome":"\u001b[2J","notified_at":"0001-01-01T00:00:01Z","ended_at":"9999-12-31T23:59:59Z"}}`)
	f.Add(`{"deliveries":[{"attempts":[{"took_ms":1e300,"retry_after_ms":-9}]}],"journal":[{"kind":"\r\n"}]}`)
	f.Fuzz(func(t *testing.T, answer string) {
		var story console.CallStory
		if json.Unmarshal([]byte(answer), &story) != nil {
			return
		}
		for _, r := range tell(&story, noon, planet.English) {
			if r != '\n' && !unicode.IsPrint(r) {
				t.Fatalf("the story of %q holds %q", answer, r)
			}
		}
	})
}

func TestDeviceWords(t *testing.T) {
	device := console.Device{
		AppType: "IOS", Channel: bell.FCM, APNsServer: bell.APNsSandbox, PushTokenFingerprint: "cbec5a2f",
	}
	tests := []struct {
		name     string
		delivery console.Delivery
		want     string
	}{
		{"gone", console.Delivery{DeviceID: "d", Channel: bell.FCM}, "device d, fcm; it is gone since"},
		{"its channel then, not now", console.Delivery{DeviceID: "d", Channel: bell.APNsVoIP, Device: &device}, "IOS, device d, apns_voip sandbox, push token cbec5a2f"},
		{"bare", console.Delivery{DeviceID: "d", Device: &console.Device{}}, "device d, none yet"},
	}
	for _, test := range tests {
		if got := deviceWords(&test.delivery); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestStateWords(t *testing.T) {
	tests := []struct {
		delivery console.Delivery
		want     string
	}{
		{console.Delivery{State: bell.DeliveryPending}, "nobody is sending it"},
		{console.Delivery{State: bell.DeliveryPending, Channel: bell.LongPoll}, "it lies in the mailbox until the device asks"},
		{console.Delivery{State: bell.DeliveryPending, Channel: bell.LongPoll, Attempts: []console.Attempt{{Verdict: bell.Accepted}}}, "the device fetched it, and has not acknowledged it yet"},
		{console.Delivery{State: bell.DeliveryPending, Channel: bell.FCM, Reason: "timeout", Attempts: []console.Attempt{{Verdict: bell.RetryNow}}}, "nobody is sending it (timeout)"},
		{console.Delivery{State: bell.DeliverySending, Reason: "timeout"}, "an attempt is under way (timeout)"},
		{console.Delivery{State: bell.DeliveryAccepted, Channel: bell.FCM, Reason: "x"}, "the provider took it"},
		{console.Delivery{State: bell.DeliveryAccepted, Channel: bell.LongPoll}, "the device fetched it"},
		{console.Delivery{State: bell.DeliveryReceived, Reason: "x"}, "the device said that it has the call"},
		{console.Delivery{State: bell.DeliveryFailed, Reason: "BadTopic"}, "it was refused for good (BadTopic)"},
		{console.Delivery{State: bell.DeliveryFailed, Reason: "no_channel"}, "nothing was sent, because the app never said how it can be reached (no_channel)"},
		{console.Delivery{State: bell.DeliveryExpired, Reason: "no_channel"}, "the ring was over before it could be delivered (no_channel)"},
	}
	for _, test := range tests {
		if got := stateWords(&test.delivery); got != test.want {
			t.Errorf("%s, %s: %q, want %q", test.delivery.State, test.delivery.Reason, got, test.want)
		}
	}
}

func TestAttemptWords(t *testing.T) {
	later := noon.Add(2500 * time.Millisecond)
	tests := []struct {
		name    string
		attempt console.Attempt
		channel bell.Channel
		final   bool
		want    string
	}{
		{"plain", console.Attempt{Number: 1, StartedAt: noon, TookMS: 0.25, Verdict: bell.Accepted}, bell.FCM, false, "attempt 1 after 0 ms, took 0.2 ms: the provider took it"},
		{"fetched", console.Attempt{Number: 1, StartedAt: noon, Verdict: bell.Accepted}, bell.LongPoll, false, "attempt 1 after 0 ms, took 0 ms: the device fetched it"},
		{"unknown verdict", console.Attempt{Number: 2, Verdict: "shrug", TookMS: 61000}, bell.FCM, false, "attempt 2, took 1 min 1 s: shrug"},
		{"all", console.Attempt{
			Number: 3, StartedAt: later, TookMS: 12, Verdict: bell.RetryThrottled, Status: 429, Reason: "QUOTA_EXCEEDED",
			RetryAfterMS: 1500, TokenAction: bell.TokenKeep, Detail: "Too many.",
		}, bell.FCM, false, "attempt 3 after 2.5 s, took 12 ms: 429 QUOTA_EXCEEDED (too much for this device or project, to be tried again later); asked to wait 1.5 s. Too many."},
		{"called off", console.Attempt{Number: 1, StartedAt: noon, Verdict: bell.RetryNow, Reason: "cancelled", Detail: "Nothing is known."}, bell.FCM, true, "attempt 1 after 0 ms, took 0 ms: cancelled (unknown outcome). Nothing is known."},
		{"the same, before another", console.Attempt{Number: 1, StartedAt: noon, Verdict: bell.RetryNow, Reason: "timeout"}, bell.FCM, false, "attempt 1 after 0 ms, took 0 ms: timeout (unknown outcome, to be tried again at once)"},
		{"taken, said once", console.Attempt{Number: 1, StartedAt: noon, Verdict: bell.Accepted, Status: 200, Detail: "APNs took the push."}, bell.APNsVoIP, true, "attempt 1 after 0 ms, took 0 ms: 200 (the provider took it)"},
		{"dead token", console.Attempt{Number: 1, StartedAt: noon, Verdict: bell.Rejected, Status: 410, TokenAction: bell.TokenDrop}, bell.APNsVoIP, false, "attempt 1 after 0 ms, took 0 ms: 410 (refused for good); the push token is dead"},
	}
	for _, test := range tests {
		if got := attemptWords(&test.attempt, test.channel, noon, test.final); got != test.want {
			t.Errorf("%s:\n got %q\nwant %q", test.name, got, test.want)
		}
	}
}

func TestEndings(t *testing.T) {
	for want, c := range map[string]console.Call{
		"ringing":     {State: bell.CallRinging},
		"lost":        {State: bell.CallLost},
		"push failed": {State: bell.CallEnded, Outcome: planet.OutcomePushFailed},
	} {
		if got := ending(c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, outcome := range []planet.Outcome{
		planet.OutcomeCompleted, planet.OutcomeCanceled, planet.OutcomeDeclined, planet.OutcomeBusy,
		planet.OutcomeMissed, planet.OutcomePushFailed, planet.OutcomeFailed,
	} {
		story := console.CallStory{Call: console.Call{State: bell.CallEnded, Outcome: outcome, EndedAt: noon}}
		if text := tell(&story, noon, planet.English); strings.Contains(text, "unknown reason") {
			t.Errorf("%s has no words: %s", outcome, text)
		}
	}
	story := console.CallStory{Call: console.Call{State: bell.CallEnded, Outcome: "brand_new"}}
	if text := tell(&story, noon, planet.English); !strings.Contains(text, "brand new, for an unknown reason.") {
		t.Errorf("an outcome of a newer server: %s", text)
	}
}

// A Call Event that overtakes Notify is no sign that the callee has no devices.
func TestOverBeforeNotify(t *testing.T) {
	event := console.JournalEntry{Kind: "call-event", ReceivedAt: noon.Add(-400 * time.Microsecond)}
	story := console.CallStory{
		Call:    console.Call{State: bell.CallEnded, Outcome: planet.OutcomeCanceled, NotifiedAt: noon, EndedAt: noon.Add(-time.Second)},
		Journal: []console.JournalEntry{event, {Kind: "notify", ReceivedAt: noon}},
	}
	text := tell(&story, noon, planet.English)
	for _, want := range []string{
		"The call was over by then, so no device was rung.\n", "call-event (0.4 ms before Notify), 0 parameters\n",
		"It ended 1 s ago (2026-09-01 11:59:59 UTC): canceled",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	story.Journal = story.Journal[1:]
	if text := tell(&story, noon, planet.English); !strings.Contains(text, "unknown had no device that could ring.") {
		t.Errorf("without that Call Event:\n%s", text)
	}
}

// What rings nothing on purpose is no sign that the callee has no devices either.
func TestSuppressedWords(t *testing.T) {
	story := console.CallStory{Call: console.Call{
		State: bell.CallRinging, NotifiedAt: noon,
		Caller: console.User{ServiceID: "svc", UserID: "eve"}, Callee: console.User{ServiceID: "svc", UserID: "bob"},
	}}
	for why, want := range map[bell.Suppression]string{
		bell.SuppressBlocked: "svc/bob blocks svc/eve.\n", bell.SuppressDoNotDisturb: "svc/bob wanted no calls then.\n",
		bell.SuppressPolicy: "the project's policy hook said no.\n",
	} {
		story.Call.Suppressed = why
		if text := tell(&story, noon, planet.English); !strings.Contains(text, "Nothing rang on purpose: "+want) || strings.Contains(text, "no device that could ring") {
			t.Errorf("%s: %q is not in\n%s", why, want, text)
		}
	}
}

func TestReceiptWords(t *testing.T) {
	at := noon.Add(1500 * time.Millisecond)
	for _, test := range []struct {
		receipt  console.Receipt
		notified time.Time
		want     string
	}{
		{console.Receipt{ReceivedAt: at}, noon, "receipt after 1.5 s"},
		{console.Receipt{ReceivedAt: at}, time.Time{}, "receipt"},
		{console.Receipt{ReceivedAt: at, Channel: bell.FCM, Priority: "high", OriginalPriority: "high"}, noon, "receipt after 1.5 s, by fcm"},
		{console.Receipt{ReceivedAt: at, Priority: "normal"}, noon, "receipt after 1.5 s"},
		{
			console.Receipt{ReceivedAt: at, DeviceReceivedAt: noon.Add(time.Second), Channel: bell.FCM, Priority: "normal", OriginalPriority: "high"},
			noon,
			"receipt after 1.5 s, by fcm; by the device's clock the call came 500 ms earlier; FCM changed its priority from high to normal",
		},
		{console.Receipt{ReceivedAt: at, DeviceReceivedAt: at.Add(time.Minute)}, noon, "receipt after 1.5 s; by the device's clock the call came 1 min later"},
	} {
		if got := receiptWords(&test.receipt, test.notified); got != test.want {
			t.Errorf("%+v: %q, want %q", test.receipt, got, test.want)
		}
	}
}

// LINE Planet's end has no fractions of a second; the story invents none.
func TestAfterNotify(t *testing.T) {
	half := noon.Add(500 * time.Millisecond)
	for _, test := range []struct {
		notified, ended time.Time
		want            string
	}{
		{time.Time{}, noon, ""},
		{half, noon.Add(-time.Second), ""},
		{half, noon, ", within a second of Notify"},
		{half, noon.Add(time.Second), ", about 1 s after Notify"},
		{half, noon.Add(90 * time.Second), ", about 1 min 30 s after Notify"},
		{noon, half, ", 500 ms after Notify"},
		{half.Add(time.Microsecond), half, ""},
	} {
		if got := afterNotify(&console.Call{NotifiedAt: test.notified, EndedAt: test.ended}); got != test.want {
			t.Errorf("%s to %s: %q, want %q", test.notified, test.ended, got, test.want)
		}
	}
}

func TestACallThatNothingIsKnownOf(t *testing.T) {
	story := console.CallStory{Call: console.Call{SID: "1", State: bell.CallEnded, Outcome: planet.OutcomeFailed, EndedAt: noon}}
	text := tell(&story, noon, planet.English)
	for _, want := range []string{"unknown called unknown.\n", ": failed, and LINE Planet gave no reason.\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

func TestTellAgent(t *testing.T) {
	failed := &console.Agent{ReceivedAt: noon.Add(-time.Minute), AgentType: "AUDIO_CALLER", Result: "failed", FailReason: "Invalid peerId"}
	call := console.Call{SID: sid, State: bell.CallRinging, NotifiedAt: noon, Project: "main", Environment: planet.Evaluation}
	for _, test := range []struct {
		story     console.CallStory
		has, lack string
	}{
		{console.CallStory{Call: call}, "Notify came", "Server API"},
		{
			console.CallStory{Call: call, Agent: &console.Agent{ReceivedAt: noon, AgentType: "AUDIO_CALLER", Result: "success"}},
			"\nIt was asked for through the Server API (AUDIO_CALLER), and LINE Planet set it up.\n", "Neither",
		},
		{
			console.CallStory{Call: call, Agent: failed},
			"and LINE Planet could not set it up, it said 1 min ago (2026-09-01 11:59:00 UTC): Invalid peerId.\n", "Neither",
		},
		{
			console.CallStory{Call: console.Call{SID: sid, Project: "main"}, Agent: failed, Journal: []console.JournalEntry{{Kind: "agent-call-status"}}},
			"Invalid peerId.\nNeither Notify nor Call Event came, so no device was rung.\n\nCallbacks kept", "It ended",
		},
	} {
		got := tell(&test.story, noon, planet.English)
		if !strings.Contains(got, test.has) || strings.Contains(got, test.lack) {
			t.Errorf("the story is\n%s\nwant %q and not %q", got, test.has, test.lack)
		}
	}
}
