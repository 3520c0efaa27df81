// Package httpapi is the public listener: LINE Planet's callbacks, the /v2 API that
// LINE's demo apps speak, and the contract of both. It turns HTTP into calls of the
// capabilities and their results into answers; it holds no rules about calls or
// devices.
//
// Start with routes.go: it names every route. A handler returns an error, and
// errors.go turns it into a status; middleware.go writes one log line per request.
// The /v2 answers follow a contract that four official clients decode, each strict in
// another way; openapi.yaml states it and the tests hold every answer against it.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/planet"
)

// Projects finds a project by what requests carry.
type Projects interface {
	// ByCallbackSecret finds the project whose callback URLs hold the secret.
	ByCallbackSecret(secret planet.Secret) (*bell.Project, bool)
	// Reaching finds a project that serves the service's users in the environment.
	Reaching(environment planet.Environment, serviceID string) (*bell.Project, bool)
}

// Accounts says who a client is.
type Accounts interface {
	// SignUp returns an app token, or bell.Taken, bell.Invalid, bell.Unauthorized.
	SignUp(ctx context.Context, in account.SignUp) (planet.Secret, error)
	// Authenticate returns bell.Unauthorized only when the app token really is bad.
	Authenticate(ctx context.Context, appToken planet.Secret) (bell.Identity, error)
	// AccessToken issues a fresh PlanetKit access token for the identity's user.
	AccessToken(ctx context.Context, id bell.Identity) (planet.Secret, error)
}

// Devices keeps what can ring.
type Devices interface {
	// Register and UpdateToken return what had become of the push token given before.
	Register(ctx context.Context, id bell.Identity, said device.Description) (device.Notice, error)
	UpdateToken(ctx context.Context, id bell.Identity, address device.Address) (device.Notice, error)
	// Polling returns the device that a long poll of this identity belongs to.
	Polling(ctx context.Context, id bell.Identity, notices bool) (deviceID string, err error)
	// DeviceOf returns the identity's device, or bell.NotFound. It changes nothing.
	DeviceOf(ctx context.Context, id bell.Identity) (deviceID string, err error)
}

// Calls takes what Planet Cloud says about calls. When a method returns nil, what it
// was told is on disk, or will be as soon as the disk takes it (docs/adr/0005).
type Calls interface {
	Ring(ctx context.Context, project *bell.Project, n planet.NotifyCallback) (call.RingResult, error)
	End(ctx context.Context, project *bell.Project, e planet.CallEvent) error
	Journal(ctx context.Context, project *bell.Project, item call.JournalItem) error
}

// History shows users their own calls.
type History interface {
	// History returns bell.Unauthorized when the session that asks was revoked.
	History(ctx context.Context, q call.HistoryQuery) (call.HistoryPage, error)
}

// Rooms takes what Planet Cloud says about group calls, and invites people into them.
type Rooms interface {
	// Take is for Group Call Events what Calls.End is for Call Events.
	Take(ctx context.Context, project *bell.Project, e planet.GroupCallEvent) error
	// Invite tells users' devices that they are wanted in a room.
	Invite(ctx context.Context, project *bell.Project, r room.Request) (room.Invited, error)
}

// Mailbox holds calls for devices that ask for them.
type Mailbox interface {
	// Wait returns the next call for the poll's device, or nil when none came within its
	// hold. It delays refusals by itself. It returns early when ctx ends.
	Wait(ctx context.Context, poll bell.Poll) (*bell.Letter, error)
	// Stream hands what comes for the subscription's device to write, one thing after another,
	// until its hold is over, ctx ends, or write returns false. When it returns an error, after
	// a wait, it has called write not once.
	Stream(ctx context.Context, s *bell.Stream, write func(bell.StreamEvent) (written bool)) error
}

// Receipts takes devices' word that they have a call.
type Receipts interface {
	// Receive returns bell.NotFound when the call was never for the device. When it returns
	// nil, the receipt is on disk.
	Receive(ctx context.Context, r bell.Receipt) (bell.Arrival, error)
}

// Rules keeps what users do not want to hear. Its methods return bell.Forbidden when the
// identity's project has no such rules.
type Rules interface {
	// Block returns bell.Invalid when the list is full, or the user cannot be one.
	Block(ctx context.Context, id bell.Identity, user planet.UserRef) error
	Unblock(ctx context.Context, id bell.Identity, user planet.UserRef) error
	Mine(ctx context.Context, id bell.Identity) (policy.Rules, error)
	SetDoNotDisturb(ctx context.Context, id bell.Identity, d policy.DoNotDisturb) error
}

// Traces writes what becomes of calls as traces.
type Traces interface {
	// Callback begins the span of a callback about a call, at start. traceparent is the header
	// that came with it. end is called with what was answered. traceID is empty when the trace is
	// not sampled.
	Callback(kind string, environment planet.Environment, sid planet.SessionID, traceparent string, start time.Time) (traceID string, end func(status int))
}

// Services are the capabilities behind the routes. All are needed.
type Services struct {
	Projects Projects
	Accounts Accounts
	Devices  Devices
	Calls    Calls
	History  History
	Rooms    Rooms
	Mailbox  Mailbox
	Receipts Receipts
	Rules    Rules
	WebPush  WebPush
}

// Defaults and bounds of Config.
const (
	// DefaultHold is how long a poll waits: below every client's time-out and below
	// the 29 to 30 seconds after which the shortest common proxies cut.
	DefaultHold = 25 * time.Second
	// MinHold and MaxHold bound it: the Apple client and many proxies give up at 60 s.
	MinHold = 5 * time.Second
	MaxHold = 55 * time.Second
	// DefaultBeat is how often a stream says that it lives when it has nothing to say: the
	// shortest common proxies cut a silent connection after 29 to 30 seconds.
	DefaultBeat = 15 * time.Second
	// DefaultStreamLife is how long a stream lives.
	DefaultStreamLife = time.Hour
	// DefaultNotifyCap is the most that an answer to Notify may take. Planet Cloud's
	// own limit is not public; its clients wait 30 seconds for the whole set-up.
	DefaultNotifyCap = 3 * time.Second
	// DefaultPerMinute is how many sign-ups, and how many misses (wrong app tokens,
	// unknown paths, wrong callback secrets), one client address may make in a minute.
	DefaultPerMinute = 60
	// DefaultInvitations is how many users one user may invite in a minute: the most that
	// one request may name, and a few.
	DefaultInvitations = 120
	// DefaultReceipts is how many receipts one user's devices may send in a minute: far more than
	// calls can come in, on many devices, with repeats.
	DefaultReceipts = 600
)

// Config is how the listener behaves. The zero value is a working one without CORS,
// without trusted proxies, open to callbacks from everywhere.
type Config struct {
	// Traces gets callbacks about calls; nil: none are written.
	Traces Traces
	// WebOrigins are the origins whose pages may call /v2, such as
	// "https://app.example.com": scheme, host, and the port if it is not the usual one.
	WebOrigins []string
	// TrustedProxies are the peers whose X-Forwarded-For and X-Request-Id are believed.
	TrustedProxies []netip.Prefix
	// CallbackSources are the addresses that callbacks may come from; empty: any.
	CallbackSources []netip.Prefix
	// Recording opens the receiver of recording callbacks, which keeps them as they come.
	Recording bool
	// Hold is how long a poll waits for a call; DefaultHold if 0. It is moved into
	// MinHold to MaxHold, and each poll takes up to a tenth less.
	Hold time.Duration
	// Beat is how often a stream with nothing to say writes a comment; DefaultBeat if 0.
	Beat time.Duration
	// StreamLife is how long a stream lives at most; DefaultStreamLife if 0. Each takes up to a
	// tenth less.
	StreamLife time.Duration
	// Identity answers a nonce of 16 to 64 characters that a callback URL is asked with (header
	// Planetbell-Nonce), in the header Planetbell-Identity; nil: nobody is answered.
	Identity func(nonce string) string
	// NotifyCap is the longest time a Notify may take; DefaultNotifyCap if 0.
	NotifyCap time.Duration
	// SignUpsPerMinute and MissesPerMinute are per client address (IPv6: per /64);
	// DefaultPerMinute if 0, no limit if negative.
	SignUpsPerMinute int
	MissesPerMinute  int
	// AccessTokensPerMinute is how many PlanetKit access tokens one user may ask for;
	// DefaultPerMinute if 0, no limit if negative. Planet Cloud has a limit of its own
	// (disconnect reason 1512), and LINE's Windows client forgets its user when it is
	// refused here, so it is far above what people dial.
	AccessTokensPerMinute int
	// HistoriesPerMinute is how many pages of calls one user may ask for; DefaultPerMinute
	// if 0, no limit if negative.
	HistoriesPerMinute int
	// RulesPerMinute is how often one user may read or change block list and do-not-disturb;
	// DefaultPerMinute if 0, no limit if negative.
	RulesPerMinute int
	// ReceiptsPerMinute is how many receipts one user's devices may send; DefaultReceipts if 0, no
	// limit if negative. Each is a transaction, and those of one client must not hold up calls.
	ReceiptsPerMinute int
	// InvitationsPerMinute is how many users one user may invite into rooms;
	// DefaultInvitations if 0, no limit if negative.
	InvitationsPerMinute int
	// Brief reports whether polls are to be held for some seconds only, because this node hears
	// of no calls at the moment and the client's next poll may come to one that does. Nil: never.
	Brief func() bool
	// Now is the clock of timestamps and limits; time.Now if nil.
	Now func() time.Time
}

func (c Config) withDefaults() Config {
	if c.Hold == 0 {
		c.Hold = DefaultHold
	}
	c.Hold = min(max(c.Hold, MinHold), MaxHold)
	if c.Beat <= 0 {
		c.Beat = DefaultBeat
	}
	if c.StreamLife <= 0 {
		c.StreamLife = DefaultStreamLife
	}
	if c.NotifyCap <= 0 {
		c.NotifyCap = DefaultNotifyCap
	}
	if c.SignUpsPerMinute == 0 {
		c.SignUpsPerMinute = DefaultPerMinute
	}
	if c.MissesPerMinute == 0 {
		c.MissesPerMinute = DefaultPerMinute
	}
	if c.AccessTokensPerMinute == 0 {
		c.AccessTokensPerMinute = DefaultPerMinute
	}
	if c.HistoriesPerMinute == 0 {
		c.HistoriesPerMinute = DefaultPerMinute
	}
	if c.RulesPerMinute == 0 {
		c.RulesPerMinute = DefaultPerMinute
	}
	if c.ReceiptsPerMinute == 0 {
		c.ReceiptsPerMinute = DefaultReceipts
	}
	if c.InvitationsPerMinute == 0 {
		c.InvitationsPerMinute = DefaultInvitations
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// api is what handlers share. It is read-only after New.
type api struct {
	config   Config
	services Services
	log      *slog.Logger
	metrics  metrics
	origins  map[string]bool
	signUps  *limiter[netip.Addr] // by household
	misses   *limiter[netip.Addr] // by household
	tokens   *limiter[bell.Owner]
	rules    *limiter[bell.Owner]
	invites  *limiter[bell.Owner]
	receipts *limiter[bell.Owner]

	histories *limiter[bell.Owner]
}

// New makes the handler of the public listener. Its metrics are registered with
// registerer, which may be nil; a second New on the same one panics. Serve it with
// [NewServer]: its limits are part of the contract.
func New(config Config, services Services, log *slog.Logger, registerer prometheus.Registerer) http.Handler {
	config = config.withDefaults()
	a := &api{
		config:   config,
		services: services,
		log:      log.With("component", "httpapi"),
		metrics:  newMetrics(registerer),
		origins:  make(map[string]bool, len(config.WebOrigins)),
		signUps:  newLimiter[netip.Addr](config.SignUpsPerMinute),
		misses:   newLimiter[netip.Addr](config.MissesPerMinute),
		tokens:   newLimiter[bell.Owner](config.AccessTokensPerMinute),
		rules:    newLimiter[bell.Owner](config.RulesPerMinute),
		invites:  newLimiter[bell.Owner](config.InvitationsPerMinute),
		receipts: newLimiter[bell.Owner](config.ReceiptsPerMinute),

		histories: newLimiter[bell.Owner](config.HistoriesPerMinute),
	}
	for _, origin := range config.WebOrigins {
		a.origins[normalOrigin(origin)] = true
	}
	return a.observe(a.bounded(tidy(a.mux())))
}
