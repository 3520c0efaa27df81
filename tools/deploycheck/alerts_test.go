package deploycheck

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const rules = "../../deploy/prometheus/planetbell.rules.yaml"

// alert is one rule of the file.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func alerts(t *testing.T) []alert {
	t.Helper()
	text, err := os.ReadFile(rules)
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	var all []alert
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				all = append(all, r)
			}
		}
	}
	if len(all) < 20 {
		t.Fatalf("found %d alerts; the rules would prove nothing", len(all))
	}
	return all
}

// promtool finds Prometheus' own checker. make test installs it, so there it must be found.
func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil && os.Getenv("PLANETBELL_TEST_LOGS") != "" {
		t.Fatal("there is no promtool in PATH; tools/packages installs it")
	}
	if err != nil {
		t.Skip("there is no promtool in PATH: install Debian's package prometheus, or run make test, which does")
	}
	return path
}

// Prometheus itself reads the rules, and each alert fires when it should and not while all is well.
func TestAlertsFire(t *testing.T) {
	tool := promtool(t)
	for _, args := range [][]string{
		{"check", "rules", rules},
		{"test", "rules", "../../deploy/prometheus/planetbell.rules.test.yaml"},
	} {
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	tests, err := os.ReadFile("../../deploy/prometheus/planetbell.rules.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts(t) {
		for _, want := range []string{"  - name: " + a.Alert + " fires\n", "      - {eval_time: 180m, alertname: " + a.Alert + "}\n"} {
			if !strings.Contains(string(tests), want) {
				t.Errorf("planetbell.rules.test.yaml lacks %q", strings.TrimSpace(want))
			}
		}
	}
}

// Whoever is woken finds a page that names the alert and says what to do.
func TestEveryAlertHasARunbook(t *testing.T) {
	const base = "https://github.com/planetbell/planetbell/blob/main/"
	read := map[string]string{}
	for _, a := range alerts(t) {
		if s := a.Labels["severity"]; s != "page" && s != "ticket" {
			t.Errorf("%s has the severity %q", a.Alert, s)
		}
		if a.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", a.Alert)
		}
		path, ok := strings.CutPrefix(a.Annotations["runbook_url"], base)
		text, err := os.ReadFile(filepath.Join("../..", path))
		if !ok || err != nil {
			t.Errorf("%s: no runbook at %q: %v", a.Alert, a.Annotations["runbook_url"], err)
			continue
		}
		read[path] = string(text)
		for _, want := range []string{"`" + a.Alert + "`", "## What to do"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q, of the alert %s", path, want, a.Alert)
			}
		}
	}
	for path, text := range read {
		for _, name := range regexp.MustCompile("`(Planetbell[A-Za-z]+)`").FindAllStringSubmatch(text, -1) {
			if !known(alerts(t), name[1]) {
				t.Errorf("%s names the alert %s, which does not exist", path, name[1])
			}
		}
	}
}

func known(all []alert, name string) bool {
	for _, a := range all {
		if a.Alert == name {
			return true
		}
	}
	return false
}
