package room

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func contextOf(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

func users(ids ...string) (users []planet.UserRef) {
	for _, id := range ids {
		users = append(users, user(id))
	}
	return users
}

// party is a service with everything, running.
type party struct {
	*Service
	store   *fakeStore
	teller  *teller
	members *list
}

func celebrate(t *testing.T, story func(t *testing.T, p *party), change ...func(*Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &party{store: newFakeStore(), teller: &teller{}, members: &list{}}
		c := Config{Store: p.store, Keeper: straight{}, Teller: p.teller, Members: p.members, Projects: projects{}}
		for _, f := range change {
			f(&c)
		}
		p.Service = New(c)
		ctx, cancel := contextOf(t)
		done := make(chan struct{})
		go func() { defer close(done); p.Run(ctx) }()
		story(t, p)
		cancel()
		<-done
	})
}

func (p *party) ask(t *testing.T, ids ...string) Invited {
	t.Helper()
	got, err := p.Invite(t.Context(), project, Request{
		Room: planet.RoomRef{ServiceID: service, RoomID: "1111"}, Inviter: user("host"), Users: users(ids...),
		AppFields: map[string]string{"app_topic": "tea"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// One invitation per user and run counts at a time, and another one when its deadline has come.
func TestInviteOnRequest(t *testing.T) {
	celebrate(t, func(t *testing.T, p *party) {
		if got := p.ask(t, "host", "ann", "nobody"); got != (Invited{Users: 1, Devices: 2}) {
			t.Errorf("invited %+v", got)
		}
		now := time.Now().UTC().Truncate(time.Microsecond)
		first := p.teller.told[0]
		want := bell.Call{
			Environment: planet.Evaluation, SessionID: first.SessionID, Project: "demo", Label: "evaluation",
			Caller: user("host"), Callee: user("ann"), Type: planet.AudioCall, State: first.State,
			NotifiedAt: now, Deadline: now.Add(time.Minute), Purpose: bell.PurposeInvitation,
			Room: planet.RoomRef{ServiceID: service, RoomID: "1111"},
		}
		first.AppFields = nil
		if first.SessionID == "" || first.Caller != want.Caller || first.Callee != want.Callee || !first.Deadline.Equal(want.Deadline) ||
			first.Purpose != want.Purpose || first.Room != want.Room || first.Label != want.Label || !first.NotifiedAt.Equal(want.NotifiedAt) {
			t.Errorf("told %+v, want %+v", first, want)
		}
		if p.teller.told[0].AppFields["app_topic"] != "tea" {
			t.Errorf("fields are %v", p.teller.told[0].AppFields)
		}
		pass(59 * time.Second)
		if got := p.ask(t, "ann"); got != (Invited{Already: 1}) {
			t.Errorf("invited again: %+v", got)
		}
		pass(time.Second)
		if got := p.ask(t, "ann"); got != (Invited{Users: 1, Devices: 2}) {
			t.Errorf("after the deadline: %+v", got)
		}
		if p.teller.told[1].SessionID == first.SessionID {
			t.Error("the second invitation is the first")
		}
		take(t, p.Service, event(1000, "S", "C", "host", 1))
		if got := p.ask(t, "ann"); got != (Invited{Users: 1, Devices: 2}) || p.teller.told[2].About != runID {
			t.Errorf("into the run: %+v, about %q", got, p.teller.told[2].About)
		}
	})
}

// An invitation whose teller failed is told when it is asked for again.
func TestInviteAgainAfterTrouble(t *testing.T) {
	celebrate(t, func(t *testing.T, p *party) {
		p.teller.failure = bell.E(bell.Unavailable, "The disk is gone.", nil)
		if _, err := p.Invite(t.Context(), project, Request{Inviter: user("host"), Users: users("ann", "bob")}); !errors.Is(err, bell.Unavailable) {
			t.Errorf("Invite: %v", err)
		}
		p.teller.failure = nil
		got, err := p.Invite(t.Context(), project, Request{Inviter: user("host"), Users: users("ann", "bob")})
		if err != nil || got != (Invited{Users: 2, Devices: 4}) {
			t.Errorf("again: %+v, %v", got, err)
		}
	})
}

// When a room starts, its members are invited once: not the host, nor who is in.
func TestMembersAreInvitedOnStart(t *testing.T) {
	celebrate(t, func(t *testing.T, p *party) {
		p.members.users = users("host", "ann", "bob", "cat")
		p.members.fail(errors.New("the hook is down"))
		named := event(1000, "S", "C", "host", 1)
		named.DisplayName = "Hostess"
		take(t, p.Service, named, event(1100, "C", "C", "bob", 2))
		synctest.Wait()
		if names := p.teller.names(); len(names) != 0 {
			t.Fatalf("told %v without knowing the members", names)
		}
		p.members.fail(nil)
		pass(inviteEvery)
		if names := p.teller.names(); !slices.Equal(names, []string{"ann", "cat"}) {
			t.Errorf("told %v, want ann and cat", names)
		}
		for _, n := range p.teller.told {
			if n.Caller != user("host") || n.CallerName != "Hostess" || n.About != runID || n.Purpose != bell.PurposeInvitation {
				t.Errorf("told %+v", n)
			}
		}
		asked := p.members.times()
		take(t, p.Service, event(1200, "C", "C", "dan", 3))
		pass(5 * time.Minute)
		if len(p.teller.names()) != 2 || p.members.times() != asked {
			t.Errorf("told %v, asked %d times more", p.teller.names(), p.members.times()-asked)
		}
	})
}

// Members who could not be found in time are not invited any more.
func TestMembersAreNotInvitedLate(t *testing.T) {
	celebrate(t, func(t *testing.T, p *party) {
		p.members.users = users("ann")
		p.members.fail(errors.New("the hook is down"))
		take(t, p.Service, event(1000, "S", "C", "host", 1))
		pass(DefaultInviteFor + inviteEvery)
		p.members.fail(nil)
		pass(time.Minute)
		if names := p.teller.names(); len(names) != 0 {
			t.Errorf("told %v", names)
		}
		if runs, err := p.store.RunsToInvite(t.Context(), 1); err != nil || len(runs) != 0 {
			t.Errorf("%d runs still wait (%v)", len(runs), err)
		}
	})
}

// When a room ends, what is still to be sent of its invitations is withdrawn, and its
// members are not invited any more.
func TestTheEndWithdrawsInvitations(t *testing.T) {
	celebrate(t, func(t *testing.T, p *party) {
		p.members.fail(errors.New("the hook is down"))
		take(t, p.Service, event(1000, "S", "C", "host", 1))
		p.ask(t, "ann", "bob")
		take(t, p.Service, event(9000, "E", "D", "host", 0))
		synctest.Wait()
		var want []planet.SessionID
		for _, n := range p.teller.told {
			want = append(want, n.SessionID)
		}
		slices.Sort(want)
		slices.Sort(p.teller.withdrawn)
		if len(want) != 2 || !slices.Equal(p.teller.withdrawn, want) {
			t.Errorf("withdrawn %v, want %v", p.teller.withdrawn, want)
		}
		slices.Sort(p.store.withdrawn)
		if !slices.Equal(p.store.withdrawn, want) {
			t.Errorf("withdrawn in the database %v, want %v", p.store.withdrawn, want)
		}
		p.members.users = users("cat")
		p.members.fail(nil)
		pass(time.Minute)
		if len(p.teller.names()) != 2 {
			t.Errorf("told %v, after the end", p.teller.names())
		}
	})
}

// So it is when a room is closed, because nothing was heard of it for long.
func TestSilenceWithdrawsInvitations(t *testing.T) {
	celebrate(t, func(t *testing.T, p *party) {
		take(t, p.Service, event(1000, "S", "C", "host", 1))
		synctest.Wait()
		p.ask(t, "ann")
		pass(time.Minute)
		if p.teller.gone() != 0 {
			t.Fatal("withdrawn while the room was open")
		}
		pass(3 * time.Minute)
		if want := p.teller.told[0].SessionID; !slices.Equal(p.teller.withdrawn, []planet.SessionID{want}) || !slices.Equal(p.store.withdrawn, p.teller.withdrawn) {
			t.Errorf("withdrawn %v, in the database %v, want %s", p.teller.withdrawn, p.store.withdrawn, want)
		}
	}, func(c *Config) { c.ForgetAfter, c.InviteFor = 2*time.Minute, time.Hour })
}

// The invitations to a large room are withdrawn in several writes.
func TestManyInvitationsAreWithdrawnInBatches(t *testing.T) {
	celebrate(t, func(t *testing.T, p *party) {
		for i := range 2*withdrawBatch + 1 {
			p.members.users = append(p.members.users, user(strconv.Itoa(i)))
		}
		take(t, p.Service, event(1000, "S", "C", "host", 1))
		synctest.Wait()
		take(t, p.Service, event(9000, "E", "D", "host", 0))
		synctest.Wait()
		if want := []int{withdrawBatch, withdrawBatch, 1}; !slices.Equal(p.store.writes, want) {
			t.Errorf("writes of %v, want %v", p.store.writes, want)
		}
	})
}

func TestOldInvitationsAreForgotten(t *testing.T) {
	celebrate(t, func(t *testing.T, p *party) {
		p.ask(t, "ann")
		pass(invitationsKept)
		if p.store.invited() != 1 {
			t.Error("the invitation is forgotten too early")
		}
		pass(3 * time.Minute)
		if p.store.invited() != 0 {
			t.Error("the invitation is kept")
		}
	})
}

func TestNobodyIsToldWithoutATeller(t *testing.T) {
	s := New(Config{Store: newFakeStore(), Keeper: straight{}})
	if _, err := s.Invite(t.Context(), project, Request{Users: users("ann")}); !errors.Is(err, bell.Unavailable) {
		t.Errorf("Invite: %v", err)
	}
}
