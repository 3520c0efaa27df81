package clustertest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/planet"
)

// Bench is a store under test with what else its database does.
type Bench struct {
	Store cluster.Store
	// Insert records one call with its deliveries. Their devices are there already.
	Insert func(t *testing.T, rings ...bell.Ring)
	// Record is delivery.Store.RecordAttempt without an attempt.
	Record func(t *testing.T, d bell.Delivery)
	// End is call.Store.EndCall.
	End func(t *testing.T, c bell.Call)
	// Delivery reads what is recorded.
	Delivery func(t *testing.T, r bell.Ring) bell.Delivery
	// PutDevice writes a device, new or not; RemoveDevice deletes it.
	PutDevice    func(t *testing.T, d bell.Device)
	RemoveDevice func(t *testing.T, id string)
}

// Run holds a store to the contract. open returns a new and empty one for each test.
func Run(t *testing.T, open func(t *testing.T) Bench) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, bench)
	}{
		{"BeatsTellOfEachOther", beatsTellOfEachOther},
		{"WhatADeadNodeHeldIsFree", whatADeadNodeHeldIsFree},
		{"WhoLeavesLeavesNothingBehind", whoLeavesLeavesNothingBehind},
		{"AClaimTakesWhatIsNobodys", aClaimTakesWhatIsNobodys},
		{"AClaimIsGivenAgain", aClaimIsGivenAgain},
		{"OneOfManyClaimsALetter", oneOfManyClaimsALetter},
		{"GivenBackIsNobodys", givenBackIsNobodys},
		{"MailboxesAreListedInPages", mailboxesAreListedInPages},
		{"LettersOfAnOwnerAreListed", lettersOfAnOwnerAreListed},
		{"GoneIsWhatSomebodyElseHasOrIsOver", goneIsWhatSomebodyElseHasOrIsOver},
		{"EndedAreCallsWhoseEventCame", endedAreCallsWhoseEventCame},
		{"ChangesOfDevicesAreTold", changesOfDevicesAreTold},
		{"ChangesAreToldInPagesAndForgotten", changesAreToldInPagesAndForgotten},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, bench{open(t), new(int)}) })
	}
}

type bench struct {
	Bench
	n *int
}

// now is the database's time.
func (b bench) now(t *testing.T) time.Time {
	t.Helper()
	_, now, err := b.Store.DevicesChanged(t.Context(), time.Time{}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return now
}

func (b bench) owner(user string) bell.Owner {
	return bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "acme", UserID: user}}
}

func (b bench) device(t *testing.T, id, user string, channel bell.Channel) bell.Device {
	t.Helper()
	d := bell.Device{ID: id, Owner: b.owner(user), Project: "acme", AppType: "DESKTOPWIN", Channel: channel, RegisteredAt: b.now(t)}
	if channel != bell.LongPoll {
		d.PushToken = planet.Secret("token-of-" + id)
	}
	b.PutDevice(t, d)
	return d
}

// ring records a call for one device, held by an owner.
func (b bench) ring(t *testing.T, d bell.Device, holder string) bell.Ring {
	t.Helper()
	*b.n++
	now := b.now(t)
	r := bell.Ring{
		Device: d,
		Call: &bell.Call{
			Environment: d.Owner.Environment, SessionID: planet.SessionID(fmt.Sprintf("session-%d", *b.n)), Project: "acme", Callee: d.Owner.User,
			Caller: planet.UserRef{ServiceID: "acme", UserID: "caller"}, Type: planet.AudioCall, CCParam: planet.CCParam(fmt.Sprintf("CANARY-%d", *b.n)),
			State: bell.CallRinging, NotifiedAt: now, Deadline: now.Add(time.Minute),
		},
	}
	r.Delivery = bell.Delivery{
		ID: bell.NewID(), Environment: r.Call.Environment, SessionID: r.Call.SessionID, DeviceID: d.ID, Channel: d.Channel,
		State: bell.DeliveryPending, LeaseOwner: holder, LeaseUntil: now.Add(time.Minute), Deadline: r.Call.Deadline, CreatedAt: now, UpdatedAt: now,
	}
	if d.Channel != bell.LongPoll {
		r.Delivery.State = bell.DeliverySending
	}
	b.Insert(t, r)
	return r
}

func (b bench) beat(t *testing.T, owner string) []cluster.Node {
	t.Helper()
	nodes, _, err := b.Store.Beat(t.Context(), cluster.Node{Owner: owner, Host: "host-of-" + owner, Version: "1", StartedAt: time.Unix(1e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(nodes, func(a, b cluster.Node) int { return len(a.Owner) - len(b.Owner) })
	return nodes
}

func (b bench) claim(t *testing.T, c cluster.Claim) []string {
	t.Helper()
	if c.Until.IsZero() {
		c.Until = b.now(t).Add(time.Hour)
	}
	rings, err := b.Store.ClaimMailbox(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, r := range rings {
		ids = append(ids, r.Delivery.ID)
	}
	return ids
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func beatsTellOfEachOther(t *testing.T, b bench) {
	b.beat(t, "a")
	before := b.now(t)
	nodes := b.beat(t, "bb")
	if len(nodes) != 2 || nodes[0].Owner != "a" || nodes[1].Owner != "bb" {
		t.Fatalf("nodes are %+v", nodes)
	}
	n := nodes[1]
	if n.Host != "host-of-bb" || n.Version != "1" || !n.StartedAt.Equal(time.Unix(1e9, 0)) || n.SeenAt.Before(before) {
		t.Errorf("a node came back as %+v, after %v", n, before)
	}
	if again := b.beat(t, "a"); again[0].SeenAt.Before(n.SeenAt) || len(again) != 2 {
		t.Errorf("a second beat did not count: %+v", again)
	}
}

func whatADeadNodeHeldIsFree(t *testing.T, b bench) {
	mail, push := b.device(t, "mail", "u1", bell.LongPoll), b.device(t, "push", "u2", bell.FCM)
	b.beat(t, "dead")
	letter, pushed, over := b.ring(t, mail, "dead"), b.ring(t, push, "dead"), b.ring(t, mail, "dead")
	over.Delivery.State = bell.DeliveryAccepted
	b.Record(t, over.Delivery)
	others := b.ring(t, mail, "unheard-of") // has not beaten yet
	late := b.ring(t, mail, "left")         // was committed when its node had left
	before := b.now(t)
	if n, err := b.Store.FreeDead(t.Context(), before.Add(-time.Hour)); n != 0 || err != nil {
		t.Fatalf("%d deliveries of a node that is alive were freed, %v", n, err)
	}
	since := b.now(t).Add(time.Microsecond)
	others.Delivery.UpdatedAt = since.Add(time.Second)
	b.Record(t, others.Delivery)
	for i, want := range []int{3, 0} {
		if n, err := b.Store.FreeDead(t.Context(), since); n != want || err != nil {
			t.Fatalf("time %d: %d deliveries were freed, %v", i, n, err)
		}
	}
	if d := b.Delivery(t, letter); d.LeaseOwner != "" || d.State != bell.DeliveryPending || d.UpdatedAt.Before(before) {
		t.Errorf("the letter is not free: %+v", d)
	}
	if d := b.Delivery(t, late); d.LeaseOwner != "" {
		t.Errorf("what nobody in nodes holds is not free: %+v", d)
	}
	if d := b.Delivery(t, pushed); d.LeaseUntil.After(before) || d.State != bell.DeliverySending {
		t.Errorf("the push cannot be claimed, or its state is lost: %+v", d)
	}
	if d := b.Delivery(t, over); d.State != bell.DeliveryAccepted {
		t.Errorf("a final delivery was changed: %+v", d)
	}
	if d := b.Delivery(t, others); d.LeaseOwner != "unheard-of" {
		t.Errorf("a delivery of another node was freed: %+v", d)
	}
}

func whoLeavesLeavesNothingBehind(t *testing.T, b bench) {
	mail, push := b.device(t, "mail", "u1", bell.LongPoll), b.device(t, "push", "u2", bell.FCM)
	b.beat(t, "leaves")
	b.beat(t, "stays")
	letter, pushed, others := b.ring(t, mail, "leaves"), b.ring(t, push, "leaves"), b.ring(t, mail, "stays")
	before := b.now(t)
	for range 2 {
		if err := b.Store.Leave(t.Context(), "leaves"); err != nil {
			t.Fatal(err)
		}
	}
	if d := b.Delivery(t, letter); d.LeaseOwner != "" || d.UpdatedAt.Before(before) {
		t.Errorf("the letter is not free: %+v", d)
	}
	if d := b.Delivery(t, pushed); d.LeaseUntil.After(before) {
		t.Errorf("the push cannot be claimed: %+v", d)
	}
	if d := b.Delivery(t, others); d.LeaseOwner != "stays" {
		t.Errorf("another node's letter was freed: %+v", d)
	}
	if nodes := b.beat(t, "stays"); len(nodes) != 1 {
		t.Errorf("who left is still known: %+v", nodes)
	}
}

func aClaimTakesWhatIsNobodys(t *testing.T, b bench) {
	one, two := b.device(t, "one", "u1", bell.LongPoll), b.device(t, "two", "u2", bell.LongPoll)
	push := b.device(t, "push", "u3", bell.FCM)
	first, second := b.ring(t, one, ""), b.ring(t, two, "")
	b.ring(t, push, "")
	held, over := b.ring(t, one, "other"), b.ring(t, one, "")
	over.Delivery.State = bell.DeliveryExpired
	b.Record(t, over.Delivery)
	now := b.now(t).Add(-time.Microsecond) // some time ago
	c := cluster.Claim{Owner: "me", Devices: []string{"one", "push", "nobody"}, Now: now, Until: now}
	same(t, "a claim that came too late", b.claim(t, c), nil)
	c.Until = now.Add(time.Hour)
	rings, err := b.Store.ClaimMailbox(t.Context(), c)
	if err != nil || len(rings) != 1 {
		t.Fatalf("%d deliveries were claimed, %v", len(rings), err)
	}
	r := rings[0]
	if r.Delivery.ID != first.Delivery.ID || r.Call.CCParam != first.Call.CCParam || r.Call.SessionID != first.Call.SessionID || r.Device.ID != "one" || r.Device.Owner != one.Owner {
		t.Errorf("the claim gave %+v of %+v for %+v", r.Delivery, r.Call, r.Device)
	}
	for _, d := range []bell.Delivery{r.Delivery, b.Delivery(t, first)} {
		if d.LeaseOwner != "me" || !d.LeaseUntil.Equal(d.Deadline) || d.State != bell.DeliveryPending || !d.UpdatedAt.Equal(now) {
			t.Errorf("the claim wrote %+v", d)
		}
	}
	same(t, "a second claim", b.claim(t, c), nil)
	if d := b.Delivery(t, held); d.LeaseOwner != "other" {
		t.Errorf("somebody else's was taken: %+v", d)
	}
	c.Devices, c.Now = []string{"two"}, second.Delivery.Deadline
	same(t, "a claim at the deadline", b.claim(t, c), nil)
	third := b.ring(t, two, "")
	c.Now = b.now(t)
	got := b.claim(t, c)
	if !slices.Equal(got, []string{second.Delivery.ID, third.Delivery.ID}) {
		t.Errorf("the oldest is not first: %q", got)
	}
	same(t, "a claim for nobody", b.claim(t, cluster.Claim{Owner: "me", Now: c.Now}), nil)
}

func aClaimIsGivenAgain(t *testing.T, b bench) {
	one := b.device(t, "one", "u1", bell.LongPoll)
	lost, back, stolen, over := b.ring(t, one, ""), b.ring(t, one, ""), b.ring(t, one, ""), b.ring(t, one, "")
	mine := b.ring(t, one, "me") // since its call
	now := b.now(t).Add(time.Second)
	c := cluster.Claim{Owner: "me", Devices: []string{"one"}, Now: now}
	if got := b.claim(t, c); len(got) != 4 {
		t.Fatalf("claimed %q", got)
	}
	if _, err := b.Store.GiveBack(t.Context(), "me", []string{back.Delivery.ID, stolen.Delivery.ID}); err != nil {
		t.Fatal(err)
	}
	other := c
	other.Owner = "other"
	if got := b.claim(t, other); len(got) != 2 {
		t.Fatalf("claimed %q", got)
	}
	if _, err := b.Store.GiveBack(t.Context(), "other", []string{back.Delivery.ID}); err != nil {
		t.Fatal(err)
	}
	over.Delivery.State, over.Delivery.LeaseOwner = bell.DeliveryAccepted, "me"
	b.Record(t, over.Delivery)
	c.Again = true
	for range 2 {
		same(t, "again", b.claim(t, c), []string{lost.Delivery.ID, back.Delivery.ID})
	}
	if d := b.Delivery(t, mine); d.LeaseOwner != "me" || d.UpdatedAt.Equal(now) {
		t.Errorf("what was not claimed is %+v", d)
	}
}

func oneOfManyClaimsALetter(t *testing.T, b bench) {
	const letters, claimers = 40, 6
	var devices []string
	want := []string{}
	for i := range letters {
		d := b.device(t, fmt.Sprintf("d%d", i%10), fmt.Sprintf("u%d", i%10), bell.LongPoll)
		devices = append(devices, d.ID)
		want = append(want, b.ring(t, d, "").Delivery.ID)
	}
	now := b.now(t)
	got := make([][]string, claimers)
	var group sync.WaitGroup
	for i := range claimers {
		group.Go(func() {
			for range 20 { // what another has in hand is left out
				rings, err := b.Store.ClaimMailbox(t.Context(), cluster.Claim{Owner: fmt.Sprintf("n%d", i), Devices: devices, Now: now, Until: now.Add(time.Hour)})
				if err != nil {
					t.Errorf("claim: %v", err)
					return
				}
				for _, r := range rings {
					got[i] = append(got[i], r.Delivery.ID)
				}
			}
		})
	}
	group.Wait()
	same(t, "all claims", slices.Concat(got...), want)
}

func givenBackIsNobodys(t *testing.T, b bench) {
	one, push := b.device(t, "one", "u1", bell.LongPoll), b.device(t, "push", "u2", bell.FCM)
	mine, theirs, over, pushed := b.ring(t, one, "me"), b.ring(t, one, "other"), b.ring(t, one, "me"), b.ring(t, push, "me")
	over.Delivery.State = bell.DeliveryAccepted
	b.Record(t, over.Delivery)
	before, missing := b.now(t), bell.NewID()
	unknown, err := b.Store.GiveBack(t.Context(), "me", []string{mine.Delivery.ID, theirs.Delivery.ID, over.Delivery.ID, pushed.Delivery.ID, missing})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "unknown", unknown, []string{missing})
	if d := b.Delivery(t, mine); d.LeaseOwner != "" || d.State != bell.DeliveryPending || d.UpdatedAt.Before(before) || !d.LeaseUntil.Equal(d.Deadline) {
		t.Errorf("what was given back is %+v", d)
	}
	if d := b.Delivery(t, theirs); d.LeaseOwner != "other" {
		t.Errorf("somebody else's was given back: %+v", d)
	}
	if d := b.Delivery(t, over); d.State != bell.DeliveryAccepted {
		t.Errorf("what is over was given back: %+v", d)
	}
	if d := b.Delivery(t, pushed); d.LeaseOwner != "me" || d.State != bell.DeliverySending {
		t.Errorf("a push was given back: %+v", d)
	}
	same(t, "a claim", b.claim(t, cluster.Claim{Owner: "third", Devices: []string{"one"}, Now: b.now(t)}), []string{mine.Delivery.ID})
}

func mailboxesAreListedInPages(t *testing.T, b bench) {
	one, push := b.device(t, "one", "u1", bell.LongPoll), b.device(t, "push", "u2", bell.FCM)
	start := b.now(t)
	want := []string{}
	var last bell.Ring
	for range 7 {
		last = b.ring(t, one, "")
		want = append(want, last.Delivery.ID)
	}
	b.ring(t, one, "me")
	b.ring(t, push, "")
	over := b.ring(t, one, "")
	over.Delivery.State = bell.DeliveryExpired
	b.Record(t, over.Delivery)
	list := func(after cluster.Mark, limit int) (all []cluster.Letter) {
		for {
			letters, err := b.Store.MailboxSince(t.Context(), after, limit)
			if err != nil || len(letters) > limit {
				t.Fatalf("%d letters, %v", len(letters), err)
			}
			all = append(all, letters...)
			if len(letters) < limit || len(all) > 100 {
				return all
			}
			after = letters[len(letters)-1].Mark
		}
	}
	ids := func(letters []cluster.Letter) (ids []string) {
		for i, l := range letters {
			ids = append(ids, l.Delivery)
			if l.DeviceID != "one" || i > 0 && l.At.Before(letters[i-1].At) {
				t.Errorf("letter %d is %+v", i, l)
			}
		}
		return ids
	}
	for _, limit := range []int{1, 2, 7, 8} {
		same(t, "from the start", ids(list(cluster.Mark{At: start}, limit)), want)
		same(t, "all", ids(list(cluster.Mark{}, limit)), want)
	}
	same(t, "at the last one's time", ids(list(cluster.Mark{At: last.Delivery.CreatedAt}, 100))[:1], ids(list(cluster.Mark{}, 100))[6:])
	b.claim(t, cluster.Claim{Owner: "me", Devices: []string{"one"}, Now: b.now(t)})
	same(t, "after a claim", ids(list(cluster.Mark{}, 100)), nil)
	before := b.now(t)
	if _, err := b.Store.GiveBack(t.Context(), "me", want[2:3]); err != nil {
		t.Fatal(err)
	}
	same(t, "given back", ids(list(cluster.Mark{At: before}, 100)), want[2:3])
}

func lettersOfAnOwnerAreListed(t *testing.T, b bench) {
	one, push := b.device(t, "one", "u1", bell.LongPoll), b.device(t, "push", "u2", bell.FCM)
	want := []string{}
	for range 3 {
		want = append(want, b.ring(t, one, "me").Delivery.ID)
	}
	b.ring(t, one, "")
	b.ring(t, one, "other")
	b.ring(t, push, "me")
	over := b.ring(t, one, "me")
	over.Delivery.State = bell.DeliveryExpired
	b.Record(t, over.Delivery)
	before := b.now(t).Add(time.Microsecond)
	young := b.ring(t, one, "me")
	young.Delivery.UpdatedAt = before
	b.Record(t, young.Delivery)
	list := func(after cluster.Mark, limit int) (ids []string) {
		letters, err := b.Store.LettersOf(t.Context(), "me", before, after, limit)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range letters {
			ids = append(ids, l.Delivery)
			if l.DeviceID != "one" || l.At.IsZero() {
				t.Errorf("a letter is %+v", l)
			}
		}
		return ids
	}
	same(t, "all", list(cluster.Mark{}, 10), want)
	letters, err := b.Store.LettersOf(t.Context(), "me", before, cluster.Mark{}, 2)
	if err != nil || len(letters) != 2 {
		t.Fatalf("a page has %d letters, %v", len(letters), err)
	}
	same(t, "the next page", list(letters[1].Mark, 2), list(cluster.Mark{}, 10)[2:])
	same(t, "nobody's", list(cluster.Mark{At: before}, 2), nil)
}

func goneIsWhatSomebodyElseHasOrIsOver(t *testing.T, b bench) {
	one, push := b.device(t, "one", "u1", bell.LongPoll), b.device(t, "push", "u2", bell.FCM)
	mine, pushed, theirs, nobodys := b.ring(t, one, "me"), b.ring(t, push, "me"), b.ring(t, push, "other"), b.ring(t, one, "")
	ended, accepted := b.ring(t, one, "me"), b.ring(t, one, "other")
	ended.Delivery.State, accepted.Delivery.State = bell.DeliveryWithdrawn, bell.DeliveryAccepted
	b.Record(t, ended.Delivery)
	b.Record(t, accepted.Delivery)
	var ids []string
	for _, r := range []bell.Ring{mine, pushed, theirs, nobodys, ended, accepted} {
		ids = append(ids, r.Delivery.ID)
	}
	gone, err := b.Store.Gone(t.Context(), "me", append(ids, bell.NewID()))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bell.DeliveryState{
		theirs.Delivery.ID: "", nobodys.Delivery.ID: "", ended.Delivery.ID: bell.DeliveryWithdrawn, accepted.Delivery.ID: bell.DeliveryAccepted,
	}
	if len(gone) != len(want) {
		t.Errorf("gone are %v, want %v", gone, want)
	}
	for id, state := range want {
		if got, ok := gone[id]; !ok || got != state {
			t.Errorf("%s is %q (%t), want %q", id, got, ok, state)
		}
	}
	if gone, err := b.Store.Gone(t.Context(), "me", nil); err != nil || len(gone) != 0 {
		t.Errorf("of nothing, %v is gone, %v", gone, err)
	}
}
