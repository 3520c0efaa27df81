package console

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
)

// common is what the api and the site have in common: what they are made of, and what they ask of
// it in the same way. Safe for concurrent use.
type common struct {
	Config
	services Services
	trials   *rate.Limiter

	// What the overview asks the database for.
	ringing  *shared[[]bell.Call]
	tally    *shared[tallied]
	failing  *shared[[]call.FailingGroup] // of the last failingSpan
	statuses *shared[[]webhook.Status]
}

func newCommon(config Config, services Services) *common {
	return &common{
		Config: config, services: services, trials: rate.NewLimiter(trialRate, trialBurst),
		ringing: newShared[[]bell.Call](), tally: newShared[tallied](),
		failing: newShared[[]call.FailingGroup](), statuses: newShared[[]webhook.Status](),
	}
}

// project finds a project by name.
func (c *common) project(name string) (*bell.Project, error) {
	if name == "" {
		return nil, invalid("project: name the project; GET /admin/v1/projects lists them.")
	}
	project, ok := c.services.Projects.ByName(name)
	if !ok {
		return nil, bell.E(bell.NotFound, "There is no project with this name; GET /admin/v1/projects lists them.", nil)
	}
	return project, nil
}

// noteUser notes on whom somebody acts and in which project, before that is done: a write whose
// caller waits too long may still happen. What cannot be a user's ID is left out: it may be
// anything.
func noteUser(ctx context.Context, key, userID string, project *bell.Project) {
	if planet.ValidateUserID(userID) == nil {
		note(ctx, slog.String(key, userID))
	}
	note(ctx, slog.String("project", project.Name))
}

// noteReplayed notes how many events are told anew, also when an error kept others from it.
func noteReplayed(ctx context.Context, n int, err error) {
	if err == nil || n > 0 {
		note(ctx, slog.Int("replayed_events", n))
	}
}

// noteTelling notes which event is told to which endpoint, before that is done. What cannot be the
// ID of an event, or an endpoint of a project here, is left out: it may be anything.
func (c *common) noteTelling(r *http.Request, id, endpoint string) {
	if ofEvent.MatchString(id) {
		note(r.Context(), slog.String("event", id))
	}
	project, name, _ := strings.Cut(endpoint, "/")
	if _, ok := c.services.Projects.ByName(project); ok && ofEndpoint.MatchString(name) {
		note(r.Context(), slog.String("endpoint", endpoint))
	}
}

func (c *common) overview(ctx context.Context) (o overview, err error) {
	o.ready = c.Ready(ctx)
	o.ringing, err = c.ringing.get(ctx, c.Now, func(ctx context.Context) ([]bell.Call, error) {
		return c.services.Calls.List(ctx, call.Filter{State: bell.CallRinging}, call.Cursor{}, MaxLimit)
	})
	if err != nil {
		return o, err
	}
	told, err := c.tally.get(ctx, c.Now, func(ctx context.Context) (t tallied, err error) {
		since := c.Now().Add(-overviewSpan).Truncate(time.Minute)
		t.minutes, t.more, err = c.services.Figures.Tally(ctx, since, overviewCalls)
		return t, err
	})
	if err != nil {
		return o, err
	}
	o.tallied = told
	o.look = c.services.Window.Look()
	return o, nil
}

func (c *common) readiness(ctx context.Context, project *bell.Project, userID string) (u readiness, err error) {
	u.owner = bell.Owner{Environment: project.Environment, User: planet.UserRef{ServiceID: project.ServiceID, UserID: userID}}
	devices, err := c.services.Devices.Of(ctx, u.owner)
	if err != nil {
		return u, err
	}
	u.devices = call.Ready(devices, c.Now(), c.services.Route)
	rules, err := c.services.Rules.RulesOf(ctx, project, userID)
	switch {
	case err == nil:
		u.quiet = rules.DoNotDisturb.Holds(c.Now())
	case bell.KindOf(err) != bell.Forbidden && bell.KindOf(err) != bell.Invalid: // the project has no rules
		return u, err
	}
	return u, nil
}

// try sends a test to the device of a path.
func (c *common) try(r *http.Request, asCall bool) (d bell.Device, result delivery.TrialResult, err error) {
	if d, err = c.device(r); err != nil {
		return d, result, err
	}
	if !c.trials.AllowN(c.Now(), 1) {
		return d, result, bell.E(bell.TooMany, "Too many tests; wait a few seconds. Each is a push to somebody's phone.", nil)
	}
	trial := delivery.Trial{Device: d, Call: asCall}
	if p, ok := c.services.Projects.ByName(d.Project); ok {
		trial.Label = p.EnvironmentLabel
	}
	note(r.Context(), slog.String("tested_device", d.ID))
	if result, err = c.services.Trials.Try(r.Context(), trial); err != nil {
		return d, result, err
	}
	note(r.Context(), slog.String("verdict", string(result.Attempt.Outcome.Verdict)),
		slog.String("reason", result.Attempt.Outcome.Reason))
	return d, result, nil
}

// device finds the device of a path.
func (c *common) device(r *http.Request) (bell.Device, error) {
	const none = "There is no device with this ID."
	id := r.PathValue("id")
	if !deviceID(id) {
		return bell.Device{}, bell.E(bell.NotFound, none, nil)
	}
	d, err := c.services.Devices.Show(r.Context(), id)
	return d, missing(err, none)
}

// callbackURL is where Notify comes, its secret masked.
func (c *common) callbackURL(p *bell.Project) string {
	return strings.TrimSuffix(c.PublicURL, "/") + "/cb/" + mask(p.CallbackSecret) + "/notify"
}

// runOf finds the run of a path, with a page of who was in it.
func (c *common) runOf(r *http.Request, q query, limit int) (run bell.RoomRun, people []bell.Participant, next string, err error) {
	environment, err := q.environment()
	if err != nil {
		return run, nil, "", err
	}
	after, err := parseUserCursor(q.text("after"))
	if err != nil {
		return run, nil, "", err
	}
	id, err := planet.ParseSessionID(r.PathValue("sid"))
	if err != nil {
		return run, nil, "", invalid("sid: %s.", err)
	}
	const none = "There is no run of this room with this session ID."
	if run, err = c.services.Rooms.Show(r.Context(), environment, id); err != nil {
		return run, nil, "", missing(err, none)
	}
	if run.Room != (planet.RoomRef{ServiceID: r.PathValue("service"), RoomID: r.PathValue("room")}) {
		return run, nil, "", bell.E(bell.NotFound, none, nil)
	}
	if people, err = c.services.Rooms.People(r.Context(), &run, after, limit+1); err != nil {
		return run, nil, "", err
	}
	if len(people) > limit {
		people = people[:limit]
		next = formatUserCursor(people[limit-1].User)
	}
	return run, people, next, nil
}

// memberOf is member with a query that is read otherwise.
func (c *common) memberOf(r *http.Request, read func() (query, error)) (*bell.Project, string, error) {
	q, err := read()
	if err != nil {
		return nil, "", err
	}
	environment, err := q.environment()
	if err != nil {
		return nil, "", err
	}
	found, err := c.ofService(environment, r.PathValue("service"))
	return found, r.PathValue("user"), err
}

// ofService finds the project of a service; the environment may be empty when that is clear.
func (c *common) ofService(environment planet.Environment, service string) (*bell.Project, error) {
	var found *bell.Project
	for _, p := range c.services.Projects.All() {
		if p.ServiceID != service || environment != "" && p.Environment != environment {
			continue
		}
		if found != nil {
			return nil, invalid("environment: the service is configured in both; say which, evaluation or real.")
		}
		found = p
	}
	if found == nil {
		return nil, bell.E(bell.NotFound, "There is no project of this service; GET /admin/v1/projects lists them.", nil)
	}
	return found, nil
}
