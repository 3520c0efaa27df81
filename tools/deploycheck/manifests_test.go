package deploycheck

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/testlog"
)

// adminListener is the real one, of a node that is as ready as ready says.
func adminListener(t *testing.T, ready func(context.Context) string) http.Handler {
	t.Helper()
	return console.New(console.Config{Token: "canary", Ready: ready}, console.Services{}, testlog.New(t), prometheus.NewRegistry())
}

// podSpec is the Deployment's template.
func podSpec(t *testing.T) any {
	t.Helper()
	return at(t, documents(t, "kubernetes/deployment.yaml")[0], "spec", "template", "spec")
}

func TestProbesLeadToRoutes(t *testing.T) {
	admin := adminListener(t, nil)
	container := at(t, podSpec(t), "containers", 0)
	if port := at(t, container, "ports", 1); at(t, port, "name") != "admin" || at(t, port, "containerPort") != 8081 {
		t.Errorf("the second port is %v, want admin, 8081", port)
	}
	paths := []string{at(t, documents(t, "kubernetes/deployment.yaml")[0], "spec", "template", "metadata", "annotations", "prometheus.io/path").(string)}
	for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
		if port := at(t, container, probe, "httpGet", "port"); port != "admin" {
			t.Errorf("%s asks port %v", probe, port)
		}
		paths = append(paths, at(t, container, probe, "httpGet", "path").(string))
	}
	check := regexp.MustCompile(`(?m)^ +http-check send meth GET uri (\S+) .*hdr Host (\S+)$`).FindStringSubmatch(read(t, "compose/haproxy.cfg"))
	if check == nil {
		t.Fatal("haproxy.cfg has no health check with a Host")
	}
	for i, path := range append(paths, check[1]) {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "10.1.2.3:8081" // as the kubelet asks
		if i == len(paths) {
			r.Host = check[2]
		}
		w := httptest.NewRecorder()
		admin.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Errorf("GET %s for host %s is answered %d: %s", path, r.Host, w.Code, w.Body)
		}
	}
	if live, ready := at(t, container, "livenessProbe", "httpGet", "path"), at(t, container, "readinessProbe", "httpGet", "path"); live != "/livez" || ready != "/readyz" {
		t.Errorf("liveness asks %v and readiness %v: a node that drains must not be killed for it", live, ready)
	}
}

// A stop that is cut short is a crash: whoever stops the server must wait longer than it takes.
func TestGracePeriodsExceedTheStop(t *testing.T) {
	const room = 5 * time.Second
	standard := config.Default().ShutdownTimeout
	for _, c := range []struct {
		what   string
		stop   time.Duration
		grace  time.Duration
		before time.Duration // of the grace, until SIGTERM
	}{
		{
			"compose.yaml", seconds(t, at(t, documents(t, "compose/planetbell.yaml")[0], "shutdown_timeout")),
			seconds(t, at(t, documents(t, "compose.yaml")[0], "x-planetbell", "stop_grace_period")), 0,
		},
		{
			"kubernetes", seconds(t, at(t, documents(t, "kubernetes/planetbell.yaml")[0], "shutdown_timeout")),
			seconds(t, at(t, podSpec(t), "terminationGracePeriodSeconds")),
			seconds(t, at(t, podSpec(t), "containers", 0, "lifecycle", "preStop", "sleep", "seconds")),
		},
		{"systemd", standard, seconds(t, unit(t)["TimeoutStopSec"]), 0},
	} {
		if c.stop < standard {
			t.Errorf("%s: shutdown_timeout %v is less than the default %v", c.what, c.stop, standard)
		}
		if c.grace < c.before+c.stop+room {
			t.Errorf("%s: killed after %v; SIGTERM comes after %v and the stop may take %v", c.what, c.grace, c.before, c.stop)
		}
	}
}

func TestPodsAreConfined(t *testing.T) {
	pod := podSpec(t)
	container := at(t, pod, "containers", 0)
	for _, c := range []struct{ got, want any }{
		{at(t, pod, "securityContext", "runAsNonRoot"), true},
		{at(t, pod, "securityContext", "seccompProfile", "type"), "RuntimeDefault"},
		{at(t, container, "securityContext", "readOnlyRootFilesystem"), true},
		{at(t, container, "securityContext", "allowPrivilegeEscalation"), false},
		{at(t, container, "securityContext", "capabilities", "drop", 0), "ALL"},
	} {
		if c.got != c.want {
			t.Errorf("got %v, want %v, in the security contexts of deployment.yaml", c.got, c.want)
		}
	}
	if user := at(t, pod, "securityContext", "runAsUser").(int); !strings.Contains(read(t, "Dockerfile"), "USER 65532:65532") || user != 65532 {
		t.Errorf("the pod runs as %d, the image is made for 65532", user)
	}
	if replicas := at(t, documents(t, "kubernetes/deployment.yaml")[0], "spec", "replicas").(int); replicas < 2 {
		t.Errorf("%d replicas: one machine is a single point of failure", replicas)
	}
}

// Whatever selects pods selects those that the Deployment makes, and every file is applied.
func TestManifestsBelongTogether(t *testing.T) {
	label := at(t, documents(t, "kubernetes/deployment.yaml")[0], "spec", "template", "metadata", "labels", "app.kubernetes.io/name")
	selectors := []any{
		at(t, documents(t, "kubernetes/deployment.yaml")[0], "spec", "selector", "matchLabels"),
		at(t, documents(t, "kubernetes/poddisruptionbudget.yaml")[0], "spec", "selector", "matchLabels"),
		at(t, documents(t, "kubernetes/networkpolicy.yaml")[0], "spec", "podSelector", "matchLabels"),
	}
	ports := map[any]bool{}
	for _, service := range documents(t, "kubernetes/service.yaml") {
		selectors = append(selectors, at(t, service, "spec", "selector"))
		ports[at(t, service, "spec", "ports", 0, "targetPort")] = true
	}
	for _, s := range selectors {
		if at(t, s, "app.kubernetes.io/name") != label {
			t.Errorf("selector %v does not select pods with name %v", s, label)
		}
	}
	if !ports["public"] || !ports["admin"] || len(ports) != 2 {
		t.Errorf("the services lead to ports %v", ports)
	}
	if out := read(t, "kubernetes/ingress.yaml"); !strings.Contains(out, "port: {name: public}") || strings.Contains(out, "port: {name: admin}") {
		t.Error("the Ingress must lead to the public port and never to the admin port")
	}
	kustomization := documents(t, "kubernetes/kustomization.yaml")[0]
	named := map[string]bool{"kustomization.yaml": true, "secret.example.yaml": true, "planetbell.yaml": true}
	for _, name := range at(t, kustomization, "resources").([]any) {
		named[name.(string)] = true
		read(t, filepath.Join("kubernetes", name.(string)))
	}
	if named["secret.example.yaml"] = true; at(t, kustomization, "configMapGenerator", 0, "files", 0) != "planetbell.yaml" {
		t.Error("the configuration is not made into a ConfigMap")
	}
	for _, name := range all(t) {
		if dir, file := filepath.Split(name); dir == "kubernetes/" && !named[file] {
			t.Errorf("kustomization.yaml does not apply %s", file)
		}
	}
	if wait := seconds(t, at(t, documents(t, "kubernetes/ingress.yaml")[0], "metadata", "annotations", "haproxy.org/timeout-server")); wait <= longestHold(t) {
		t.Errorf("the Ingress cuts polls after %v, which may wait %v", wait, longestHold(t))
	}
	if wait := at(t, documents(t, "kubernetes/ingress.yaml")[0], "metadata", "annotations", "nginx.ingress.kubernetes.io/proxy-read-timeout"); seconds(t, wait.(string)+"s") <= longestHold(t) {
		t.Errorf("the Ingress cuts polls after %v s, which may wait %v", wait, longestHold(t))
	}
}

// unit reads the systemd unit: what a key was set to last.
func unit(t *testing.T) map[string]string {
	t.Helper()
	keys := map[string]string{}
	for line := range strings.Lines(read(t, "systemd/planetbell.service")) {
		line = strings.TrimSpace(line)
		key, value, ok := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#' || line[0] == '[':
		case !ok:
			t.Errorf("planetbell.service: %q is no setting", line)
		default:
			keys[key] = value
		}
	}
	return keys
}

func TestTheUnitIsHardened(t *testing.T) {
	keys := unit(t)
	for key, want := range map[string]string{
		"User": "planetbell", "StateDirectory": "planetbell", "ProtectSystem": "strict", "NoNewPrivileges": "yes",
		"Restart": "always", "PrivateTmp": "yes", "UMask": "0077", "CapabilityBoundingSet": "CAP_NET_BIND_SERVICE",
	} {
		if keys[key] != want {
			t.Errorf("%s is %q, want %q", key, keys[key], want)
		}
	}
	if files := config.Default().Limits.LongPolls; len(keys["LimitNOFILE"]) < len("100000") {
		t.Errorf("LimitNOFILE is %s, and %d polls may wait by default", keys["LimitNOFILE"], files)
	}
	if _, set := keys["ProcSubset"]; set {
		t.Error("with ProcSubset, Go cannot read somaxconn")
	}
	if !strings.Contains(read(t, "systemd/sysusers.conf"), "\nu "+keys["User"]+" ") {
		t.Errorf("sysusers.conf does not make the user %s", keys["User"])
	}
}

// systemd reads the unit, where it is installed. The binary need not be.
func TestSystemdTakesTheUnit(t *testing.T) {
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed; TestTheUnitIsHardened looks at the unit itself")
	}
	file := filepath.Join(t.TempDir(), "planetbell.service")
	write(t, file, strings.ReplaceAll(read(t, "systemd/planetbell.service"), "/usr/local/bin/planetbell", "/bin/true"))
	if out, err := exec.Command(program, "verify", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v: %s", err, out)
	}
}
