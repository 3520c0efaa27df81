package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/planetbell/planetbell/internal/sim"
)

// families parses and lints a server's metrics page.
func (s *scene) families() map[string]*dto.MetricFamily {
	s.t.Helper()
	resp, err := s.watch.client.Get(s.App.AdminURL() + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var page bytes.Buffer
	if _, err := page.ReadFrom(resp.Body); err != nil {
		s.t.Fatal(err)
	}
	problems, err := promlint.New(bytes.NewReader(page.Bytes())).Lint()
	if err != nil {
		s.t.Fatalf("the lint cannot read the metrics: %v", err)
	}
	for _, p := range problems {
		s.t.Errorf("metrics: %s: %s", p.Metric, p.Text)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(&page)
	if err != nil {
		s.t.Fatalf("the metrics page: %v", err)
	}
	return families
}

// scraper is a private server that scrapes one planetbell several times a second.
type scraper struct {
	s   *scene
	url string
}

// startPrometheus starts it in a temporary folder, with the project's own rules.
func startPrometheus(s *scene) *scraper {
	s.t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil && os.Getenv("PLANETBELL_TEST_LOGS") != "" {
		s.t.Fatal("there is no prometheus in PATH; tools/packages installs it")
	}
	if err != nil {
		s.t.Skip("there is no prometheus in PATH: install Debian's package prometheus, or run make test, which does")
	}
	rules, err := filepath.Abs("../deploy/prometheus/planetbell.rules.yaml")
	if err != nil {
		s.t.Fatal(err)
	}
	dir := s.t.TempDir()
	file := filepath.Join(dir, "prometheus.yml")
	text := fmt.Sprintf(`
global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 500ms}
rule_files: [%s]
scrape_configs:
  - job_name: planetbell
    static_configs: [{targets: [%q]}]
`, rules, strings.TrimPrefix(s.App.AdminURL(), "http://"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	address := freePort(s.t)
	cmd := exec.CommandContext(s.ctx, program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=error")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if said.Len() > 0 {
			s.t.Logf("prometheus said: %s", said.String())
		}
	})
	p := &scraper{s: s, url: "http://" + address}
	s.await("prometheus is ready", func() bool {
		resp, err := s.watch.client.Get(p.url + "/-/ready")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	})
	return p
}

// freePort is a loopback address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// api asks Prometheus, and fails the test with what it says is wrong.
func (p *scraper) api(path string, query url.Values, into any) {
	p.s.t.Helper()
	resp, err := p.s.watch.client.Get(p.url + path + "?" + query.Encode())
	if err != nil {
		p.s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Status string          `json:"status"`
		Error  string          `json:"error"`
		Data   json.RawMessage `json:"data"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		p.s.t.Fatal(err)
	}
	if answer.Status != "success" {
		p.s.t.Errorf("prometheus: %s: %s", query.Get("query"), answer.Error)
		return
	}
	if err := json.Unmarshal(answer.Data, into); err != nil {
		p.s.t.Fatal(err)
	}
}

// count is how many series a query has.
func (p *scraper) count(query string) int {
	p.s.t.Helper()
	var got struct {
		Result []json.RawMessage `json:"result"`
	}
	p.api("/api/v1/query", url.Values{"query": {query}}, &got)
	return len(got.Result)
}

// rule is what Prometheus says of a rule.
type rule struct {
	Name      string `json:"name"`
	Health    string `json:"health"`
	LastError string `json:"lastError"`
	State     string `json:"state"`
}

func (p *scraper) rules() (all []rule) {
	p.s.t.Helper()
	var got struct {
		Groups []struct {
			Rules []rule `json:"rules"`
		} `json:"groups"`
	}
	p.api("/api/v1/rules", nil, &got)
	for _, g := range got.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// dashboard is the queries of the Grafana dashboard, with its variables filled in, by panel.
func dashboard(t *testing.T) map[string][]string {
	t.Helper()
	text, err := os.ReadFile("../deploy/grafana/planetbell.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	queries := map[string][]string{}
	fill := strings.NewReplacer("$__rate_interval", "10s", "$instance", ".*")
	for _, panel := range file.Panels {
		for _, target := range panel.Targets {
			queries[panel.Title] = append(queries[panel.Title], fill.Replace(target.Expr))
		}
	}
	if len(queries) < 20 {
		t.Fatalf("the dashboard has %d panels with queries", len(queries))
	}
	return queries
}

var (
	metricNames = regexp.MustCompile(`\b(planetbell|process)_[a-z_]+`)
	groupLabels = regexp.MustCompile(`by \(([a-z, ]+)\)`)
)

// Prometheus itself scrapes a server to which calls come, with the project's alerts and dashboard:
// it takes the page, every rule can be computed, what is well is silent, what is broken is pending,
// and every panel whose metric exists shows something.
func TestPrometheusUnderstandsWhatIsExported(t *testing.T) {
	t.Parallel()
	s := play(t)
	s.phone("bob", sim.IOS, "iPhone")
	s.phone("bob", sim.Android, "Android")
	s.phone("carol", sim.MacOS, "Mac")
	p := startPrometheus(s)
	call := func(to string) { s.over(s.call("alice", to, sim.Plan{Kind: sim.PlanDeclined})) }
	call("bob")
	call("carol")
	s.phone("dave", sim.Android, "lost").Uninstall()
	s.hungUp("dave", "unregistered") // something that is not accepted
	families := s.families()
	s.await("prometheus has scraped twice", func() bool { return p.count(`count_over_time(up{job="planetbell"}[1m]) > 4`) == 1 })
	call("bob")
	call("carol")
	s.await("the second calls are seen", func() bool {
		return p.count(`increase(planetbell_callbacks_total{kind="notify"}[20s]) > 0`) > 0
	})

	for title, queries := range dashboard(t) {
		for _, query := range queries {
			p.checkPanel(families, title, query)
		}
	}

	s.await("all rules were computed", func() bool {
		return !slices.ContainsFunc(p.rules(), func(r rule) bool { return r.Health == "unknown" })
	})
	for _, r := range p.rules() {
		if r.Health != "ok" || r.LastError != "" {
			t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
		}
		if r.State == "firing" || r.State == "pending" {
			t.Errorf("all is well, and %s is %s", r.Name, r.State)
		}
	}
	if err := s.World.Production.Faults().Add(sim.Fault{Kind: sim.FaultAnswer, Status: http.StatusForbidden, Reason: "InvalidProviderToken"}); err != nil {
		t.Fatal(err)
	}
	s.await("a refused credential is noticed", func() bool {
		call("bob")
		return slices.ContainsFunc(p.rules(), func(r rule) bool { return r.Name == "PlanetbellCredentialRefused" && r.State != "inactive" })
	})
}

// checkPanel: a query of a metric that exists has a result, and groups by labels that exist.
func (p *scraper) checkPanel(families map[string]*dto.MetricFamily, title, query string) {
	p.s.t.Helper()
	labels, there := map[string]bool{"le": true, "instance": true}, true
	for _, name := range metricNames.FindAllString(query, -1) {
		family := families[name]
		for _, suffix := range []string{"_bucket", "_count", "_sum"} {
			if family == nil {
				family = families[strings.TrimSuffix(name, suffix)]
			}
		}
		if family == nil {
			there = false // of a part that this server does not have, or has not used
			continue
		}
		for _, m := range family.Metric {
			for _, l := range m.Label {
				labels[l.GetName()] = true
			}
		}
	}
	got := p.count(query)
	if !there {
		return
	}
	if got == 0 {
		p.s.t.Errorf("panel %q shows nothing: %s", title, query)
	}
	for _, group := range groupLabels.FindAllStringSubmatch(query, -1) {
		for label := range strings.SplitSeq(group[1], ", ") {
			if !labels[label] {
				p.s.t.Errorf("panel %q groups by %s, which no metric of it has; they have %v", title, label, slices.Sorted(maps.Keys(labels)))
			}
		}
	}
}
