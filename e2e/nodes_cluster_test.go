//go:build !race

package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/template"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/planetbell/planetbell/internal/sim"
)

// The ring of the calls of these tests. A node that died is noticed after 5 s, and what it
// had to do is taken over within about two more: there is time for that twice.
const (
	nodesRing   = 20 * time.Second
	nodesSafety = 2 * time.Second
	nodesWindow = nodesRing - nodesSafety // in which a call may begin to ring a device
)

var nodesConfig = template.Must(template.New("").Parse(`
data_dir: {{.Dir}}
ca_file: {{.W.CAFile}}
node: {{.Node}}
shutdown_timeout: 10s
public: {address: "{{.Public}}"}
admin: {address: "{{.Admin}}", token: "{{.Secret "admin-token" 64}}"}
log: {level: {{.Level}}, format: json}
app_tokens: {signing_key: "{{.Secret "signing-key" 64}}"}
calls: {ring_time: {{.Ring}}, safety: {{.Safety}}}
long_poll: {hold: 10s}
limits: {sign_ups_per_minute: 100000}
webhooks: {allow_http: true, allow_private: [127.0.0.1], concurrency: 64}
{{- if .Database}}
database: {url: "{{.Database}}"}
{{- end}}
{{- if .Bus}}
bus: {url: "{{.Bus}}"}
{{- end}}
projects:
{{- range .Projects}}
  - name: {{.Name}}
    service_id: {{.Name}}-service
    api_key: {{.Name}}-api-key
    api_secret: "{{$.Secret (print .Name "-api-secret") 64}}"
    client_key: "{{$.Secret (print .Name "-client-key") 32}}"
    callback_secret: "{{$.Secret (print .Name "-callback-secret") 40}}"
    shared_user_ids: true
    missed_calls: {push: false}
    apns:
      - {bundle_id: {{$.W.BundleID}}, team_id: {{$.W.APNsTeamID}}, key_id: {{$.W.APNsKeyID}}, key_file: "{{$.W.APNsKeyFile}}",
         production_url: "{{$.W.APNsProductionURL}}", sandbox_url: "{{$.W.APNsSandboxURL}}"}
    fcm: {service_account_file: "{{$.W.ServiceAccountFile}}", base_url: "{{$.W.FCMURL}}"}
{{- if .Hook}}
    events: [{url: "{{.Hook}}", secret: "{{.HookSecret}}"}]
{{- end}}
{{- end}}
`))

// nodesProject is one of the two projects: the calls of one are told to the customer's system,
// which costs as much as the calls themselves.
type nodesProject struct{ Name, Hook, HookSecret string }

func (p nodesProject) service() string { return p.Name + "-service" }

func (p nodesProject) callbackURL(kind string) string {
	return front + "/cb/" + secret(p.Name+"-callback-secret", 40) + "/" + kind
}

// nodesValues fill nodesConfig for one node.
type nodesValues struct {
	Dir, Node, Public, Admin, Level, Database, Bus string
	Ring, Safety                                   time.Duration
	Projects                                       []nodesProject
	W                                              sim.Settings
}

// Secret makes a secret for the template.
func (nodesValues) Secret(name string, length int) string { return secret(name, length) }

// node is one process of several. It keeps its ports over restarts.
type node struct {
	name, file    string
	public, admin string // host:port
	env           []string
	log           *nodeLog
	p             *process // nil while it is down
}

// nodes are several processes behind a load balancer, and what is around them.
type nodes struct {
	t        *testing.T
	ctx      context.Context //nolint:containedctx // of the story
	watch    *watch
	world    *sim.World
	backend  *backend // of the project "told"
	balancer *balancer
	client   *http.Client // through the balancer
	dir      string
	driver   string // of the database, for the checks
	source   string
	projects []nodesProject
	program  string
	list     []*node
	faults   faults
}

// nodesOptions say which nodes there are.
type nodesOptions struct {
	count    int
	level    string               // of the log
	database func(i int) string   // URL for a node; nil: SQLite, and one node
	bus      func(i int) string   // URL of NATS for a node; nil: none
	source   string               // the database's URL for the checks
	program  string               // "": planetbell as it is built
	env      func(i int) []string // more environment for a node; nil: none
	limit    time.Duration        // for the whole story
}

func newNodes(t *testing.T, o nodesOptions) *nodes {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), o.limit)
	t.Cleanup(cancel)
	w := newWatch(t)
	w.stream = true
	usual := debug.SetGCPercent(400) // of the load generator, which the nodes share the machine with
	t.Cleanup(func() { debug.SetGCPercent(usual) })
	n := &nodes{
		t: t, ctx: ctx, watch: w, backend: newBackend(t), balancer: newBalancer(), dir: t.TempDir(),
		driver: "pgx", source: o.source,
	}
	n.client = &http.Client{Transport: n.balancer}
	if n.program = o.program; n.program == "" {
		n.program = program(t)
	}
	if o.database == nil {
		n.driver, n.source = "sqlite", "file:"+filepath.Join(n.dir, "node1", "planetbell.db")+"?mode=ro&_pragma=busy_timeout(5000)"
	}
	n.projects = []nodesProject{
		{Name: "demo"},
		{Name: "told", Hook: n.backend.URL + "/" + secret("hook", 32), HookSecret: n.backend.secret},
	}
	var err error
	if n.world, err = sim.NewWorld(sim.WorldOptions{Dir: n.dir, Recent: 500, RingTime: nodesRing}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	for i := range o.count {
		n.add(i, o)
	}
	for _, d := range n.list {
		n.start(d)
	}
	return n
}

// close ends what is around the nodes. They themselves were started later, and have ended.
func (n *nodes) close() {
	if err := n.world.Close(); err != nil {
		n.t.Errorf("close the simulator: %v", err)
	}
	n.balancer.conns.CloseIdleConnections()
	n.watch.client.CloseIdleConnections()
	n.watch.search(n.t)
}

// add configures a node.
func (n *nodes) add(i int, o nodesOptions) {
	n.t.Helper()
	d := &node{name: "node" + strconv.Itoa(i+1), public: fixedPort(n.t), admin: fixedPort(n.t)}
	d.log = &nodeLog{node: d.name, watch: n.watch}
	if dir := os.Getenv("PLANETBELL_NODES_LOGS"); dir != "" { // to find out why a story failed
		file, err := os.Create(filepath.Join(dir, strings.ReplaceAll(n.t.Name(), "/", "-")+"-"+d.name+".log"))
		if err != nil {
			n.t.Fatal(err)
		}
		n.t.Cleanup(func() { _ = file.Close() })
		d.log.file = file
	}
	values := nodesValues{
		Dir: filepath.Join(n.dir, d.name), Node: d.name, Public: d.public, Admin: d.admin, Level: o.level,
		Ring: nodesRing, Safety: nodesSafety, Projects: n.projects, W: n.world.Settings(),
	}
	if o.database != nil {
		values.Database = o.database(i)
	}
	if o.bus != nil {
		values.Bus = o.bus(i)
	}
	if o.env != nil {
		d.env = o.env(i)
	}
	d.file = filepath.Join(n.dir, d.name+".yaml")
	out, err := os.OpenFile(d.file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		n.t.Fatal(err)
	}
	if err := nodesConfig.Execute(out, values); err != nil {
		n.t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		n.t.Fatal(err)
	}
	n.list = append(n.list, d)
	n.balancer.backends = append(n.balancer.backends, &served{name: d.name, address: d.public})
}

// ports makes each port another one.
var ports atomic.Int64

// fixedPort returns an address of the loopback on which nobody listens, below the ports that
// the kernel gives to connections: a node that is down for a while gets it back.
func fixedPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := 10000 + (os.Getpid()*13+int(ports.Add(1)))%8000
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// start starts a node that is down, and returns when it listens.
func (n *nodes) start(d *node) {
	n.t.Helper()
	cmd := exec.CommandContext(n.ctx, n.program, "serve", "--config", d.file)
	cmd.Env = append(environ(), d.env...)
	d.p = begin(n.t, n.watch, d.log, cmd)
}

// kill ends a node at once.
func (n *nodes) kill(d *node) {
	d.p.kill()
	d.p = nil
}

// signalStop asks a node to stop, and stopped waits for its end, which must be without complaint.
func (n *nodes) signalStop(d *node) {
	if err := d.p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Errorf("ask %s to stop: %v", d.name, err)
	}
}

func (n *nodes) stopped(d *node) {
	n.t.Helper()
	<-d.p.read
	if err := d.p.cmd.Wait(); err != nil {
		n.t.Errorf("%s was asked to stop: %v", d.name, err)
	}
	d.p = nil
}

// stopAll stops all nodes, and keeps their metrics before.
func (n *nodes) stopAll() {
	n.t.Helper()
	for _, d := range n.list {
		n.watch.keep("metrics of "+d.name, n.ask(d, "/metrics"))
	}
	for _, d := range n.list {
		n.signalStop(d)
	}
	for _, d := range n.list {
		n.stopped(d)
	}
}

// ask reads from a node's admin listener; "" if that fails.
func (n *nodes) ask(d *node, path string) string {
	r, err := http.NewRequestWithContext(n.ctx, http.MethodGet, "http://"+d.admin+path, http.NoBody)
	if err != nil {
		return ""
	}
	r.Header.Set("Authorization", "Bearer "+secret("admin-token", 64))
	resp, err := n.watch.client.Do(r)
	if err != nil {
		return ""
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return ""
	}
	return string(page)
}

// metric adds up all series of a metric whose line begins so, on one node.
func (n *nodes) metric(d *node, prefix string) float64 {
	return sumOf(n.t, n.ask(d, "/metrics"), prefix)
}

// sumOf adds up all series of a page of metrics whose line begins so.
func sumOf(t *testing.T, page, prefix string) (sum float64) {
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, prefix) {
			v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
			if err != nil {
				t.Errorf("the metric line %q has no number", line)
			}
			sum += v
		}
	}
	return sum
}

// backlog is how much waits in a node's memory to be recorded; -1 if it does not say.
func (n *nodes) backlog(d *node) float64 {
	if d.p == nil {
		return 0
	}
	page := n.ask(d, "/metrics")
	if !strings.Contains(page, "\nplanetbell_backlog_items") {
		return -1
	}
	return sumOf(n.t, page, "planetbell_backlog_items")
}

// remembers reports whether something waits in the memory of a node, and asks this one last.
func (n *nodes) remembers(last *node) bool {
	for _, d := range append(slices.Clone(n.list), last) {
		if n.backlog(d) != 0 {
			return true
		}
	}
	return false
}

// await waits until what is true, or fails the story with what is missing.
func (n *nodes) await(what string, limit time.Duration, is func() (bool, string)) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.ctx, limit)
	defer cancel()
	begun := time.Now()
	for {
		ok, missing := is()
		if ok {
			if took := time.Since(begun); took > 10*time.Second {
				n.t.Logf("it took %v until %s", took.Round(time.Second), what)
			}
			return
		}
		if rest(ctx, 200*time.Millisecond) != nil {
			n.t.Errorf("waited in vain until %s: %s", what, missing)
			return
		}
	}
}

// open opens the database for the checks.
func (n *nodes) open() *sql.DB {
	n.t.Helper()
	db, err := sql.Open(n.driver, n.source)
	if err != nil {
		n.t.Fatal(err)
	}
	return db
}

// nodeLog takes the log of a node: it is searched for secrets, and its errors are kept.
type nodeLog struct {
	node  string
	watch *watch
	file  io.Writer // nil: not kept

	mu     sync.Mutex
	part   []byte
	lines  int
	named  int     // lines that name the node
	sick   []fault // when the node said that its database did not record calls
	errors []logged
	warned map[string]int
}

// logged is an error that a node logged.
type logged struct {
	Time    time.Time
	Level   string
	Msg     string
	Error   string
	Warning string
	node    string
}

func (e logged) String() string {
	return fmt.Sprintf("%s at %s: %s: %.200s", e.node, e.Time.Format("15:04:05.000"), e.Msg, e.Error)
}

// Write takes what a process wrote, which need not be whole lines.
func (l *nodeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		_, _ = l.file.Write(p)
	}
	l.part = append(l.part, p...)
	for {
		end := bytes.IndexByte(l.part, '\n')
		if end < 0 {
			return len(p), nil
		}
		l.line(l.part[:end])
		l.part = l.part[end+1:]
	}
}

// line takes one line. The caller holds l.mu.
func (l *nodeLog) line(line []byte) {
	_, _ = l.watch.Write(line)
	l.lines++
	if bytes.Contains(line, []byte(`"node":"`+l.node+`"`)) {
		l.named++
	}
	var e logged
	switch {
	case len(line) == 0 || line[0] != '{':
		e = logged{Time: time.Now(), Level: "ERROR", Msg: "not a log line", Error: string(line)}
		l.watch.t.Logf("%s says: %s", l.node, line)
	case bytes.Contains(line, []byte("the database records calls again")) && len(l.sick) > 0:
		l.sick[len(l.sick)-1].to = time.Now().Add(grace)
		return
	case !bytes.Contains(line, []byte(`"level":"ERROR"`)) && !bytes.Contains(line, []byte(`"level":"WARN"`)):
		return
	default:
		if err := json.Unmarshal(line, &e); err != nil {
			e = logged{Time: time.Now(), Level: "ERROR", Msg: "an unreadable log line", Error: string(line)}
		}
	}
	e.node = l.node
	if e.Level == "ERROR" {
		l.errors = append(l.errors, e)
		if strings.HasPrefix(e.Msg, "the database does not record calls") || strings.HasPrefix(e.Msg, "this node cannot ask the database") {
			l.sick = append(l.sick, fault{what: "a slow machine", node: l.node, database: true, from: e.Time.Add(-2 * time.Second), to: e.Time.Add(grace)})
		}
		return
	}
	if l.warned == nil {
		l.warned = map[string]int{}
	}
	l.warned[e.Msg+" "+e.Warning]++
}
