package account

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// fakeStore keeps sessions by the rules of Store.
type fakeStore struct {
	mu       sync.Mutex
	users    map[bell.Owner]bell.User
	sessions map[string]bell.Session
	devices  map[string]bool // session IDs that have one
	rules    []SessionRule
	fail     error // of everything
	failing  error // of RestoreSession only
}

func (s *fakeStore) OpenSession(_ context.Context, user bell.User, session bell.Session, rule SessionRule) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = append(s.rules, rule)
	if s.fail != nil {
		return s.fail
	}
	if rule.Exclusive {
		for id, old := range s.sessions {
			valid := old.Owner == session.Owner && rule.Now.Before(old.ExpiresAt) && old.RevokedAt.IsZero()
			if valid && (s.devices[id] || old.IssuedAt.After(rule.FreeIssuedBefore)) {
				return bell.E(bell.Taken, "taken", nil)
			}
		}
		for id, old := range s.sessions {
			if old.Owner == session.Owner {
				delete(s.devices, id)
				if old.RevokedAt.IsZero() && rule.Now.Before(old.ExpiresAt) {
					old.RevokedAt = rule.Now
					s.sessions[id] = old
				}
			}
		}
	}
	s.users[user.Owner], s.sessions[session.ID] = user, session
	return nil
}

func (s *fakeStore) Session(_ context.Context, id string) (bell.Session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return bell.Session{}, s.fail
	}
	if session, ok := s.sessions[id]; ok {
		return session, nil
	}
	return bell.Session{}, bell.NotFound
}

func (s *fakeStore) RestoreSession(_ context.Context, user bell.User, session bell.Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.users[user.Owner]; !ok {
		s.users[user.Owner] = user
	}
	s.sessions[session.ID] = session
	return errors.Join(s.fail, s.failing)
}

// addDevice gives the session of a token a device.
func (s *fakeStore) addDevice(t *testing.T, token planet.Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.devices[claimsOf(t, token)["jti"].(string)] = true
}

// office is a service with everything around it pretended.
type office struct {
	*Service
	store        *fakeStore
	acme, shared *bell.Project
}

func newProject(name string) *bell.Project {
	return &bell.Project{
		Name: name, Environment: planet.Evaluation, ServiceID: "svc-" + name, APIKey: "key-" + name,
		APISecret: planet.Secret(testlog.HexSecret(len(name), 64)), ClientKey: planet.Secret(testlog.TextSecret("client-" + name)),
		CallbackSecret:   planet.Secret(testlog.HexSecret(9+len(name), 32)),
		AppTokenLifetime: time.Hour,
	}
}

var signingKey = planet.Secret(testlog.TextSecret("a signing key of more than 32 bytes"))

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{
		store: &fakeStore{users: map[bell.Owner]bell.User{}, sessions: map[string]bell.Session{}, devices: map[string]bool{}},
		acme:  newProject("acme"), shared: newProject("shared"),
	}
	o.shared.SharedUserIDs = true
	o.Service = o.serve(t, signingKey, o.acme, o.shared)
	return o
}

// serve makes another service with the same store.
func (o *office) serve(t *testing.T, key planet.Secret, projects ...*bell.Project) *Service {
	t.Helper()
	found, err := bell.NewProjects(projects)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Store: o.store, Projects: found, SigningKey: key})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func wish(p *bell.Project, user string) SignUp {
	return SignUp{UserID: user, ServiceID: p.ServiceID, Region: "JP", DisplayName: "Bob", ClientKey: p.ClientKey}
}

// signUp has to succeed.
func (o *office) signUp(t *testing.T, in SignUp) planet.Secret {
	t.Helper()
	token, err := o.SignUp(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// authenticate has to succeed.
func (o *office) authenticate(t *testing.T, token planet.Secret) bell.Identity {
	t.Helper()
	id, err := o.Authenticate(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// claimsOf decodes a token's payload without checking it.
func claimsOf(t *testing.T, token planet.Secret) (claims map[string]any) {
	t.Helper()
	if err := json.Unmarshal(part(t, token, 1), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
