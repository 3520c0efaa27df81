package sim

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// FCMOptions configures [NewFCM].
type FCMOptions struct {
	ProjectID string // "" is "planetbell-sim"
	CA        *CA    // required
	Address   string // of FCM, host:port on loopback; "" is any port of 127.0.0.1
	Clock     Clock  // nil is the machine's
	// Strict is the call test: no notification object, priority high, and a ttl of at
	// most RingTime.
	Strict    bool
	RingTime  time.Duration    // 0 is 60 s
	TokenLife time.Duration    // of an access token; 0 is an hour
	Seed      uint64           // of faults with a share
	Recent    int              // how many messages and rejections are kept; 0 is 10,000
	Key       *rsa.PrivateKey  // of the service account; nil makes a fresh one
	OnMessage func(FCMMessage) // called for every delivered message; must be quick
}

// FCMRequest is what a script sees of a send before it is judged.
type FCMRequest struct {
	Header http.Header
	Body   []byte // at most 64 KiB
	Number uint64 // number of the send, from 1
}

// TokenRequest is what a script sees of a request for an access token.
type TokenRequest struct {
	Assertion string
	Number    uint64 // from 1
}

// FCMMessage is an accepted message.
type FCMMessage struct {
	At           time.Time
	Name         string // projects/<id>/messages/<id>
	Token        string // registration token or installation ID; empty for topics
	Data         map[string]string
	Priority     string         // lower case; "" is FCM's default, normal for data messages
	TTL          *time.Duration // nil is FCM's default, four weeks
	Notification bool           // the message has a notification object
	ValidateOnly bool           // checked, not delivered
	Header       http.Header
	Body         []byte
}

// FCMRejection is a send or a token request that was refused.
type FCMRejection struct {
	At     time.Time
	Status int
	Code   string // errorCode, or the status word where FCM gives none, or OAuth's error
	Why    string
}

// FCMStats counts what happened since the start.
type FCMStats struct {
	TokenRequests uint64
	Sends         uint64
	Accepted      uint64
	Rejected      map[string]uint64 // by code
}

// FCM is a fake of FCM HTTP v1 and of Google's OAuth token endpoint, each at an address of
// its own, as Google's are.
type FCM struct {
	o     FCMOptions
	clock Clock
	key   *rsa.PrivateKey
	keyID string

	l, tokens               listener
	sendFaults, tokenFaults *Faults

	tokenRequests atomic.Uint64
	sends         atomic.Uint64
	messages      *ring[FCMMessage]
	rejections    *ring[FCMRejection]

	mu          sync.Mutex
	access      map[string]time.Time // access token to its end
	devices     map[string]*fcmDevice
	revoked     bool
	script      func(FCMRequest) *Answer
	scriptToken func(TokenRequest) *Answer
	rejected    map[string]uint64
}

// fcmDevice is what FCM knows of a registration token.
type fcmDevice struct {
	onMessage func(FCMMessage)
	gone      bool
	foreign   bool // of another Firebase project
}

// NewFCM returns a fake that is not listening yet.
func NewFCM(o FCMOptions) (*FCM, error) {
	if o.ProjectID == "" {
		o.ProjectID = "planetbell-sim"
	}
	if o.RingTime == 0 {
		o.RingTime = defaultRingTime
	}
	if o.TokenLife == 0 {
		o.TokenLife = time.Hour
	}
	if o.Key == nil {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, fmt.Errorf("make the service account's key: %w", err)
		}
		o.Key = key
	}
	clock := orSystem(o.Clock)
	return &FCM{
		o: o, clock: clock,
		sendFaults:  newFaults(providerFCM, "fcm", o.Seed, clock, o.CA),
		tokenFaults: newFaults(providerOAuth, "oauth", o.Seed, clock, o.CA),
		key:         o.Key, keyID: randomHex(20),
		messages: newRing[FCMMessage](o.Recent), rejections: newRing[FCMRejection](o.Recent),
		access: map[string]time.Time{}, devices: map[string]*fcmDevice{}, rejected: map[string]uint64{},
	}, nil
}

// googleStreams is how many concurrent streams Google's servers advertise.
const googleStreams = 1000

// Start listens, with TLS, on HTTP/2 and HTTP/1.1.
func (f *FCM) Start() error {
	cfg, err := tlsConfig(f.o.CA, "h2", "http/1.1")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", f.serveToken)
	if err := f.startOne(&f.l, f.o.Address, http.HandlerFunc(f.serveSend), cfg, f.sendFaults); err != nil {
		return err
	}
	if err := f.startOne(&f.tokens, "", mux, cfg, f.tokenFaults); err != nil {
		return errors.Join(err, f.l.close())
	}
	return nil
}

// startOne starts one of the two servers.
func (f *FCM) startOne(l *listener, addr string, h http.Handler, cfg *tls.Config, faults *Faults) error {
	var conns atomic.Int64
	return l.start(addr, &http.Server{
		Handler: h, Protocols: overTLS(true),
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: googleStreams},
		ConnContext: withConn(func() int { return int(conns.Add(1)) }),
	}, &tlsOptions{config: cfg, faults: faults, streams: googleStreams})
}

// Faults returns what goes wrong with sends, to be changed. Close ends it.
func (f *FCM) Faults() *Faults { return f.sendFaults }

// TokenFaults returns what goes wrong at the token endpoint, to be changed. Close ends it.
func (f *FCM) TokenFaults() *Faults { return f.tokenFaults }

// Close ends all connections and faults, and waits for running requests.
func (f *FCM) Close() error { return errors.Join(f.l.close(), f.tokens.close()) }

// URL returns the base URL of FCM, "https://127.0.0.1:<port>".
func (f *FCM) URL() string { return f.l.url() }

// ProjectID returns the Firebase project.
func (f *FCM) ProjectID() string { return f.o.ProjectID }

// clientEmail is the service account's name.
func (f *FCM) clientEmail() string { return "sim@" + f.o.ProjectID + ".iam.gserviceaccount.com" }

// ServiceAccountJSON returns the key file of the service account. Its token_uri points
// at this fake, so call it after Start.
func (f *FCM) ServiceAccountJSON() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(f.key)
	if err != nil {
		return nil, fmt.Errorf("encode the service account's key: %w", err)
	}
	b, err := json.MarshalIndent(map[string]string{
		"type": "service_account", "project_id": f.o.ProjectID, "private_key_id": f.keyID,
		"private_key": string(pemBlock("PRIVATE KEY", der)), "client_email": f.clientEmail(),
		"client_id": "100000000000000000001", "token_uri": f.tokenURL(),
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode the service account: %w", err)
	}
	return b, nil
}

func (f *FCM) tokenURL() string { return f.tokens.url() + "/token" }

// Register makes the registration token (or installation ID) valid, and calls
// onMessage for every message; it may be nil, and must be quick.
func (f *FCM) Register(token string, onMessage func(FCMMessage)) {
	f.set(token, &fcmDevice{onMessage: onMessage})
}

// Unregister makes sends to the token be answered 404 UNREGISTERED.
func (f *FCM) Unregister(token string) { f.set(token, &fcmDevice{gone: true}) }

// RegisterForeign makes the token one of another project: 403 SENDER_ID_MISMATCH.
func (f *FCM) RegisterForeign(token string) { f.set(token, &fcmDevice{foreign: true}) }

func (f *FCM) set(token string, d *fcmDevice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.devices[token] = d
}

// Revoke makes the service account's key invalid, or valid again. Access tokens that
// were issued before keep working, as Google's do.
func (f *FCM) Revoke(revoked bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.revoked = revoked
}

// ForgetAccessTokens makes all issued access tokens invalid: the next send is answered
// 401.
func (f *FCM) ForgetAccessTokens() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.access)
}

// Script sets what is asked first for every send; nil removes it.
func (f *FCM) Script(s func(FCMRequest) *Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.script = s
}

// ScriptToken sets what is asked first for every token request; nil removes it.
func (f *FCM) ScriptToken(s func(TokenRequest) *Answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.scriptToken = s
}

// Messages returns the newest accepted messages, oldest first.
func (f *FCM) Messages() []FCMMessage { return f.messages.all() }

// AwaitMessages returns the messages once at least n were ever accepted, or what there
// is with the context's error.
func (f *FCM) AwaitMessages(ctx context.Context, n int) ([]FCMMessage, error) {
	return f.messages.wait(ctx, uint64(n))
}

// Rejections returns the newest rejections, oldest first.
func (f *FCM) Rejections() []FCMRejection { return f.rejections.all() }

// Stats returns the counters.
func (f *FCM) Stats() FCMStats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := FCMStats{
		TokenRequests: f.tokenRequests.Load(), Sends: f.sends.Load(), Accepted: f.messages.count(),
		Rejected: make(map[string]uint64, len(f.rejected)),
	}
	for code, n := range f.rejected {
		s.Rejected[code] = n
	}
	return s
}

// serveSend takes a send, and everything else that is not a token request.
func (f *FCM) serveSend(w http.ResponseWriter, r *http.Request) {
	st := streamOf(r)
	surplus, leave := st.enter()
	if surplus {
		st.reset(codeRefused)
	}
	defer leave()
	s := f.sendFaults.strike(r, st)
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return // the client gave up
	}
	st.commit()
	req := FCMRequest{Header: r.Header, Body: body, Number: f.sends.Add(1)}
	f.mu.Lock()
	script := f.script
	f.mu.Unlock()
	if s == nil && script != nil {
		s = script(req)
	}
	if s == nil {
		s = &Answer{}
	}
	w, end := s.dripping(w, r, f.clock)
	defer end()
	f.answer(w, r, body, s)
}

// answer follows the script, and judges the send unless the script answers.
func (f *FCM) answer(w http.ResponseWriter, r *http.Request, body []byte, s *Answer) {
	if f.clock.Wait(r.Context(), s.Delay) != nil {
		return
	}
	if s.Deliver {
		if m, e := f.judge(r, body); e == nil {
			f.messages.add(*m)
			f.hand(m)
		}
	}
	if s.fault(w, r) {
		f.reject(&fcmError{status: s.Status, code: "Script", message: "scripted body"})
		return
	}
	if s.Status == http.StatusOK {
		writeJSON(w, s.Status, map[string]string{"name": f.newName()})
		return
	}
	if s.Status != 0 {
		e := &fcmError{status: s.Status, code: s.Reason, message: "scripted", fcm: s.Reason != "UNAUTHENTICATED"}
		f.reject(e)
		writeJSON(w, s.Status, e.envelope())
		return
	}
	m, e := f.judge(r, body)
	if e != nil {
		f.reject(e)
		f.refuse(w, e)
		return
	}
	if !s.Deliver { // whoever has the answer finds the message on record
		f.messages.add(*m)
	}
	writeJSON(w, http.StatusOK, map[string]string{"name": m.Name})
	_ = http.NewResponseController(w).Flush() // the phone may hear of it after the sender
	if !s.Deliver {
		f.hand(m)
	}
}

// newName makes the name of a message.
func (f *FCM) newName() string { return "projects/" + f.o.ProjectID + "/messages/0:" + randomHex(12) }

// refuse answers an error; one without a status word comes from the front end, as HTML.
func (f *FCM) refuse(w http.ResponseWriter, e *fcmError) {
	if e.code != "" {
		writeJSON(w, e.status, e.envelope())
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, "<!DOCTYPE html><html><title>Error 404 (Not Found)!!1</title></html>")
}

// hand gives an accepted message to the phone.
func (f *FCM) hand(m *FCMMessage) {
	f.mu.Lock()
	d := f.devices[m.Token]
	f.mu.Unlock()
	if m.ValidateOnly {
		return
	}
	if f.o.OnMessage != nil {
		f.o.OnMessage(*m)
	}
	if d != nil && d.onMessage != nil {
		d.onMessage(*m)
	}
}

func (f *FCM) reject(e *fcmError) {
	f.mu.Lock()
	f.rejected[e.code]++
	f.mu.Unlock()
	f.rejections.add(FCMRejection{At: f.clock.Now(), Status: e.status, Code: e.code, Why: e.message})
}

// checkBearer finds the access token.
func (f *FCM) checkBearer(r *http.Request) *fcmError {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	f.mu.Lock()
	until, known := f.access[token]
	f.mu.Unlock()
	if !ok || !known || !f.clock.Now().Before(until) {
		return &fcmError{
			status: http.StatusUnauthorized, code: "UNAUTHENTICATED",
			message: "Request had invalid authentication credentials. Expected OAuth 2 access token.",
		}
	}
	return nil
}
