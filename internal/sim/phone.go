package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/planet"
)

// Device tokens that phones invent begin with these words, so that logs can be searched
// for leaked ones.
const (
	APNsTokenPrefix = "5ec2e75ec2e7"
	FCMTokenPrefix  = "CANARY"
)

// PhoneOptions configures [NewPhone].
type PhoneOptions struct {
	Name        string // unique among the user's phones; "" is the kind
	BaseURL     string // of the app server's public listener, without "/v2"
	User        planet.UserRef
	DisplayName string
	APIKey      string // what the client sends as "apiKey"
	// Client sends the requests. nil makes one that the phone closes.
	Client *http.Client
	Clock  Clock // nil is the machine's
	// Cloud gets the phone's verifyCall. nil makes a phone that only records.
	Cloud    *Cloud
	APNs     *APNs  // iOS only; its environment is the phone's
	BundleID string // iOS only; "" is "com.example.planetbell"
	FCM      *FCM   // Android with FCM only
	// WebPush is where a browser subscribes, as PushProfile says; "" is the service's default.
	WebPush     *WebPush
	PushProfile PushProfile
	// Origin is where the web app was loaded from. With it the phone asks for leave to
	// cross origins, as a browser does, and obeys the answer.
	Origin   string
	Behavior Behavior // what its user does; zero follows the call's plan
	// Acknowledges makes it an app of one's own instead of LINE's: it sends a receipt for
	// each call that it gets, polls with ack=1, and rings once for a call that it gets twice.
	// A browser always does.
	Acknowledges bool
	// Notices makes it an app of one's own that knows what is no call: it polls with notices=1,
	// takes FCM messages without cc_param, and, on iOS, has a second push token for alerts.
	Notices bool
	// Streams makes it an app of one's own that holds a stream (notification/sse) instead of
	// polling. It acknowledges, too.
	Streams bool
	Recent  int         // how many receipts are kept; 0 is 1000
	OnEvent func(Event) // must be quick
}

// Behavior overrides, for one phone, what a call's plan says.
type Behavior struct {
	Kind  BehaviorKind
	After time.Duration // before the answer or the refusal
}

// BehaviorKind is what the user of a phone does with a call.
type BehaviorKind string

// The kinds of behavior.
const (
	BehaviorPlan    BehaviorKind = ""        // as the call's plan says
	BehaviorIgnore  BehaviorKind = "ignore"  // rings, nobody comes
	BehaviorAnswer  BehaviorKind = "answer"  // answers After
	BehaviorDecline BehaviorKind = "decline" // declines After
	BehaviorDeaf    BehaviorKind = "deaf"    // gets the call and does not even verify it
)

// Receipt is a call that a phone got, or a push that it could not use.
type Receipt struct {
	At        time.Time
	Via       string // apns, fcm, poll, stream, webpush
	Call      clients.Call
	SessionID planet.SessionID // once verified
	Rang      bool             // the cloud accepted the cc_param
	Err       error            // why it did not ring
}

// PhoneStats is the state of a phone.
type PhoneStats struct {
	Registered bool
	Polling    bool
	Polls      int   // answered and failed polls
	Streams    int   // streams that ended
	Spins      int   // polls repeated at once after an unusable answer: the server's mistake
	Err        error // the newest trouble

	Acknowledged int // receipts that the server took
	Repeats      int // calls that came once more, to a phone that acknowledges
	Ignored      int // messages without cc_param that LINE's Android app ignores
}

// Phone is one installation of an official demo app, or of an app of one's own.
type Phone struct {
	kind    PhoneKind
	o       PhoneOptions
	profile profile
	clock   Clock
	client  *http.Client
	own     bool
	token   string // push token or placeholder
	alert   string // the push token for alerts, of an iPhone that knows notices

	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	busy     sync.WaitGroup
	receipts *ring[Receipt]
	notices  *ring[Notice]
	ends     *ring[clients.StreamEnd]

	mu     sync.Mutex
	closed bool
	// subscription is a browser's; token is its JSON.
	subscription WebPushSubscription
	behavior     Behavior
	account      clients.Registration // zero while not registered
	stop         context.CancelFunc   // ends polling; nil while not polling
	stopped      chan struct{}        // closed when polling has ended
	stats        PhoneStats
	had          map[string]bool // session IDs of the calls that were acknowledged

	lastEvent string                        // the newest ID of a stream
	ringing   map[string]context.CancelFunc // by session ID: calls of streams
}

// NewPhone returns a phone that is switched off. Start and Close it.
func NewPhone(kind PhoneKind, o PhoneOptions) (*Phone, error) {
	p, ok := profileOf(kind)
	switch {
	case !ok:
		return nil, fmt.Errorf("the phone kind %q is none of %v", kind, PhoneKinds())
	case kind == IOS && o.APNs == nil:
		return nil, errors.New("an iOS phone needs an APNs fake")
	case kind == Android && o.FCM == nil:
		return nil, errors.New("an Android phone needs an FCM fake")
	case kind == Browser && o.WebPush == nil:
		return nil, errors.New("a browser needs a WebPush fake")
	}
	if kind == Browser {
		o.Acknowledges = true
		o.PushProfile = cmp.Or(o.PushProfile, o.WebPush.o.Profile)
	}
	if o.Streams {
		o.Acknowledges, p.polls = true, true
		p.pollLimit = cmp.Or(p.pollLimit, time.Minute)
	}
	if o.Name == "" {
		o.Name = string(kind)
	}
	if o.BundleID == "" {
		o.BundleID = "com.example.planetbell"
	}
	if o.Recent == 0 {
		o.Recent = 1000
	}
	ctx, cancel := context.WithCancel(context.Background())
	phone := &Phone{
		kind: kind, o: o, profile: p, clock: orSystem(o.Clock), client: o.Client,
		ctx: ctx, cancel: cancel, receipts: newRing[Receipt](o.Recent), notices: newRing[Notice](o.Recent), behavior: o.Behavior,
		had: map[string]bool{}, ends: newRing[clients.StreamEnd](o.Recent), ringing: map[string]context.CancelFunc{},
	}
	if phone.client == nil {
		phone.own, phone.client = true, &http.Client{Transport: &http.Transport{}}
	}
	phone.token = phone.newToken()
	if kind == IOS && o.Notices {
		phone.alert = APNsTokenPrefix + randomHex(26)
		o.APNs.Register(phone.alert, o.BundleID, phone.onAlert)
	}
	return phone, nil
}

// newToken invents the push token, and makes it known to the push service.
func (p *Phone) newToken() string {
	switch p.kind {
	case IOS:
		token := APNsTokenPrefix + randomHex(26)
		p.o.APNs.Register(token, p.Topic(), p.onAPNs)
		return token
	case Android:
		token := FCMTokenPrefix + randomHex(8) + ":APA91b" + randomHex(67)
		p.o.FCM.Register(token, p.onFCM)
		return token
	case AndroidLP:
		return p.o.User.UserID + "-" + newUUID()
	case Browser:
		return "" // it has one when it has subscribed
	}
	return "lp"
}

// Name returns the phone's name.
func (p *Phone) Name() string { return p.o.Name }

// Kind returns the phone's kind.
func (p *Phone) Kind() PhoneKind { return p.kind }

// User returns the phone's user.
func (p *Phone) User() planet.UserRef { return p.o.User }

// Topic returns the APNs topic of an iOS phone.
func (p *Phone) Topic() string { return p.o.BundleID + ".voip" }

// Token returns the push token, or the placeholder that the app sends instead.
func (p *Phone) Token() planet.Secret {
	p.mu.Lock()
	defer p.mu.Unlock()
	return planet.Secret(p.token)
}

// AppToken returns the app token of the registration, "" before.
func (p *Phone) AppToken() planet.Secret {
	p.mu.Lock()
	defer p.mu.Unlock()
	return planet.Secret(p.account.AppToken)
}

// SetBehavior changes what the user does with calls that come from now on.
func (p *Phone) SetBehavior(b Behavior) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.behavior = b
}

// Uninstall makes the push service answer that the device is gone, and switches the
// phone off.
func (p *Phone) Uninstall() {
	switch p.kind {
	case IOS:
		p.o.APNs.Unregister(p.Token().Reveal(), p.Topic(), p.clock.Now())
		if p.alert != "" {
			p.o.APNs.Unregister(p.alert, p.o.BundleID, p.clock.Now())
		}
	case Android:
		p.o.FCM.Unregister(p.Token().Reveal())
	case Browser:
		p.o.WebPush.Unsubscribe(p.Subscription().ID)
	}
	p.Close()
}

// Close switches the phone off: polling ends, pushes are not received any more. It
// waits for everything that the phone does.
func (p *Phone) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cancel()
	p.busy.Wait()
	if p.own {
		p.client.CloseIdleConnections()
	}
}

// Received returns the newest receipts, oldest first.
func (p *Phone) Received() []Receipt { return p.receipts.all() }

// AwaitReceived returns the receipts once the phone got at least n, or what there is
// with the context's error.
func (p *Phone) AwaitReceived(ctx context.Context, n int) ([]Receipt, error) {
	return p.receipts.wait(ctx, uint64(n))
}

// Stats returns the phone's state.
func (p *Phone) Stats() PhoneStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.Registered, s.Polling = p.account.AppToken != "", p.stop != nil
	return s
}

// background runs f until it returns; Close waits for it. A phone that is off does
// nothing.
func (p *Phone) background(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.busy.Go(f)
}

// trouble records what went wrong, for Stats and whoever watches.
func (p *Phone) trouble(what string, err error) {
	p.mu.Lock()
	p.stats.Err = fmt.Errorf("%s: %w", what, err)
	p.mu.Unlock()
	p.event(Event{Kind: EventTrouble, Text: what + ": " + err.Error()})
}

func (p *Phone) event(e Event) {
	if p.o.OnEvent == nil {
		return
	}
	e.At, e.Source, e.User = p.clock.Now(), p.o.Name, p.o.User.String()
	p.o.OnEvent(e)
}
