// Package storetest is the suite that every database must pass: it goes through the
// contracts account.Store, device.Store, call.Store, delivery.Store, policy.Store,
// retention.Store, room.Store, webhook.Store and audit.Store, sentence by sentence. A store's own tests
// call [Run] and add only what is peculiar to it.
package storetest

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/internal/retention"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

// Store is what a database offers to the rest of the program.
type Store interface {
	account.Store
	device.Store
	call.Store
	delivery.Store
	policy.Store
	retention.Store
	room.Store
	webhook.Store
	call.Figures
	audit.Store
	SignIns
}

// Run holds a store to the contracts. open makes an empty one and sees to its closing;
// it is called once for each test. All events are wanted from it.
func Run(t *testing.T, open func(t *testing.T) Store) {
	t.Helper()
	for _, group := range []struct {
		name  string
		tests map[string]func(*testing.T, Store)
	}{
		{"Sessions", sessionTests},
		{"Devices", deviceTests},
		{"DeviceVerdicts", deviceVerdictTests},
		{"DeviceLists", deviceListTests},
		{"Calls", callTests},
		{"CallLists", callListTests},
		{"CallFilters", filterTests},
		{"History", historyTests},
		{"Notices", noticeTests},
		{"Audit", auditTests},
		{"SignIns", signInTests},
		{"WebPush", webPushTests},
		{"Journal", journalTests},
		{"Agents", agentTests},
		{"Deliveries", deliveryTests},
		{"Receipts", receiptTests},
		{"Claims", claimTests},
		{"Retention", retentionTests},
		{"Rules", ruleTests},
		{"Rooms", roomTests},
		{"RoomLists", roomListTests},
		{"Webhooks", webhookTests},
		{"Figures", figureTests},
		{"Properties", propertyTests},
	} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, func(t *testing.T) { test(t, open(t)) })
			}
		})
	}
}

// noon is the time of all tests. It has microseconds, the finest that stores keep.
var noon = time.Date(2026, 9, 1, 12, 0, 0, 123456000, time.UTC)

// hostile are texts that break careless SQL, encodings and terminals. All are valid
// UTF-8 without NUL, which is what every database can keep.
var hostile = []string{
	`'; DROP TABLE calls; --`, `" OR 1=1`, `%_\`, "line\nbreak\r\ttab", `{"json":"\u0000"}`, `$1 ?1 :name @x`,
	"사용자 テスト 👩‍👩‍👧 \u202ertl", "e\u0301 vs \u00e9", " leading and trailing ", "\x01\x1b[31m",
}

// id makes an ID that is the same in every run. Those of larger n sort after those of
// smaller n, as time-ordered IDs do.
func id(kind string, n int) string {
	sum := sha256.Sum256([]byte(kind))
	return fmt.Sprintf("%08x-%x-7000-8000-%x", n, sum[:2], sum[2:8])
}

func owner(user string) bell.Owner {
	return bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "service", UserID: user}}
}

// newDevice is a device with a push token of its own.
func newDevice(user string, n int) bell.Device {
	return bell.Device{
		ID: id("device", n), Owner: owner(user), Project: "demo", SessionID: id("session", n),
		AppType: "IOS", AppVersion: "1.2", AppID: "com.example.app",
		Channel: bell.APNsVoIP, PushToken: planet.Secret(testlog.HexSecret(n, 64)),
		APNsServer: bell.APNsSandbox, APNsServerGuessed: true,
		RegisteredAt: noon, LastSeenAt: noon.Add(time.Minute), ExpiresAt: noon.Add(time.Hour),
	}
}

// newCall is a ringing call with a random session ID.
func newCall() bell.Call {
	return bell.Call{
		Environment: planet.Evaluation, SessionID: planet.SessionID(uuid.NewString()), Project: "demo", Label: "evaluation",
		Caller: planet.UserRef{ServiceID: "other-service", UserID: "ann"},
		Callee: planet.UserRef{ServiceID: "service", UserID: "bob"},
		Type:   planet.VideoCall, CCParam: planet.CCParam(testlog.CCParam(1)), AppServerData: "data", STID: "stid",
		State: bell.CallRinging, NotifiedAt: noon, Deadline: noon.Add(30 * time.Second),
	}
}

// newDelivery is a pending delivery of c to d, leased by "node-a" until 5 s after noon.
func newDelivery(c bell.Call, d bell.Device) bell.Delivery {
	return bell.Delivery{
		ID: uuid.NewString(), Environment: c.Environment, SessionID: c.SessionID, DeviceID: d.ID, Channel: d.Channel,
		State: bell.DeliveryPending, Deadline: c.Deadline, LeaseOwner: "node-a", LeaseUntil: noon.Add(5 * time.Second),
		CreatedAt: noon, UpdatedAt: noon,
	}
}

// ended is the Call Event of c: declined after 10 s, as LINE Planet's numbers say it.
func ended(c bell.Call) (bell.Call, bell.JournalEntry) {
	c.State, c.Outcome, c.CCParam = bell.CallEnded, planet.OutcomeDeclined, ""
	c.NotifiedAt, c.Deadline = time.Time{}, time.Time{}
	c.EndedAt = noon.Add(10 * time.Second)
	c.Release = planet.Release{Terminate: ptr(21), DisconnectReason: ptr(0), ReleaserType: ptr(2), CodeName: "DECLINE"}
	return c, bell.JournalEntry{
		ReceivedAt: noon.Add(11 * time.Second), Project: c.Project, Environment: c.Environment, Kind: "call-event",
		SessionID: c.SessionID, DedupKey: "event-of-" + string(c.SessionID),
		Params: []planet.RawParam{{Name: "rel_code", Value: "1203"}, {Name: "new param", Value: "a&b=c"}},
	}
}

func ptr(n int) *int { return &n }

// begin records a call with a device for each user given, and returns what was written.
func begin(t *testing.T, s Store, c bell.Call, devices ...bell.Device) []bell.Delivery {
	t.Helper()
	var deliveries []bell.Delivery
	for _, d := range devices {
		deliveries = append(deliveries, newDelivery(c, d))
	}
	got, err := s.BeginCall(t.Context(), c, deliveries, nil)
	if err != nil || got != call.Began {
		t.Fatalf("BeginCall = %v, %v; want Began", got, err)
	}
	return deliveries
}

// add stores a device as a registration would.
func add(t *testing.T, s Store, d bell.Device) {
	t.Helper()
	got, err := s.ChangeDevice(t.Context(), device.Key{SessionID: d.SessionID}, func(device.Known) (bell.Device, error) { return d, nil })
	if err != nil {
		t.Fatalf("ChangeDevice: %v", err)
	}
	same(t, "the written device", got, d)
}

func record(t *testing.T, s Store, c bell.Call) call.Record {
	t.Helper()
	got, err := s.Call(t.Context(), c.Environment, c.SessionID)
	if err != nil {
		t.Fatalf("Call: %v", err)
	}
	return got
}

// state reads a delivery's state through its call.
func state(t *testing.T, s Store, d bell.Delivery) bell.Delivery {
	t.Helper()
	for _, r := range record(t, s, bell.Call{Environment: d.Environment, SessionID: d.SessionID}).Deliveries {
		if r.Delivery.ID == d.ID {
			return r.Delivery
		}
	}
	t.Fatalf("delivery %s is not in the record of its call", d.ID)
	return bell.Delivery{}
}

// secretOf claims the call's deliveries and returns the cc_param that they carry.
func secretOf(t *testing.T, s Store, now time.Time) planet.CCParam {
	t.Helper()
	rings := claim(t, s, delivery.Claim{Owner: "reader", Now: now, LeaseUntil: now, TakeAll: true, Limit: 1})
	if len(rings) == 0 {
		t.Fatal("nothing to claim")
	}
	return rings[0].Call.CCParam
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	// Secrets would print as "<secret>" on both sides; their contents are compared all the same.
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func ok(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// wantKind checks an error's kind, and that it says more than its kind.
func wantKind(t *testing.T, what string, err error, kind bell.Kind) {
	t.Helper()
	if bell.KindOf(err) != kind {
		t.Fatalf("%s: error %v has kind %q, want %q", what, err, bell.KindOf(err), kind)
	}
	testlog.Keep(t, what, err.Error())
	if err.Error() == string(kind) {
		t.Errorf("%s: the error says no more than %q", what, kind)
	}
}

// together runs n functions at once and waits for them.
func together(n int, run func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			run(i)
		})
	}
	close(start)
	wg.Wait()
}
