package console

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// DebugUserRequest asks for everything to be logged about the calls of one user.
type DebugUserRequest struct {
	Environment planet.Environment `json:"environment,omitempty"` // needed when the service is configured in both
	ServiceID   string             `json:"service_id"`
	UserID      string             `json:"user_id"`
	Minutes     int                `json:"minutes"` // 1 to 60
}

// DebugUser is a user about whose calls everything is logged, by this process.
type DebugUser struct {
	Environment planet.Environment `json:"environment"`
	ServiceID   string             `json:"service_id"`
	UserID      string             `json:"user_id"`
	Until       time.Time          `json:"until"`
	Node        string             `json:"node,omitempty"` // the only one that logs it
}

// DebugUserList is all of them.
type DebugUserList struct {
	Users []DebugUser `json:"users"`
}

func (a *api) debugUser(w http.ResponseWriter, r *http.Request) error {
	var in DebugUserRequest
	if err := readBody(w, r, &in); err != nil {
		return err
	}
	if e := in.Environment; e != "" && e != planet.Evaluation && e != planet.Real {
		return invalid("environment: want evaluation or real.")
	}
	if in.UserID == "" || len(in.UserID) > maxUser {
		return invalid("user_id: want the user ID of the callee.")
	}
	if in.Minutes < 1 || in.Minutes > int(call.MaxWatch/time.Minute) {
		return invalid("minutes: want a number from 1 to 60.")
	}
	project, err := a.ofService(in.Environment, in.ServiceID)
	if err != nil {
		return err
	}
	owner := ownerOf(project, in.UserID)
	watched, err := a.services.Watch.Add(owner, a.Now(), time.Duration(in.Minutes)*time.Minute)
	if err != nil {
		return err
	}
	note(r.Context(), slog.String("user", in.UserID), slog.String("project", project.Name), slog.Int("minutes", in.Minutes))
	return writeJSON(w, http.StatusOK, a.debugView(watched))
}

// maxUser bounds a user ID, in bytes.
const maxUser = 256

func ownerOf(p *bell.Project, userID string) bell.Owner {
	return bell.Owner{Environment: p.Environment, User: planet.UserRef{ServiceID: p.ServiceID, UserID: userID}}
}

func (a *api) debugView(w call.Watched) DebugUser {
	return DebugUser{w.Owner.Environment, w.Owner.User.ServiceID, w.Owner.User.UserID, utc(w.Until), a.Node}
}

func (a *api) listDebugUsers(w http.ResponseWriter, r *http.Request) error {
	if _, err := parseQuery(r.URL.RawQuery); err != nil {
		return err
	}
	watched := a.services.Watch.List(a.Now())
	list := DebugUserList{Users: make([]DebugUser, len(watched))}
	for i := range watched {
		list.Users[i] = a.debugView(watched[i])
	}
	return writeJSON(w, http.StatusOK, list)
}

func (a *api) undebugUser(w http.ResponseWriter, r *http.Request) error {
	project, userID, err := a.member(r)
	if err != nil {
		return err
	}
	note(r.Context(), slog.String("user", userID), slog.String("project", project.Name))
	if !a.services.Watch.Remove(ownerOf(project, userID), a.Now()) {
		return bell.E(bell.NotFound, "This user is not among those about whom everything is logged; this node may not be the one.", nil)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
