package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/examples/web"
	"github.com/planetbell/planetbell/internal/app"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/internal/stage"
	"github.com/planetbell/planetbell/internal/telemetry"
	"github.com/planetbell/planetbell/planet"
)

// How long a call of the demo rings: long enough to walk to another tab, and the one that
// nobody answers short enough to wait for it. Real calls ring for 60 seconds.
const (
	demoRing       = 30 * time.Second
	demoUnanswered = 12 * time.Second
)

func newDemo() *cobra.Command {
	var d demo
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Ring a page and a few pretend phones on this machine; no account, no configuration",
		Long: `Start planetbell, a pretend Planet Cloud, pretend Apple and Google push services and a few
pretend phones, all on this machine's loopback, place some calls, and show what each party
does. It serves a softphone, a page that rings in a browser: open it in two tabs, as two people,
and let them call each other. It stays up until Ctrl-C. Nothing is kept.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd) },
	}
	cmd.Flags().BoolVar(&d.once, "once", false, "stop after the calls")
	cmd.Flags().StringVar(&d.public, "public-address", "127.0.0.1:8080", "host:port of the server; another one if it is taken")
	cmd.Flags().StringVar(&d.admin, "admin-address", "127.0.0.1:8081", "host:port of the admin API")
	cmd.Flags().StringVar(&d.control, "control-address", "127.0.0.1:8082", "host:port of the simulator")
	cmd.Flags().StringVar(&d.page, "page-address", "127.0.0.1:8083", "host:port of the softphone's page")
	cmd.Flags().DurationVar(&d.ring, "ring-time", demoRing, "how long a call rings; real ones ring for 60 s")
	cmd.Flags().StringVar(&d.logLevel, "log-level", "error", "of the server: debug, info, warn or error")
	return cmd
}

// demo is one run of planetbell demo.
type demo struct {
	once                         bool
	public, admin, control, page string
	ring                         time.Duration
	logLevel                     string

	stage    *stage.Stage
	recorded chan planet.SessionID // calls whose Call Event was answered
	watcher
}

func (d *demo) run(cmd *cobra.Command) (err error) {
	ctx := cmd.Context()
	d.out = printer{w: cmd.OutOrStdout()}
	dir, err := os.MkdirTemp("", "planetbell-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := d.start(ctx, cmd.ErrOrStderr(), dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stage.Close()) }()

	d.welcome()
	if err := d.addPhones(ctx); err != nil {
		return ended(ctx, err)
	}
	d.recorded = make(chan planet.SessionID, len(demoCalls))
	watching, stopWatching := context.WithCancel(ctx)
	shown := make(chan struct{})
	events := d.stage.World.Events(watching)
	go func() {
		defer close(shown)
		d.show(events)
	}()
	err = d.placeCalls(ctx)
	if err == nil && !d.once {
		d.farewell(dir)
		d.apart.Store(true)
		<-ctx.Done()
	}
	stopWatching()
	<-shown
	return ended(ctx, err)
}

// ended: Ctrl-C is how the demo is meant to end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (d *demo) start(ctx context.Context, stderr io.Writer, dir string) error {
	log, err := telemetry.NewLogger(stderr, d.logLevel, "auto")
	if err != nil {
		return fmt.Errorf("make the log: %w", err)
	}
	o := stage.Options{
		Dir: dir, Log: log, RingTime: d.ring, Version: app.Version(version),
		PublicAddress: free(d.public), AdminAddress: free(d.admin), ControlAddress: free(d.control),
		PageAddress: free(d.page), People: demoPeople,
	}
	if d.stage, err = stage.New(ctx, o); err != nil {
		return err
	}
	token := d.stage.Config.Admin.Token.Reveal()
	if err := os.WriteFile(tokenFile(dir), []byte(token+"\n"), 0o600); err != nil {
		return errors.Join(fmt.Errorf("write the admin token: %w", err), d.stage.Close())
	}
	return nil
}

func tokenFile(dir string) string { return filepath.Join(dir, "admin-token") }

// free returns the address if nobody listens on it, and else one with any free port: the
// demo must not fail because port 8080 is in use.
func free(address string) string {
	l, err := net.Listen("tcp", address)
	if err == nil {
		err = l.Close()
	}
	host, _, split := net.SplitHostPort(address)
	if err == nil || split != nil {
		return address
	}
	return net.JoinHostPort(host, "0")
}

// program is how this program was called.
func program() string {
	if name := os.Args[0]; strings.ContainsRune(name, filepath.Separator) {
		return name
	}
	return "planetbell"
}

// demoPeople may be chosen on the softphone's page. They have phones, too.
var demoPeople = []web.Person{{ID: "alice", Name: "Alice"}, {ID: "bob", Name: "Bob"}}

// demoPhones are the devices of the demo: one of each kind that the official apps make.
var demoPhones = []sim.PhoneRequest{
	{UserID: "alice", DisplayName: "Alice", Kind: sim.IOS, Name: "alice's iPhone"},
	{UserID: "alice", DisplayName: "Alice", Kind: sim.Windows, Name: "alice's PC"},
	{UserID: "bob", DisplayName: "Bob", Kind: sim.IOS, Name: "bob's iPhone"},
	{UserID: "bob", DisplayName: "Bob", Kind: sim.IOS, Name: "bob's test iPhone", Sandbox: true},
	{UserID: "bob", DisplayName: "Bob", Kind: sim.Android, Name: "bob's Android"},
	{UserID: "bob", DisplayName: "Bob", Kind: sim.MacOS, Name: "bob's Mac"},
	{UserID: "bob", DisplayName: "Bob", Kind: sim.Windows, Name: "bob's PC"},
}

func (d *demo) addPhones(ctx context.Context) error {
	d.out.line("Phones register as LINE's demo apps do. They belong to alice and bob:")
	for _, request := range demoPhones {
		if _, err := d.stage.World.AddPhone(ctx, request); err != nil {
			return fmt.Errorf("register %s: %w", request.Name, err)
		}
		d.out.line("  %-18s %s", request.Name, reachedBy(request))
	}
	ready, cancel := context.WithTimeoutCause(ctx, registerTimeout, errors.New("the phones did not finish registering in time"))
	defer cancel()
	if err := d.stage.AwaitDevices(ready, len(demoPhones)); err != nil {
		return fmt.Errorf("wait for the phones: %w", err)
	}
	d.out.line("")
	d.out.line("%s", legend)
	return nil
}

func reachedBy(r sim.PhoneRequest) string {
	switch {
	case r.Kind == sim.IOS && r.Sandbox:
		return "rings through APNs VoIP, sandbox"
	case r.Kind == sim.IOS:
		return "rings through APNs VoIP, production"
	case r.Kind == sim.Android:
		return "rings through FCM"
	case r.Kind == sim.Browser:
		return "rings through Web Push"
	}
	return "rings through long polling"
}

// demoCalls are placed one after the other.
var demoCalls = []struct {
	title    string
	from, to string
	plan     sim.Plan
}{
	{"alice calls bob, who answers on his Mac and hangs up", "alice", "bob", sim.Plan{Kind: sim.PlanAnswered, By: "bob's Mac", After: time.Second, Talk: time.Second}},
	{"bob calls alice, who declines", "bob", "alice", sim.Plan{Kind: sim.PlanDeclined, After: 500 * time.Millisecond}},
	{"alice calls carol, whom nobody knows here, and gives up", "alice", "carol", sim.Plan{Kind: sim.PlanCanceled, After: 1500 * time.Millisecond}},
	{"alice calls bob, and nobody answers", "alice", "bob", sim.Plan{Kind: sim.PlanUnanswered}},
}

func (d *demo) placeCalls(ctx context.Context) error {
	for i, c := range demoCalls {
		d.out.line("")
		d.out.line("Call %d of %d: %s", i+1, len(demoCalls), c.title)
		placed, err := d.stage.World.Call(ctx, c.from, c.to, sim.CallRequest{Plan: c.plan, RingTime: min(d.ring, demoUnanswered)})
		if err != nil {
			return fmt.Errorf("call %d: %w", i+1, err)
		}
		if err := d.finish(ctx, placed); err != nil {
			return err
		}
	}
	return nil
}

// registerTimeout bounds the wait for phones that register in the background.
const registerTimeout = 15 * time.Second

// callEventTimeout bounds the wait for the last line of a call, its Call Event.
const callEventTimeout = 5 * time.Second

// finish waits until a call is over and the server has taken its Call Event, so that the
// lines of two calls do not mix.
func (d *demo) finish(ctx context.Context, placed *sim.Call) error {
	select {
	case <-placed.Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	timeout := time.NewTimer(callEventTimeout)
	defer timeout.Stop()
	for {
		select {
		case sid := <-d.recorded:
			if sid == placed.Report().SessionID {
				return nil
			}
		case <-timeout.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// show prints what happens, and tells finish which calls are over.
func (d *demo) show(events <-chan sim.Event) {
	for e := range events {
		d.event(e)
		if e.Kind == sim.EventCallback && strings.HasPrefix(e.Text, "call-event") {
			select {
			case d.recorded <- e.SessionID:
			default: // nobody waits: the reader places calls now
			}
		}
	}
}

func (d *demo) welcome() {
	s := d.stage
	d.out.line("Open %s", s.PageURL())
	d.out.line("")
	d.out.line("It is a softphone. Be Alice in one tab and Bob in another, and call: it rings. What the server")
	d.out.line("does meanwhile is shown here. Ctrl-C ends it.")
	d.out.line("")
	d.out.line("planetbell %s, with a pretend world around it. All of it runs on this machine.", version)
	d.out.line("")
	d.out.line("  server      %s", s.App.PublicURL())
	d.out.line("  admin API   %s", s.App.AdminURL())
	d.out.line("  simulator   %s", s.World.Settings().ControlURL)
	d.out.line("  Server API  %s", s.World.Settings().ServerAPIURL)
	d.out.line("")
}

func (d *demo) farewell(dir string) {
	admin := " --admin-url " + d.stage.App.AdminURL() + " --admin-token-file " + tokenFile(dir)
	lines := []string{
		"", "Everything stays up: call from " + d.stage.PageURL() + " or from another terminal:", "",
		"  curl -s " + d.stage.World.Settings().ControlURL + `/calls -d '{"from":"carol","to":"bob","plan":"by-hand"}'`,
		"", "Plans: by-hand (answer on the page), answered, declined, canceled, unanswered, busy. Look at what the server recorded:", "",
		"  " + program() + " call list" + admin,
		"  " + program() + " call show SID" + admin,
		"  " + program() + " device list" + admin,
		"", "Ctrl-C ends the demo and removes what it wrote.", "",
	}
	d.out.line("%s", strings.Join(lines, "\n"))
}
