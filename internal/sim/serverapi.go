package sim

import (
	"cmp"
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// ServerAPIOptions configures [NewServerAPI].
type ServerAPIOptions struct {
	Cloud   *Cloud // required; its projects, rooms, calls and clock are used
	CA      *CA    // required by Start
	Address string // host:port on loopback; "" is any port of 127.0.0.1
	Limit   int    // requests per second and API key; 0 is LINE Planet's 100
	Seed    uint64 // of the order of callbacks, and of faults with a share
	Recent  int    // how many requests are kept; 0 is 10,000
}

// APIRequest is a request that the Server API answered, or would have.
type APIRequest struct {
	At        time.Time        `json:"at"`
	Operation string           `json:"operation"` // kick-out, broadcast, audio-caller; "" for an unknown path
	Status    int              `json:"status"`    // 0 if no answer was sent
	Why       string           `json:"why,omitempty"`
	Executed  bool             `json:"executed"` // whatever the answer was
	SessionID planet.SessionID `json:"sid,omitempty"`
}

// StatusOrder says when an Agent Call Status callback comes.
type StatusOrder int

// The orders of an Agent Call Status (docs/line-planet.md 3.4 and 7.5).
const (
	StatusAnyOrder  StatusOrder = iota // one of the others, by the seed
	StatusFirst                        // before Notify
	StatusEarly                        // before the answer to the request; Notify may come before or after
	StatusAfterward                    // after the answer
)

// AgentPlan is what becomes of calls that are placed through the Server API.
type AgentPlan struct {
	Plan  Plan // the zero Plan is answered after a second, for two seconds
	Order StatusOrder
	// FailReason makes the call fail after it was accepted: the status says so, and there is
	// neither Notify nor Call Event.
	FailReason string
}

// ServerAPI is a fake of LINE Planet's Server API (docs/line-planet.md 7): it checks what the
// documentation demands, answers with its statuses, and carries out what it accepts at its
// [Cloud].
type ServerAPI struct {
	o     ServerAPIOptions
	cloud *Cloud
	clock Clock

	l        listener
	faults   *Faults
	requests *ring[APIRequest]
	executed atomic.Uint64

	mu   sync.Mutex
	rand *rand.Rand
	seen map[string][]time.Time // accepted requests of the last second, by API key
	plan AgentPlan
}

// NewServerAPI returns a fake that is not listening yet. Close it before its cloud.
func NewServerAPI(o ServerAPIOptions) *ServerAPI {
	o.Limit = cmp.Or(o.Limit, 100)
	return &ServerAPI{
		o: o, cloud: o.Cloud, clock: o.Cloud.clock,
		faults:   newFaults(providerServerAPI, "server-api", o.Seed, o.Cloud.clock, o.CA),
		requests: newRing[APIRequest](o.Recent),
		rand:     rand.New(rand.NewPCG(o.Seed, o.Seed)), seen: map[string][]time.Time{},
	}
}

// Start listens, with TLS, on HTTP/2 and HTTP/1.1.
func (a *ServerAPI) Start() error {
	cfg, err := tlsConfig(a.o.CA, "h2", "http/1.1")
	if err != nil {
		return err
	}
	var conns atomic.Int64
	return a.l.start(a.o.Address, &http.Server{
		Handler: a, Protocols: overTLS(true),
		ConnContext: withConn(func() int { return int(conns.Add(1)) }),
	}, &tlsOptions{config: cfg, faults: a.faults, streams: apiStreams})
}

// apiStreams is how many concurrent streams the fake advertises.
const apiStreams = 250

// Close ends all connections and faults, and waits for running requests.
func (a *ServerAPI) Close() error { return a.l.close() }

// URL returns the base URL, "https://127.0.0.1:<port>".
func (a *ServerAPI) URL() string { return a.l.url() }

// Faults returns what goes wrong, to be changed. Close ends it.
func (a *ServerAPI) Faults() *Faults { return a.faults }

// Requests returns the newest requests, oldest first.
func (a *ServerAPI) Requests() []APIRequest { return a.requests.all() }

// Executed counts the requests that were carried out, also those whose answer got lost.
func (a *ServerAPI) Executed() uint64 { return a.executed.Load() }

// PlanAgentCalls says what becomes of the calls from now on.
func (a *ServerAPI) PlanAgentCalls(p AgentPlan) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.plan = p
}

// apiAnswer is what a request comes to.
type apiAnswer struct {
	APIRequest
	data any // of a v2 answer
}

// ServeHTTP takes every request. A test can call it without a listener.
func (a *ServerAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	st := streamOf(r)
	surplus, leave := st.enter()
	if surplus {
		st.reset(codeRefused)
	}
	defer leave()
	s := a.faults.strike(r, st)
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // the client gave up
	}
	st.commit()
	if s == nil {
		s = &Answer{}
	}
	w, end := s.dripping(w, r, a.clock)
	defer end()
	if a.clock.Wait(r.Context(), s.Delay) != nil {
		return
	}
	answered := make(chan struct{})
	defer close(answered)
	a.answer(w, r, s, func() apiAnswer { return a.carryOut(r, body, answered) })
}

// answer follows the fault, and judges the request unless the fault answers.
func (a *ServerAPI) answer(w http.ResponseWriter, r *http.Request, s *Answer, carryOut func() apiAnswer) {
	known := routeOf(r)
	got := apiAnswer{APIRequest: APIRequest{At: a.clock.Now(), Operation: known.operation, Status: s.Status, Why: "scripted"}}
	judged := s.Deliver || s.Status == 0 && s.Body == "" && s.breaks == nil && !s.Hang && !s.Close
	if judged {
		got = carryOut()
		if got.Executed {
			a.executed.Add(1)
		}
	}
	if s.breaks != nil || s.Hang || s.Close {
		got.Status = 0
	} else if s.Status != 0 {
		got.Status, got.Why, got.data = s.Status, cmp.Or(s.Reason, "scripted"), nil
	}
	a.requests.add(got.APIRequest) // whoever has the answer finds it on record
	if s.fault(w, r) {
		return
	}
	switch {
	case !known.v2: // a status, and no body
		w.WriteHeader(got.Status)
	case got.Status == http.StatusOK:
		writeJSON(w, got.Status, map[string]any{"status": "success", "data": got.data})
	default:
		writeJSON(w, got.Status, map[string]any{"status": reasonOf(got.Status), "code": got.Status, "message": got.Why})
	}
	_ = http.NewResponseController(w).Flush()
}

// reasonOf returns LINE Planet's word for a status.
func reasonOf(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "BAD_REQUEST"
	case http.StatusUnauthorized:
		return "UNAUTHORIZED"
	case http.StatusForbidden:
		return "FORBIDDEN"
	case http.StatusNotFound:
		return "NOT_FOUND"
	case http.StatusTooManyRequests:
		return "TOO_MANY_REQUEST"
	case http.StatusServiceUnavailable:
		return "SERVICE_UNAVAILABLE"
	}
	return "INTERNAL_SERVER_ERROR"
}

// hurried takes a request of an API key into account, and reports whether there were as many
// as allowed in the second before it.
func (a *ServerAPI) hurried(key string) bool {
	now := a.clock.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	recent := a.seen[key]
	for len(recent) > 0 && now.Sub(recent[0]) >= time.Second {
		recent = recent[1:]
	}
	if len(recent) >= a.o.Limit {
		a.seen[key] = recent
		return true
	}
	a.seen[key] = append(recent, now)
	return false
}

// agentPlan returns the plan of the next call, with everything decided.
func (a *ServerAPI) agentPlan() AgentPlan {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.plan
	if p.Plan.Kind == "" {
		p.Plan = Plan{Kind: PlanAnswered, After: time.Second, Talk: 2 * time.Second, EndedByCaller: true}
	}
	if p.Order == StatusAnyOrder {
		p.Order = StatusFirst + StatusOrder(a.rand.IntN(3))
	}
	return p
}

// reportStatus sends the Agent Call Status of a call.
func (a *ServerAPI) reportStatus(ctx context.Context, serviceID string, sid planet.SessionID, failReason string) {
	got, err := a.cloud.SendAgentStatus(ctx, serviceID, planet.AgentCallStatus{
		SessionID: sid, AgentType: "AUDIO_CALLER", MediaSourceType: "STORED_SOURCE",
		Success: failReason == "", FailReason: failReason,
	})
	if err == nil {
		a.cloud.event(Event{Kind: EventCallback, SessionID: sid, Latency: got.Latency, Text: describe(got)})
	}
}
