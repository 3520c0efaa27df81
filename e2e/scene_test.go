package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/stage"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// patience ends a broken test; no story needs a fraction of it.
const patience = time.Minute

// scene is a stage on which a story plays, watched for secrets.
type scene struct {
	*stage.Stage
	t       *testing.T
	ctx     context.Context //nolint:containedctx // of the whole story
	options stage.Options
	watch   *watch
}

// setting changes a stage before it is set.
type setting func(*stage.Options)

// configured changes the server's configuration.
func configured(f func(*config.Config)) setting {
	return func(o *stage.Options) {
		before := o.Change
		o.Change = func(c *config.Config, w sim.Settings) {
			if before != nil {
				before(c, w)
			}
			f(c)
		}
	}
}

// simulated changes the simulator.
func simulated(f func(*sim.WorldOptions)) setting {
	return func(o *stage.Options) {
		before := o.World
		o.World = func(w *sim.WorldOptions) {
			if before != nil {
				before(w)
			}
			f(w)
		}
	}
}

// play sets the stage for a story and clears it at the story's end.
func play(t *testing.T, settings ...setting) *scene {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	w := newWatch(t)
	o := stage.Options{Dir: t.TempDir(), Log: w.log, Secret: secret, Version: "e2e"}
	for _, s := range append(settings, simulated(func(o *sim.WorldOptions) { o.Transport = w.transport })) {
		s(&o)
	}
	set, err := stage.New(ctx, o)
	if err != nil {
		t.Fatalf("set the stage: %v", err)
	}
	s := &scene{Stage: set, t: t, ctx: ctx, options: o, watch: w}
	t.Cleanup(s.close)
	return s
}

// close ends the story: it searches all that left the server, and closes the stage.
func (s *scene) close() {
	s.keepMetrics()
	s.watch.client.CloseIdleConnections() // net/http waits 5 s for connections that were never used
	if err := s.Close(); err != nil {
		s.t.Errorf("close the stage: %v", err)
	}
	s.watch.search(s.t)
}

// keepMetrics keeps the metrics page of a server that may have been stopped.
func (s *scene) keepMetrics() {
	if s.App == nil {
		return
	}
	resp, err := s.watch.client.Get(s.App.AdminURL() + "/metrics")
	if err != nil {
		return // stopped by the story, which kept them before
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Errorf("read the metrics: %v", err)
	}
	s.watch.keep("metrics", string(page))
}

// stop stops the server gracefully, and keeps it on the same port for the next start.
func (s *scene) stop() {
	s.t.Helper()
	s.keepMetrics()
	s.Config.Public.Address = strings.TrimPrefix(s.App.PublicURL(), "http://")
	if err := s.Stop(); err != nil {
		s.t.Fatalf("stop the server: %v", err)
	}
}

// start starts the server again.
func (s *scene) start() {
	s.t.Helper()
	if err := s.Start(s.ctx, s.options); err != nil {
		s.t.Fatal(err)
	}
}

// secret makes secrets with a canary, of hexadecimal characters so that they fit
// everywhere.
func secret(name string, length int) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	return testlog.HexSecret(int(h.Sum32()), length)
}

// watch collects what leaves the server, to be searched for secrets.
type watch struct {
	t      *testing.T
	log    *slog.Logger
	client *http.Client

	mu     sync.Mutex
	seen   bytes.Buffer
	stream bool // lines are searched as they come and not kept: there are too many
	lines  int
}

func newWatch(t *testing.T) *watch {
	w := &watch{t: t}
	w.log = slog.New(slog.NewJSONHandler(io.MultiWriter(testlog.Writer(t), w), &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.client = &http.Client{Transport: w.transport(&http.Transport{MaxIdleConnsPerHost: 100})}
	return w
}

// Write takes a log line.
func (w *watch) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stream {
		w.lines++
		w.look(line)
		return len(line), nil
	}
	return w.seen.Write(line)
}

// look searches one line. The caller holds w.mu.
func (w *watch) look(line []byte) (found bool) {
	for what, is := range secrets {
		if is.Match(line) {
			w.t.Errorf("%s left the server: %.300s", what, is.ReplaceAll(line, []byte("<HERE>")))
			found = true
		}
	}
	return found
}

// text is everything so far.
func (w *watch) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen.String()
}

func (w *watch) keep(what, text string) {
	testlog.Keep(w.t, what, text)
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(&w.seen, "%s: %s\n", what, text)
}

// transport keeps every answer that is not a success.
func (w *watch) transport(next http.RoundTripper) http.RoundTripper {
	return &keeper{watch: w, next: next}
}

type keeper struct {
	watch *watch
	next  http.RoundTripper
}

func (k *keeper) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := k.next.RoundTrip(r)
	if err != nil || resp.StatusCode < 300 {
		return resp, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	k.watch.keep("answer "+resp.Status, fmt.Sprint(resp.Header)+" "+string(body))
	return resp, err
}

// CloseIdleConnections makes the client's method reach the real transport.
func (k *keeper) CloseIdleConnections() {
	if c, ok := k.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// secrets is what must never leave the server outside of an answer to its owner.
var secrets = map[string]*regexp.Regexp{
	"a hexadecimal secret": regexp.MustCompile(testlog.Hex),
	"a secret text":        regexp.MustCompile(testlog.Text),
	"a cc_param":           regexp.MustCompile(sim.CCParamPrefix[:16]),
	"a token":              regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.`),
	"a private key":        regexp.MustCompile(`PRIVATE KEY`),
}

func (w *watch) search(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := bytes.Split(w.seen.Bytes(), []byte("\n"))
	if len(lines)+w.lines < 2 {
		t.Error("nothing was collected, so that no secret was found proves nothing")
	}
	for _, line := range lines {
		if w.look(line) {
			break
		}
	}
}

// answer is what an HTTP request got.
type answer struct {
	status int
	header http.Header
	body   string
}

// do sends a request and reads the answer.
func (s *scene) do(r *http.Request) answer {
	s.t.Helper()
	a, err := s.send(r)
	if err != nil {
		s.t.Fatalf("%s: %v", r.Method, err)
	}
	return a
}

// send is do for other goroutines than the test's. Its errors name no URL, because that
// may hold a secret.
func (s *scene) send(r *http.Request) (answer, error) {
	resp, err := s.watch.client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(body)}, err
}

// envelope is what every answer of the client API is.
type envelope struct {
	Status    string          `json:"status"`
	Message   string          `json:"message"`
	Code      any             `json:"code"`
	Data      json.RawMessage `json:"data"`
	Timestamp int64           `json:"timestamp"`
}

func (a answer) envelope(t *testing.T) envelope {
	t.Helper()
	var e envelope
	if err := json.Unmarshal([]byte(a.body), &e); err != nil {
		t.Fatalf("an answer %d is no envelope: %v", a.status, err)
	}
	return e
}

// request makes a request of the story.
func (s *scene) request(method, url, body string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.ctx, method, url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

// admin asks the admin API and decodes its answer into v, unless v is nil.
func (s *scene) admin(method, path, body string, v any) int {
	s.t.Helper()
	r := s.request(method, s.App.AdminURL()+path, body)
	r.Header.Set("Authorization", "Bearer "+s.Config.Admin.Token.Reveal())
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	a := s.do(r)
	if v != nil && a.status < 300 {
		if err := json.Unmarshal([]byte(a.body), v); err != nil {
			s.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	return a.status
}

// story is what the operator sees of a call.
func (s *scene) story(sid planet.SessionID) console.CallStory {
	s.t.Helper()
	var story console.CallStory
	if status := s.admin(http.MethodGet, "/admin/v1/calls/"+string(sid), "", &story); status != http.StatusOK {
		s.t.Fatalf("the story of call %s was answered %d", sid, status)
	}
	return story
}

// devices is what the operator sees of a user's devices.
func (s *scene) devices(user string) []console.Device {
	s.t.Helper()
	var list console.DeviceList
	s.admin(http.MethodGet, "/admin/v1/devices?user_id="+user, "", &list)
	return list.Devices
}

// metric adds up all series of a metric whose line begins so.
func (s *scene) metric(prefix string) float64 {
	s.t.Helper()
	sum := 0.0
	for line := range strings.Lines(s.do(s.request(http.MethodGet, s.App.AdminURL()+"/metrics", "")).body) {
		if strings.HasPrefix(line, prefix) {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				s.t.Fatalf("the metric line %q has no number", line)
			}
			sum += v
		}
	}
	return sum
}

// await waits until what is true.
func (s *scene) await(what string, is func() bool) {
	s.t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !is() {
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			s.t.Fatalf("waited in vain until %s", what)
		}
	}
}
