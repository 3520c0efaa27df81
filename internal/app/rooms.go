package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

// teller tells invitations the way in which calls ring.
type teller struct {
	*call.Service
	bells *bells
}

func (t teller) Withdraw(environment planet.Environment, id planet.SessionID) {
	t.bells.Withdraw(environment, id)
}

// newRooms builds the service of group calls.
func (a *App) newRooms(ring *bells) (*room.Service, error) {
	roots, err := ProviderRoots(a.cfg.CAFile)
	if err != nil {
		return nil, err
	}
	c := room.Config{
		Store: a.store, Keeper: a.calls, Teller: teller{a.calls, ring}, Projects: a.projects,
		ForgetAfter: a.cfg.Rooms.ForgetAfter, InviteFor: a.cfg.Rooms.InviteFor,
		Log: a.log.With("component", "room"), Metrics: room.NewMetrics(a.registry), Wants: a.wants, Now: a.nodes.now(),
	}
	if m := newMembers(a.cfg.Projects, roots); len(m.rules) > 0 {
		c.Members = m
		a.cleanups.push("close the connections to members_url", func(context.Context) error { m.client.CloseIdleConnections(); return nil })
	}
	return room.New(c), nil
}

// maxMembersAnswer bounds what is read of an answer of members_url: 1,000 IDs of 64 bytes fit.
const maxMembersAnswer = 128 << 10

// members says who belongs to rooms: by the configuration, or by the customer's own system.
type members struct {
	rules  map[string]memberRule // by project; only those that invite when a room starts
	client *http.Client
}

type memberRule struct {
	config.Invitations
	service string
	fixed   map[string][]planet.UserRef
}

// newMembers makes members. roots is what certificates are checked against; the system's if nil.
func newMembers(projects []config.Project, roots *x509.CertPool) *members {
	m := &members{rules: map[string]memberRule{}, client: &http.Client{
		// What the operator configured is asked, and nothing that it points to.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: 4, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 64 << 10,
		},
	}}
	for i := range projects {
		p := &projects[i]
		if !p.Invitations.OnRoomStart {
			continue
		}
		rule := memberRule{Invitations: p.Invitations, service: p.ServiceID, fixed: map[string][]planet.UserRef{}}
		for _, r := range p.Invitations.Members {
			rule.fixed[r.Room] = usersOf(p.ServiceID, r.Users)
		}
		m.rules[p.Name] = rule
	}
	return m
}

// usersOf leaves out what cannot be a user.
func usersOf(service string, ids []string) (users []planet.UserRef) {
	for _, id := range ids {
		if planet.ValidateUserID(id) == nil && len(users) < room.MaxMembers {
			users = append(users, planet.UserRef{ServiceID: service, UserID: id})
		}
	}
	return users
}

// Invites implements room.Members. Members are of the project's service, and so is the room.
func (m *members) Invites(project string, ref planet.RoomRef) bool {
	rule, ok := m.rules[project]
	return ok && ref.ServiceID == rule.service && (rule.MembersURL != "" || len(rule.fixed[ref.RoomID]) > 0)
}

// Of implements room.Members.
func (m *members) Of(ctx context.Context, project *bell.Project, run *bell.RoomRun) ([]planet.UserRef, error) {
	rule := m.rules[project.Name]
	if users, ok := rule.fixed[run.Room.RoomID]; ok || rule.MembersURL == "" {
		return users, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, rule.MembersTimeout, errMembersSlow)
	defer cancel()
	ids, err := m.ask(ctx, &rule, run)
	if err != nil {
		return nil, fmt.Errorf("members_url of project %s: %w", project.Name, err)
	}
	return usersOf(rule.service, ids), nil
}

var errMembersSlow = errors.New("no answer within members_timeout")

func (m *members) ask(ctx context.Context, rule *memberRule, run *bell.RoomRun) ([]string, error) {
	query := url.Values{"service_id": {run.Room.ServiceID}, "room_id": {run.Room.RoomID}, "sid": {string(run.SessionID)}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, rule.MembersURL+"?"+query.Encode(), nil)
	if err != nil {
		return nil, errors.New("cannot be made a request")
	}
	if rule.MembersToken != "" {
		r.Header.Set("Authorization", "Bearer "+rule.MembersToken.Reveal())
	}
	answer, err := m.client.Do(r)
	if err != nil {
		var e *url.Error // it repeats the whole URL
		if errors.As(err, &e) {
			err = e.Err
		}
		return nil, errors.Join(err, context.Cause(ctx))
	}
	defer answer.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxMembersAnswer+1))
	switch {
	case err != nil:
		return nil, errors.Join(errors.New("the answer broke off"), context.Cause(ctx))
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("answered with status %d, want 200", answer.StatusCode)
	case len(body) > maxMembersAnswer:
		return nil, fmt.Errorf("answered with more than %d bytes", maxMembersAnswer)
	}
	var said struct {
		UserIDs []string `json:"user_ids"`
	}
	if json.Unmarshal(body, &said) != nil || said.UserIDs == nil {
		return nil, errors.New(`the answer is not {"user_ids": [...]}`)
	}
	return said.UserIDs, nil
}
