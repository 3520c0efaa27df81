package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"

	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/sim"
)

// built is where the program is built, once and only when a story needs it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if built.dir != "" {
			_ = os.RemoveAll(built.dir)
		}
		os.Exit(judged(code, os.Stderr))
	}))
}

// program builds planetbell and returns its path.
func program(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "planetbell-e2e-"); built.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", filepath.Join(built.dir, "planetbell"), "../cmd/planetbell")
		if out, err := build.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return filepath.Join(built.dir, "planetbell")
}

// environ is this process' environment without settings of planetbell.
func environ() []string {
	var clean []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "PLANETBELL_") {
			clean = append(clean, e)
		}
	}
	return clean
}

// servedConfig is the configuration of a program whose push services are the simulator's.
var servedConfig = template.Must(template.New("").Parse(`
data_dir: {{.Dir}}
ca_file: {{.W.CAFile}}
public: {address: "127.0.0.1:0"}
admin: {address: "localhost:0", token: "{{.Secret "admin-token" 64}}"}
log: {level: info, format: json}
app_tokens: {signing_key: "{{.Secret "signing-key" 64}}"}
projects:
  - name: demo
    service_id: demo-service
    api_key: demo-api-key
    api_secret: "{{.Secret "api-secret" 64}}"
    client_key: "{{.Secret "client-key" 32}}"
    callback_secret: "{{.Secret "callback-secret" 40}}"
    apns:
      - {bundle_id: {{.W.BundleID}}, team_id: {{.W.APNsTeamID}}, key_id: {{.W.APNsKeyID}}, key_file: "{{.W.APNsKeyFile}}",
         production_url: "{{.W.APNsProductionURL}}", sandbox_url: "{{.W.APNsSandboxURL}}"}
    fcm: {service_account_file: "{{.W.ServiceAccountFile}}", base_url: "{{or .FCM .W.FCMURL}}"}
`))

// servedValues are those of servedConfig.
type servedValues struct {
	Dir string
	W   sim.Settings
	FCM string // another address of FCM than the simulator's, if not empty
}

// Secret makes a secret for the template.
func (servedValues) Secret(name string, length int) string { return secret(name, length) }

// file writes the configuration and returns its name.
func (v servedValues) file(t *testing.T) string {
	t.Helper()
	name := filepath.Join(v.Dir, "planetbell.yaml")
	out, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(servedConfig.Execute(out, v), out.Close()); err != nil {
		t.Fatal(err)
	}
	return name
}

// process is a running "planetbell serve".
type process struct {
	cmd           *exec.Cmd
	public, admin string // URLs
	read          chan struct{}
}

// serve starts the program with a configuration file, and returns when it listens.
func serve(ctx context.Context, t *testing.T, w *watch, file string) *process {
	t.Helper()
	cmd := exec.CommandContext(ctx, program(t), "serve", "--config", file)
	cmd.Env = environ()
	return begin(t, w, w, cmd)
}

// begin starts a program that serves, and returns when it listens. Its log goes to a place of its own.
func begin(t *testing.T, w *watch, log io.Writer, cmd *exec.Cmd) *process {
	t.Helper()
	cmd.Stderr = struct{ io.Writer }{log}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, read: make(chan struct{})}
	lines := bufio.NewScanner(out)
	for p.admin == "" && lines.Scan() {
		w.keep("output", lines.Text())
		switch f := strings.Fields(lines.Text()); {
		case len(f) == 2 && f[0] == "public":
			p.public = f[1]
		case len(f) == 2 && f[0] == "admin":
			p.admin = f[1]
		}
	}
	go func() {
		defer close(p.read)
		for lines.Scan() {
			w.keep("output", lines.Text())
		}
	}()
	if p.admin == "" {
		<-p.read
		_ = cmd.Wait()
		t.Fatalf("planetbell serve said no address and ended: %s\n%s", cmd.ProcessState, w.text())
	}
	t.Cleanup(p.kill)
	return p
}

// kill ends the program at once, and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.read
	_ = p.cmd.Wait()
}

// run executes the program and returns what it printed.
func (s *scene) run(input string, args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.ctx, program(s.t), args...)
	cmd.Env, cmd.Stdin = environ(), strings.NewReader(input)
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err := cmd.Run()
	s.watch.keep("standard error of planetbell "+args[0], problems.String())
	if err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			s.t.Fatal(err)
		}
		s.t.Errorf("planetbell %s: %v: %s", strings.Join(args[:2], " "), err, problems.String())
	}
	return out.String()
}
