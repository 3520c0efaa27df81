package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// CCParamPrefix begins every cc_param that [Cloud] makes, so that logs can be searched
// for leaked ones.
const CCParamPrefix = "eyJjYWxsRmxvd1R5cGUiOiJNIi"

// What [Cloud.Verify] answers, after PlanetKit's start-fail and disconnect reasons
// (docs/line-planet.md 1.5 and 4.3).
var (
	// ErrDecodeCallParam is DECODE_CALL_PARAM (3): the cc_param is not, byte for byte,
	// one that this cloud issued.
	ErrDecodeCallParam = errors.New("DECODE_CALL_PARAM: the cc_param is not the one that Planet Cloud issued")
	// ErrReleasedCall is RELEASED_CALL (1304): the call is over.
	ErrReleasedCall = errors.New("RELEASED_CALL: the call is already over")
	// ErrNotCallee says that the call rang somebody else's phone.
	ErrNotCallee = errors.New("the call is for another user")
	// ErrVerifiedTwice says that the same phone got the same call again.
	ErrVerifiedTwice = errors.New("the phone already rings for this call")
)

// CloudOptions configures [NewCloud].
type CloudOptions struct {
	// Client sends the callbacks. It needs the CA of an app server that has a
	// certificate of its own. nil makes one without redirects and proxies.
	Client   *http.Client
	Clock    Clock         // nil is the machine's
	RingTime time.Duration // how long a caller waits; 0 is 60 s
	// Timeout ends a callback without an answer; 0 is 30 s, the time that PlanetKit's own
	// gateway requests may take (docs/line-planet.md 1.2).
	Timeout time.Duration
	// DetectBusy ends calls to a user who is in a call as busy, without a Notify.
	DetectBusy bool
	// DuplicateShare of callbacks (0 to 1) is sent twice, ReorderShare of them waits up
	// to ReorderDelay first. Seed decides which.
	DuplicateShare float64
	ReorderShare   float64
	ReorderDelay   time.Duration // 0 is 200 ms
	Seed           uint64
	Recent         int         // how many ended calls are kept; 0 is 10,000
	OnEvent        func(Event) // called for everything that happens; must be quick
}

// Project is an app server as the LINE Planet Console knows it.
type Project struct {
	ServiceID string
	// CallbackURL is the registered URL up to the last slash, "http://host/cb/<secret>";
	// "/notify", "/call-event", "/group-call-event", "/agent-call-status" follow it.
	CallbackURL string
	// APIKey and APISecret are the key that access tokens are signed with. With a
	// secret, a [CallRequest] that carries an access token is refused unless it verifies.
	APIKey    string
	APISecret planet.Secret
}

// Cloud is a pretend Planet Cloud: it places calls and sends the server callbacks. It
// listens nowhere.
type Cloud struct {
	o      CloudOptions
	clock  Clock
	client *http.Client
	own    bool // the client is ours to close

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	busy   sync.WaitGroup
	ended  *ring[CallReport]

	mu       sync.Mutex
	closed   bool
	rand     *rand.Rand
	projects map[string]Project
	calls    map[string]*Call // by cc_param
	order    []string         // cc_params, oldest first, to forget the oldest
	talking  map[planet.UserRef]int
	active   int
	rooms    map[planet.RoomRef]*Room // in which a call runs
}

// NewCloud returns a cloud without projects. Close it.
func NewCloud(o CloudOptions) *Cloud {
	if o.RingTime == 0 {
		o.RingTime = defaultRingTime
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.ReorderDelay == 0 {
		o.ReorderDelay = 200 * time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &Cloud{
		o: o, clock: orSystem(o.Clock), client: o.Client, ctx: ctx, cancel: cancel,
		ended: newRing[CallReport](o.Recent), rand: rand.New(rand.NewPCG(o.Seed, o.Seed)),
		projects: map[string]Project{}, calls: map[string]*Call{}, talking: map[planet.UserRef]int{},
		rooms: map[planet.RoomRef]*Room{},
	}
	if c.client == nil {
		c.own = true
		c.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}
	}
	return c
}

// AddProject registers the callback URLs of a service, in the place of earlier ones.
func (c *Cloud) AddProject(p Project) error {
	if !strings.HasPrefix(p.CallbackURL, "http://") && !strings.HasPrefix(p.CallbackURL, "https://") {
		return fmt.Errorf("the callback URL of service %q is not http or https", p.ServiceID)
	}
	p.CallbackURL = strings.TrimSuffix(p.CallbackURL, "/")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.projects[p.ServiceID] = p
	return nil
}

// Close ends running calls without a Call Event, and waits for everything.
func (c *Cloud) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.busy.Wait()
	if c.own {
		c.client.CloseIdleConnections()
	}
}

// CallRequest asks for a 1-to-1 call.
type CallRequest struct {
	// Caller's service must be a project: its callback URLs are used.
	Caller, Callee planet.UserRef
	Type           planet.CallType // "" is audio
	AppServerData  string          // sent as app_svr_data and as stid
	AccessToken    planet.Secret   // the caller's; "" is not checked
	Plan           Plan
	RingTime       time.Duration // how long this call rings; 0 is the cloud's

	before func(context.Context, planet.SessionID) // runs before Notify; may be nil
}

// Place makes a call and returns at once.
func (c *Cloud) Place(r CallRequest) (*Call, error) {
	if err := r.Plan.check(); err != nil {
		return nil, err
	}
	if r.Type == "" {
		r.Type = planet.AudioCall
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errors.New("the cloud is closed")
	}
	p, ok := c.projects[r.Caller.ServiceID]
	if !ok {
		return nil, fmt.Errorf("the service %q is no project of this cloud; add it with AddProject", r.Caller.ServiceID)
	}
	if err := p.checkAccess(r.AccessToken, r.Caller, c.clock.Now()); err != nil {
		return nil, err
	}
	if c.o.DetectBusy && c.talking[r.Callee] > 0 {
		r.Plan.Kind = PlanBusy
	}
	call := newCall(c, p, r)
	c.remember(call)
	c.active++
	c.busy.Add(1)
	go func() {
		defer c.busy.Done()
		call.run(c.ctx)
	}()
	return call, nil
}

// remember stores the call by its cc_param, forgetting the oldest ended ones.
func (c *Cloud) remember(call *Call) {
	c.calls[call.ccParam] = call
	c.order = append(c.order, call.ccParam)
	if limit := max(c.ended.cap, 2*c.active); len(c.order) > limit {
		old := c.order[:len(c.order)-limit]
		for _, cc := range old {
			delete(c.calls, cc)
		}
		c.order = slices.Clone(c.order[len(old):])
	}
}

// Run makes a call and waits for its end. The report is complete unless err is not nil.
func (c *Cloud) Run(ctx context.Context, r CallRequest) (CallReport, error) {
	call, err := c.Place(r)
	if err != nil {
		return CallReport{}, err
	}
	select {
	case <-call.Done():
		return call.Report(), nil
	case <-ctx.Done():
		return call.Report(), ctx.Err()
	}
}

// Reports returns the newest ended calls, oldest first.
func (c *Cloud) Reports() []CallReport { return c.ended.all() }

// Active returns how many calls run.
func (c *Cloud) Active() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.active
}

// Verify is PlanetKit's verifyCall: the phone shows the cc_param that it got. phone
// names the device within the user's devices.
func (c *Cloud) Verify(phone string, user planet.UserRef, ccParam string) (*Leg, error) {
	c.mu.Lock()
	call := c.calls[ccParam]
	c.mu.Unlock()
	if call == nil {
		return nil, ErrDecodeCallParam
	}
	return call.verify(phone, user)
}

// finished is called by a call at its end.
func (c *Cloud) finished(r CallReport) {
	c.mu.Lock()
	c.active--
	c.mu.Unlock()
	c.ended.add(r)
}

// talk counts the calls that a user is in.
func (c *Cloud) talk(n int, users ...planet.UserRef) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, u := range users {
		if c.talking[u] += n; c.talking[u] <= 0 {
			delete(c.talking, u)
		}
	}
}

// chance decides by the seeded source.
func (c *Cloud) chance(share float64) bool {
	if share <= 0 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rand.Float64() < share
}

// jitter returns a random part of d.
func (c *Cloud) jitter(d time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.rand.Int64N(int64(d) + 1))
}

func (c *Cloud) event(e Event) {
	if c.o.OnEvent == nil {
		return
	}
	e.At, e.Source = c.clock.Now(), "cloud"
	c.o.OnEvent(e)
}
