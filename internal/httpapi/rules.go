package httpapi

import (
	"encoding/json"
	"net/http"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/planet"
)

// blockUser keeps somebody's calls from ringing: POST /v2/block_user. Whether there is such a
// user is not looked at, and not told.
func (a *api) blockUser(w http.ResponseWriter, r *http.Request, id bell.Identity) error {
	user, err := a.readUser(r, id)
	if err != nil {
		return err
	}
	if err := a.services.Rules.Block(r.Context(), id, user); err != nil {
		return err
	}
	a.succeed(w, r, empty)
	return nil
}

// unblockUser lets them ring again: POST /v2/unblock_user.
func (a *api) unblockUser(w http.ResponseWriter, r *http.Request, id bell.Identity) error {
	user, err := a.readUser(r, id)
	if err != nil {
		return err
	}
	if err := a.services.Rules.Unblock(r.Context(), id, user); err != nil {
		return err
	}
	a.succeed(w, r, empty)
	return nil
}

// readUser reads who is meant: a user of the client's own service unless another is named.
func (a *api) readUser(r *http.Request, id bell.Identity) (planet.UserRef, error) {
	if err := a.ruleLimit(id); err != nil {
		return planet.UserRef{}, err
	}
	body, err := readObject(r)
	if err != nil {
		return planet.UserRef{}, err
	}
	userID, err := body.needed("userId")
	if err != nil {
		return planet.UserRef{}, err
	}
	serviceID, err := body.text("serviceId")
	if err != nil {
		return planet.UserRef{}, err
	}
	if serviceID == "" {
		serviceID = id.Owner.User.ServiceID
	}
	return planet.UserRef{ServiceID: serviceID, UserID: userID}, nil
}

// ruleLimit keeps a user from writing rules without end.
func (a *api) ruleLimit(id bell.Identity) error {
	if a.rules.allow(id.Owner, a.config.Now()) {
		return nil
	}
	a.metrics.limited.WithLabelValues("call_rules").Inc()
	return bell.E(bell.TooMany, "This user changes too many rules; wait a minute.", nil)
}

// blockedUsers is the data of GET /v2/blocked_users.
type blockedUsers struct {
	Users []blockedUserView `json:"users"`
}

type blockedUserView struct {
	ServiceID string `json:"serviceId"`
	UserID    string `json:"userId"`
	BlockedAt int64  `json:"blockedAt"` // Unix milliseconds
}

// listBlocked shows the client's own block list: GET /v2/blocked_users.
func (a *api) listBlocked(w http.ResponseWriter, r *http.Request, id bell.Identity) error {
	rules, err := a.myRules(r, id)
	if err != nil {
		return err
	}
	list := blockedUsers{Users: make([]blockedUserView, len(rules.Blocked))}
	for i, b := range rules.Blocked {
		list.Users[i] = blockedUserView{b.User.ServiceID, b.User.UserID, b.At.UnixMilli()}
	}
	a.succeed(w, r, list)
	return nil
}

// quiet is do-not-disturb, as it is set and as it is shown.
type quiet struct {
	On     bool         `json:"on"`
	Until  int64        `json:"until,omitempty"` // Unix milliseconds
	Hours  *quietPeriod `json:"quietHours,omitempty"`
	Active bool         `json:"active"` // whether a call now would ring nothing
}

type quietPeriod struct {
	From     string `json:"from"`
	To       string `json:"to"`
	TimeZone string `json:"timeZone"`
}

// doNotDisturb shows the client's own setting: GET /v2/do_not_disturb.
func (a *api) doNotDisturb(w http.ResponseWriter, r *http.Request, id bell.Identity) error {
	rules, err := a.myRules(r, id)
	if err != nil {
		return err
	}
	a.succeed(w, r, a.quietView(rules.DoNotDisturb))
	return nil
}

// setDoNotDisturb replaces it: POST /v2/do_not_disturb. The answer is as GET's.
func (a *api) setDoNotDisturb(w http.ResponseWriter, r *http.Request, id bell.Identity) error {
	if err := a.ruleLimit(id); err != nil {
		return err
	}
	body, err := readObject(r)
	if err != nil {
		return err
	}
	d, err := readQuiet(body)
	if err != nil {
		return err
	}
	if err := a.services.Rules.SetDoNotDisturb(r.Context(), id, d); err != nil {
		return err
	}
	a.succeed(w, r, a.quietView(d))
	return nil
}

func (a *api) myRules(r *http.Request, id bell.Identity) (policy.Rules, error) {
	if err := a.ruleLimit(id); err != nil {
		return policy.Rules{}, err
	}
	return a.services.Rules.Mine(r.Context(), id)
}

func (a *api) quietView(d policy.DoNotDisturb) quiet {
	view := quiet{On: d.On, Active: d.Holds(a.config.Now())}
	if d.On && !d.Until.IsZero() {
		view.Until = d.Until.UnixMilli()
	}
	if q := d.Quiet; q.Zone != "" {
		from, to := q.Times()
		view.Hours = &quietPeriod{from, to, q.Zone}
	}
	return view
}

// readQuiet reads the whole setting: what is left out is off.
func readQuiet(body object) (d policy.DoNotDisturb, err error) {
	var on *bool
	if err := json.Unmarshal(body["on"], &on); err != nil || on == nil {
		return policy.DoNotDisturb{}, bell.E(bell.Invalid, "on: must be true or false.", nil)
	}
	d.On = *on
	if d.Until, err = body.moment("until"); err != nil {
		return policy.DoNotDisturb{}, err
	}
	var hours object
	if raw, ok := body["quietHours"]; ok {
		if err := json.Unmarshal(raw, &hours); err != nil {
			return policy.DoNotDisturb{}, bell.E(bell.Invalid, "quietHours: must be an object with from, to and timeZone.", nil)
		}
	}
	if hours == nil {
		return d, nil
	}
	var texts [3]string
	for i, name := range []string{"from", "to", "timeZone"} {
		if texts[i], err = hours.text(name); err != nil {
			return policy.DoNotDisturb{}, err
		}
	}
	d.Quiet, err = policy.ParseQuietHours(texts[0], texts[1], texts[2])
	return d, err
}
