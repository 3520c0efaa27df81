package natsbus

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/bus"
	"github.com/planetbell/planetbell/internal/bus/bustest"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var password = testlog.TextSecret("nats-password")

// users are those of a test's server: one that may do all, one that may not publish.
func users() []*server.User {
	return []*server.User{
		{Username: "bus", Password: password},
		{Username: "mute", Password: password, Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{">"}}}},
	}
}

// serve starts a NATS server; port 0 finds a free one.
func serve(tb testing.TB, port int, set func(*server.Options)) *server.Server {
	tb.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true, Users: users()}
	if port == 0 {
		o.Port = server.RANDOM_PORT
	}
	if set != nil {
		set(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		tb.Fatal(err)
	}
	s.Start()
	tb.Cleanup(func() { end(s) })
	if !s.ReadyForConnections(time.Minute) {
		tb.Fatal("NATS did not start")
	}
	return s
}

func end(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func form(tb testing.TB, s *server.Server) bustest.Form {
	tb.Helper()
	return bustest.Form{
		Addr: s.Addr().String(),
		Join: func(tb testing.TB, c bus.Config, addr string) bus.Bus {
			return join(tb, Config{Config: c, URL: planet.Secret("nats://bus:" + password + "@" + addr)})
		},
		Inject: func(tb testing.TB, text string) {
			conn, err := nats.Connect(s.ClientURL(), nats.UserInfo("bus", password))
			if err != nil {
				tb.Fatal(err)
			}
			defer conn.Close()
			if err := conn.Publish(DefaultSubject, []byte(text)); err != nil {
				tb.Fatal(err)
			}
			if err := conn.Flush(); err != nil {
				tb.Fatal(err)
			}
		},
	}
}

func join(tb testing.TB, c Config) bus.Bus {
	tb.Helper()
	b, err := New(c)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func TestBusOverNATS(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Form { return form(t, serve(t, 0, nil)) })
}

func TestTheBusOutlivesARestartOfNATS(t *testing.T) {
	t.Parallel()
	s := serve(t, 0, nil)
	_, port, _ := net.SplitHostPort(s.Addr().String())
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	bustest.Restart(t, form(t, s), func() error { end(s); return nil }, func() error { serve(t, number, nil); return nil })
}

func TestAUserWhoMayNotPublishIsFoundOut(t *testing.T) {
	t.Parallel()
	f := form(t, serve(t, 0, nil))
	f.Join = func(tb testing.TB, c bus.Config, addr string) bus.Bus {
		return join(tb, Config{Config: c, URL: planet.Secret("nats://mute:" + password + "@" + addr)})
	}
	m := bustest.Start(t, f, "a", f.Addr)
	m.Until(t, "found out", func() bool { return strings.Contains(m.State().Trouble, `subscribe to "planetbell"`) })
	testlog.Keep(t, "trouble", m.State().Trouble)
}

func TestTheNextServerIsTried(t *testing.T) {
	t.Parallel()
	f := form(t, serve(t, 0, nil))
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	f.Join = func(tb testing.TB, c bus.Config, addr string) bus.Bus {
		return join(tb, Config{Config: c, URL: planet.Secret("nats://bus:" + password + "@" + gone.Addr().String() + ", nats://" + addr)})
	}
	m := bustest.Start(t, f, "a", f.Addr)
	m.Until(t, "connected", func() bool { return m.State().Connected })
}

func TestATokenOpens(t *testing.T) {
	t.Parallel()
	token := testlog.TextSecret("nats-token")
	s := serve(t, 0, func(o *server.Options) { o.Users, o.Authorization = nil, token })
	f := form(t, s)
	for _, given := range []string{token, testlog.TextSecret("wrong")} {
		f.Join = func(tb testing.TB, c bus.Config, addr string) bus.Bus {
			return join(tb, Config{Config: c, URL: planet.Secret("nats://" + given + "@" + addr), Subject: "other.v-2_x"})
		}
		m := bustest.Start(t, f, "a", f.Addr)
		m.Until(t, "connected, or refused", func() bool {
			return given == token && m.State().Connected || given != token && strings.Contains(m.State().Trouble, "Authorization")
		})
		testlog.Keep(t, "trouble", m.State().Trouble)
	}
}

func TestOtherSubjectsAreOtherDeployments(t *testing.T) {
	t.Parallel()
	f := form(t, serve(t, 0, nil))
	a, b := bustest.Start(t, f, "a", f.Addr), bustest.Start(t, f, "b", f.Addr)
	f.Join = func(tb testing.TB, c bus.Config, addr string) bus.Bus {
		return join(tb, Config{Config: c, URL: planet.Secret("nats://bus:" + password + "@" + addr), Subject: "staging"})
	}
	other := bustest.Start(t, f, "other", f.Addr)
	for _, m := range []*bustest.Member{a, b, other} {
		m.Until(t, "connected", func() bool { return m.State().Connected })
	}
	a.Until(t, "one peer", func() bool { return a.State().Peers == 1 })
	if got := other.State().Peers; got != 0 {
		t.Errorf("another deployment's node hears %d of ours", got)
	}
}

func TestWrongSettingsAreRefused(t *testing.T) {
	t.Parallel()
	user := "nats://bus:" + password + "@"
	for name, c := range map[string]Config{
		"nothing":             {},
		"another scheme":      {URL: planet.Secret("http://bus:" + password + "@host:4222")},
		"no host":             {URL: planet.Secret(user)},
		"a path":              {URL: planet.Secret(user + "host/path")},
		"a broken escape":     {URL: planet.Secret("nats://bus:" + password + "%zz@host")},
		"two users":           {URL: planet.Secret(user + "one,nats://other:" + password + "@two")},
		"an empty second":     {URL: planet.Secret(user + "one,")},
		"a wildcard":          {URL: planet.Secret(user + "host"), Subject: "planetbell.>"},
		"a subject of length": {URL: planet.Secret(user + "host"), Subject: strings.Repeat("x", 101)},
		"two schemes":         {URL: planet.Secret(user + "one,tls://two")},
		"no authorities":      {URL: planet.Secret("tls://bus:" + password + "@host"), CAFile: "no-ca"},
		"not authorities":     {URL: planet.Secret("tls://bus:" + password + "@host"), CAFile: "natsbus.go"},
		"half a certificate":  {URL: planet.Secret(user + "host"), CertFile: "cert.pem"},
	} {
		c.Name = "a"
		_, err := New(c)
		if err == nil {
			t.Errorf("%s is taken", name)
			continue
		}
		testlog.Keep(t, "error", err.Error())
		if strings.Contains(err.Error(), password) {
			t.Errorf("%s: the error repeats the password", name)
		}
	}
}

// TestFilesThatAreNotThereAreNamed: an operator finds the mistake in the log.
func TestFilesThatAreNotThereAreNamed(t *testing.T) {
	t.Parallel()
	f := form(t, serve(t, 0, nil))
	for file, set := range map[string]func(*Config){
		"no.creds": func(c *Config) { c.CredentialsFile = "no.creds" },
		"no-cert":  func(c *Config) { c.CertFile, c.KeyFile = "no-cert", "no-key" },
	} {
		f.Join = func(tb testing.TB, c bus.Config, addr string) bus.Bus {
			own := Config{Config: c, URL: planet.Secret("nats://bus:" + password + "@" + addr)}
			set(&own)
			return join(tb, own)
		}
		m := bustest.Start(t, f, "a", f.Addr)
		m.Until(t, "the file is named", func() bool { return strings.Contains(m.State().Trouble, file) })
	}
}

func BenchmarkNATS(b *testing.B) { bustest.Bench(b, form(b, serve(b, 0, nil))) }
