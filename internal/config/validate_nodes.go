package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/planetbell/planetbell/planet"
)

// maxNodeName bounds what is in every lease, log line and message between nodes.
const maxNodeName = 100

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
	for i, part := range strings.Split(cfg.Bus.URL.Reveal(), ",") {
		c.remote("bus.url", fmt.Sprintf("server %d: ", i+1), planet.Secret(strings.TrimSpace(part)), []string{"nats", "tls"})
	}
	if !natsSubject.MatchString(cfg.Bus.Subject) {
		c.wrong("bus.subject", "want words of letters, digits, hyphens and underscores, with dots between them.")
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
	if u != nil && !loopback(u.Hostname()) && u.Hostname() != "" && u.Query().Get("sslmode") == "disable" {
		c.warn(path, "sslmode=disable sends the password and every call over the network in the clear.")
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
