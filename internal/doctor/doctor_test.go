package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/egress"
	"github.com/planetbell/planetbell/internal/store/postgres"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(testpg.Exit)) }

// The document has a section for each check and a row for each fault, with its level.
func TestTheDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]fault{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (warning|error) \\| .+ \\|$").FindAllStringSubmatch(string(text), -1) {
		if _, twice := written[row[1]]; twice {
			t.Errorf("%s has two rows", row[1])
		}
		written[row[1]] = fault{level: Level(row[2])}
	}
	known := map[string]fault{}
	for name, f := range faults {
		known[name] = fault{level: f.level}
		if f.fix == "" || !strings.HasSuffix(f.fix, ".") {
			t.Errorf("%s has no fix that is a sentence: %q", name, f.fix)
		}
	}
	if diff := cmp.Diff(known, written, cmp.AllowUnexported(fault{})); diff != "" {
		t.Errorf("faults, -code +document:\n%s", diff)
	}
	var sections []string
	for _, h := range regexp.MustCompile(`(?m)^## ([a-z-]+)$`).FindAllStringSubmatch(string(text), -1) {
		sections = append(sections, h[1])
	}
	if diff := cmp.Diff(Names(), sections); diff != "" {
		t.Errorf("checks, -code +document:\n%s", diff)
	}
}

// Every fault of the table is named where something is found, and no other is.
func TestEveryFaultIsFound(t *testing.T) {
	var source strings.Builder
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") && name != "faults.go" {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(text)
		}
	}
	for name := range faults {
		if !strings.Contains(source.String(), `"`+name+`"`) {
			t.Errorf("no check finds %s", name)
		}
	}
	for _, named := range regexp.MustCompile(`\.fault\([^"\n]*, "([a-z-]+)"`).FindAllStringSubmatch(source.String(), -1) {
		if _, known := faults[named[1]]; !known {
			t.Errorf("the table has no %s", named[1])
		}
	}
}

func loadedWith(change func(*config.Config)) *config.Loaded {
	c := config.Default()
	p := config.DefaultProject()
	p.Name = "main"
	c.Projects = []config.Project{p}
	if change != nil {
		change(&c)
	}
	return &config.Loaded{Config: c}
}

func found(results []Result) (names []string) {
	for _, r := range results {
		if r.Fault != "" {
			names = append(names, r.Fault)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func TestOnlyWhatIsAskedFor(t *testing.T) {
	if _, err := Run(t.Context(), Options{Loaded: loadedWith(nil), Only: []string{"nonsense"}}); err == nil {
		t.Error("a check that there is not was made")
	}
	results, err := Run(t.Context(), Options{Loaded: loadedWith(nil), Only: []string{"bus", "clock"}, Local: true})
	if err != nil || len(results) != 2 || results[0].Name != "bus" || results[1].Level != Skipped {
		t.Errorf("%v: %+v", err, results)
	}
}

// A longer time is all of each check's: what answers late is heard.
func TestTimeIsEveryChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results, err := Run(t.Context(), Options{
			Loaded: loadedWith(func(c *config.Config) { c.Public.BaseURL = "https://calls.planetbell.example" }),
			Only:   []string{"public-address"}, Time: time.Minute,
			Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(50 * time.Second):
					return []netip.Addr{netip.MustParseAddr("198.51.100.7")}, nil
				}
			},
			DialPublic: func(context.Context, string, string) (net.Conn, error) {
				here, there := net.Pipe()
				return here, there.Close()
			},
		})
		if err != nil || len(results) != 1 || results[0].Level != OK {
			t.Errorf("%v, %+v", err, results)
		}
	})
}

// Of request lines that nobody answered before time was up nothing is claimed.
func TestTimeIsUpAmongRequestLines(t *testing.T) {
	for _, long := range []time.Duration{2 * time.Second, 12 * time.Second, 20 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			results, err := Run(t.Context(), Options{
				Loaded: loadedWith(func(c *config.Config) { c.Public.BaseURL = "http://calls.planetbell.example" }),
				Only:   []string{"request-line"}, Time: long,
				DialPublic: func(context.Context, string, string) (net.Conn, error) {
					here, there := net.Pipe()
					go func() { _, _ = io.Copy(io.Discard, there) }() // it takes everything and says nothing
					return here, nil
				},
			})
			if diff := cmp.Diff([]string{"out-of-time"}, found(results)); err != nil || diff != "" || len(results) != 1 {
				t.Errorf("in %s: %v, %+v\n%s", long, err, results, diff)
			}
		})
	}
}

// A resolver that never answers costs no more than the time that there is.
func TestTimeIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		results, err := Run(t.Context(), Options{
			Loaded: loadedWith(func(c *config.Config) { c.Public.BaseURL = "https://calls.planetbell.example" }),
			Only:   []string{"public-address"}, Time: 3 * time.Second,
			Lookup: func(ctx context.Context, _ string) ([]netip.Addr, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		if took := time.Since(started); err != nil || took != 3*time.Second {
			t.Errorf("%v after %s", err, took)
		}
		if diff := cmp.Diff([]string{"out-of-time", "public-dns"}, found(results)); diff != "" {
			t.Error(diff)
		}
	})
}

func TestWorst(t *testing.T) {
	of := func(levels ...Level) (results []Result) {
		for _, l := range levels {
			results = append(results, Result{Level: l})
		}
		return results
	}
	for want, results := range map[Level][]Result{
		OK: of(Skipped, OK), Warning: of(OK, Warning, Skipped), Error: of(Warning, Error, OK),
	} {
		if got := Worst(results); got != want {
			t.Errorf("%v: %s, want %s", results, got, want)
		}
	}
}

func TestAConfigurationThatDoesNotLoad(t *testing.T) {
	results := Invalid(&config.Error{Problems: []config.Problem{{Path: "projects[0].api_secret", Message: "is missing."}, {Where: "--config", Message: "no %s."}}})
	if len(results) != 2 || results[0].Subject != "projects[0].api_secret" || results[0].Level != Error || results[1].Finding != "no %s." {
		t.Errorf("%+v", results)
	}
	warned := loadedWith(nil)
	warned.Warnings = []config.Problem{{Path: "admin.token", Message: "is empty."}}
	results, err := Run(t.Context(), Options{Loaded: warned, Only: []string{"config"}})
	if diff := cmp.Diff([]string{"config-warning"}, found(results)); err != nil || diff != "" {
		t.Error(err, diff)
	}
}

// What providers can say, and how bad it is.
func TestAnswersOfProviders(t *testing.T) {
	for _, c := range []struct {
		outcome bell.Outcome
		apple   string
		google  string
	}{
		{bell.Outcome{Status: 200, Verdict: bell.Accepted}, "", ""},
		{bell.Outcome{Status: 400, Reason: "BadDeviceToken"}, "", "fcm-strange"},
		{bell.Outcome{Status: 400, Reason: "INVALID_ARGUMENT", Token: bell.TokenCheck}, "apns-strange", ""},
		{bell.Outcome{Status: 400, Reason: "INVALID_ARGUMENT", Token: bell.TokenKeep}, "apns-strange", "fcm-strange"},
		{bell.Outcome{Status: 410, Reason: "Unregistered", Token: bell.TokenDrop}, "", "fcm-strange"},
		{bell.Outcome{Status: 403, Reason: "BadEnvironmentKeyInToken"}, "apns-environment", "fcm-strange"},
		{bell.Outcome{Status: 403, Reason: "ExpiredProviderToken"}, "apns-clock", "fcm-strange"},
		{bell.Outcome{Status: 403, Reason: "Forbidden"}, "apns-forbidden", "fcm-strange"},
		{bell.Outcome{Status: 404, Reason: "NOT_FOUND"}, "apns-strange", "fcm-unknown"},
		{bell.Outcome{Status: 401, Reason: "UNAUTHENTICATED"}, "apns-strange", "fcm-refused"},
		{bell.Outcome{Status: 429, Reason: "http_429"}, "apns-unwell", "fcm-unwell"},
		{bell.Outcome{Status: 503, Reason: "Shutdown"}, "apns-unwell", "fcm-unwell"},
		{bell.Outcome{Reason: "dns"}, "apns-unreachable", "fcm-unreachable"},
		{bell.Outcome{Reason: "tls"}, "apns-tls", "fcm-tls"},
	} {
		apple, google := &exam{}, &exam{}
		apple.appleAnswer("app", c.outcome)
		google.googleAnswer("project", probed(c.outcome))
		if got := apple.results[0].Fault; got != c.apple {
			t.Errorf("APNs %d %s: %q, want %q", c.outcome.Status, c.outcome.Reason, got, c.apple)
		}
		if got := google.results[0].Fault; got != c.google {
			t.Errorf("FCM %d %s: %q, want %q", c.outcome.Status, c.outcome.Reason, got, c.google)
		}
	}
}

func TestServiceAccountsHaveAHome(t *testing.T) {
	for email, want := range map[string]string{
		"sender@my-project.iam.gserviceaccount.com":             "my-project",
		"sender@my-project.example.com.iam.gserviceaccount.com": "example.com:my-project",
		"my-project@appspot.gserviceaccount.com":                "",
		"nonsense":                                              "",
	} {
		if got := homeOf(email); got != want {
			t.Errorf("%s: %q, want %q", email, got, want)
		}
	}
}

func TestReachableAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"198.51.100.7": true, "2606:4700::1111": true, "10.1.2.3": false, "192.168.0.1": false, "127.0.0.1": false, "::1": false,
		"169.254.1.1": false, "100.64.0.1": false, "fd00::1": false, "::ffff:10.0.0.1": false, "0.0.0.0": false,
	} {
		if got := reachable(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}

// An error may hold a URL with a secret: what is told of it must not.
func TestErrorsAreNotTold(t *testing.T) {
	canary := testlog.TextSecret("doctor")
	err := fmt.Errorf("Get \"https://example.com/cb/%s/notify\": %w", canary, errors.New(canary))
	if text := why(err); strings.Contains(text, canary) {
		t.Errorf("it says %q", text)
	}
	if text := sentence(err, "It cannot be used."); text != "It cannot be used." {
		t.Errorf("it says %q", text)
	}
}

// A PostgreSQL that the tests run without fsync is found to be unsafe, and otherwise good, and
// so is its bus.
func TestPostgreSQL(t *testing.T) {
	url := testpg.Database(t)
	examine := func(address string) ([]Result, []string) {
		t.Helper()
		results, err := Run(t.Context(), Options{
			Loaded: loadedWith(func(c *config.Config) { c.Database.URL = planet.Secret(address) }), Only: []string{"database", "bus"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return results, found(results)
	}
	if results, got := examine(url); !slices.Equal(got, []string{"database-unsafe"}) {
		t.Errorf("an empty database: %v\n%+v", got, results)
	}
	if _, err := postgres.NewMigrations(planet.Secret(url)).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	results, got := examine(url + and(url) + "synchronous_commit=off&pool_max_conns=2000")
	if !slices.Equal(got, []string{"database-pool", "database-unsafe"}) {
		t.Errorf("found %v\n%+v", got, results)
	}
	told := fmt.Sprint(results)
	for _, want := range []string{"synchronous_commit is off", "fsync is off", "comes through", "is this program's"} {
		if !strings.Contains(told, want) {
			t.Errorf("it does not say that %s: %s", want, told)
		}
	}
}

func and(url string) string {
	if strings.Contains(url, "?") {
		return "&"
	}
	return "?"
}

// Over a NATS that runs, what is sent comes back.
func TestNATS(t *testing.T) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("NATS does not start")
	}
	results, err := Run(t.Context(), Options{
		Loaded: loadedWith(func(c *config.Config) {
			c.Database.URL, c.Bus.URL = "postgres://127.0.0.1:1/planetbell", planet.Secret(s.ClientURL())
		}), Only: []string{"bus"},
	})
	if err != nil || len(results) != 1 || results[0].Level != OK {
		t.Errorf("%v: %+v", err, results)
	}
}

// Every file that the configuration has read a secret from is looked at, once.
func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, nil, mode); err != nil {
			t.Fatal(err)
		}
		return name
	}
	own, group, all := file("own", 0o600), file("group", 0o640), file("all", 0o644)
	loaded := &config.Loaded{Config: config.Default(), SecretFiles: []string{all, group, own}}
	loaded.Config.Projects = []config.Project{{APNs: []config.APNs{{KeyFile: own}}}}
	e := &exam{o: &Options{Loaded: loaded}, cfg: &loaded.Config}
	e.files()
	if diff := cmp.Diff([]string{"file-mode"}, found(e.results)); diff != "" || e.results[0].Subject != group { // of all, the configuration warns
		t.Errorf("%+v", e.results)
	}
	loaded.SecretFiles, e.results = []string{own, all}, nil
	e.files()
	if len(e.results) != 1 || e.results[0].Level != Skipped || !strings.Contains(e.results[0].Finding, "everybody can read 1 of 2 file(s)") {
		t.Errorf("of a file that everybody can read: %+v", e.results)
	}
	loaded.File = file("open", 0o644) // the configuration, without a secret: else it were among SecretFiles
	loaded.SecretFiles, e.results = []string{own}, nil
	e.files()
	if len(e.results) != 1 || e.results[0].Finding != "1 file(s) with secrets are their owner's only." {
		t.Errorf("%+v", e.results)
	}
}

// An address that the senders do not connect to is not asked either.
func TestGuarded(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://127.0.0.1:1")
	c := newGuarded(nil, egress.Policy{})
	defer c.close()
	if c.transport.Proxy != nil {
		t.Error("a proxy is used")
	}
	_, err := c.ask(t.Context(), "HEAD", "https://127.0.0.1:1/", nil)
	if !errors.Is(err, egress.ErrNotPublic) || !strings.Contains(why(err), "not public") {
		t.Errorf("%v", err)
	}
}
