package verdict

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// reasonsOfAll are those that deliveries have, and some that none has.
func reasonsOfAll() []string {
	all := []string{"", "deadline", "not_polled", "cancelled", "http_418", "no_fcm_credential", "a_reason_of_tomorrow", "with spaces <b>", strings.Repeat("x", 300), "\x00\x1b[2J"}
	for _, c := range corpus {
		for _, d := range c.in.Deliveries {
			all = append(all, d.Delivery.Reason)
		}
	}
	return all
}

var moments = rapid.Custom(func(t *rapid.T) time.Time {
	if rapid.IntRange(0, 5).Draw(t, "known") == 0 {
		return time.Time{}
	}
	return ms(rapid.IntRange(-100_000, 200_000).Draw(t, "ms"))
})

// canary is a secret wherever one can be in a record.
var canary = testlog.HexSecret(7, 64)

func randomDevice(t *rapid.T, id string) bell.Device {
	return bell.Device{
		ID: id, AppType: rapid.SampledFrom([]string{"", "IOS", "\x1b]0;x\x07", strings.Repeat("ü", 200)}).Draw(t, "app"),
		PushToken: planet.Secret(canary), AlertToken: planet.Secret(canary), AcknowledgesSince: moments.Draw(t, "acknowledges"),
	}
}

func randomDelivery(t *rapid.T, c *bell.Call, reasons []string) Delivery {
	id := rapid.SampledFrom([]string{"d1", "d2", "d3"}).Draw(t, "device")
	d := Delivery{
		Delivery: bell.Delivery{
			ID: id, DeviceID: id, Deadline: c.Deadline, CreatedAt: c.NotifiedAt, UpdatedAt: moments.Draw(t, "updated"), ContinuedAt: moments.Draw(t, "continued"),
			Channel: rapid.SampledFrom([]bell.Channel{"", bell.APNsVoIP, bell.APNsAlert, bell.FCM, bell.LongPoll, bell.WebPush, "tomorrow"}).Draw(t, "channel"),
			State: rapid.SampledFrom([]bell.DeliveryState{
				"", bell.DeliveryPending, bell.DeliverySending, bell.DeliveryAccepted, bell.DeliveryReceived, bell.DeliveryFailed, bell.DeliveryExpired, bell.DeliveryWithdrawn,
			}).Draw(t, "state"),
			Reason: rapid.SampledFrom(reasons).Draw(t, "reason"),
		},
		Device: randomDevice(t, id),
	}
	for n := range rapid.IntRange(0, 4).Draw(t, "attempts") {
		d.Attempts = append(d.Attempts, bell.Attempt{
			Number: n + 1, StartedAt: moments.Draw(t, "started"), Took: time.Duration(rapid.Int64Range(-1e9, 60e9).Draw(t, "took")),
			Server: rapid.SampledFrom([]bell.APNsServer{"", bell.APNsProduction, bell.APNsSandbox}).Draw(t, "server"),
			Outcome: bell.Outcome{
				Verdict: rapid.SampledFrom([]bell.Verdict{
					bell.Accepted, bell.Deposited, bell.RetryNow, bell.RetryBackoff, bell.RetryConnect, bell.RetryThrottled, bell.RetryCredential, bell.RetryOtherHost, bell.Rejected, "",
				}).Draw(t, "verdict"),
				Reason: rapid.SampledFrom(reasons).Draw(t, "reason"), Status: rapid.SampledFrom([]int{0, 200, 400, 403, 404, 410, 429, 500, 503, 520}).Draw(t, "status"),
				Token: rapid.SampledFrom([]bell.TokenAction{bell.TokenKeep, bell.TokenCheck, bell.TokenDrop}).Draw(t, "token"), Detail: canary,
			},
		})
	}
	if rapid.Bool().Draw(t, "receipt") {
		d.Receipt = bell.Receipt{At: moments.Draw(t, "received"), Problem: rapid.SampledFrom([]string{"", "DECODE_CALL_PARAM", "not a word"}).Draw(t, "problem")}
	}
	return d
}

var records = rapid.Custom(func(t *rapid.T) Input {
	c := bell.Call{
		Environment: planet.Evaluation, SessionID: "sid-1", Project: "demo", CCParam: planet.CCParam(canary), AppServerData: canary, STID: canary,
		CallerName: canary, AppFields: map[string]string{"app_x": canary},
		Caller:     planet.UserRef{UserID: rapid.SampledFrom([]string{"", "alice", "{device}"}).Draw(t, "caller")},
		Callee:     planet.UserRef{UserID: rapid.SampledFrom([]string{"", "bob", "chris"}).Draw(t, "callee")},
		State:      rapid.SampledFrom([]bell.CallState{"", bell.CallRinging, bell.CallEnded, bell.CallLost, bell.CallNotice}).Draw(t, "state"),
		Outcome:    rapid.SampledFrom(append(planet.Outcomes(), "")).Draw(t, "outcome"),
		Suppressed: rapid.SampledFrom(append(bell.Suppressions(), bell.RingsAll)).Draw(t, "suppressed"),
		NotifiedAt: moments.Draw(t, "notified"), Deadline: moments.Draw(t, "deadline"), EndedAt: moments.Draw(t, "ended"),
		Release: planet.Release{UserCode: canary, Releaser: canary, CodeName: canary},
	}
	for _, code := range []**int{&c.Release.DisconnectReason, &c.Release.Code, &c.Release.CallEndReason, &c.Release.Terminate} {
		if rapid.Bool().Draw(t, "said") {
			*code = number(rapid.OneOf(rapid.IntRange(0, 240), rapid.IntRange(1000, 1620)).Draw(t, "number"))
		}
	}
	in := Input{Now: moments.Draw(t, "now")}
	reasons := reasonsOfAll()
	for range rapid.IntRange(0, 4).Draw(t, "deliveries") {
		in.Deliveries = append(in.Deliveries, randomDelivery(t, &c, reasons))
	}
	c.Circumstances = bell.Circumstances{FromMemory: rapid.Bool().Draw(t, "memory"), Overtaken: rapid.Bool().Draw(t, "overtaken"), More: rapid.IntRange(0, 2).Draw(t, "more")}
	for range rapid.IntRange(0, 3).Draw(t, "notes") {
		c.Circumstances.Devices = append(c.Circumstances.Devices, bell.DeviceNote{
			DeviceID: rapid.SampledFrom([]string{"d1", "d2", "d3", "d4", "d5"}).Draw(t, "noted"),
			Why:      rapid.SampledFrom([]bell.NoteWhy{bell.NoteNoChannel, bell.NoteForgotten, bell.NoteExpired, bell.NoteSuspended, bell.NoteTooMany, "tomorrow"}).Draw(t, "why"),
			Reason:   rapid.SampledFrom(reasons).Draw(t, "for"), Since: moments.Draw(t, "since"), Rung: rapid.Bool().Draw(t, "rung"),
		})
	}
	if rapid.Bool().Draw(t, "journal") {
		in.Journal = []bell.JournalEntry{{ReceivedAt: moments.Draw(t, "came"), Environment: c.Environment, Kind: kindCallEvent, Params: []planet.RawParam{{Name: "x", Value: canary}}}}
	}
	if rapid.Bool().Draw(t, "agent") {
		in.Agent = bell.AgentStatus{ReceivedAt: moments.Draw(t, "agent"), Success: rapid.Bool().Draw(t, "success"), FailReason: "NO_SOURCE\x1b"}
	}
	in.Call = c
	return in
})

// Whatever a record holds, there is a verdict with a sentence in both languages, the same each
// time, and no secret in it.
func TestAnyRecordHasAVerdict(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		in := records.Draw(r, "record")
		v := Of(in)
		text, err := json.Marshal(v)
		if err != nil {
			r.Fatal(err)
		}
		again, _ := json.Marshal(Of(in))
		switch said := string(text); {
		case v.Code == "" || v.Hop == "" || v.Sentence.English == "" || v.Sentence.Japanese == "":
			r.Fatalf("there is no verdict: %s", said)
		case strings.Contains(said, canary[:32]):
			r.Fatalf("it tells a secret: %s", said)
		case strings.Contains(said, `\u001b`) || strings.Contains(said, `\u0000`):
			r.Fatalf("it tells control characters: %s", said)
		case said != string(again):
			r.Fatalf("it is another the second time:\n%s\n%s", said, again)
		case len(text) > 64<<10:
			r.Fatalf("it has %d bytes", len(text))
		}
		for _, d := range v.Devices {
			if d.Code == "" || d.Sentence.English == "" || d.Sentence.Japanese == "" {
				r.Fatalf("a device has no verdict: %+v", d)
			}
		}
		for _, e := range v.Evidence {
			if e.What.English == "" || e.What.Japanese == "" {
				r.Fatalf("evidence says nothing: %+v", e)
			}
		}
	})
}
