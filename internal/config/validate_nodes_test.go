package config

import (
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/testlog"
)

func TestNodes(t *testing.T) {
	password := testlog.TextSecret("password") // no message may repeat it
	good := "postgres://bell:" + password + "@db.example.com:5432/bell"
	url := func(text string) string { return "database: {url: '" + text + "'}\n" }
	bus := func(text string) string { return url(good) + "bus: {url: '" + text + "'}\n" }
	const shape = "database.url: want an address that begins with postgres://."
	checkAll(t, []rule{
		{name: "PostgreSQL", yaml: "node: web-1.eu_2\n" + url(good)},
		{name: "a socket", yaml: url("postgresql:///bell?host=/run/postgresql")},
		{name: "another database", yaml: url("mysql://bell:" + password + "@db/bell"), errors: []string{shape}},
		{name: "not an address", yaml: url("postgres://bell:" + password + "%zz@db/bell"), errors: []string{
			"database.url: cannot be read as an address; write special characters of the password as %XX.",
		}},
		{name: "no host", yaml: url("postgres:///bell"), errors: []string{"database.url: does not name a host."}},
		{name: "no database", yaml: url("postgres://bell:" + password + "@db/"), errors: []string{
			"database.url: does not name a database; want postgres://user:password@host:5432/name.",
		}},
		{name: "two databases", yaml: "database: {path: calls.db, url: '" + good + "'}\n", errors: []string{
			"database.path: cannot be used together with database.url; keep one of them.",
		}},
		{name: "in the clear", yaml: url(good + "?sslmode=disable"), warnings: []string{
			"database.url: sslmode=disable sends the password and every call over the network in the clear.",
		}},
		{name: "a name for nobody", yaml: "node: 'web 1'\n", errors: []string{"node: want at most 100 letters, digits, dots, hyphens and underscores."}},
		{name: "a long name", yaml: "node: " + strings.Repeat("n", 101) + "\n", errors: []string{"node: want at most 100 letters, digits, dots, hyphens and underscores."}},
		{name: "NATS", yaml: bus("nats://bell:" + password + "@a:4222, nats://bell:" + password + "@b:4222")},
		{name: "NATS without PostgreSQL", yaml: "bus: {url: 'nats://a:4222'}\n", errors: []string{
			"bus.url: needs database.url: a bus is for several nodes, and those share a PostgreSQL database.",
		}},
		{name: "second server", yaml: bus("nats://a:4222,http://bell:" + password + "@b"), errors: []string{
			"bus.url: server 2: want an address that begins with nats://.",
		}},
		{name: "servers with and without TLS", yaml: bus("nats://a:4222,tls://b:4222"), errors: []string{
			"bus.url: server 2: want nats:// as for the first one: all or none of them speak TLS.",
		}},
		{name: "servers of two users", yaml: bus("nats://a:4222,nats://bell:" + password + "@b"), errors: []string{
			"bus.url: server 2: has another user than the first one; all have the same.",
		}},
		{name: "a server with a path", yaml: bus("nats://a/x"), errors: []string{"bus.url: server 1: want host and port only, with nothing behind them."}},
		{name: "a setting of the database", yaml: url(good + "?sslmode=perhaps"), errors: []string{
			"database.url: a setting behind the ? cannot be used; look at sslmode, sslrootcert and other files, connect_timeout and pool_max_conns.",
		}},
		{name: "subject", yaml: url(good) + "bus: {url: 'nats://a:4222', subject: 'bell.>'}\n", errors: []string{
			"bus.subject: want words of letters, digits, hyphens and underscores, with dots between them; 100 characters at most.",
		}},
		{name: "credentials without a server", yaml: "bus: {credentials_file: bell.creds}\n", errors: []string{
			"bus.credentials_file: is for bus.url, which is missing.",
		}},
	})
}
