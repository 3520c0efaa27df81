package pgbus

import (
	"bytes"
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bus"
	"github.com/planetbell/planetbell/internal/bus/bustest"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, goleak.Cleanup(testpg.Exit)) }

// form is the bus over a database.
func form(tb testing.TB, database string) bustest.Form {
	tb.Helper()
	u, err := url.Parse(database)
	if err != nil {
		tb.Fatal(err)
	}
	return bustest.Form{
		Addr: u.Host,
		Join: func(tb testing.TB, c bus.Config, addr string) bus.Bus {
			return join(tb, c, through(u, addr))
		},
		Inject: func(tb testing.TB, text string) {
			ctx := context.Background()
			conn, err := pgx.Connect(ctx, database)
			if err != nil {
				tb.Fatal(err)
			}
			defer conn.Close(ctx)
			if _, err := conn.Exec(ctx, "SELECT pg_notify($1, $2)", DefaultChannel, text); err != nil {
				tb.Fatal(err)
			}
		},
	}
}

// through is the URL of the same database at another address.
func through(u *url.URL, addr string) planet.Secret {
	v := *u
	v.Host = addr
	return planet.Secret(v.String())
}

func join(tb testing.TB, c bus.Config, u planet.Secret) bus.Bus {
	tb.Helper()
	b, err := New(Config{Config: c, URL: u})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestBusOverPostgreSQL(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Form { return form(t, testpg.Database(t)) })
}

func TestTheBusOutlivesARestartOfPostgreSQL(t *testing.T) {
	t.Parallel()
	s := testpg.Start(t, testpg.NoFsync)
	for name, end := range map[string]func() error{"stop": s.Stop, "kill": s.Kill} {
		t.Run(name, func(t *testing.T) { bustest.Restart(t, form(t, s.URL("postgres")), end, s.Restart) })
	}
}

// TestAPoolerIsFoundOut stands for PgBouncer in transaction mode: LISTEN succeeds, and
// nothing ever comes.
func TestAPoolerIsFoundOut(t *testing.T) {
	t.Parallel()
	f := form(t, testpg.Database(t))
	pooler := bustest.NewEditor(t, f.Addr, func(sent []byte) {
		if i := bytes.Index(sent, []byte("LISTEN ")); i >= 0 {
			copy(sent[i:], "--     ")
		}
	})
	m := bustest.Start(t, f, "a", pooler.Addr())
	m.Until(t, "found out", func() bool { return strings.Contains(m.State().Trouble, "pool_mode=transaction") })
	if m.State().Connected || m.Gaps() != 0 {
		t.Error("it counts as connected")
	}
	testlog.Keep(t, "trouble", m.State().Trouble)
}

func TestAStandbyIsRefused(t *testing.T) {
	t.Parallel()
	s := testpg.Start(t, testpg.NoFsync, "default_transaction_read_only=on") // as a standby says it of itself
	m := bustest.Start(t, form(t, s.URL("postgres")), "a", s.Addr())
	m.Until(t, "refused", func() bool { return strings.Contains(m.State().Trouble, "standby") })
	testlog.Keep(t, "trouble", m.State().Trouble)
}

// TestSessionsAreSetUp: what would make every hint wait for the disk, and what would end a
// listener that is quiet, are switched off whatever the database's defaults are.
func TestSessionsAreSetUp(t *testing.T) {
	t.Parallel()
	s := testpg.Start(t, testpg.NoFsync, "idle_session_timeout=60000", "synchronous_commit=on")
	d, err := newDialer(Config{Config: bus.Config{Name: "tokyo-1"}, URL: planet.Secret(s.URL("postgres") + "&pool_max_conns=7")})
	if err != nil {
		t.Fatal(err)
	}
	dialed, err := d.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer dialed.Close()
	l := dialed.(*link)
	for _, want := range []struct {
		conn           *pgx.Conn
		setting, value string
	}{
		{l.send, "synchronous_commit", "off"},
		{l.listen, "idle_session_timeout", "0"},
		{l.listen, "application_name", "planetbell bus tokyo-1"},
	} {
		var got string
		if err := want.conn.QueryRow(t.Context(), "SELECT current_setting($1)", want.setting).Scan(&got); err != nil || got != want.value {
			t.Errorf("%s is %q, want %q: %v", want.setting, got, want.value, err)
		}
	}
}

func TestWrongPasswordsAndURLsAreNotRepeated(t *testing.T) {
	t.Parallel()
	secret := testlog.TextSecret("bus")
	f := form(t, testpg.Database(t))
	u := &url.URL{Scheme: "postgres", User: url.UserPassword("planetbell", secret), Path: "/postgres", RawQuery: "sslmode=disable"}
	f.Join = func(tb testing.TB, c bus.Config, addr string) bus.Bus { return join(tb, c, through(u, addr)) }
	m := bustest.Start(t, f, "a", f.Addr)
	m.Until(t, "refused", func() bool { return strings.Contains(m.State().Trouble, "password authentication failed") })
	troubles := []string{m.State().Trouble}

	for name, c := range map[string]Config{
		"a wrong URL":      {URL: planet.Secret("postgres://planetbell:" + secret + "@host:port:1/x")},
		"a wrong mode":     {URL: planet.Secret("postgres://planetbell:" + secret + "@host/x?sslmode=maybe")},
		"a broken escape":  {URL: planet.Secret("postgres://planetbell:" + secret + "%zz@host/x")},
		"a wrong channel":  {URL: "postgres://host/x", Channel: "a; DROP TABLE calls"},
		"a nameless node":  {URL: "postgres://host/x", Config: bus.Config{Name: ""}},
		"a strange name":   {URL: "postgres://host/x", Config: bus.Config{Name: "a\tb"}},
		"a name of length": {URL: "postgres://host/x", Config: bus.Config{Name: strings.Repeat("n", bus.MaxNode+1)}},
	} {
		_, err := New(c)
		if err == nil {
			t.Errorf("%s is taken", name)
			continue
		}
		troubles = append(troubles, err.Error())
	}
	for _, text := range troubles {
		testlog.Keep(t, "trouble", text)
		if strings.Contains(text, secret) {
			t.Errorf("the error repeats the password")
		}
	}
}

func BenchmarkPostgreSQL(b *testing.B) { bustest.Bench(b, form(b, testpg.Database(b))) }
