package bell

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/planetbell/planetbell/planet"
)

// Projects finds the configured projects by what requests carry. It is read-only and
// safe for concurrent use.
//
// Secrets are looked up by their SHA-256: how long a lookup takes then says nothing
// about how much of a guess was right, because nobody can choose the hash of a guess
// bit by bit.
type Projects struct {
	all         []*Project
	byName      map[string]*Project
	byCallback  map[secretKey]*Project
	byClientKey map[clientKey]*Project
}

type secretKey [sha256.Size]byte

func keyOf(s planet.Secret) secretKey { return sha256.Sum256([]byte(s.Reveal())) }

type clientKey struct {
	serviceID string
	key       secretKey
}

// NewProjects makes the lookup. It fails when two projects share a name, a callback
// secret, or a client key within one service ID: requests could not be told apart. A
// project without a callback secret or a client key is never found by one.
func NewProjects(projects []*Project) (*Projects, error) {
	p := &Projects{
		all:         append([]*Project(nil), projects...),
		byName:      make(map[string]*Project, len(projects)),
		byCallback:  make(map[secretKey]*Project, len(projects)),
		byClientKey: make(map[clientKey]*Project, len(projects)),
	}
	var problems []error
	for _, project := range projects {
		if _, ok := p.byName[project.Name]; ok {
			problems = append(problems, fmt.Errorf("two projects are named %q; give each its own name", project.Name))
		}
		p.byName[project.Name] = project
		problems = append(problems, p.addSecrets(project)...)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Projects) addSecrets(project *Project) (problems []error) {
	if project.CallbackSecret != "" {
		key := keyOf(project.CallbackSecret)
		if other, ok := p.byCallback[key]; ok {
			problems = append(problems, fmt.Errorf("projects %q and %q have the same callback secret; make a new one for one of them", other.Name, project.Name))
		}
		p.byCallback[key] = project
	}
	if project.ClientKey != "" {
		key := clientKey{serviceID: project.ServiceID, key: keyOf(project.ClientKey)}
		if other, ok := p.byClientKey[key]; ok {
			problems = append(problems, fmt.Errorf("projects %q and %q have the same client key for service %s; make a new one for one of them", other.Name, project.Name, project.ServiceID))
		}
		p.byClientKey[key] = project
	}
	return problems
}

// All returns every project, in the order of the configuration.
func (p *Projects) All() []*Project { return append([]*Project(nil), p.all...) }

// ByName finds a project by the operator's name for it.
func (p *Projects) ByName(name string) (*Project, bool) {
	project, ok := p.byName[name]
	return project, ok
}

// ByCallbackSecret finds the project whose callback URLs hold the secret.
func (p *Projects) ByCallbackSecret(secret planet.Secret) (*Project, bool) {
	project, ok := p.byCallback[keyOf(secret)]
	return project, ok
}

// ByClientKey finds the project that a client means by its service ID and client key.
// The same client key may serve several service IDs.
func (p *Projects) ByClientKey(serviceID string, key planet.Secret) (*Project, bool) {
	project, ok := p.byClientKey[clientKey{serviceID: serviceID, key: keyOf(key)}]
	return project, ok
}

// Reaching finds the first project that serves the users of a service in an
// environment. A callback may name only such users as callees: a call can cross
// services, but never environments.
func (p *Projects) Reaching(environment planet.Environment, serviceID string) (*Project, bool) {
	for _, project := range p.all {
		if project.Reaches(environment, serviceID) {
			return project, true
		}
	}
	return nil, false
}
