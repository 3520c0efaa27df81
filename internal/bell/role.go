package bell

import "slices"

// Role is what somebody may do on the admin listener. Each role may do what those before it
// may.
type Role string

// The roles, from the least to the most.
const (
	// Viewer reads: calls, rooms, devices, events.
	Viewer Role = "viewer"
	// Operator also acts: on devices and call rules, replays events, sends tests.
	Operator Role = "operator"
	// Admin also hands out access tokens, and sees the configuration, the audit log and profiles.
	Admin Role = "admin"
)

// Roles lists all roles, from the least to the most.
func Roles() []Role { return []Role{Viewer, Operator, Admin} }

// Valid reports whether there is such a role.
func (r Role) Valid() bool { return slices.Contains(Roles(), r) }

// Covers reports whether r may do what least may. What is no role covers nothing, and nothing
// covers it.
func (r Role) Covers(least Role) bool {
	return least.Valid() && slices.Index(Roles(), r) >= slices.Index(Roles(), least)
}
