package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/stage"
	"github.com/planetbell/planetbell/internal/verdict"
)

// unresolvable is a name that no resolver asks for: RFC 1035 allows labels of 63 characters.
var unresolvable = strings.Repeat("a", 64) + ".invalid"

// On the way to FCM: a name that does not resolve, and a proxy that opens no tunnel. The program
// is one of its own, because a process reads HTTPS_PROXY once.
func TestWhyOfTheWayToAProvider(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(proxy.Close)
	for name, c := range map[string]struct {
		fcm   string
		env   []string
		code  verdict.Code
		words []string
	}{
		"DNS":   {"https://" + unresolvable, nil, "provider_name_unknown", []string{"The name of FCM's server did not resolve (dns)", "bob's ANDROID device"}},
		"proxy": {"https://fcm.invalid", []string{"HTTPS_PROXY=" + proxy.URL}, "proxy_refused", []string{"The proxy does not let this server reach FCM (proxy)", "bob's ANDROID device"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := operate(t, c.fcm, c.env)
			o.do(http.MethodPost, o.admin+"/admin/v1/devices",
				fmt.Sprintf(`{"project":"demo","user_id":"bob","channel":"fcm","app_type":"ANDROID","push_token":"%s:%0140d"}`, sim.FCMTokenPrefix, serial.Add(1)), nil)
			sid := uuid.NewString()
			callbacks := o.public + "/cb/" + secret("callback-secret", 40)
			o.do(http.MethodGet, callbacks+"/notify?"+notify(sid, "demo-service", "bob").Encode(), "", nil)
			var v console.CallVerdict
			look := func() verdict.Code {
				o.do(http.MethodGet, o.admin+"/admin/v1/calls/"+sid+"/verdict", "", &v)
				return v.Verdict.Code
			}
			o.await("an attempt is on record", func() bool {
				look()
				return slices.ContainsFunc(v.Verdict.Evidence, func(e verdict.Evidence) bool { return e.Attempt == 1 })
			})
			event := callEvent(sid, "demo-service", "bob")
			event.Set("end_time", fmt.Sprint(time.Now().Unix()))
			o.do(http.MethodGet, callbacks+"/call-event?"+event.Encode(), "", nil)
			o.await("the verdict is "+string(c.code), func() bool { return look() == c.code })
			meet(c.code)
			wantWords(t, c.code, v.Verdict.Sentence, c.words)
			if v.Verdict.Hop != verdict.HopNetwork {
				t.Errorf("the hop is %s", v.Verdict.Hop)
			}
		})
	}
}

// Google's token server is unwell, and the access token at hand is not taken any more.
func TestWhyOfGooglesTokenServer(t *testing.T) {
	t.Parallel()
	s := play(t, callsOnly, func(o *stage.Options) { o.RingTime = 2 * time.Second })
	s.android("bob")
	s.World.FCM.ForgetAccessTokens()
	s.fault("oauth", sim.Fault{Kind: sim.FaultUnavailable})
	sid, asked := s.ask("bob"), time.Now()
	s.passed(2*time.Second, asked) // no attempt ends before the ring: it waits for a token
	s.says(sid, "token_server_down", "Google's token server could not be used", "oauth_unavailable", "bob's ANDROID device")
}

// operated is a program of its own and who asks it.
type operated struct {
	*process
	t     *testing.T
	ctx   context.Context //nolint:containedctx // of the whole story
	watch *watch
}

// operate starts the program with another address of FCM, and with an environment.
func operate(t *testing.T, fcm string, env []string) operated {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	w := newWatch(t)
	dir := t.TempDir()
	world, err := sim.NewWorld(sim.WorldOptions{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := world.Close(); err != nil {
			t.Errorf("close the simulator: %v", err)
		}
		w.client.CloseIdleConnections()
		w.search(t)
	})
	cmd := exec.CommandContext(ctx, program(t), "serve", "--config", servedValues{Dir: dir, W: world.Settings(), FCM: fcm}.file(t))
	cmd.Env = slices.Concat(slices.DeleteFunc(environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return strings.HasSuffix(strings.ToUpper(name), "_PROXY")
	}), env)
	return operated{begin(t, w, w, cmd), t, ctx, w}
}

// do sends a request as the operator, which must succeed, and decodes the answer into v unless
// that is nil.
func (o operated) do(method, url, body string, v any) {
	o.t.Helper()
	r, err := http.NewRequestWithContext(o.ctx, method, url, strings.NewReader(body))
	if err != nil {
		o.t.Fatal("the request cannot be made")
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Authorization", "Bearer "+secret("admin-token", 64))
	resp, err := o.watch.client.Do(r)
	if err != nil {
		o.t.Fatalf("a %s got no answer", method) // the error has the URL, which is a secret
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		o.t.Fatalf("a %s was answered %d", method, resp.StatusCode)
	}
	if v != nil {
		if err := json.NewDecoder(resp.Body).Decode(v); err != nil {
			o.t.Fatal(err)
		}
	}
}

// await waits until what is true.
func (o operated) await(what string, is func() bool) {
	o.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !is() {
		select {
		case <-ticker.C:
		case <-o.ctx.Done():
			o.t.Fatalf("waited in vain until %s", what)
		}
	}
}
