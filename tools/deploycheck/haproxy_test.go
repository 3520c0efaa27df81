package deploycheck

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/httpapi"
	"github.com/planetbell/planetbell/internal/testlog"
)

// patience bounds every wait for HAProxy: it asks its nodes once a second.
const patience = 30 * time.Second

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// serving runs a server until the test ends or it is closed.
func serving(t *testing.T, s *http.Server, l net.Listener) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
}

// node is a planetbell as the load balancer sees it: the public server's own limits with a handler
// of the test, and the real admin listener.
type node struct {
	handle   atomic.Value // http.HandlerFunc
	unready  atomic.Bool
	requests atomic.Int64
	public   *http.Server
	address  string
	admin    string // port
}

func newNode(t *testing.T) *node {
	t.Helper()
	n := &node{}
	n.answers(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "ok") })
	n.public = httpapi.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.requests.Add(1)
		n.handle.Load().(http.HandlerFunc)(w, r)
	}), testlog.New(t))
	public, admin := listen(t), listen(t)
	n.address = public.Addr().String()
	n.admin = strconv.Itoa(admin.Addr().(*net.TCPAddr).Port)
	serving(t, n.public, public)
	serving(t, &http.Server{Handler: adminListener(t, n.readiness), ReadHeaderTimeout: patience}, admin)
	return n
}

func (n *node) readiness(context.Context) string {
	if n.unready.Load() {
		return "The server is starting or stopping."
	}
	return ""
}

func (n *node) answers(h http.HandlerFunc) { n.handle.Store(h) }

// balancer is HAProxy with the configuration of deploy/compose in front of two nodes.
type balancer struct {
	nodes  [2]*node
	plain  string // URLs
	secure string
	client *http.Client
	output *output

	process *os.Process
}

// output is what HAProxy printed.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// program finds HAProxy. make test installs it, so there it must be found.
func program(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("PLANETBELL_TEST_LOGS") != "" {
		t.Fatal("haproxy is not installed; tools/packages installs it")
	}
	t.Skip("haproxy is not installed; make test installs it")
	return ""
}

// newBalancer starts HAProxy on ports that were free a moment ago.
func newBalancer(t *testing.T) *balancer {
	t.Helper()
	haproxy := program(t)
	b := &balancer{nodes: [2]*node{newNode(t), newNode(t)}, output: &output{}}
	plain, secure := listen(t), listen(t)
	certificate, trusted := selfSigned(t)
	command := exec.Command(haproxy, "-db", "-f", filepath.Join(folder, "compose/haproxy.cfg"))
	command.Env = []string{
		"LB_ADDRESS=" + plain.Addr().String(), "LB_TLS_ADDRESS=" + secure.Addr().String(), "LB_CERTIFICATE=" + certificate,
		"LB_MAXCONN=200", "NODE_1=" + b.nodes[0].address, "NODE_2=" + b.nodes[1].address,
		"ADMIN_1=" + b.nodes[0].admin, "ADMIN_2=" + b.nodes[1].admin,
	}
	command.Stdout, command.Stderr = b.output, b.output
	_, _ = plain.Close(), secure.Close()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	b.process = command.Process
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}, ForceAttemptHTTP2: true}
	b.client = &http.Client{Transport: transport, Timeout: patience}
	b.plain, b.secure = "http://"+plain.Addr().String(), "https://"+secure.Addr().String()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		_ = command.Process.Kill()
		_ = command.Wait()
		testlog.Keep(t, "haproxy", b.output.String())
		if t.Failed() {
			t.Logf("HAProxy said:\n%s", b.output)
		}
	})
	b.until(t, "HAProxy listens", func() bool {
		code, _ := b.get(b.plain + "/")
		return code == http.StatusOK
	})
	return b
}

// until waits for what HAProxy does on its own.
func (b *balancer) until(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(patience); !done(); {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// next receives what comes soon, or fails.
func next[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain: %s", what)
	}
	panic("unreachable")
}

// get returns an answer's status and protocol, 0 when there is none.
func (b *balancer) get(url string) (code int, protocol string) {
	response, err := b.client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	_ = response.Body.Close()
	return response.StatusCode, response.Proto
}

// secret stands where callback secrets do.
var secret = testlog.HexSecret(7, 48)

func (b *balancer) callback(sid int) string {
	return fmt.Sprintf("%s/cb/%s/notify?sid=s%d&param=%s", b.plain, secret, sid, testlog.TextSecret("cc-param-0001"))
}

// Everything else that HAProxy could be set to would cut what planetbell itself takes.
func TestTheLoadBalancersLimitsExceedOurs(t *testing.T) {
	text := read(t, "compose/haproxy.cfg")
	number := func(key string) int {
		m := regexp.MustCompile(`(?m)^ +` + key + ` (\d+)$`).FindStringSubmatch(text)
		if m == nil {
			t.Fatalf("haproxy.cfg does not set %s", key)
		}
		n, _ := strconv.Atoi(m[1])
		return n
	}
	server := httpapi.NewServer(nil, testlog.New(t))
	if room := number("tune.bufsize") - number("tune.maxrewrite"); room <= server.MaxHeaderBytes {
		t.Errorf("a request may have %d bytes at the load balancer, and %d at planetbell", room, server.MaxHeaderBytes)
	}
	waiting := text[strings.Index(text, "\nbackend waiting"):strings.Index(text, "\nbackend clients")]
	for what, part := range map[string]string{"client": text, "server": waiting} {
		m := regexp.MustCompile(`(?m)^  timeout ` + what + ` (\S+)$`).FindStringSubmatch(part)
		if m == nil || seconds(t, m[1]) < longestHold(t)+10*time.Second {
			t.Errorf("timeout %s of the polls' way is %v; a poll may wait %v", what, m, longestHold(t))
		}
	}
	m := regexp.MustCompile(`(?m)^  timeout http-keep-alive (\S+)$`).FindStringSubmatch(text)
	if m == nil || seconds(t, m[1]) >= server.IdleTimeout {
		t.Errorf("http-keep-alive is %v, planetbell closes after %v", m, server.IdleTimeout)
	}
	if leak := regexp.MustCompile(`%(r|HU|HP|HPO|HQ)\b|option httplog|capture`).FindString(text); leak != "" {
		t.Errorf("haproxy.cfg has %s: its log would hold callback secrets", leak)
	}
	contract, err := os.ReadFile("../../openapi.yaml")
	if err != nil || !strings.Contains(string(contract), "\n  /v2/notification/lp:") || !strings.Contains(text, "/v2/notification/lp ") {
		t.Errorf("the route of polls is not both in openapi.yaml and in haproxy.cfg: %v", err)
	}
}

func TestLongRequestLinesPass(t *testing.T) {
	b := newBalancer(t)
	var got atomic.Int64
	for _, n := range b.nodes {
		n.answers(func(_ http.ResponseWriter, r *http.Request) { got.Store(int64(len(r.RequestURI))) })
	}
	const length = 60 << 10
	path := "/cb/" + secret + "/notify?stid="
	path += strings.Repeat("%E3", (length-len(path))/3)
	for _, base := range []struct{ url, protocol string }{{b.plain, "HTTP/1.1"}, {b.secure, "HTTP/2.0"}} {
		got.Store(0)
		code, protocol := b.get(base.url + path)
		if code != http.StatusOK || protocol != base.protocol || got.Load() != int64(len(path)) {
			t.Errorf("%s: answered %d over %s, %d of %d bytes arrived", base.protocol, code, protocol, got.Load(), len(path))
		}
	}
}

func TestAPollOfSomeSecondsPasses(t *testing.T) {
	b := newBalancer(t)
	for _, n := range b.nodes {
		n.answers(func(w http.ResponseWriter, _ *http.Request) {
			<-time.After(4 * time.Second) // longer than callbacks may take
			_, _ = fmt.Fprint(w, "rang")
		})
	}
	for _, base := range []string{b.plain, b.secure} {
		if code, _ := b.get(base + "/v2/notification/lp"); code != http.StatusOK {
			t.Errorf("%s: a poll is answered %d", base, code)
		}
	}
	if n := b.nodes[0].requests.Load() + b.nodes[1].requests.Load(); n > 3 { // one was the test's, to see it listen
		t.Errorf("%d requests arrived for two polls", n-1)
	}
}

// The second event is sent only after the first has arrived: what is kept back comes never.
func TestEventStreamsAreNotBuffered(t *testing.T) {
	b := newBalancer(t)
	arrived := make(chan struct{}, 1)
	for _, n := range b.nodes {
		n.answers(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				_, _ = fmt.Fprintf(w, "data: %d\n\n", i)
				_ = http.NewResponseController(w).Flush()
				select {
				case <-arrived:
				case <-time.After(patience):
					return
				}
			}
		})
	}
	for _, base := range []string{b.plain, b.secure} {
		response, err := b.client.Get(base + "/v2/notification/sse")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			event := make([]byte, len("data: 0\n\n"))
			if n, err := response.Body.Read(event); err != nil || string(event[:n]) != fmt.Sprintf("data: %d\n\n", i) {
				t.Fatalf("%s: event %d is %q, %v", base, i, event[:n], err)
			}
			arrived <- struct{}{}
		}
		_ = response.Body.Close()
	}
}

func TestCallbacksOfAStoppedNodeAreAnsweredByTheOther(t *testing.T) {
	b := newBalancer(t)
	_ = b.nodes[0].public.Close() // its admin listener still says that it is ready
	for sid := range 20 {
		if code, err := b.get(b.callback(sid)); code != http.StatusOK {
			t.Errorf("callback %d is answered %d (%s)", sid, code, err)
		}
	}
	if n := b.nodes[1].requests.Load(); n < 20 {
		t.Errorf("the other node got %d callbacks of 20", n)
	}
}

// What went wrong at one node after it had the request.
func TestCallbacksAreSentAgainAndPostsAreNot(t *testing.T) {
	for name, trouble := range map[string]http.HandlerFunc{
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"is full":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"says nothing": func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(patience):
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBalancer(t)
			b.nodes[0].answers(trouble)
			for sid := range 2 { // one of them is sent to the first node first
				if code, err := b.get(b.callback(sid)); code != http.StatusOK {
					t.Errorf("callback %d is answered %d (%s)", sid, code, err)
				}
			}
			if name != "hangs up" {
				return
			}
			before, failed := b.nodes[0].requests.Load()+b.nodes[1].requests.Load(), 0
			for range 2 {
				response, err := b.client.Post(b.plain+"/v2/register_user", "application/json", strings.NewReader("{}"))
				if err != nil {
					t.Fatal(err)
				}
				_ = response.Body.Close()
				if response.StatusCode != http.StatusOK {
					failed++
				}
			}
			if sent := b.nodes[0].requests.Load() + b.nodes[1].requests.Load() - before; sent != 2 || failed != 1 {
				t.Errorf("2 POSTs were sent %d times and failed %d times; want 2 and 1", sent, failed)
			}
		})
	}
}

// A node that is not well gets nothing new, and its polls go on at the other: their clients see
// nothing of it.
func TestANodeThatIsNotReadyIsDrained(t *testing.T) {
	b := newBalancer(t)
	const polls = 4
	var moved atomic.Bool
	waits, entered, release := make(chan int, polls), make(chan int, 2*polls), make(chan struct{})
	for i, n := range b.nodes {
		n.answers(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v2/notification/") {
				entered <- i
				select {
				case <-release:
				case <-r.Context().Done():
					moved.Store(true)
				}
			}
			_, _ = fmt.Fprint(w, "ok")
		})
	}
	for range polls { // leastconn: half on each
		go func() {
			code, _ := b.get(b.plain + "/v2/notification/lp")
			waits <- code
		}()
	}
	at := [2]int{}
	for range polls {
		at[next(t, entered, "a poll arrives")]++
	}
	if at[0] != polls/2 {
		t.Errorf("of %d polls, %d wait at the first node and %d at the second", polls, at[0], at[1])
	}
	b.nodes[0].unready.Store(true)
	for range at[0] {
		if i := next(t, entered, "a poll goes on at the other node"); i != 1 {
			t.Error("a poll went on at the node that goes")
		}
	}
	b.until(t, "the first node gets no more callbacks", func() bool {
		before := b.nodes[0].requests.Load()
		for sid := range 10 {
			if code, _ := b.get(b.callback(sid)); code != http.StatusOK {
				t.Errorf("a callback is answered %d while a node goes", code)
			}
		}
		return b.nodes[0].requests.Load() == before
	})
	close(release)
	for range polls {
		if code := next(t, waits, "a poll is answered"); code != http.StatusOK {
			t.Errorf("a poll is answered %d", code)
		}
	}
	if !moved.Load() {
		t.Error("the first node was not told that its polls have gone")
	}
}

// Without a node a poll is answered 503, which clients take for an empty one, but not at once: they
// come back at once.
func TestPollsAreHeldBackWhenThereIsNoNode(t *testing.T) {
	b := newBalancer(t)
	for _, n := range b.nodes {
		n.unready.Store(true)
	}
	b.until(t, "all nodes are out", func() bool {
		return strings.Contains(b.output.String(), "backend waiting has no server available")
	})
	if code, _ := b.get(b.plain + "/v2/notification/lp"); code != http.StatusServiceUnavailable {
		t.Errorf("a poll is answered %d", code)
	}
	if code, _ := b.get(b.callback(1)); code != http.StatusServiceUnavailable {
		t.Errorf("a callback is answered %d", code)
	}
	b.until(t, "the log says that the poll was held back, and that the callback was not", func() bool {
		log := b.output.String()
		return regexp.MustCompile(`waiting/<NOSRV> GET 503 .* PT `).MatchString(log) && regexp.MustCompile(`callbacks/<NOSRV> GET 503 .* SC `).MatchString(log)
	})
	if log := b.output.String(); strings.Contains(log, secret) || strings.Contains(log, "/cb/") {
		t.Error("HAProxy's log holds the callback secret")
	}
}

// SIGUSR1 is what compose.yaml stops it with.
func TestTheLoadBalancerStopsWithItsLastRequest(t *testing.T) {
	b := newBalancer(t)
	entered, release := make(chan struct{}, 2), make(chan struct{})
	for _, n := range b.nodes {
		n.answers(func(w http.ResponseWriter, _ *http.Request) {
			entered <- struct{}{}
			<-release
			_, _ = fmt.Fprint(w, "rang")
		})
	}
	got := make(chan int, 1)
	go func() {
		code, _ := b.get(b.plain + "/v2/notification/lp")
		got <- code
	}()
	next(t, entered, "the poll arrives")
	if err := b.process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	b.until(t, "nothing new is taken", func() bool {
		c, err := net.Dial("tcp", strings.TrimPrefix(b.plain, "http://"))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	close(release)
	if code := next(t, got, "the poll is answered"); code != http.StatusOK {
		t.Errorf("the poll is answered %d", code)
	}
}
