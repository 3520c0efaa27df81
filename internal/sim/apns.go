package sim

import (
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// APNsEnvironment is one of Apple's two push environments.
type APNsEnvironment string

// The APNs environments.
const (
	APNsSandbox    APNsEnvironment = "sandbox"
	APNsProduction APNsEnvironment = "production"
)

// APNsOptions configures [NewAPNs].
type APNsOptions struct {
	Environment APNsEnvironment // "" is production
	CA          *CA             // required; also the authority of client certificates
	Address     string          // host:port on loopback; "" is any port of 127.0.0.1
	Clock       Clock           // nil is the machine's
	// Strict is the call test: apns-push-type must be present, and apns-expiration must
	// be present and 0 or at most RingTime ahead.
	Strict   bool
	RingTime time.Duration // 0 is 60 s
	// Streams is how many concurrent streams a connection may have once its first
	// provider token was accepted; 0 is 1000.
	Streams int
	// TokenRate is how many pushes per second a device token may get; 0 is no limit.
	TokenRate int
	Seed      uint64         // of faults with a share
	Recent    int            // how many pushes and rejections are kept; 0 is 10,000
	OnPush    func(APNsPush) // called for every accepted push; must be quick
}

// APNsKey is a token signing key ("AuthKey_<ID>.p8") as Apple knows it.
type APNsKey struct {
	ID, TeamID  string
	Public      *ecdsa.PublicKey
	Environment APNsEnvironment // "" is both, as old keys are
	Topics      []string        // empty is every topic of the team
}

// APNsRequest is what a script sees of a request before it is judged.
type APNsRequest struct {
	Token  string // from the path; may be anything
	Header http.Header
	Body   []byte // at most 64 KiB
	Conn   int    // number of the connection, from 1
	Number uint64 // number of the request, from 1
}

// APNsPush is an accepted push.
type APNsPush struct {
	At       time.Time
	Conn     int
	Token    string
	Topic    string
	PushType string
	ID       string // apns-id, sent or generated
	Header   http.Header
	Body     []byte
}

// APNsRejection is a push that was refused by the checks or by a script.
type APNsRejection struct {
	At     time.Time
	Conn   int
	Token  string
	Status int
	Reason string // APNs' reason
	Why    string // the simulator's explanation, for people
	Header http.Header
}

// APNsStats counts what happened since the start.
type APNsStats struct {
	Connections int
	Requests    uint64
	Accepted    uint64
	Rejected    map[string]uint64 // by reason
	Surplus     uint64            // requests above the limit of streams, refused
}

// APNs is a fake of one of Apple's push servers. Make one per environment.
type APNs struct {
	o      APNsOptions
	clock  Clock
	l      listener
	faults *Faults

	conns    atomic.Int64
	requests atomic.Uint64
	surplus  atomic.Uint64

	pushes     *ring[APNsPush]
	rejections *ring[APNsRejection]
	verified   *tokenCache

	mu       sync.Mutex
	keys     map[string]APNsKey
	devices  map[string]*apnsDevice
	script   func(APNsRequest) *Answer
	rejected map[string]uint64
}

// apnsDevice is what APNs knows of a device token.
type apnsDevice struct {
	topics map[string]*apnsTopic
	sent   []time.Time // pushes of the last second, for TokenRate
}

type apnsTopic struct {
	onPush func(APNsPush)
	goneAt time.Time // zero while registered
	reason string    // Unregistered or ExpiredToken
}

// NewAPNs returns a fake that is not listening yet.
func NewAPNs(o APNsOptions) *APNs {
	if o.Environment == "" {
		o.Environment = APNsProduction
	}
	if o.RingTime == 0 {
		o.RingTime = defaultRingTime
	}
	if o.Streams == 0 {
		o.Streams = 1000
	}
	clock := orSystem(o.Clock)
	return &APNs{
		o: o, clock: clock, faults: newFaults(providerAPNs, "apns-"+string(o.Environment), o.Seed, clock, o.CA),
		pushes: newRing[APNsPush](o.Recent), rejections: newRing[APNsRejection](o.Recent),
		verified: newTokenCache(),
		keys:     map[string]APNsKey{}, devices: map[string]*apnsDevice{}, rejected: map[string]uint64{},
	}
}

// Start listens. The fake speaks HTTP/2 over TLS only.
func (a *APNs) Start() error {
	cfg, err := tlsConfig(a.o.CA, "h2")
	if err != nil {
		return err
	}
	cfg.ClientAuth, cfg.ClientCAs = tls.VerifyClientCertIfGiven, a.o.CA.Pool()
	cfg.VerifyConnection = func(cs tls.ConnectionState) error {
		if cs.NegotiatedProtocol != "h2" {
			return errors.New("APNs speaks HTTP/2 only")
		}
		return nil
	}
	return a.l.start(a.o.Address, &http.Server{
		Handler: a, Protocols: overTLS(false),
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: a.o.Streams},
		ConnContext: withConn(func() int { return int(a.conns.Add(1)) }),
	}, &tlsOptions{config: cfg, faults: a.faults, streams: a.o.Streams, cold: true})
}

// Faults returns what goes wrong here, to be changed. Close ends it.
func (a *APNs) Faults() *Faults { return a.faults }

// Close ends all connections and faults, and waits for running requests.
func (a *APNs) Close() error { return a.l.close() }

// URL returns the base URL, "https://127.0.0.1:<port>".
func (a *APNs) URL() string { return a.l.url() }

// TrustKey makes the key known, in the place of an earlier one with its ID.
func (a *APNs) TrustKey(k APNsKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.keys[k.ID] = k
	a.verified.clear()
}

// Register makes the device token (lower-case hexadecimal) valid for the topic, and
// calls onPush for every push; it may be nil, and must be quick. Registering again
// ends an earlier [APNs.Unregister].
func (a *APNs) Register(token, topic string, onPush func(APNsPush)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.devices[token]
	if d == nil {
		d = &apnsDevice{topics: map[string]*apnsTopic{}}
		a.devices[token] = d
	}
	d.topics[topic] = &apnsTopic{onPush: onPush}
}

// Unregister makes pushes to the token for the topic be answered 410 Unregistered with
// the timestamp at.
func (a *APNs) Unregister(token, topic string, at time.Time) {
	a.gone(token, topic, "Unregistered", at)
}

// Expire makes pushes to the token for the topic be answered 410 ExpiredToken.
func (a *APNs) Expire(token, topic string, at time.Time) { a.gone(token, topic, "ExpiredToken", at) }

func (a *APNs) gone(token, topic, reason string, at time.Time) {
	a.Register(token, topic, nil)
	a.mu.Lock()
	defer a.mu.Unlock()
	t := a.devices[token].topics[topic]
	t.goneAt, t.reason = at, reason
}

// Script sets what is asked first for every request; nil answers mean the fake's own
// judgement. nil removes the script.
func (a *APNs) Script(f func(APNsRequest) *Answer) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.script = f
}

// Pushes returns the newest accepted pushes, oldest first.
func (a *APNs) Pushes() []APNsPush { return a.pushes.all() }

// AwaitPushes returns the pushes once at least n were ever accepted, or what there is
// with the context's error.
func (a *APNs) AwaitPushes(ctx context.Context, n int) ([]APNsPush, error) {
	return a.pushes.wait(ctx, uint64(n))
}

// Rejections returns the newest rejections, oldest first.
func (a *APNs) Rejections() []APNsRejection { return a.rejections.all() }

// Stats returns the counters.
func (a *APNs) Stats() APNsStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := APNsStats{
		Connections: int(a.conns.Load()), Requests: a.requests.Load(), Accepted: a.pushes.count(),
		Surplus: a.surplus.Load(), Rejected: make(map[string]uint64, len(a.rejected)),
	}
	for reason, n := range a.rejected {
		s.Rejected[reason] = n
	}
	return s
}

// maxBody is how much of a request body is read: far above every limit that is checked.
const maxBody = 64 << 10

// ServeHTTP takes one push.
func (a *APNs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	conn, ok := r.Context().Value(connKey{}).(*connState)
	if !ok || r.ProtoMajor != 2 {
		panic(http.ErrAbortHandler)
	}
	st := streamOf(r)
	surplus, leave := st.enter()
	if surplus {
		a.surplus.Add(1)
		st.reset(codeRefused)
	}
	defer leave()
	answer := a.faults.strike(r, st)
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // the client gave up
	}
	st.commit()
	p := &apnsRequest{
		Request: r, conn: conn, body: body, now: a.clock.Now(),
		token: strings.TrimPrefix(r.URL.Path, devicePath), cert: st.certificate(),
	}
	number := a.requests.Add(1)
	a.mu.Lock()
	script := a.script
	a.mu.Unlock()
	if answer == nil && script != nil {
		answer = script(APNsRequest{Token: p.token, Header: r.Header, Body: body, Conn: conn.number, Number: number})
	}
	w, end := answer.dripping(w, r, a.clock)
	defer end()
	a.answer(w, p, answer)
}

// answer follows the script, if there is one, and else judges the push.
func (a *APNs) answer(w http.ResponseWriter, p *apnsRequest, s *Answer) {
	if s == nil {
		s = &Answer{}
	}
	if a.clock.Wait(p.Context(), s.Delay) != nil {
		return
	}
	if s.Deliver {
		if v := a.judge(p); v == nil {
			a.hand(a.record(p))
		}
	}
	if s.fault(w, p.Request) {
		a.reject(p, &verdict{status: s.Status, reason: "Script", why: "scripted body"})
		return
	}
	w.Header().Set("Apns-Id", p.id())
	v := &verdict{status: s.Status, reason: s.Reason, why: "scripted", at: s.Timestamp}
	if s.Status == 0 {
		v = a.judge(p)
	}
	if v != nil && v.status != http.StatusOK {
		a.reject(p, v)
		writeJSON(w, v.status, v.body())
		return
	}
	if a.o.Environment == APNsSandbox {
		w.Header().Set("Apns-Unique-Id", newUUID())
	}
	fresh := s.Status == 0 && !s.Deliver
	var push APNsPush
	if fresh { // whoever has the answer finds the push on record
		push = a.record(p)
	}
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush() // the phone may hear of it after the sender
	if fresh {
		a.hand(push)
	}
}

// record keeps an accepted push.
func (a *APNs) record(p *apnsRequest) APNsPush {
	push := APNsPush{
		At: p.now, Conn: p.conn.number, Token: p.token, Topic: p.topic(), ID: p.id(),
		PushType: p.Header.Get("apns-push-type"), Header: p.Header, Body: p.body,
	}
	a.pushes.add(push)
	return push
}

// hand gives an accepted push to the phone.
func (a *APNs) hand(push APNsPush) {
	a.mu.Lock()
	var onPush func(APNsPush)
	if d := a.devices[push.Token]; d != nil && d.topics[push.Topic] != nil {
		onPush = d.topics[push.Topic].onPush
	}
	a.mu.Unlock()
	for _, f := range []func(APNsPush){a.o.OnPush, onPush} {
		if f != nil {
			f(push)
		}
	}
}

// reject records a refusal.
func (a *APNs) reject(p *apnsRequest, v *verdict) {
	a.mu.Lock()
	a.rejected[v.reason]++
	a.mu.Unlock()
	a.rejections.add(APNsRejection{
		At: p.now, Conn: p.conn.number, Token: p.token, Status: v.status, Reason: v.reason, Why: v.why, Header: p.Header,
	})
}
