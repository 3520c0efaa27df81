// Package account decides who a client is: it signs people up in the way of LINE's
// demo apps, gives out and checks app tokens, and issues the PlanetKit access tokens
// that a caller's client presents to Planet Cloud.
//
// Two tokens must never be mixed up. The app token opens this server: it is ours,
// has an expiry, and is signed with our own key. The PlanetKit access token opens
// Planet Cloud: it is signed with LINE's API secret and must not have an expiry.
package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// firstDeviceGrace is how long a user ID stays taken although its session has no
// device yet: time enough for a client to go from register_user to register_device.
// After it the ID is free again, so that a client whose second step failed is not
// locked out until its token ends.
const firstDeviceGrace = 30 * time.Second

// Projects is what the service needs to know of the configuration.
type Projects interface {
	// ByClientKey finds the project a client means by its service ID and client key.
	ByClientKey(serviceID string, key planet.Secret) (*bell.Project, bool)
	// ByName finds a project by its name.
	ByName(name string) (*bell.Project, bool)
}

// Config is what a Service is made of. All fields are needed, except Now.
type Config struct {
	Store      Store
	Projects   Projects
	SigningKey planet.Secret    // of app tokens; at least 32 bytes
	Now        func() time.Time // time.Now if nil
}

// Service signs users up and checks who they are. It is safe for concurrent use.
type Service struct {
	store    Store
	projects Projects
	tokens   appTokens
	now      func() time.Time
}

// New makes a Service. It fails when the signing key is too short.
func New(c Config) (*Service, error) {
	if len(c.SigningKey) < minSigningKey {
		return nil, fmt.Errorf("app token signing key: %d bytes, want at least %d", len(c.SigningKey), minSigningKey)
	}
	now := c.Now
	if now == nil {
		now = time.Now
	}
	return &Service{store: c.Store, projects: c.Projects, tokens: newAppTokens(c.SigningKey, now), now: now}, nil
}

// SignUp is a client's wish to be a user, as register_user brings it.
type SignUp struct {
	UserID      string
	ServiceID   string
	Region      string
	DisplayName string
	ClientKey   planet.Secret  // "apiKey": names the app, proves nothing about the person
	Current     *bell.Identity // who the client already is, if it showed a valid app token
}

// SignUp gives the user ID to the client and returns its app token.
//
// A user ID is taken (bell.Taken) while somebody else holds an unexpired app token
// for it and has a device, or signed up less than 30 seconds ago. It is free for a
// client that shows an app token of the same user, and for everybody in a project
// with shared user IDs.
func (s *Service) SignUp(ctx context.Context, in SignUp) (planet.Secret, error) {
	project, ok := s.projects.ByClientKey(in.ServiceID, in.ClientKey)
	if !ok {
		return "", bell.E(bell.Unauthorized, "apiKey and serviceId do not name a project of this server.", nil)
	}
	if err := planet.ValidateUserID(in.UserID); err != nil {
		return "", bell.E(bell.Invalid, "userId: "+err.Error(), nil)
	}
	owner := bell.Owner{
		Environment: project.Environment,
		User:        planet.UserRef{ServiceID: project.ServiceID, UserID: in.UserID},
	}
	now := s.now()
	session := bell.Session{
		ID: uuid.NewString(), Owner: owner, Project: project.Name,
		IssuedAt: now.Truncate(time.Second), ExpiresAt: now.Add(project.AppTokenLifetime).Truncate(time.Second),
	}
	user := bell.User{Owner: owner, DisplayName: bell.Clip(in.DisplayName), Region: bell.Clip(in.Region), RegisteredAt: now}
	rule := SessionRule{
		Now:              now,
		Exclusive:        !project.SharedUserIDs && !sameOwner(in.Current, owner),
		FreeIssuedBefore: now.Add(-firstDeviceGrace),
	}
	if err := s.store.OpenSession(ctx, user, session, rule); err != nil {
		if errors.Is(err, bell.Taken) {
			return "", bell.E(bell.Taken, "userId is in use on another device; choose another one or wait until its registration ends.", nil)
		}
		return "", fmt.Errorf("open a session for %s: %w", owner.User, err)
	}
	return s.tokens.sign(session)
}

// Authenticate says who the holder of an app token is. It fails with
// bell.Unauthorized only when the token really is bad: forged, expired, revoked, or
// of a project that is no longer configured. A valid token whose session is missing
// from the database is honoured, and the session recorded again, so that clients
// survive a loss of data. While the database is unavailable the signature alone counts.
func (s *Service) Authenticate(ctx context.Context, token planet.Secret) (bell.Identity, error) {
	claims, err := s.tokens.verify(token)
	if err != nil {
		return bell.Identity{}, bell.E(bell.Unauthorized, "The app token is not valid or has expired; register again.", err)
	}
	project, ok := s.projects.ByName(claims.Project)
	if !ok || !project.Reaches(claims.Owner.Environment, claims.Owner.User.ServiceID) {
		return bell.Identity{}, bell.E(bell.Unauthorized, "The app token belongs to a project that this server no longer serves.", nil)
	}
	identity := bell.Identity{
		SessionID: claims.ID, Owner: claims.Owner, Project: project,
		IssuedAt: claims.IssuedAt, ExpiresAt: claims.ExpiresAt,
	}
	session, err := s.store.Session(ctx, claims.ID)
	switch {
	case errors.Is(err, bell.NotFound):
		user := bell.User{Owner: claims.Owner, RegisteredAt: s.now()}
		err := s.store.RestoreSession(ctx, user, claims)
		if err != nil && !errors.Is(err, bell.Unavailable) && !errors.Is(err, bell.Overload) {
			return bell.Identity{}, fmt.Errorf("restore a session of %s: %w", claims.Owner.User, err)
		}
	case errors.Is(err, bell.Unavailable):
		// The signature is good, and only a revocation could be missed. A refusal would make
		// LINE's Windows client forget its user, and keep people from calling.
	case err != nil:
		return bell.Identity{}, fmt.Errorf("look up the session of %s: %w", claims.Owner.User, err)
	case !session.RevokedAt.IsZero():
		return bell.Identity{}, bell.E(bell.Unauthorized, "The app token was revoked because its user ID was registered anew.", nil)
	}
	return identity, nil
}

// AccessToken issues a PlanetKit access token for the identity's own user. It is
// made anew each time, because Planet Cloud counts its age from the issue time.
// It needs no database, so it works when the database does not.
func (s *Service) AccessToken(_ context.Context, id bell.Identity) (planet.Secret, error) {
	return s.mint(id.Project, id.Owner.User.UserID)
}

// MintFor issues a PlanetKit access token for any user of a project. Only operators
// may reach it: whoever can name a user can call as that user.
func (s *Service) MintFor(_ context.Context, project *bell.Project, userID string) (planet.Secret, error) {
	if err := planet.ValidateUserID(userID); err != nil {
		return "", bell.E(bell.Invalid, "user ID: "+err.Error(), nil)
	}
	return s.mint(project, userID)
}

// Vouch returns an app token by which this process itself may register a user's ID anew, though an
// earlier registration has not ended. It is valid for a minute and for this server only.
func (s *Service) Vouch(project *bell.Project, userID string) (planet.Secret, error) {
	if err := planet.ValidateUserID(userID); err != nil {
		return "", bell.E(bell.Invalid, "user ID: "+err.Error(), nil)
	}
	now := s.now()
	return s.tokens.sign(bell.Session{
		ID: uuid.NewString(), Project: project.Name, IssuedAt: now.Truncate(time.Second), ExpiresAt: now.Add(time.Minute).Truncate(time.Second),
		Owner: bell.Owner{Environment: project.Environment, User: planet.UserRef{ServiceID: project.ServiceID, UserID: userID}},
	})
}

func (s *Service) mint(project *bell.Project, userID string) (planet.Secret, error) {
	issuer := planet.AccessTokenIssuer{
		ServiceID: project.ServiceID, APIKey: project.APIKey,
		APISecret: project.APISecret, Skew: project.IssuedAtSkew,
	}
	token, err := issuer.Issue(userID, s.now())
	if err != nil {
		return "", fmt.Errorf("issue a PlanetKit access token in project %s: %w", project.Name, err)
	}
	return token, nil
}

func sameOwner(id *bell.Identity, owner bell.Owner) bool {
	return id != nil && id.Owner == owner
}
