// Package pgbus is the bus over PostgreSQL's NOTIFY, so that nodes that share a database
// need nothing else.
//
// It has two connections of its own to the primary: one only listens, for a notification
// reaches an idle session at once; the other sends, after the commit and in statements of
// its own, because a NOTIFY inside a transaction makes commits wait for one another. See
// https://www.postgresql.org/docs/current/sql-notify.html.
package pgbus

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/planetbell/planetbell/internal/bus"
	"github.com/planetbell/planetbell/planet"
)

// DefaultChannel is what all nodes listen on. Channels are apart in each database.
const DefaultChannel = "planetbell_v1"

// Config is how to reach the database.
type Config struct {
	bus.Config
	// URL is postgres://user:password@host:port/name, or several hosts of which the one that
	// can be written is taken. Settings of a pool (pool_max_conns) are ignored. It must not lead
	// through a pooler in transaction mode.
	URL     planet.Secret
	Channel string // lower-case letters, digits and underscores, at most 63; empty: [DefaultChannel]
}

var channelRule = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

// New makes the bus. It connects when it runs; an error is about the configuration, and
// holds no part of the URL.
func New(c Config) (*bus.Node, error) {
	d, err := newDialer(c)
	if err != nil {
		return nil, fmt.Errorf("the bus over PostgreSQL: %w", err)
	}
	return bus.NewNode(c.Config, d)
}

type dialer struct {
	config  *pgx.ConnConfig
	channel string
}

func newDialer(c Config) (*dialer, error) {
	if c.Channel == "" {
		c.Channel = DefaultChannel
	}
	if !channelRule.MatchString(c.Channel) {
		return nil, errors.New("the channel's name is wrong: want 1 to 63 lower-case letters, digits and underscores, first no digit")
	}
	pool, err := pgxpool.ParseConfig(c.URL.Reveal()) // it may have the store's settings, pool_...
	if err != nil {                                  // the cause could repeat the password
		return nil, errors.New("the database's URL cannot be read: want postgres://user:password@host:port/database, with special characters as %XX")
	}
	config := pool.ConnConfig
	config.ValidateConnect = primary // of several hosts, the one
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 5 * time.Second
	}
	// Names the sessions in pg_stat_activity; PostgreSQL cuts it at 63 bytes.
	config.RuntimeParams["application_name"] = "planetbell bus " + c.Name
	// Nothing is prepared: what a pooler would do to it must not hide what it does to LISTEN.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	return &dialer{config, c.Channel}, nil
}

// Deaf implements [bus.Dialer].
func (d *dialer) Deaf() string {
	return "LISTEN does not work through a pooler in transaction or statement mode, such as PgBouncer with pool_mode=transaction; give the database's own address, a pooler in session mode, or set bus.url to a NATS server"
}

// Dial implements [bus.Dialer].
func (d *dialer) Dial(ctx context.Context) (bus.Link, error) {
	l := &link{channel: d.channel}
	var err error
	if l.listen, err = pgx.ConnectConfig(ctx, d.config.Copy()); err != nil {
		return nil, explain(err)
	}
	_, err = l.listen.Exec(ctx, "LISTEN "+pgx.Identifier{d.channel}.Sanitize())
	if err == nil { // who listens is idle for ever; the setting is there from PostgreSQL 14 on
		_, err = l.listen.Exec(ctx, "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'")
	}
	if err == nil {
		l.send, err = pgx.ConnectConfig(ctx, d.config.Copy())
	}
	if err == nil { // a NOTIFY is a commit, but not worth a disk's or a standby's time
		_, err = l.send.Exec(ctx, "SET synchronous_commit TO off")
	}
	if err != nil {
		l.Close()
		return nil, explain(err)
	}
	return l, nil
}

var errStandby = errors.New("this is a standby, which cannot LISTEN: give the primary's address, or all addresses in one URL")

// primary refuses a standby.
func primary(ctx context.Context, conn *pgconn.PgConn) error {
	standby := pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, conn)
	if standby != nil && ctx.Err() == nil {
		return errStandby
	}
	return standby
}

// explain makes a sentence of what pgx says; it never holds the password.
func explain(err error) error { return fmt.Errorf("connect to PostgreSQL for the bus: %w", err) }

// link is a listening and a sending connection.
type link struct {
	listen, send *pgx.Conn
	channel      string
}

// Send implements [bus.Link].
func (l *link) Send(ctx context.Context, messages []string) error {
	_, err := l.send.Exec(ctx, "SELECT pg_notify($1, message) FROM unnest($2::text[]) AS message", l.channel, messages)
	if err != nil {
		return fmt.Errorf("send through PostgreSQL: %w", err)
	}
	return nil
}

// Receive implements [bus.Link].
func (l *link) Receive(ctx context.Context) (string, error) {
	n, err := l.listen.WaitForNotification(ctx)
	if err != nil {
		return "", fmt.Errorf("listen at PostgreSQL: %w", err)
	}
	return n.Payload, nil
}

// Close implements [bus.Link].
func (l *link) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, c := range []*pgx.Conn{l.listen, l.send} {
		if c != nil {
			_ = c.Close(ctx) // it is broken, or soon gone
		}
	}
}
