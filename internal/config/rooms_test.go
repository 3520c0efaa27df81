package config

import "testing"

func TestInvitations(t *testing.T) {
	with := func(settings string) []string {
		return []string{"name: main", "name: main\n    invitations: {" + settings + "}"}
	}
	checkAll(t, []rule{
		{name: "nobody's members", replace: with("on_room_start: true"), warnings: []string{
			"projects[0].invitations.on_room_start: invites nobody: neither members nor members_url say who belongs to a room.",
		}},
		{name: "members", replace: with("on_room_start: true, members: [{room: a, users: [x]}, {room: b, users: [x]}]")},
		{name: "a hook", replace: with("on_room_start: true, members_url: https://backend.example.com/members")},
		{name: "a hook in the clear", replace: with("members_url: http://backend.example.com/members"), errors: []string{
			"projects[0].invitations.members_url: want https; plain http is for a fake on the same machine.",
		}},
		{name: "a token of two words", replace: with(`members_token: "two words"`), errors: []string{
			"projects[0].invitations.members_token: 9 characters, some of which cannot stand in a header; want printable ASCII without spaces.",
		}},
		{name: "one room twice", replace: with("members: [{room: a, users: [x]}, {room: a, users: [y]}]"), errors: []string{
			`projects[0].invitations.members[1].room: "a" is also that of members[0].`,
		}},
		{name: "times", replace: with("members_timeout: 6s"), errors: []string{"projects[0].invitations.members_timeout: 6s, want 100ms to 5s."}},
		{name: "strange IDs", replace: with("members: [{room: a/b, users: [x]}, {room: b, users: [x, y/z]}]"), errors: []string{
			`projects[0].invitations.members[0].room: the room ID has a forbidden character at byte 2; only ASCII letters, digits and "-_" are allowed.`,
			`projects[0].invitations.members[1].users[1]: the user ID has a forbidden character at byte 2; only ASCII letters, digits and "-_" are allowed.`,
		}},
	})
}
