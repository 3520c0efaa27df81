package console

import (
	"net/http"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/planet"
)

// maxRules bounds a body of rules: policy.MaxBlocked users with the longest IDs fit.
const maxRules = 256 << 10

// UserRules is what a user does not want to hear. It can be sent back as it was got: what
// names the user, and what cannot be set, is ignored then.
type UserRules struct {
	Environment  planet.Environment `json:"environment,omitempty"`
	ServiceID    string             `json:"service_id,omitempty"`
	UserID       string             `json:"user_id,omitempty"`
	DoNotDisturb DoNotDisturb       `json:"do_not_disturb"`
	Blocked      []BlockedUser      `json:"blocked"` // ordered by service ID and user ID
}

// DoNotDisturb is when no call of a user rings.
type DoNotDisturb struct {
	On         bool        `json:"on"`
	Until      time.Time   `json:"until,omitzero"` // absent: until it is switched off
	QuietHours *QuietHours `json:"quiet_hours,omitempty"`
	Active     bool        `json:"active"` // whether a call now would ring nothing; cannot be set
}

// QuietHours is a time of every day.
type QuietHours struct {
	From     string `json:"from"` // such as 22:00
	To       string `json:"to"`
	TimeZone string `json:"time_zone"` // of the IANA database
}

// BlockedUser is somebody whose calls do not ring.
type BlockedUser struct {
	ServiceID string    `json:"service_id"`
	UserID    string    `json:"user_id"`
	BlockedAt time.Time `json:"blocked_at,omitzero"` // since when; cannot be set
}

func (a *api) showRules(w http.ResponseWriter, r *http.Request) error {
	project, userID, err := a.member(r)
	if err != nil {
		return err
	}
	return a.writeRules(w, r, project, userID)
}

func (a *api) replaceRules(w http.ResponseWriter, r *http.Request) error {
	project, userID, err := a.member(r)
	if err != nil {
		return err
	}
	noteUser(r.Context(), "rules_of", userID, project)
	var in UserRules
	if err := readBodyOf(w, r, &in, maxRules); err != nil {
		return err
	}
	rules := policy.Rules{DoNotDisturb: policy.DoNotDisturb{On: in.DoNotDisturb.On, Until: in.DoNotDisturb.Until}}
	if u := rules.DoNotDisturb.Until; !u.IsZero() && (u.Year() < 1970 || u.Year() > 9999) {
		return invalid("do_not_disturb.until: want a time of the years 1970 to 9999.")
	}
	if q := in.DoNotDisturb.QuietHours; q != nil {
		if rules.DoNotDisturb.Quiet, err = policy.ParseQuietHours(q.From, q.To, q.TimeZone); err != nil {
			return err
		}
	}
	for _, b := range in.Blocked {
		rules.Blocked = append(rules.Blocked, policy.Blocked{User: planet.UserRef{ServiceID: b.ServiceID, UserID: b.UserID}})
	}
	if err := a.services.Rules.ReplaceRules(r.Context(), project, userID, rules); err != nil {
		return err
	}
	return a.writeRules(w, r, project, userID)
}

func (a *api) writeRules(w http.ResponseWriter, r *http.Request, project *bell.Project, userID string) error {
	rules, err := a.services.Rules.RulesOf(r.Context(), project, userID)
	if err != nil {
		return err
	}
	d := rules.DoNotDisturb
	view := UserRules{
		Environment: project.Environment, ServiceID: project.ServiceID, UserID: userID,
		DoNotDisturb: DoNotDisturb{On: d.On, Until: utc(d.Until), Active: d.Holds(a.Now())},
		Blocked:      make([]BlockedUser, len(rules.Blocked)),
	}
	if d.Quiet.Zone != "" {
		from, to := d.Quiet.Times()
		view.DoNotDisturb.QuietHours = &QuietHours{from, to, d.Quiet.Zone}
	}
	for i, b := range rules.Blocked {
		view.Blocked[i] = BlockedUser{b.User.ServiceID, b.User.UserID, utc(b.At)}
	}
	return writeJSON(w, http.StatusOK, view)
}

// member finds the project of a path's user. The environment need only be said when the
// service is configured in both.
func (a *api) member(r *http.Request) (*bell.Project, string, error) {
	return a.memberOf(r, func() (query, error) { return parseQuery(r.URL.RawQuery, "environment") })
}
