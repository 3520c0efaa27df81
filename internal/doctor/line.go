package doctor

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/planet"
	"github.com/planetbell/planetbell/planet/serverapi"
)

// lineSecret is what LINE's secrets look like (docs/line-planet.md 1.5).
var lineSecret = regexp.MustCompile(`^[0-9a-f]{64}$`)

// line looks at each project's key and secret. That they have the right form the configuration
// has seen to already.
func (e *exam) line(context.Context) {
	for i := range e.cfg.Projects {
		p := &e.cfg.Projects[i]
		subject := p.Name + ": key and secret"
		if missing := p.Placeholders(); len(missing) > 0 {
			e.fault(subject, "line-placeholder", "Placeholders stand in %s.", strings.Join(missing, ", "))
			continue
		}
		swapped := lineSecret.MatchString(p.APIKey)
		if swapped {
			e.fault(subject, "line-swapped", "api_key has the form of an API secret.")
		}
		if other := e.shares(i); other != "" {
			e.fault(subject, "line-shared", "Its API key or secret is also that of project %s, of another environment or service.", other)
		}
		e.wrongHost(p)
		if err := mint(p, e.o); err != nil {
			e.fault(subject, "line-secret", "No access token can be made: %s.", err)
		} else if !swapped {
			e.ok(subject, "An access token can be made and read.")
		}
	}
}

// shares names an earlier project with the same key or secret.
func (e *exam) shares(i int) string {
	p := &e.cfg.Projects[i]
	for _, other := range e.cfg.Projects[:i] {
		if other.APIKey == p.APIKey || other.APISecret == p.APISecret {
			return other.Name
		}
	}
	return ""
}

// wrongHost finds a Server API of the other environment.
func (e *exam) wrongHost(p *config.Project) {
	for _, environment := range []planet.Environment{planet.Evaluation, planet.Real} {
		if environment != p.Environment && p.ServerAPIURL != "" && hostOf(p.ServerAPIURL) == hostOf(environment.APIBaseURL()) {
			e.fault(p.Name+": server_api_url", "line-host", "The project is of environment %s, and the host of %s.", p.Environment, environment)
		}
	}
}

// mint makes an access token and reads it (docs/line-planet.md 2).
func mint(p *config.Project, o *Options) error {
	issuer := planet.AccessTokenIssuer{ServiceID: p.ServiceID, APIKey: p.APIKey, APISecret: p.APISecret, Skew: p.IssuedAtSkew}
	token, err := issuer.Issue("doctor", o.Now())
	if err != nil {
		return err
	}
	parts := strings.Split(token.Reveal(), ".")
	var claims map[string]any
	if len(parts) == 3 {
		text, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil {
			err = json.Unmarshal(text, &claims)
		}
		if err == nil && len(claims) == 4 && claims["sub"] == p.ServiceID && claims["iss"] == p.APIKey && claims["uid"] == "doctor" {
			return nil
		}
	}
	return errors.New("it does not say what it should")
}

// serverAPI asks LINE Planet to remove a user whom nobody has from a room that there is not: a
// key that is good is answered 404 (docs/line-planet.md 7.1), and nothing happens.
func (e *exam) serverAPI(ctx context.Context) {
	roots, ok := e.roots()
	if !ok {
		return
	}
	c := newCaller(roots, nil)
	defer c.close()
	var group sync.WaitGroup
	for i := range e.cfg.Projects {
		p := &e.cfg.Projects[i]
		if len(p.Placeholders()) > 0 {
			e.skip(p.Name, "not asked: placeholders stand in its credentials")
			continue
		}
		group.Go(func() { e.askLINE(ctx, p, c.transport) })
	}
	group.Wait()
}

func (e *exam) askLINE(ctx context.Context, p *config.Project, way http.RoundTripper) {
	client, err := serverapi.New(serverapi.Config{
		Environment: p.Environment, BaseURL: p.ServerAPIURL, ServiceID: p.ServiceID, APIKey: p.APIKey, APISecret: p.APISecret,
		Timeout: askTime, Transport: way,
	})
	if err != nil {
		e.fault(p.Name, "line-secret", "The Server API cannot be asked: the key, the secret or server_api_url cannot be used.")
		return
	}
	nobody := "doctor-" + bell.NewID()
	// A second of patience: the client tries again what failed, and this only asks.
	err = client.KickOut(ctx, planet.RoomRef{ServiceID: p.ServiceID, RoomID: nobody}, []string{nobody + "-user"}, "doctor")
	known := []struct {
		kind  error
		fault string
	}{
		{serverapi.ErrUnauthorized, "line-refused"},
		{serverapi.ErrForbidden, "line-forbidden"},
		{serverapi.ErrNoAnswer, "line-unreachable"},
	}
	i := slices.IndexFunc(known, func(k struct {
		kind  error
		fault string
	},
	) bool {
		return errors.Is(err, k.kind)
	})
	switch {
	case err == nil, errors.Is(err, serverapi.ErrNotFound):
		e.ok(p.Name, "LINE Planet (%s) takes the key for service %s.", p.Environment, p.ServiceID)
	case i >= 0 && known[i].kind == serverapi.ErrNoAnswer:
		e.fault(p.Name, known[i].fault, "LINE Planet (%s) gives no answer: %s.", p.Environment, why(err))
	case i >= 0:
		e.fault(p.Name, known[i].fault, "LINE Planet (%s) says: %s.", p.Environment, known[i].kind)
	default:
		e.fault(p.Name, "line-unwell", "LINE Planet (%s) gives an answer that tells nothing of the key.", p.Environment)
	}
}
