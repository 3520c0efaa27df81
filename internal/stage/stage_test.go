package stage_test

import (
	"context"
	"database/sql"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/stage"
	"github.com/planetbell/planetbell/internal/testlog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience ends a broken test.
const patience = time.Minute

func options(t *testing.T) stage.Options {
	t.Helper()
	return stage.Options{Dir: t.TempDir(), Log: testlog.New(t), Version: "test", Secret: func(name string, length int) string {
		return testlog.HexSecret(len(name), length)
	}}
}

func set(t *testing.T, o stage.Options) *stage.Stage {
	t.Helper()
	s, err := stage.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close the stage: %v", err)
		}
	})
	return s
}

// status fetches a page on a connection of its own; 0 when nobody listens.
func status(t *testing.T, url string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// ring lets alice call bob, who has one phone, and waits until it rings.
func ring(t *testing.T, s *stage.Stage, phone *sim.Phone, calls int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := s.World.Call(ctx, "alice", "bob", sim.CallRequest{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := phone.AwaitReceived(ctx, calls)
	if err != nil || !got[calls-1].Rang {
		t.Errorf("the phone got %d calls: %v", len(got), err)
	}
	c.Hangup()
	select {
	case <-c.Done():
	case <-ctx.Done():
		t.Error("the call does not end")
	}
}

// A stage rings without any further setting, and its server can be stopped and started
// again, at the same address if that is wanted, with what it knew.
func TestAStageRingsAndRestarts(t *testing.T) {
	t.Parallel()
	o := options(t)
	s := set(t, o)
	android, err := s.World.AddPhone(t.Context(), sim.PhoneRequest{Kind: sim.Android, UserID: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	ring(t, s, android, 1)

	admin := s.App.AdminURL()
	s.Config.Public.Address = strings.TrimPrefix(s.App.PublicURL(), "http://")
	if err := s.Stop(); err != nil {
		t.Fatalf("stop: %v", err)
	}
	if got := status(t, admin+"/livez"); got != 0 {
		t.Errorf("a stopped server answers %d", got)
	}
	if err := s.Stop(); err != nil {
		t.Errorf("a second stop: %v", err)
	}
	if err := s.Start(t.Context(), o); err != nil {
		t.Fatalf("start again: %v", err)
	}
	if got := status(t, s.App.AdminURL()+"/readyz"); got != http.StatusOK {
		t.Errorf("the restarted server is not ready: %d", got)
	}
	ring(t, s, android, 2)
}

// The context of New bounds the start and not the life.
func TestAStageOutlivesItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	o := options(t)
	s, err := stage.New(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if got := status(t, s.App.AdminURL()+"/livez"); got != http.StatusOK {
		t.Errorf("the server ended with the context of its start: %d", got)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

// Options reach both sides: addresses, ring time, secrets, and the two hooks.
func TestOptions(t *testing.T) {
	t.Parallel()
	ca, err := sim.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	o := options(t)
	o.RingTime = 20 * time.Second
	o.World = func(w *sim.WorldOptions) { w.CA, w.BundleID = ca, "com.example.hooked" }
	o.Change = func(c *config.Config, w sim.Settings) {
		if c.Projects[0].APNs[0].BundleID != w.BundleID || w.BundleID != "com.example.hooked" {
			t.Errorf("the hooks do not see each other: %q and %q", c.Projects[0].APNs[0].BundleID, w.BundleID)
		}
		c.Projects[0].EnvironmentLabel = "hooked"
	}
	s := set(t, o)
	if s.World.CA != ca {
		t.Error("the world has an authority of its own")
	}
	c := s.Config
	if c.Calls.RingTime != o.RingTime || c.Calls.Safety != 2*time.Second || c.Projects[0].EnvironmentLabel != "hooked" {
		t.Errorf("ring time %v less %v, label %q", c.Calls.RingTime, c.Calls.Safety, c.Projects[0].EnvironmentLabel)
	}
	if c.Admin.Token.Reveal() != testlog.HexSecret(len("admin-token"), 64) {
		t.Error("the admin token is not the one that was asked for")
	}
}

// Two stages without a maker of secrets have nothing in common.
func TestRandomSecrets(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 2 {
		o := options(t)
		o.Secret = nil
		s := set(t, o)
		p := s.Config.Projects[0]
		for _, secret := range []string{
			s.Config.Admin.Token.Reveal(), s.Config.AppTokens.SigningKey.Reveal(),
			p.APISecret.Reveal(), p.ClientKey.Reveal(), p.CallbackSecret.Reveal(),
		} {
			if seen[secret] || len(secret) < 32 || strings.Trim(secret, "0123456789abcdef") != "" {
				t.Errorf("a secret of %d characters is not fresh hexadecimal", len(secret))
			}
			seen[secret] = true
		}
	}
}

// What cannot be set says why, and leaves nothing open: no listener, no goroutine, no
// lock on the database.
func TestAStageThatCannotBeSet(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	o := options(t)
	for what, c := range map[string]struct {
		change func(*stage.Options)
		says   string
	}{
		"no folder":              {func(o *stage.Options) { o.Dir = filepath.Join(o.Dir, "missing") }, "start the simulator"},
		"the control port taken": {func(o *stage.Options) { o.ControlAddress = taken.Addr().String() }, "start the simulator"},
		"the public port taken":  {func(o *stage.Options) { o.PublicAddress = taken.Addr().String() }, "start the server: public.address"},
		"the admin port taken":   {func(o *stage.Options) { o.AdminAddress = taken.Addr().String() }, "start the server: admin.address"},
		"a bad configuration":    {func(o *stage.Options) { o.Change = func(c *config.Config, _ sim.Settings) { c.CAFile = "missing.pem" } }, "start the server: ca_file"},
	} {
		bad := o
		c.change(&bad)
		s, err := stage.New(t.Context(), bad)
		if err == nil {
			t.Errorf("%s: the stage is set", what)
			_ = s.Close()
			continue
		}
		testlog.Keep(t, what, err.Error())
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want an error with %q", what, err, c.says)
		}
	}
	set(t, o)
}

// A closed stage has written its database out.
func TestACloseLeavesAWholeDatabase(t *testing.T) {
	t.Parallel()
	o := options(t)
	s, err := stage.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(o.Dir, "planetbell.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	err = db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&verdict)
	if err != nil || verdict != "ok" {
		t.Errorf("the database is %q: %v", verdict, err)
	}
}
