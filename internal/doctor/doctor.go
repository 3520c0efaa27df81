// Package doctor finds out, without a phone, whether everything that a ring needs is right:
// keys, what the providers say to them, the way from LINE Planet to the callback URLs, the
// database, the machine. It changes nothing and rings nobody.
//
// Begin with faults.go: it is the one table of what can be wrong, how bad that is, and what to
// do; docs/doctor.md explains each. A check finds facts and names a fault, no more.
package doctor

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/planetbell/planetbell/internal/config"
)

// Level is how bad a result is.
type Level string

// The levels. Skipped says that a check was not made, and is no judgement.
const (
	OK      Level = "ok"
	Skipped Level = "skipped"
	Warning Level = "warning"
	Error   Level = "error"
)

// Result is one line of what was found. No field holds a secret, or a URL that does.
type Result struct {
	Name    string `json:"name"`            // of the check
	Subject string `json:"subject"`         // what was looked at, such as a project's credential
	Level   Level  `json:"level"`           //
	Fault   string `json:"fault,omitempty"` // its name in docs/doctor.md; empty unless warning or error
	Finding string `json:"finding"`         // one sentence
	Fix     string `json:"fix,omitempty"`   // what to do, in one or two sentences
}

// Options say what is looked at, and with whose eyes. Only Loaded or ConfigError is needed.
type Options struct {
	Loaded *config.Loaded
	Only   []string      // names of checks; empty: all
	Local  bool          // nothing is connected to but this machine and the database
	Time   time.Duration // for all checks, which run at once; DefaultTime if 0

	Now         func() time.Time                                                     // time.Now
	Lookup      func(ctx context.Context, host string) ([]netip.Addr, error)         // the system's resolver
	DialPublic  func(ctx context.Context, network, address string) (net.Conn, error) // to the public address
	PublicRoots *x509.CertPool                                                       // who may vouch for it; the system's, as LINE Planet has no others
	FileLimit   func() (open uint64, err error)                                      // the system's, for this process
	Space       func(folder string) (free, size uint64, err error)                   // the file system's
}

// DefaultTime is enough for every check of what answers, and for the silence of what is asked once.
const DefaultTime = 12 * time.Second

var errOutOfTime = errors.New("the check took longer than it may")

// check is one of the list. It reports at least one result.
type check struct {
	name  string
	about string // one line for people
	away  bool   // connects to other machines
	run   func(*exam, context.Context)
}

// checks is the list, in the order in which results are told.
var checks = []check{
	{"config", "the configuration and its warnings", false, (*exam).settings},
	{"machine", "limit of open files, disk space, modes of secret files", false, (*exam).machine},
	{"listeners", "public.address and admin.address are free, or held by this server", false, (*exam).listeners},
	{"database", "it opens, its schema fits, it writes and commits in time", false, (*exam).database},
	{"bus", "hints reach other nodes", false, (*exam).bus},
	{"clock", "this machine's clock agrees with others", true, (*exam).clock},
	{"line", "LINE Planet's key and secret", false, (*exam).line},
	{"server-api", "LINE Planet's Server API takes the key", true, (*exam).serverAPI},
	{"apns", "Apple's credentials, and what APNs says to them", false, (*exam).apple},
	{"fcm", "Firebase's service account, and what Google says to it", false, (*exam).firebase},
	{"web-push", "the VAPID keys and allowed hosts", false, (*exam).webPush},
	{"public-address", "public.base_url leads to an address that LINE Planet can reach", true, (*exam).publicAddress},
	{"public-tls", "its certificate is valid, complete and for its name", true, (*exam).publicTLS},
	{"callbacks", "every callback URL answers 200, and it is this server that does", true, (*exam).callbacks},
	{"request-line", "long callbacks come through what stands in front", true, (*exam).requestLine},
	{"events", "the endpoints of events can be reached", true, (*exam).events},
	{"hooks", "the policy hook and members_url can be reached", true, (*exam).hooks},
}

// Names are all checks' names, in order.
func Names() []string {
	names := make([]string, len(checks))
	for i, c := range checks {
		names[i] = c.name
	}
	return names
}

// About says in one line what a check looks at; "" for a name that is none.
func About(name string) string {
	for _, c := range checks {
		if c.name == name {
			return c.about
		}
	}
	return ""
}

// exam is one check at work. report may be called from several goroutines.
type exam struct {
	o    *Options
	cfg  *config.Config
	name string

	mu      sync.Mutex
	results []Result
}

// Run makes the checks, all at once, and returns what they found in the order of the list. It
// returns when the time is over or ctx ends; what is missing by then is told. The
// error is about Options.Only.
func Run(ctx context.Context, o Options) ([]Result, error) {
	for _, name := range o.Only {
		if About(name) == "" {
			return nil, fmt.Errorf("there is no check %q", name)
		}
	}
	o.complete()
	ctx, cancel := context.WithTimeoutCause(ctx, o.Time, errOutOfTime)
	defer cancel()
	var exams []*exam
	var group sync.WaitGroup
	for _, c := range checks {
		if len(o.Only) > 0 && !slices.Contains(o.Only, c.name) {
			continue
		}
		e := &exam{o: &o, cfg: &o.Loaded.Config, name: c.name}
		exams = append(exams, e)
		if c.away && o.Local {
			e.skip("", "not asked: it needs the network")
			continue
		}
		group.Go(func() {
			c.run(e, ctx)
			if ctx.Err() != nil {
				e.fault("", "out-of-time", "It was not done in time; what it found until then is told.")
			}
		})
	}
	group.Wait()
	var all []Result
	for _, e := range exams {
		slices.SortStableFunc(e.results, func(a, b Result) int { return cmp.Compare(a.Subject, b.Subject) })
		all = append(all, e.results...)
	}
	return all, nil
}

func (o *Options) complete() {
	o.Time = cmp.Or(o.Time, DefaultTime)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lookup == nil {
		o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if o.DialPublic == nil {
		o.DialPublic = (&net.Dialer{Timeout: dialTime}).DialContext
	}
	if o.FileLimit == nil {
		o.FileLimit = fileLimit
	}
	if o.Space == nil {
		o.Space = space
	}
}

// Invalid is what there is to tell of a configuration that does not load.
func Invalid(wrong *config.Error) []Result {
	e := &exam{name: "config"}
	for _, p := range wrong.Problems {
		subject := cmp.Or(p.Path, p.Where)
		e.fault(subject, "config-invalid", "%s", p.Message)
	}
	return e.results
}

func (e *exam) ok(subject, format string, args ...any) {
	e.add(Result{Subject: subject, Level: OK, Finding: fmt.Sprintf(format, args...)})
}

func (e *exam) skip(subject, format string, args ...any) {
	e.add(Result{Subject: subject, Level: Skipped, Finding: fmt.Sprintf(format, args...)})
}

// fault tells of one of the table. A finding must hold no secret and no whole URL.
func (e *exam) fault(subject, name, format string, args ...any) {
	f, known := faults[name]
	if !known {
		panic("doctor: the table has no fault " + name)
	}
	e.add(Result{Subject: subject, Level: f.level, Fault: name, Finding: fmt.Sprintf(format, args...), Fix: f.fix})
}

func (e *exam) add(r Result) {
	e.mu.Lock()
	defer e.mu.Unlock()
	r.Name = e.name
	e.results = append(e.results, r)
}

// settings tells the warnings of the configuration.
func (e *exam) settings(context.Context) {
	for _, w := range e.o.Loaded.Warnings {
		e.fault(cmp.Or(w.Path, w.Where), "config-warning", "%s", w.Message)
	}
	if len(e.o.Loaded.Warnings) == 0 {
		e.ok("", "The configuration is right: %d project(s).", len(e.cfg.Projects))
	}
}

// Worst is the worst level of results.
func Worst(results []Result) Level {
	order := []Level{Skipped, OK, Warning, Error}
	worst := OK
	for _, r := range results {
		if slices.Index(order, r.Level) > slices.Index(order, worst) {
			worst = r.Level
		}
	}
	return worst
}
