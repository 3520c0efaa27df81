package console

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console/pages"
	"github.com/planetbell/planetbell/internal/console/signin"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/planet"
)

// MinToken is the shortest admin token that is accepted, in characters. A shorter one
// could be guessed, and is treated as none: then the API refuses everybody.
const MinToken = signin.MinToken

// Devices is what the console needs of the device registry.
type Devices interface {
	// List returns a page of devices, ordered by ID, after the given ID.
	List(ctx context.Context, f device.Filter, after string, limit int) ([]bell.Device, error)
	// Add records a device for a user of the project.
	Add(ctx context.Context, project *bell.Project, n device.NewDevice) (bell.Device, error)
	// Show returns a device; bell.NotFound when there is none with this ID.
	Show(ctx context.Context, id string) (bell.Device, error)
	// Of returns all devices of a user, oldest first.
	Of(ctx context.Context, owner bell.Owner) ([]bell.Device, error)
	// Remove forgets a device; bell.NotFound when there is none with this ID.
	Remove(ctx context.Context, id string) error
}

// Calls is what the console needs of the call log.
type Calls interface {
	// List returns calls older than the cursor, newest first.
	List(ctx context.Context, f call.Filter, before call.Cursor, limit int) ([]bell.Call, error)
	// Show returns everything recorded about a call, or bell.NotFound. Without an
	// environment the newest call with the session ID is meant.
	Show(ctx context.Context, environment planet.Environment, id planet.SessionID) (call.Record, error)
	// JournalOf returns the callbacks of a session, oldest first.
	JournalOf(ctx context.Context, id planet.SessionID) ([]bell.JournalEntry, error)
}

// Tokens issues PlanetKit access tokens for any user.
type Tokens interface {
	MintFor(ctx context.Context, project *bell.Project, userID string) (planet.Secret, error)
}

// Rules is what the console needs of users' call rules.
type Rules interface {
	// RulesOf and ReplaceRules return bell.Forbidden when the project has no call rules, and
	// bell.Invalid for what cannot be a user.
	RulesOf(ctx context.Context, project *bell.Project, userID string) (policy.Rules, error)
	ReplaceRules(ctx context.Context, project *bell.Project, userID string, rules policy.Rules) error
}

// Watch is what the console needs to have all be logged about one user's calls.
type Watch interface {
	// Add returns bell.Invalid for a time that is not allowed, and bell.TooMany.
	Add(owner bell.Owner, now time.Time, long time.Duration) (call.Watched, error)
	// Remove reports whether the user was watched.
	Remove(owner bell.Owner, now time.Time) bool
	// List returns who is watched.
	List(now time.Time) []call.Watched
}

// Projects is what the console needs of the configuration.
type Projects interface {
	ByName(name string) (*bell.Project, bool)
	All() []*bell.Project
}

// Services is what the console asks. All are needed but Audit, without which nothing is recorded.
type Services struct {
	Devices  Devices
	Calls    Calls
	Rooms    Rooms
	Tokens   Tokens
	Projects Projects
	Events   Events
	Rules    Rules
	Watch    Watch
	Figures  call.Figures
	Window   Looker
	Trials   Trials
	// Route says why nothing leads to a device: a bounded word, empty if something does.
	Route func(*bell.Device) string
	Audit audit.Store
}

// Config is what a console is made of. Its zero value works, and lets nobody in.
type Config struct {
	// Token opens everything. One shorter than MinToken opens nothing.
	Token planet.Secret
	// SignIn has all other credentials. Its Token, Now and Log are those of here.
	SignIn signin.Config
	// OpenOnLoopback lets everybody in who connects from this machine, by a loopback name
	// or address, while there are no credentials.
	OpenOnLoopback bool
	// Exemplars lets /metrics speak OpenMetrics, which has the traces of some requests.
	Exemplars bool
	// ProtectMetrics makes /metrics want the role viewer.
	ProtectMetrics bool
	// Hosts are the names, without port, under which the listener is reached, besides
	// localhost and IP addresses. Requests for another name are refused.
	Hosts []string
	// PublicURL is where Planet Cloud reaches this server, such as
	// https://bell.example.com. Empty: callback URLs are shown as paths.
	PublicURL string
	// Channels says by which channels a project's devices can be reached, that is, for
	// which it has credentials. nil: none are shown.
	Channels func(*bell.Project) []bell.Channel
	// Ready returns "" when the server can take calls, else a sentence that says what
	// it waits for. It must honour ctx. nil: always ready.
	Ready func(ctx context.Context) string
	// Node is what this process is called where several share a database; /readyz says it. Empty: it
	// is the only one.
	Node string
	// AnswerNonce puts into the answer of /readyz which server this is, if the request asks for
	// it. nil: nobody is answered.
	AnswerNonce func(w http.ResponseWriter, r *http.Request)
	// Version of the program, for /debug/info.
	Version string
	// Settings is the configuration in effect, as YAML without any secret.
	Settings string
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Stopping ends when the server begins to stop, so that pages which follow something do not
	// keep it; nil: they end with their connections.
	Stopping context.Context //nolint:containedctx // of the server, not of a request
}

// console answers the admin listener: it says who asks and whether they may, bounds and records
// what they do, and leaves the answer to the api or to the site. Everything in it is read-only
// after New, or safe for concurrent use.
type console struct {
	*common
	api      *api
	site     *site
	signin   *signin.Service
	hosts    map[string]bool
	refusals *rate.Limiter // one token for each refusal that is answered at leisure and logged
	started  time.Time
	log      *slog.Logger

	auditRefusals *rate.Limiter // one token for each refusal that is recorded
	unaudited     atomic.Int64  // refusals since the last one that was
}

// api answers programs, in JSON.
type api struct{ *common }

// site answers people, with pages.
type site struct {
	*common
	pages   *pages.Pages
	watches *watches
	// identify says who asks; a session is in use only if they act.
	identify func(r *http.Request, acts bool) (signin.Principal, error)
}

// parsed are the pages, which are the same for every console.
var parsed = sync.OnceValues(pages.New)

// New makes the admin listener's handler. It is safe for concurrent use and starts no
// goroutine. Metrics of gatherer are shown at /metrics.
func New(config Config, services Services, log *slog.Logger, gatherer prometheus.Gatherer) http.Handler {
	c := build(config, services, log)
	return c.guard(c.mux(c.routes(gatherer)))
}

// build makes all that answers, but not yet the way to it.
func build(config Config, services Services, log *slog.Logger) *console {
	drawn, err := parsed()
	if err != nil {
		panic(err) // templates and files are part of the program, and every test makes them
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Ready == nil {
		config.Ready = func(context.Context) string { return "" }
	}
	if config.AnswerNonce == nil {
		config.AnswerNonce = func(http.ResponseWriter, *http.Request) {}
	}
	if config.Channels == nil {
		config.Channels = func(*bell.Project) []bell.Channel { return nil }
	}
	if services.Audit == nil {
		services.Audit = unrecorded{}
	}
	both := newCommon(config, services)
	c := &console{
		common: both, api: &api{both}, started: config.Now(), hosts: hostSet(config.Hosts),
		refusals:      rate.NewLimiter(refusalRate, refusalBurst),
		auditRefusals: rate.NewLimiter(auditedRefusalRate, auditedRefusalBurst),
		log:           log.With("component", "console"),
	}
	c.site = &site{common: both, pages: drawn, watches: new(watches), identify: c.identify}
	access := config.SignIn
	access.Token, access.Now, access.Log, access.Page = config.Token, config.Now, c.log, c.site.signInPage
	c.signin = signin.New(access)
	return c
}

// unrecorded is an audit log that keeps nothing.
type unrecorded struct{}

// Audit implements audit.Store.
func (unrecorded) Audit(context.Context, audit.Entry) error { return nil }

// AuditLog implements audit.Store.
func (unrecorded) AuditLog(context.Context, audit.Filter, audit.Cursor, int) ([]audit.Entry, error) {
	return nil, nil
}
