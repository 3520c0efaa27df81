package policy

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // quiet hours must not depend on what the machine has

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// MaxBlocked is how many users one user can block.
const MaxBlocked = 1000

// Rules is what a user does not want to hear.
type Rules struct {
	DoNotDisturb DoNotDisturb
	Blocked      []Blocked // at most MaxBlocked, nobody twice
}

// Blocked is somebody whose calls do not ring.
type Blocked struct {
	User planet.UserRef
	At   time.Time // since when
}

// DoNotDisturb is when no call rings. The zero value: always ring.
type DoNotDisturb struct {
	On    bool       // now
	Until time.Time  // the end of On; zero: until it is switched off
	Quiet QuietHours // every day, whether On or not
}

// QuietHours is a time of every day, from and up to minutes after midnight by the clocks of
// a time zone; it may go past midnight. Without a zone there are none.
type QuietHours struct {
	From, To int    // 0 to 1439, and different
	Zone     string // of the IANA time zone database, such as Asia/Seoul
}

// Holds reports whether no call rings at that moment.
func (d DoNotDisturb) Holds(now time.Time) bool {
	return d.On && (d.Until.IsZero() || now.Before(d.Until)) || d.Quiet.holds(now)
}

func (q QuietHours) holds(now time.Time) bool {
	if q.Zone == "" {
		return false
	}
	place, err := zone(q.Zone)
	if err != nil {
		return false // a database of zones that no longer has it; when in doubt it rings
	}
	local := now.In(place)
	minute := local.Hour()*60 + local.Minute()
	if q.From < q.To {
		return q.From <= minute && minute < q.To
	}
	return q.From <= minute || minute < q.To
}

// zones keeps those in use: reading one costs more than all else that a call is asked about.
var zones = newCache[string, *time.Location](500)

func zone(name string) (*time.Location, error) {
	if place, ok := zones.get(name, time.Time{}); ok {
		return place, nil
	}
	if name == "Local" || len(name) > 64 {
		return nil, fmt.Errorf("time zone of %d characters is not known", len(name))
	}
	place, err := time.LoadLocation(name)
	if err != nil {
		return nil, err
	}
	zones.put(name, place, forever)
	return place, nil
}

var forever = time.Unix(1<<40, 0)

// ParseQuietHours reads quiet hours as clients write them: two times of day such as "22:00",
// and a time zone. The error is bell.Invalid.
func ParseQuietHours(from, to, zoneName string) (QuietHours, error) {
	begin, ok1 := parseMinute(from)
	end, ok2 := parseMinute(to)
	if !ok1 || !ok2 || begin == end {
		return QuietHours{}, bell.E(bell.Invalid, "Quiet hours: from and to must be two different times of day, such as 22:00 and 07:00.", nil)
	}
	if zoneName == "" {
		return QuietHours{}, bell.E(bell.Invalid, "Quiet hours: the time zone is missing; give one such as Asia/Seoul.", nil)
	}
	if _, err := zone(zoneName); err != nil {
		return QuietHours{}, bell.E(bell.Invalid, "Quiet hours: the time zone is not known; give one of the IANA database, such as Asia/Seoul.", nil)
	}
	return QuietHours{From: begin, To: end, Zone: zoneName}, nil
}

// Times are the two times of day as ParseQuietHours reads them.
func (q QuietHours) Times() (from, to string) { return formatMinute(q.From), formatMinute(q.To) }

func parseMinute(text string) (int, bool) {
	hour, minute, found := strings.Cut(text, ":")
	h, err1 := strconv.ParseUint(hour, 10, 8)
	m, err2 := strconv.ParseUint(minute, 10, 8)
	if !found || len(hour) != 2 || len(minute) != 2 || err1 != nil || err2 != nil || h > 23 || m > 59 {
		return 0, false
	}
	return int(h*60 + m), true
}

func formatMinute(n int) string { return fmt.Sprintf("%02d:%02d", n/60, n%60) }

// Block keeps a user's calls from ringing the identity's devices. It may be repeated. The
// error is bell.Invalid when the list is full or the user cannot be one, and bell.Forbidden
// when the project has no call rules; so it is for the other methods.
func (s *Service) Block(ctx context.Context, id bell.Identity, user planet.UserRef) error {
	if err := s.allowed(id.Project, user); err != nil {
		return err
	}
	return s.store.Block(ctx, id.Owner, Blocked{User: user, At: s.now()}, MaxBlocked)
}

// Unblock lets a user's calls ring again. Who is not blocked is no error.
func (s *Service) Unblock(ctx context.Context, id bell.Identity, user planet.UserRef) error {
	if err := s.allowed(id.Project, user); err != nil {
		return err
	}
	return s.store.Unblock(ctx, id.Owner, user)
}

// Mine returns the identity's own rules.
func (s *Service) Mine(ctx context.Context, id bell.Identity) (Rules, error) {
	if err := s.allowed(id.Project); err != nil {
		return Rules{}, err
	}
	return s.store.RulesOf(ctx, id.Owner)
}

// SetDoNotDisturb replaces when no call rings the identity's devices.
func (s *Service) SetDoNotDisturb(ctx context.Context, id bell.Identity, d DoNotDisturb) error {
	if err := s.allowed(id.Project); err != nil {
		return err
	}
	return s.store.SetDoNotDisturb(ctx, id.Owner, normal(d))
}

// RulesOf returns the rules of any user of a project. For operators.
func (s *Service) RulesOf(ctx context.Context, project *bell.Project, userID string) (Rules, error) {
	owner, err := s.member(project, userID)
	if err != nil {
		return Rules{}, err
	}
	return s.store.RulesOf(ctx, owner)
}

// ReplaceRules replaces all rules of any user of a project. For operators.
func (s *Service) ReplaceRules(ctx context.Context, project *bell.Project, userID string, rules Rules) error {
	owner, err := s.member(project, userID)
	if err != nil {
		return err
	}
	users := make([]planet.UserRef, 0, len(rules.Blocked))
	for _, b := range rules.Blocked {
		if !slices.Contains(users, b.User) {
			users = append(users, b.User)
		}
	}
	if len(users) > MaxBlocked {
		return bell.E(bell.Invalid, fmt.Sprintf("The block list has %d users; at most %d are kept.", len(users), MaxBlocked), nil)
	}
	if err := s.allowed(project, users...); err != nil {
		return err
	}
	rules.Blocked = make([]Blocked, len(users))
	for i, u := range users {
		rules.Blocked[i].User = u
	}
	rules.DoNotDisturb = normal(rules.DoNotDisturb)
	return s.store.ReplaceRules(ctx, owner, rules, s.now())
}

// normal leaves out an end of what is not on.
func normal(d DoNotDisturb) DoNotDisturb {
	if !d.On {
		d.Until = time.Time{}
	}
	if d.Quiet.Zone == "" {
		d.Quiet = QuietHours{}
	}
	return d
}

func (s *Service) member(project *bell.Project, userID string) (bell.Owner, error) {
	user := planet.UserRef{ServiceID: project.ServiceID, UserID: userID}
	if err := s.allowed(project, user); err != nil {
		return bell.Owner{}, err
	}
	return bell.Owner{Environment: project.Environment, User: user}, nil
}

// allowed checks that a project has call rules, and that these can be users. A blocked user
// may be of a service that is not served here: callers may.
func (s *Service) allowed(project *bell.Project, users ...planet.UserRef) error {
	if !s.settings[project.Name].Rules {
		return bell.E(bell.Forbidden, "This project has no block lists and no do-not-disturb; the operator has switched call_rules off.", nil)
	}
	for _, u := range users {
		if err := planet.ValidateServiceID(u.ServiceID); err != nil {
			return bell.E(bell.Invalid, "The service ID: "+err.Error()+".", nil)
		}
		if err := planet.ValidateUserID(u.UserID); err != nil {
			return bell.E(bell.Invalid, "The user ID: "+err.Error()+".", nil)
		}
	}
	return nil
}
