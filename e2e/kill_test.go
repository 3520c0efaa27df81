package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/template"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/internal/testlog"
)

// killConfig is the configuration of a server whose push services are the simulator's.
var killConfig = template.Must(template.New("").Parse(`
data_dir: {{.Dir}}
ca_file: {{.W.CAFile}}
public: {address: "127.0.0.1:0"}
admin: {address: "localhost:0", token: "{{.Secret "admin-token" 64}}"}
log: {level: debug, format: json}
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
    fcm: {service_account_file: "{{.W.ServiceAccountFile}}", base_url: "{{.W.FCMURL}}"}
`))

type killValues struct {
	Dir string
	W   sim.Settings
}

// Secret makes a secret for the template.
func (killValues) Secret(name string, length int) string { return secret(name, length) }

// flood is a crowd of callers at a server that is killed again and again.
type flood struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // of the story
	watch  *watch
	world  *sim.World
	config string

	mu       sync.Mutex
	sent     int
	answered map[string]string // cc_param to session ID, of the callbacks answered 200
}

// A callback that was answered 200 is never lost: wherever the process is killed, the
// next one rings for it.
func TestAKilledServerLosesNothing(t *testing.T) {
	t.Parallel()
	f := newFlood(t)
	p := serve(f.ctx, t, f.watch, f.config)
	f.addDevices(p)
	const rounds, callsPerRound = 3, 100
	for range rounds {
		f.untilKilled(p, callsPerRound, 1+rand.IntN(callsPerRound-1))
		p = serve(f.ctx, t, f.watch, f.config)
	}
	f.mu.Lock()
	answered := len(f.answered)
	f.mu.Unlock()
	if answered < rounds {
		t.Fatalf("only %d callbacks were answered; that proves nothing", answered)
	}
	t.Logf("%d of %d callbacks were answered 200", answered, f.sent)
	f.allRang()
}

func newFlood(t *testing.T) *flood {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	w := newWatch(t)
	dir := t.TempDir()
	world, err := sim.NewWorld(sim.WorldOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "planetbell.yaml")
	out, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := killConfig.Execute(out, killValues{Dir: dir, W: world.Settings()}); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Errorf("close the simulator: %v", err)
		}
		w.client.CloseIdleConnections()
		w.search(t)
	})
	return &flood{t: t, ctx: ctx, watch: w, world: world, config: file, answered: map[string]string{}}
}

// addDevices gives bob an iPhone and an Android phone.
func (f *flood) addDevices(p *process) {
	f.t.Helper()
	iphone := sim.APNsTokenPrefix + strings.Repeat("0a", 26)
	android := sim.FCMTokenPrefix + ":" + strings.Repeat("x", 140)
	f.world.Production.Register(iphone, f.world.Settings().BundleID+".voip", nil)
	f.world.FCM.Register(android, nil)
	for _, d := range []map[string]string{
		{"project": "demo", "user_id": "bob", "channel": "apns_voip", "push_token": iphone, "apns_server": "production"},
		{"project": "demo", "user_id": "bob", "channel": "fcm", "push_token": android},
	} {
		body, err := json.Marshal(d)
		if err != nil {
			f.t.Fatal(err)
		}
		r, err := http.NewRequestWithContext(f.ctx, http.MethodPost, p.admin+"/admin/v1/devices", strings.NewReader(string(body)))
		if err != nil {
			f.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+secret("admin-token", 64))
		resp, err := f.watch.client.Do(r)
		if err != nil {
			f.t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			f.t.Fatalf("add a device by %s: %d", d["channel"], resp.StatusCode)
		}
	}
}

// untilKilled sends n callbacks, 16 at a time, and kills the server after so many
// answers, in the middle of the others.
func (f *flood) untilKilled(p *process, n, after int) {
	numbers := make(chan int)
	enough := make(chan struct{})
	var once sync.Once
	answers := 0
	var callers sync.WaitGroup
	for range 16 {
		callers.Go(func() {
			for i := range numbers {
				if !f.call(p, i) {
					continue
				}
				f.mu.Lock()
				if answers++; answers >= after {
					once.Do(func() { close(enough) })
				}
				f.mu.Unlock()
			}
		})
	}
	var killer sync.WaitGroup
	killer.Go(func() {
		<-enough
		p.kill()
	})
	for range n {
		f.mu.Lock()
		f.sent++
		i := f.sent
		f.mu.Unlock()
		numbers <- i
	}
	close(numbers)
	callers.Wait()
	once.Do(func() { close(enough) })
	killer.Wait()
}

// call sends one Notify, and reports whether it was answered 200.
func (f *flood) call(p *process, i int) bool {
	sid := uuid.NewString()
	values := notify(sid, "demo-service", "bob")
	values.Set("param", testlog.CCParam(i))
	url := p.public + "/cb/" + secret("callback-secret", 40) + "/notify?" + values.Encode()
	r, err := http.NewRequestWithContext(f.ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := f.watch.client.Do(r)
	if err != nil {
		return false // killed
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answered[values.Get("param")] = sid
	return true
}

// allRang waits until both devices got a push for every answered callback. A push that
// came twice, because a kill left it open whether it had been sent, has the same
// apns-id, so that APNs and the app can tell.
func (f *flood) allRang() {
	f.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		missing := f.missing()
		if missing == "" {
			return
		}
		select {
		case <-ticker.C:
		case <-f.ctx.Done():
			f.t.Fatalf("answered 200 and lost: %s", missing)
		}
	}
}

// missing says which answered callbacks have not rung, or "".
func (f *flood) missing() string {
	f.t.Helper()
	ids := map[string]string{}
	for _, push := range f.world.Production.Pushes() {
		call, err := clients.AppleVoIP(push.Body)
		if err != nil {
			f.t.Fatalf("the iPhone cannot read a push: %v", err)
		}
		if id, twice := ids[call.CCParam]; twice && id != push.ID {
			f.t.Errorf("one call was pushed under two IDs: %s and %s", id, push.ID)
		}
		ids[call.CCParam] = push.ID
	}
	messages := map[string]bool{}
	for _, m := range f.world.FCM.Messages() {
		call, err := clients.AndroidData(m.Data)
		if err != nil {
			f.t.Fatalf("the Android phone cannot read a message: %v", err)
		}
		messages[call.CCParam] = true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var missing []string
	for param, sid := range f.answered {
		if ids[param] == "" {
			missing = append(missing, sid+" by APNs")
		}
		if !messages[param] {
			missing = append(missing, sid+" by FCM")
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf("%d deliveries, one of them %s", len(missing), missing[0])
}
