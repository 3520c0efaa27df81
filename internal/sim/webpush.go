package sim

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// WebPushOptions configures [NewWebPush].
type WebPushOptions struct {
	Profile PushProfile // of subscriptions that do not say; "" is PushChrome
	CA      *CA         // required
	Address string      // host:port on loopback; "" is any port of 127.0.0.1
	Clock   Clock       // nil is the machine's
	// Strict is the call test: a call is urgent and waits at most RingTime, and every profile
	// wants a sub that Apple would take.
	Strict   bool
	RingTime time.Duration // 0 is 60 s
	Seed     uint64        // of faults with a share
	Recent   int           // how many messages and rejections are kept; 0 is 10,000
	// OnMessage is called for every accepted message; must be quick.
	OnMessage func(WebPushMessage)
}

// WebPushRequest is what a script sees of a push before it is judged.
type WebPushRequest struct {
	Subscription string // its ID; "" for a path of no subscription
	Header       http.Header
	Body         []byte // at most 64 KiB, encrypted
	Number       uint64 // of the request, from 1
}

// WebPushMessage is an accepted push. It holds neither the endpoint nor a key nor a token.
type WebPushMessage struct {
	At           time.Time
	Subscription string // its ID
	Profile      PushProfile
	TTL          time.Duration
	Urgency      string // "" is the default, normal
	Topic        string
	Size         int           // of the encrypted body
	Data         planet.Secret // decrypted
	Header       http.Header   // without Authorization
}

// WebPushRejection is a push that was refused. It holds no secret.
type WebPushRejection struct {
	At           time.Time
	Subscription string // its ID; "" for a path of no subscription
	Status       int
	Code         string // path, method, ttl, urgency, topic, coding, too-small, too-large, authorization, token, key, other-key, gone, content, unfit or script
	Why          string // for people
}

// WebPushStats counts what happened since the start.
type WebPushStats struct {
	Requests  uint64
	Accepted  uint64
	Rejected  map[string]uint64 // by code
	Delivered uint64            // handed to a browser
	Replaced  uint64            // waiting messages that a newer one with their topic replaced
	Expired   uint64            // messages that nobody fetched within their TTL
	Tokens    int               // different JWTs of accepted pushes; a sender is to reuse its own
	Followed  uint64            // requests that came by a redirect, which no sender is to follow
}

// WebPush is a fake of the browsers' push services (RFC 8030). It makes subscriptions with
// keys of their own, and so can decrypt what it is sent. Subscriptions of all profiles are at
// one address.
type WebPush struct {
	o      WebPushOptions
	clock  Clock
	l      listener
	faults *Faults

	requests, delivered, followed atomic.Uint64

	messages   *ring[WebPushMessage]
	rejections *ring[WebPushRejection]

	mu       sync.Mutex
	number   int
	paths    map[string]*pushSubscription // by request URI
	ids      map[string]*pushSubscription
	script   func(WebPushRequest) *Answer
	rejected map[string]uint64
	tokens   map[[sha256.Size]byte]struct{}
	replaced uint64
	expired  uint64
}

// WebPushSubscription is what a browser has of a subscription. Its JSON is what the page gives
// to its app server.
type WebPushSubscription struct {
	ID   string        // names it in records; no secret
	JSON planet.Secret // as PushSubscription.toJSON writes it
}

// pushSubscription is what the service knows.
type pushSubscription struct {
	id      string
	profile PushProfile
	receiver
	application []byte // public key of the app server
	onPush      func(WebPushMessage)

	// The rest is guarded by the service's mu.
	gone    bool
	offline bool
	waiting []waitingPush
}

// waitingPush is a message for a browser that is away.
type waitingPush struct {
	WebPushMessage
	until time.Time
}

// maxWaiting is how many messages wait for a browser; the oldest give way.
const maxWaiting = 100

// NewWebPush returns a fake that is not listening yet.
func NewWebPush(o WebPushOptions) *WebPush {
	if o.Profile == "" {
		o.Profile = PushChrome
	}
	if o.RingTime == 0 {
		o.RingTime = defaultRingTime
	}
	clock := orSystem(o.Clock)
	return &WebPush{
		o: o, clock: clock, faults: newFaults(providerWebPush, "webpush", o.Seed, clock, o.CA),
		messages: newRing[WebPushMessage](o.Recent), rejections: newRing[WebPushRejection](o.Recent),
		paths: map[string]*pushSubscription{}, ids: map[string]*pushSubscription{},
		rejected: map[string]uint64{}, tokens: map[[sha256.Size]byte]struct{}{},
	}
}

// Start listens, with TLS, on HTTP/2 and HTTP/1.1. Subscriptions need it: their endpoints
// name the port.
func (p *WebPush) Start() error {
	cfg, err := tlsConfig(p.o.CA, "h2", "http/1.1")
	if err != nil {
		return err
	}
	var conns atomic.Int64
	return p.l.start(p.o.Address, &http.Server{
		Handler: p, Protocols: overTLS(true),
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: pushStreams},
		ConnContext: withConn(func() int { return int(conns.Add(1)) }),
	}, &tlsOptions{config: cfg, faults: p.faults, streams: pushStreams})
}

// pushStreams is how many concurrent streams the service advertises.
const pushStreams = 100

// Faults returns what goes wrong here, to be changed. Close ends it.
func (p *WebPush) Faults() *Faults { return p.faults }

// Close ends all connections and faults, and waits for running requests.
func (p *WebPush) Close() error { return p.l.close() }

// URL returns the origin of all endpoints, "https://127.0.0.1:<port>".
func (p *WebPush) URL() string { return p.l.url() }

// Subscribe makes a subscription of the default profile for the app server with the VAPID
// public key (base64url, as PushManager.subscribe takes it), and calls onPush for every
// message; it may be nil, and must be quick.
func (p *WebPush) Subscribe(vapidPublicKey string, onPush func(WebPushMessage)) (WebPushSubscription, error) {
	return p.SubscribeAs(p.o.Profile, vapidPublicKey, onPush)
}

// SubscribeAs is [WebPush.Subscribe] for a browser of the profile.
func (p *WebPush) SubscribeAs(profile PushProfile, vapidPublicKey string, onPush func(WebPushMessage)) (WebPushSubscription, error) {
	if !slices.Contains(PushProfiles(), profile) {
		return WebPushSubscription{}, fmt.Errorf("the push profile %q is none of %v", profile, PushProfiles())
	}
	application, err := base64.RawURLEncoding.DecodeString(vapidPublicKey)
	if err == nil {
		_, err = ecdh.P256().NewPublicKey(application)
	}
	if err != nil {
		return WebPushSubscription{}, errors.New("the applicationServerKey is not an uncompressed point of P-256 in base64url; a browser does not subscribe with it")
	}
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return WebPushSubscription{}, fmt.Errorf("make the subscription's key: %w", err)
	}
	s := &pushSubscription{profile: profile, receiver: receiver{key: key, auth: newAuth()}, application: application, onPush: onPush}
	path := endpointPath(profile, WebPushPrefix+randomHex(40))
	text, err := json.Marshal(map[string]any{
		"endpoint": p.URL() + path, "expirationTime": nil,
		"keys": map[string]string{
			"p256dh": base64.RawURLEncoding.EncodeToString(key.PublicKey().Bytes()),
			"auth":   base64.RawURLEncoding.EncodeToString(s.auth),
		},
	})
	if err != nil {
		return WebPushSubscription{}, fmt.Errorf("encode the subscription: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.number++
	s.id = fmt.Sprintf("subscription-%d", p.number)
	p.paths[path], p.ids[s.id] = s, s
	return WebPushSubscription{ID: s.id, JSON: planet.Secret(text)}, nil
}

// WebPushPrefix begins what is secret in an endpoint, and the text of auth, so that logs can
// be searched for leaked ones.
const WebPushPrefix = "CANARY"

// newAuth makes an authentication secret whose text begins with the prefix.
func newAuth() []byte {
	auth := make([]byte, authSize)
	_, _ = rand.Read(auth)                                                // never fails
	prefix, _ := base64.RawURLEncoding.DecodeString(WebPushPrefix + "AA") // eight letters are six bytes
	copy(auth, prefix)
	return auth
}

// endpointPath is shaped as the service's: a sender is to take an endpoint as it comes.
func endpointPath(profile PushProfile, secret string) string {
	switch profile {
	case PushFirefox, PushFirefoxAndroid:
		return "/wpush/v2/" + secret
	case PushApple:
		return "/" + secret
	case PushWNS:
		return "/w/?token=" + secret + "%3d%3d"
	}
	return "/wp/" + secret
}

// Unsubscribe ends a subscription: pushes to it are answered 410 or 404, as its profile does.
func (p *WebPush) Unsubscribe(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.ids[id]; s != nil {
		s.gone, s.waiting = true, nil
	}
}

// Forget makes the service not know a subscription at all any more.
func (p *WebPush) Forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for path, s := range p.paths {
		if s.id == id {
			delete(p.paths, path)
		}
	}
	delete(p.ids, id)
}

// SetOnline says whether the browser is connected. Messages for one that is not wait for it as
// long as their TTL; it gets those that are left when it comes back.
func (p *WebPush) SetOnline(id string, online bool) {
	p.mu.Lock()
	s := p.ids[id]
	if s == nil {
		p.mu.Unlock()
		return
	}
	s.offline = !online
	var now []waitingPush
	if online {
		p.expire(s)
		now, s.waiting = s.waiting, nil
	}
	p.mu.Unlock()
	for _, w := range now {
		p.give(s, w.WebPushMessage)
	}
}

// Script sets what is asked first for every request; nil removes it.
func (p *WebPush) Script(f func(WebPushRequest) *Answer) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = f
}

// Messages returns the newest accepted messages, oldest first.
func (p *WebPush) Messages() []WebPushMessage { return p.messages.all() }

// AwaitMessages returns the messages once at least n were ever accepted, or what there is
// with the context's error.
func (p *WebPush) AwaitMessages(ctx context.Context, n int) ([]WebPushMessage, error) {
	return p.messages.wait(ctx, uint64(n))
}

// Rejections returns the newest rejections, oldest first.
func (p *WebPush) Rejections() []WebPushRejection { return p.rejections.all() }

// Stats returns the counters.
func (p *WebPush) Stats() WebPushStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.ids {
		p.expire(s)
	}
	s := WebPushStats{
		Requests: p.requests.Load(), Accepted: p.messages.count(), Rejected: make(map[string]uint64, len(p.rejected)),
		Delivered: p.delivered.Load(), Replaced: p.replaced, Expired: p.expired, Tokens: len(p.tokens), Followed: p.followed.Load(),
	}
	for code, n := range p.rejected {
		s.Rejected[code] = n
	}
	return s
}

// expire forgets messages whose time is over. The caller holds mu.
func (p *WebPush) expire(s *pushSubscription) {
	now := p.clock.Now()
	s.waiting = slices.DeleteFunc(s.waiting, func(w waitingPush) bool {
		over := !now.Before(w.until)
		if over {
			p.expired++
		}
		return over
	})
}
