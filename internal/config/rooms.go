package config

import (
	"fmt"
	"strconv"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Rooms is group calls.
type Rooms struct {
	// ForgetAfter is after which silence a room is closed that never ended, because its last
	// events were lost (docs/line-planet.md 3.3). Events tell of joins and leaves only, so it has
	// to be longer than a meeting in which nobody comes or goes. 10 minutes to 30 days.
	ForgetAfter time.Duration `koanf:"forget_after" default:"24h" min:"10m" max:"720h"`
	// InviteFor is how long an invitation into a room is good for: no push is tried after it,
	// and after it the same user can be invited again. 10 seconds to 10 minutes.
	InviteFor time.Duration `koanf:"invite_for" default:"60s" min:"10s" max:"10m"`
}

// Invitations is who is asked into a project's rooms.
type Invitations struct {
	// OnRoomStart invites the members of a room when its first participant joins, all but its
	// host and those who are in. Members or MembersURL say who they are.
	OnRoomStart bool `koanf:"on_room_start" default:"false"`
	// VoIP sends invitations as VoIP pushes too. Only for apps that report a call to CallKit for
	// each of them: iOS kills those that do not (docs/push-providers.md 7.6).
	VoIP bool `koanf:"voip" default:"false"`
	// Members are the members of some rooms; users are of the project's service. At most 1,000
	// are invited into one room.
	Members []RoomMembers `koanf:"members"`
	// MembersURL is asked for the members of a room that is not among Members: a GET with the
	// parameters service_id, room_id and sid, answered {"user_ids": [...]}. Empty: such rooms
	// have none.
	MembersURL string `koanf:"members_url"`
	// MembersToken is sent to MembersURL as "Authorization: Bearer". Empty: none is.
	MembersToken planet.Secret `koanf:"members_token"`
	// MembersTimeout is how long MembersURL may take. 100 milliseconds to 5 seconds.
	MembersTimeout time.Duration `koanf:"members_timeout" default:"2s" min:"100ms" max:"5s"`
}

// RoomMembers are the members of one room.
type RoomMembers struct {
	// Room is the room ID.
	Room string `koanf:"room"`
	// Users are the user IDs of its members.
	Users []string `koanf:"users"`
}

// maxRoomMembers is how many members of a room are invited.
const maxRoomMembers = 1000

func (c *checker) invitations(i *Invitations, at string) {
	if i.MembersURL != "" {
		c.serverURL(at+".members_url", i.MembersURL)
	}
	if length, strange := characters(i.MembersToken, printable); strange {
		c.wrong(at+".members_token", strconv.Itoa(length)+" characters, some of which cannot stand in a header; want printable ASCII without spaces.")
	}
	if i.OnRoomStart && i.MembersURL == "" && len(i.Members) == 0 {
		c.warn(at+".on_room_start", "invites nobody: neither members nor members_url say who belongs to a room.")
	}
	seen := map[string]int{}
	for n := range i.Members {
		m, where := &i.Members[n], fmt.Sprintf("%s.members[%d]", at, n)
		if err := planet.ValidateRoomID(m.Room); err != nil {
			c.wrong(where+".room", err.Error()+".")
		}
		if first, ok := seen[m.Room]; ok {
			c.wrong(where+".room", fmt.Sprintf("%s is also that of members[%d].", quote(m.Room), first))
		}
		seen[m.Room] = n
		if len(m.Users) > maxRoomMembers {
			c.wrong(where+".users", fmt.Sprintf("has %d users, want at most %d.", len(m.Users), maxRoomMembers))
		}
		for u, id := range m.Users {
			if err := planet.ValidateUserID(id); err != nil {
				c.wrong(fmt.Sprintf("%s.users[%d]", where, u), err.Error()+".")
				break
			}
		}
	}
}
