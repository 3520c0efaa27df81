package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

//go:embed sim.yaml.tmpl
var simConfig string

func newSim() *cobra.Command {
	var s simulator
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run a pretend Planet Cloud, APNs, FCM, Web Push and phones for a server of your own",
		Long: `Run the pretend world of the demo without the server. It writes a configuration for
"planetbell serve" whose push services are the pretend ones, waits for that server, lets
phones register at it, and then does what its control port is told: place calls, add
phones, script faults of the push services. All of it stays on this machine.

A fault is posted to /faults with a "target" (` + strings.Join(sim.FaultTargets(), ", ") + `) and a "kind".
"count" is how many requests or connections it strikes (without it: all), "share" strikes
that part of them (0.05), "for" ends it after a time ("30s"). Several can be there at once.
GET /faults tells which are; DELETE /faults ends all, and ?target= and ?kind= some. Kinds:

` + faultTable() + `
docs/cli.md has examples.`,
		Example: `  planetbell sim --dir sim --phone bob:ios --phone bob:android
  planetbell serve --config sim/planetbell.yaml          # in another terminal
  curl -s http://127.0.0.1:8082/calls -d '{"from":"alice","to":"bob","plan":"answered"}'
  curl -s http://127.0.0.1:8082/faults -d '{"target":"fcm","kind":"unavailable","count":3}'
  curl -s http://127.0.0.1:8082/faults -d '{"target":"apns-production","kind":"silence","scope":"open"}'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd) },
	}
	cmd.Flags().StringVar(&s.dir, "dir", "sim", "folder for the configuration, keys and certificates")
	cmd.Flags().StringVar(&s.control, "control-address", "127.0.0.1:8082", "host:port to be told what to do")
	cmd.Flags().StringVar(&s.public, "public-address", "127.0.0.1:8080", "where the server will listen for Planet Cloud and clients")
	cmd.Flags().StringVar(&s.admin, "admin-address", "127.0.0.1:8081", "where the server will listen for the operator")
	cmd.Flags().DurationVar(&s.ring, "ring-time", 60*time.Second, "how long a call rings")
	cmd.Flags().BoolVar(&s.lenient, "lenient", false, "let the push services accept pushes that are unfit for calls")
	cmd.Flags().StringArrayVar(&s.phones, "phone", nil, "a phone as user:kind, kind one of ios, ios-sandbox, android, android-lp, windows, macos, web, browser; may be repeated")
	return cmd
}

// faultTable lists the kinds of faults, each with the fields that it takes.
func faultTable() string {
	var b strings.Builder
	for _, k := range sim.FaultKinds() {
		fmt.Fprintf(&b, "  %-16s %s\n", k.Kind, k.Means)
		if k.Fields != "" {
			fmt.Fprintf(&b, "  %-16s   takes %s\n", "", strings.ReplaceAll(k.Fields, " ", ", "))
		}
	}
	return b.String()
}

// simulator is one run of planetbell sim.
type simulator struct {
	dir, control, public, admin string
	ring                        time.Duration
	lenient                     bool
	phones                      []string
}

func (s *simulator) run(cmd *cobra.Command) (err error) {
	ctx, out := cmd.Context(), printer{w: cmd.OutOrStdout()}
	requests, err := phoneRequests(s.phones)
	if err != nil {
		return usageError(cmd, err)
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the simulator: %w", err)
	}
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return fmt.Errorf("find the folder of the simulator: %w", err)
	}
	world, err := sim.NewWorld(sim.WorldOptions{Dir: dir, RingTime: s.ring, Lenient: s.lenient, ControlAddress: s.control})
	if err != nil {
		return fmt.Errorf("start the simulator: %w", err)
	}
	defer func() { err = errors.Join(err, world.Close()) }()
	server, file, err := s.writeConfig(dir, world.Settings())
	if err != nil {
		return err
	}
	out.line("The simulator is up; it is told what to do at %s", world.Settings().ControlURL)
	out.line("LINE Planet's Server API is pretended at %s", world.Settings().ServerAPIURL)
	out.line("Now start the server in another terminal:")
	out.line("")
	out.line("  %s serve --config %s", program(), file)
	out.line("")
	if err := world.Connect(server); err != nil {
		return fmt.Errorf("connect the simulator: %w", err)
	}
	if err := waitForServer(ctx, "http://"+s.admin+"/readyz"); err != nil {
		return ended(ctx, err)
	}
	out.line("The server answers.")
	for _, r := range requests {
		if _, err := world.AddPhone(ctx, r); err != nil {
			return ended(ctx, fmt.Errorf("register %s: %w", r.Name, err))
		}
		out.line("  %-18s %s", r.Name, reachedBy(r))
	}
	s.whatToDo(out, world.Settings().ControlURL, file, requests)
	w := watcher{out: out}
	w.apart.Store(true)
	for e := range world.Events(ctx) { // until Ctrl-C ends ctx
		w.event(e)
	}
	return nil
}

// whatToDo prints lines to copy. Without phones the first of them adds one.
func (s *simulator) whatToDo(out printer, control, file string, phones []sim.PhoneRequest) {
	callee := "bob"
	out.line("")
	if len(phones) == 0 {
		out.line("Add a phone:       curl -s %s/phones -d '{\"kind\":\"ios\",\"user\":\"bob\"}'", control)
	} else {
		callee = phones[0].UserID
	}
	out.line("Place a call:      curl -s %s/calls -d '{\"from\":\"alice\",\"to\":\"%s\",\"plan\":\"answered\",\"after\":\"2s\"}'", control, callee)
	out.line("Open a room:       curl -s %s/rooms -d '{\"room\":\"lounge\",\"users\":[\"alice\",\"bob\"]}'", control)
	out.line("Empty it:          %s room kick --config %s lounge alice bob", program(), file)
	out.line("Break something:   curl -s %s/faults -d '{\"target\":\"fcm\",\"kind\":\"unavailable\",\"count\":3}'", control)
	out.line("Repair it:         curl -s -X DELETE %s/faults", control)
	out.line("")
	out.line("%s Ctrl-C ends all of it.", legend)
}

// phoneRequests reads --phone values. Several phones of one kind get a number.
func phoneRequests(texts []string) ([]sim.PhoneRequest, error) {
	var requests []sim.PhoneRequest
	named := map[string]int{}
	for _, text := range texts {
		user, kind, ok := strings.Cut(text, ":")
		if !ok || user == "" {
			return nil, fmt.Errorf("--phone %q is not of the form user:kind, such as bob:ios", text)
		}
		r := sim.PhoneRequest{UserID: user, DisplayName: user, Name: user + "'s " + kind}
		if named[r.Name]++; named[r.Name] > 1 {
			r.Name = fmt.Sprintf("%s %d", r.Name, named[r.Name])
		}
		kind, r.Sandbox = strings.CutSuffix(kind, "-sandbox")
		r.Kind = sim.PhoneKind(kind)
		requests = append(requests, r)
	}
	return requests, nil
}

// simServer is what the configuration of the server under test is made of.
type simServer struct {
	sim.Settings
	Public, Admin                        string
	RingTime, Hold                       time.Duration
	AdminToken, SigningKey               string
	APISecret, ClientKey, CallbackSecret string
	Service, APIKey, VAPIDKey            string
}

func (s *simulator) writeConfig(dir string, settings sim.Settings) (sim.AppServer, string, error) {
	v := simServer{
		Settings: settings, Public: s.public, Admin: s.admin, RingTime: s.ring,
		Hold:       max(5*time.Second, min(25*time.Second, s.ring/2)), // a poll must end before a call does
		AdminToken: freshSecret(), SigningKey: freshSecret(), APISecret: freshSecret(),
		ClientKey: freshSecret()[:32], CallbackSecret: freshSecret()[:40],
		Service: "sim-service", APIKey: "sim-api-key", VAPIDKey: bell.NewVAPIDKey().Reveal(),
	}
	var text strings.Builder
	if err := template.Must(template.New("sim").Parse(simConfig)).Execute(&text, v); err != nil {
		return sim.AppServer{}, "", fmt.Errorf("make the configuration: %w", err)
	}
	file := filepath.Join(dir, "planetbell.yaml")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		return sim.AppServer{}, "", fmt.Errorf("write the configuration: %w", err)
	}
	base := "http://" + s.public
	return sim.AppServer{
		BaseURL: base, CallbackURL: base + "/cb/" + v.CallbackSecret, ServiceID: v.Service,
		ClientKey: v.ClientKey, APIKey: v.APIKey, APISecret: planet.Secret(v.APISecret),
	}, file, nil
}

func freshSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// waitForServer asks once a second until the server is ready or ctx ends.
func waitForServer(ctx context.Context, url string) error {
	client := http.Client{Timeout: 2 * time.Second}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("ask whether the server is up: %w", err)
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
