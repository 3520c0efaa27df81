package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/planetbell/planetbell/planet"
)

const (
	// maxNodeName bounds what is in every lease, log line and message between nodes.
	maxNodeName = 100
	// maxSubject is what package natsbus takes.
	maxSubject = 100
)

var (
	nodeName    = regexp.MustCompile(`^[A-Za-z0-9._-]*$`)
	natsSubject = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)
)

// nodes checks what several nodes need of one another.
func (c *checker) nodes(cfg *Config) {
	if len(cfg.Node) > maxNodeName || !nodeName.MatchString(cfg.Node) {
		c.wrong("node", fmt.Sprintf("want at most %d letters, digits, dots, hyphens and underscores.", maxNodeName))
	}
	if cfg.Database.URL != "" {
		c.databaseURL(cfg)
	}
	if cfg.Bus.URL == "" {
		if cfg.Bus.CredentialsFile != "" {
			c.wrong("bus.credentials_file", "is for bus.url, which is missing.")
		}
		return
	}
	if cfg.Database.URL == "" {
		c.wrong("bus.url", "needs database.url: a bus is for several nodes, and those share a PostgreSQL database.")
	}
	c.busServers(cfg.Bus.URL)
	if !natsSubject.MatchString(cfg.Bus.Subject) || len(cfg.Bus.Subject) > maxSubject {
		c.wrong("bus.subject", fmt.Sprintf("want words of letters, digits, hyphens and underscores, with dots between them; %d characters at most.", maxSubject))
	}
}

// busServers: what one of the servers is asked for, all are.
func (c *checker) busServers(list planet.Secret) {
	const path = "bus.url"
	var first *url.URL
	for i, part := range strings.Split(list.Reveal(), ",") {
		which := fmt.Sprintf("server %d: ", i+1)
		u := c.remote(path, which, planet.Secret(strings.TrimSpace(part)), []string{"nats", "tls"})
		switch {
		case u == nil:
		case strings.Trim(u.Path, "/") != "" || u.RawQuery != "":
			c.wrong(path, which+"want host and port only, with nothing behind them.")
		case first == nil:
			first = u
		case u.Scheme != first.Scheme:
			c.wrong(path, which+"want "+first.Scheme+":// as for the first one: all or none of them speak TLS.")
		case u.User.String() != first.User.String():
			c.wrong(path, which+"has another user than the first one; all have the same.")
		}
	}
}

func (c *checker) databaseURL(cfg *Config) {
	const path = "database.url"
	if cfg.Database.Path != filepath.Join(cfg.DataDir, "planetbell.db") {
		c.wrong("database.path", "cannot be used together with database.url; keep one of them.")
	}
	u := c.remote(path, "", cfg.Database.URL, []string{"postgres", "postgresql"})
	if u != nil && strings.Trim(u.Path, "/") == "" && !u.Query().Has("dbname") {
		c.wrong(path, "does not name a database; want postgres://user:password@host:5432/name.")
	}
	if u != nil {
		c.databaseSettings(cfg.Database.URL)
	}
	if u != nil && !loopback(u.Hostname()) && u.Hostname() != "" && u.Query().Get("sslmode") == "disable" {
		c.warn(path, "sslmode=disable sends the password and every call over the network in the clear.")
	}
}

// databaseSettings lets the driver read the address: its settings have many rules. What it says
// of an error is not repeated, because that may hold the password.
func (c *checker) databaseSettings(address planet.Secret) {
	if _, err := pgxpool.ParseConfig(address.Reveal()); err != nil {
		c.wrong("database.url", "a setting behind the ? cannot be used; look at sslmode, sslrootcert and other files, connect_timeout and pool_max_conns.")
	}
}

// remote checks the address of a server that may hold a password. No message repeats any of it.
func (c *checker) remote(path, which string, address planet.Secret, schemes []string) *url.URL {
	u, err := url.Parse(address.Reveal())
	switch {
	case err != nil:
		c.wrong(path, which+"cannot be read as an address; write special characters of the password as %XX.")
	case !slices.Contains(schemes, u.Scheme):
		c.wrong(path, which+"want an address that begins with "+schemes[0]+"://.")
	case u.Host == "" && !u.Query().Has("host"):
		c.wrong(path, which+"does not name a host.")
	default:
		return u
	}
	return nil
}
