package policy

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/sony/gobreaker/v2"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// Hook is the customer's own endpoint, which is asked before a call rings.
type Hook struct {
	URL      string        // asked by POST; never in logs or errors
	Secret   planet.Secret // signs the questions: "whsec_" and base64, as Standard Webhooks has it
	Timeout  time.Duration // after which the call rings
	CacheMax time.Duration // an answer is not used again for longer, whatever its Cache-Control says; 0: never
}

const (
	// hookRoom is how many questions to one hook may be under way.
	hookRoom = 256
	// answersKept is how many answers of one hook are remembered.
	answersKept = 10_000
	// The breaker opens when half of at least so many questions in the window failed; then
	// one question a second finds out whether the hook is well, and no call waits for it.
	breakerLeast  = 10
	breakerWindow = 10 * time.Second
	breakerProbe  = time.Second
)

// What came of asking a hook; labels of a metric.
const (
	askedAnswered = "answered"
	askedCached   = "cached"
	askedTimeout  = "timeout"
	askedFailed   = "failed"   // no connection, or it broke
	askedRefused  = "refused"  // a status that is not 2xx
	askedInvalid  = "invalid"  // an answer that cannot be read
	askedBreaker  = "breaker"  // not asked: it is unwell
	askedFull     = "full"     // not asked: too much is under way
	askedProbe    = "probe"    // asked to see whether it is well, and not waited for
	askedStopping = "stopping" // the server stops
)

var (
	errHookSlow   = errors.New("the policy hook took longer than its timeout")
	errHookUnwell = errors.New("the policy hook is unwell")
	errNoProof    = errors.New("this says nothing of the policy hook")
)

// hookKey is what questions are the same by.
type hookKey struct {
	environment    planet.Environment
	caller, callee planet.UserRef
	kind           planet.CallType
}

// flight is a question under way. The fields are read after done is closed.
type flight struct {
	done     chan struct{}
	decision bell.Decision
	result   string
}

// hook asks one endpoint. Safe for concurrent use.
type hook struct {
	Hook
	project string
	key     []byte
	client  *http.Client
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	answers *cache[hookKey, bell.Decision]
	now     func() time.Time
	log     *slog.Logger
	metrics *Metrics
	parent  func(planet.Environment, planet.SessionID) string // of traces; may be nil
	ctx     context.Context                                   //nolint:containedctx // ends when the service closes
	work    *sync.WaitGroup

	mu      sync.Mutex // guards flights
	flights map[hookKey]*flight
	under   int // questions under way
}

func newHook(ctx context.Context, c *Config, project string, settings Hook, work *sync.WaitGroup) (*hook, error) {
	key, err := ParseHookSecret(settings.Secret)
	if err != nil {
		return nil, fmt.Errorf("policy hook of project %s: %w", project, err)
	}
	h := &hook{
		Hook: settings, project: project, key: key, answers: newCache[hookKey, bell.Decision](answersKept),
		now: c.Now, log: c.Log, metrics: c.Metrics, parent: c.Traceparent, ctx: ctx, work: work, flights: map[hookKey]*flight{},
	}
	transport := c.Transport
	if transport == nil {
		transport = &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
			TLSClientConfig:     &tls.Config{RootCAs: c.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: 5 * time.Second, ForceAttemptHTTP2: true,
			MaxIdleConnsPerHost: hookRoom, MaxConnsPerHost: hookRoom, IdleConnTimeout: 90 * time.Second,
			MaxResponseHeaderBytes: maxAnswer, Proxy: http.ProxyFromEnvironment,
		}
	}
	h.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	h.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1, Interval: breakerWindow, BucketPeriod: time.Second, Timeout: breakerProbe,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			answered := c.TotalSuccesses + c.TotalFailures
			return answered >= breakerLeast && 2*c.TotalFailures >= answered
		},
		IsExcluded:    func(err error) bool { return errors.Is(err, errNoProof) },
		OnStateChange: func(_ string, from, to gobreaker.State) { h.changed(from, to) },
	})
	return h, nil
}

// ParseHookSecret returns the key that a hook's secret stands for: 24 to 64 bytes in base64
// after "whsec_", as the libraries of Standard Webhooks take it.
func ParseHookSecret(s planet.Secret) ([]byte, error) {
	encoded, found := strings.CutPrefix(s.Reveal(), "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if !found || err != nil || len(key) < 24 || len(key) > 64 {
		return nil, errors.New(`the secret is not "whsec_" followed by 24 to 64 bytes in base64`)
	}
	return key, nil
}

// changed tells once that a hook is unwell, and once that it is well again.
func (h *hook) changed(from, to gobreaker.State) {
	switch {
	case to == gobreaker.StateClosed:
		h.log.Info("the policy hook answers again", "project", h.project)
	case to == gobreaker.StateOpen && from == gobreaker.StateClosed:
		h.log.Error("the policy hook does not answer; calls ring without asking it, until it does", "project", h.project)
	}
}

// ask asks the hook about a call, or remembers what it said. It returns within the timeout;
// the zero decision says that the hook did not say.
func (h *hook) ask(ctx context.Context, c *bell.Call) bell.Decision {
	key := hookKey{c.Environment, c.Caller, c.Callee, c.Type}
	if d, ok := h.answers.get(key, h.now()); ok {
		h.count(askedCached)
		return d
	}
	f, result := h.join(key, c)
	if f == nil {
		h.count(result)
		return bell.Decision{}
	}
	wait, cancel := context.WithTimeoutCause(ctx, h.Timeout, errHookSlow)
	defer cancel()
	select {
	case <-f.done:
		h.count(f.result)
		return f.decision
	case <-wait.Done():
		h.count(askedTimeout)
		return bell.Decision{}
	}
}

func (h *hook) count(result string) { h.metrics.asked.WithLabelValues(h.project, result).Inc() }

// join finds the question under way that is the same, or asks it. Without a flight there is
// nothing to wait for, and result says why.
func (h *hook) join(key hookKey, c *bell.Call) (f *flight, result string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if f, ok := h.flights[key]; ok {
		return f, ""
	}
	if h.ctx.Err() != nil {
		return nil, askedStopping
	}
	if h.under >= hookRoom {
		return nil, askedFull
	}
	probe := h.breaker.State() != gobreaker.StateClosed
	report, err := h.breaker.Allow()
	if err != nil {
		return nil, askedBreaker
	}
	mine := &flight{done: make(chan struct{})}
	h.under++
	if !probe {
		h.flights[key] = mine
	}
	h.work.Go(func() {
		health := h.fly(key, mine, c.SessionID)
		h.mu.Lock()
		h.under--
		if h.flights[key] == mine {
			delete(h.flights, key)
		}
		h.mu.Unlock()
		report(health)
		close(mine.done)
	})
	if probe {
		return nil, askedProbe
	}
	return mine, ""
}

// fly asks, and remembers the answer if it may. It returns what that says of the hook's health.
func (h *hook) fly(key hookKey, f *flight, sid planet.SessionID) (health error) {
	ctx, cancel := context.WithTimeoutCause(h.ctx, h.Timeout, errHookSlow)
	defer cancel()
	began := time.Now()
	resp, err := h.post(ctx, key, sid)
	h.metrics.took.Observe(time.Since(began).Seconds())
	switch {
	case h.ctx.Err() != nil:
		f.result = askedStopping
		return errNoProof
	case err != nil && ctx.Err() != nil:
		f.result = askedTimeout
		return errHookUnwell
	case err != nil:
		f.result = askedFailed
		return errHookUnwell
	case resp.status/100 != 2:
		f.result = askedRefused
		if resp.status >= 500 || resp.status == http.StatusTooManyRequests || resp.status == http.StatusRequestTimeout {
			return errHookUnwell
		}
		return nil
	}
	d, dropped, err := parseAnswer(resp.body)
	if err != nil {
		f.result = askedInvalid
		return nil
	}
	h.metrics.dropped.Add(float64(dropped))
	f.decision, f.result = d, askedAnswered
	if life := lifeOf(resp.header, h.CacheMax); life > 0 {
		h.answers.put(key, d, h.now().Add(life))
	}
	return nil
}

// question is what a hook is asked: docs/policy.md.
type question struct {
	SID         planet.SessionID   `json:"sid"`
	Project     string             `json:"project"`
	Environment planet.Environment `json:"environment"`
	Type        string             `json:"type"` // audio, video, or the wire value when unknown
	Caller      party              `json:"caller"`
	Callee      party              `json:"callee"`
}

// party is one side of the call.
type party struct {
	ServiceID string `json:"service_id"`
	UserID    string `json:"user_id"`
}

type hookResponse struct {
	status int
	header http.Header
	body   []byte
}

// post sends the question, signed by the scheme of Standard Webhooks: the HMAC-SHA256 of
// "<id>.<timestamp>.<body>". Its errors may hold the URL, and go no further.
func (h *hook) post(ctx context.Context, key hookKey, sid planet.SessionID) (hookResponse, error) {
	body, err := json.Marshal(question{
		SID: sid, Project: h.project, Environment: key.environment, Type: typeName(key.kind),
		Caller: party(key.caller), Callee: party(key.callee),
	})
	if err != nil {
		return hookResponse{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return hookResponse{}, err
	}
	id, at := "ask_"+uuid.NewString(), strconv.FormatInt(h.now().Unix(), 10)
	mac := hmac.New(sha256.New, h.key)
	fmt.Fprintf(mac, "%s.%s.%s", id, at, body)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "planetbell")
	r.Header.Set("Webhook-Id", id)
	r.Header.Set("Webhook-Timestamp", at)
	r.Header.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	if h.parent != nil {
		if parent := h.parent(key.environment, sid); parent != "" {
			r.Header.Set("Traceparent", parent)
		}
	}
	resp, err := h.client.Do(r)
	if err != nil {
		return hookResponse{}, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return hookResponse{}, err
	}
	return hookResponse{resp.StatusCode, resp.Header, answer}, nil
}

func typeName(t planet.CallType) string {
	switch t {
	case planet.AudioCall:
		return "audio"
	case planet.VideoCall:
		return "video"
	}
	return string(t)
}

func (h *hook) close() { h.client.CloseIdleConnections() }
