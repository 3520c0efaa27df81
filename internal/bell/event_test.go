package bell

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestEventSet(t *testing.T) {
	all := Events(EventTypes()...)
	for i, kind := range EventTypes() {
		one := Events(kind)
		if one == 0 || !all.Has(kind) || !one.Has(kind) || EventSet(0).Has(kind) {
			t.Errorf("%s is in the wrong sets", kind)
		}
		for j, other := range EventTypes() {
			if i != j && one.Has(other) {
				t.Errorf("%s counts as %s", other, kind)
			}
		}
	}
	if Events(EventTest, "made.up") != 0 || all.Has("made.up") || Events(EventCallEnded).Union(Events(EventCallMissed)) != Events(EventCallMissed, EventCallEnded) {
		t.Error("sets hold what they should not")
	}
}

func TestEventID(t *testing.T) {
	id := EventID(EventCallEnded, "real", "sid")
	others := []string{
		EventID(EventCallMissed, "real", "sid"), EventID(EventCallEnded, "evaluation", "sid"), EventID(EventCallEnded, "realsid"),
		EventID(EventCallEnded, "real", "sid", ""),
	}
	if id != EventID(EventCallEnded, "real", "sid") || slices.Contains(others, id) || strings.ContainsAny(id, ". ") || len(id) != 36 {
		t.Errorf("the ID %q is not what it should be", id)
	}
}

func someCall() Call {
	at := time.Date(2026, 9, 1, 12, 0, 0, 0, time.FixedZone("", 9*3600))
	three, code := 1203, 21
	return Call{
		Environment: planet.Real, SessionID: "sid-1", Project: "acme",
		Caller: planet.UserRef{ServiceID: "svc", UserID: "alice"}, Callee: planet.UserRef{ServiceID: "svc", UserID: "bob\xff"},
		Type: planet.VideoCall, CCParam: planet.CCParam(testlog.CCParam(1)), AppServerData: "ticket", STID: "stid",
		State: CallEnded, Outcome: planet.OutcomeMissed, NotifiedAt: at, Deadline: at.Add(55 * time.Second), EndedAt: at.Add(time.Minute),
		Release: planet.Release{DisconnectReason: &three, Terminate: &code, UserCode: "mine", Releaser: "initiator"},
	}
}

// fieldsOf are the names of all fields of an event's data, sorted. They are a contract.
func fieldsOf(t *testing.T, data []byte) string {
	t.Helper()
	testlog.Keep(t, "event", string(data))
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range fields {
		if !strings.Contains(string(document), "`"+name+"`") {
			t.Errorf("docs/events.md does not have %s", name)
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(fields)), " ")
}

const callFields = "app_server_data callee caller "

func TestCallEvents(t *testing.T) {
	c := someCall()
	ringing := RingingEvent(&c, 2)
	if got, want := fieldsOf(t, ringing.Data), callFields+"deadline devices environment notified_at project sid stid type"; got != want {
		t.Errorf("call.ringing has %s, want %s", got, want)
	}
	both := EndedEvents(&c, Events(EventTypes()...))
	if len(both) != 2 || both[0].Type != EventCallEnded || both[1].Type != EventCallMissed {
		t.Fatalf("the events of a missed call: %+v", both)
	}
	if got, want := fieldsOf(t, both[0].Data), callFields+"duration_ms ended_at environment notified_at outcome project release sid state stid type"; got != want {
		t.Errorf("call.ended has %s, want %s", got, want)
	}
	if got, want := fieldsOf(t, both[1].Data), callFields+"ended_at environment outcome project sid stid type"; got != want {
		t.Errorf("call.missed has %s, want %s", got, want)
	}
	for _, e := range append(both, ringing) {
		if e.Project != "acme" || e.Subject != "call/real/sid-1" || e.At.IsZero() || strings.Contains(string(e.Data), testlog.Text) {
			t.Errorf("%+v", e)
		}
	}
	want := `"release":{"ended_by":"initiator","user_code":"mine","reasons":[{"family":"disconnect_reason","code":1203,`
	if !strings.Contains(string(both[0].Data), want) || !strings.Contains(string(both[0].Data), `"ended_at":"2026-09-01T03:01:00Z"`) {
		t.Errorf("call.ended says %s", both[0].Data)
	}
}

func TestWhichCallsAreMissed(t *testing.T) {
	want := map[planet.Outcome]bool{
		planet.OutcomeMissed: true, planet.OutcomeCanceled: true, planet.OutcomePushFailed: true,
		planet.OutcomeCompleted: false, planet.OutcomeDeclined: false, planet.OutcomeBusy: false, planet.OutcomeFailed: false, "": false,
	}
	for outcome, missed := range want {
		c := someCall()
		c.Outcome = outcome
		if got := len(EndedEvents(&c, Events(EventCallMissed))); (got == 1) != missed {
			t.Errorf("%q makes %d events", outcome, got)
		}
	}
	c := someCall()
	if got := EndedEvents(&c, 0); got != nil {
		t.Errorf("events that nobody wants: %+v", got)
	}
	if got := EndedEvents(&c, Events(EventCallEnded)); len(got) != 1 || got[0].Type != EventCallEnded {
		t.Errorf("events of which one is wanted: %+v", got)
	}
	ended := EndedEvents(&c, Events(EventCallEnded))[0]
	c.State, c.EndedAt, c.Outcome, c.Release = CallLost, time.Time{}, "", planet.Release{}
	lost := EndedEvents(&c, Events(EventTypes()...))
	if len(lost) != 1 || lost[0].ID == ended.ID || !lost[0].At.Equal(c.Deadline) || !strings.Contains(string(lost[0].Data), `"state":"lost"`) {
		t.Errorf("a lost call makes %+v", lost)
	}
	c.Purpose = PurposeMissedCall
	if got := EndedEvents(&c, Events(EventTypes()...)); got != nil {
		t.Errorf("a notice makes events of a call: %+v", got)
	}
}

// A time that JSON cannot write, which only a forged callback holds, loses no event.
func TestForgedTimes(t *testing.T) {
	c := someCall()
	c.StartedAt, c.EndedAt = time.Date(99999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)
	got := EndedEvents(&c, Events(EventCallEnded))[0].Data
	if !strings.Contains(string(got), `"sid":"sid-1"`) || strings.Contains(string(got), "started_at") || strings.Contains(string(got), "ended_at") {
		t.Errorf("%s", got)
	}
}

func TestOtherEvents(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	d := Device{
		ID: "device-1", Owner: Owner{Environment: planet.Real, User: planet.UserRef{ServiceID: "svc", UserID: "bob"}}, Project: "acme", AppType: "IOS",
		Channel: APNsVoIP, PushToken: planet.Secret(testlog.HexSecret(1, 64)), ForgottenFor: "Unregistered",
	}
	dead := DeviceRemovedEvent(&d, RemovedDead, now)
	if got, want := fieldsOf(t, dead.Data), "app_type channel device_id environment project reason user what why"; got != want {
		t.Errorf("device.removed has %s, want %s", got, want)
	}
	gone := DeviceRemovedEvent(&d, RemovedUnseen, now)
	if !strings.Contains(string(gone.Data), `"what":"device","why":"unseen"`) || strings.Contains(string(gone.Data), "Unregistered") {
		t.Errorf("%s", gone.Data)
	}
	if again := DeviceRemovedEvent(&d, RemovedDead, now.Add(time.Hour)); again.ID == dead.ID || gone.ID == dead.ID || dead.Subject != "device/device-1" {
		t.Error("two removals have one ID")
	}
	c := someCall()
	failed := Delivery{ID: "delivery-1", DeviceID: "device-1", Channel: FCM, State: DeliveryFailed, Reason: "UNREGISTERED", Attempts: 3, UpdatedAt: now}
	e := DeliveryFailedEvent(&c, &failed)
	if got, want := fieldsOf(t, e.Data), "app_server_data attempts callee caller channel delivery_id device_id environment project reason sid state stid type"; got != want {
		t.Errorf("delivery.failed has %s, want %s", got, want)
	}
	other := failed
	other.ID = "delivery-2"
	if e.Subject != "call/real/sid-1" || e.ID == DeliveryFailedEvent(&c, &other).ID || e.ID != DeliveryFailedEvent(&c, &failed).ID {
		t.Errorf("%+v", e)
	}
	if strings.Contains(string(dead.Data)+string(e.Data), testlog.Hex) {
		t.Error("a push token is in an event")
	}
	p := Project{Name: "acme", Environment: planet.Real}
	if one, two := TestEvent(&p, now), TestEvent(&p, now); one.ID == two.ID || fieldsOf(t, one.Data) != "environment project" {
		t.Errorf("%+v", one)
	}
}

func TestSigningKey(t *testing.T) {
	// The example of the specification's own libraries.
	key, err := ParseSigningKey("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := key.Sign("msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("the signature is %s, want %s", got, want)
	}
	bytes := func(n int) planet.Secret {
		return planet.Secret("whsec_" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", n))))
	}
	for _, n := range []int{24, 32, 64} {
		if _, err := ParseSigningKey(bytes(n)); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, wrong := range []planet.Secret{
		"", "whsec_", bytes(23), bytes(65), planet.Secret(testlog.TextSecret("x")), bytes(32)[6:], "WHSEC_" + bytes(32)[6:], bytes(32) + "\n",
		planet.Secret("whsec_" + testlog.TextSecret("!")), bytes(25)[:36], "whpk_" + bytes(32)[6:], " " + bytes(32),
	} {
		_, err := ParseSigningKey(wrong)
		if err == nil {
			t.Errorf("%q is taken", wrong.Reveal())
			continue
		}
		testlog.Keep(t, "error", err.Error())
	}
	if diff := cmp.Diff("<secret>", key.key.String()); diff != "" {
		t.Error("a key can be printed", diff)
	}
}

func FuzzParseSigningKey(f *testing.F) {
	for _, seed := range []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_", "whsec_====", "whsec_\xff", NewSigningSecret().Reveal()} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		key, err := ParseSigningKey(planet.Secret(text))
		if err != nil {
			if len(text) > 12 && strings.Contains(err.Error(), text) {
				t.Error("an error repeats the secret")
			}
			return
		}
		raw := key.key.Reveal()
		if len(raw) < minSigningKey || len(raw) > maxSigningKey || "whsec_"+base64.StdEncoding.EncodeToString([]byte(raw)) != text {
			t.Errorf("%q was taken for %d bytes", text, len(raw))
		}
	})
}

func TestEveryTypeIsDocumented(t *testing.T) {
	document, err := os.ReadFile("../../docs/events.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range append(EventTypes(), EventTest) {
		if !regexp.MustCompile(`(?m)^### .*\b` + regexp.QuoteMeta(string(kind)) + `\b`).Match(document) {
			t.Errorf("docs/events.md does not explain %s", kind)
		}
	}
	for _, why := range []Removal{RemovedOnRequest, RemovedReplaced, RemovedMoved, RemovedDead, RemovedUnseen, RemovedTakenOver} {
		if !strings.Contains(string(document), "| `"+string(why)+"` |") {
			t.Errorf("docs/events.md does not explain %s", why)
		}
	}
}
