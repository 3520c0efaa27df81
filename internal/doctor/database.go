package doctor

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/bus"
	"github.com/planetbell/planetbell/internal/bus/natsbus"
	"github.com/planetbell/planetbell/internal/bus/pgbus"
	"github.com/planetbell/planetbell/internal/cluster"
	"github.com/planetbell/planetbell/internal/store/postgres"
	"github.com/planetbell/planetbell/internal/store/schema"
	"github.com/planetbell/planetbell/internal/store/sqlite"
)

// slowCommit is how long a commit may take: Notify should be answered in 300 ms, and waits
// for one (docs/line-planet.md 3.6).
const slowCommit = time.Second

// migrations are those of either database.
type migrations interface {
	Status(ctx context.Context) ([]schema.Step, error)
	Works(ctx context.Context, steps []schema.Step) error
}

func (e *exam) database(ctx context.Context) {
	if e.cfg.Database.URL == "" {
		e.file(ctx)
		return
	}
	looked, err := postgres.Examine(ctx, e.cfg.Database.URL)
	if err != nil {
		e.fault("PostgreSQL", "database-down", "%s", sentence(err, "It cannot be used."))
		return
	}
	if looked.Moving {
		e.fault("PostgreSQL", "database-moving", "Not all data of SQLite has been moved into it.")
	}
	e.steps(ctx, "PostgreSQL", postgres.NewMigrations(e.cfg.Database.URL))
	safe := true
	for _, name := range []string{"synchronous_commit", "fsync"} {
		if looked.Settings[name] == "off" {
			safe = false
			e.fault("PostgreSQL", "database-unsafe", "%s is off.", name)
		}
	}
	if looked.Connections > 0 && looked.Pool > looked.Connections*3/4 && !looked.Pooler {
		e.fault("PostgreSQL", "database-pool", "This node may open %d connections, and the server takes %d in all.", looked.Pool, looked.Connections)
	}
	between := ""
	if looked.Pooler {
		between = ", through a pooler"
	}
	switch {
	case looked.RoundTrip > slowCommit:
		e.fault("PostgreSQL", "database-slow", "A row was written and committed in %s.", looked.RoundTrip.Round(time.Millisecond))
	case safe:
		e.ok("PostgreSQL", "Version %s%s; a row was written and committed in time.", looked.Version, between)
	}
}

// file looks at SQLite's. A server may have it open: it is only read, and what is written is
// a file beside it.
func (e *exam) file(ctx context.Context) {
	path := e.cfg.Database.Path
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		e.ok("SQLite", "There is no database yet; the first start makes it.")
		return
	}
	e.steps(ctx, "SQLite", sqlite.NewMigrations(path))
	started := time.Now()
	if err := scratch(filepath.Dir(path)); err != nil {
		e.fault("SQLite", "data-dir", "Nothing can be written beside the database.")
		return
	}
	if took := time.Since(started); took > slowCommit {
		e.fault("SQLite", "database-slow", "A page went to the disk in %s.", took.Round(time.Millisecond))
	}
}

// steps compares the schema with what this program knows.
func (e *exam) steps(ctx context.Context, subject string, m migrations) {
	steps, err := m.Status(ctx)
	if err != nil {
		e.fault(subject, "database-down", "%s", sentence(err, "It cannot be read: it is no database of planetbell, or damaged."))
		return
	}
	newer, unknown := errors.AsType[*schema.NewerError](schema.Known(steps))
	pending := len(schema.Pending(steps))
	switch {
	case unknown && m.Works(ctx, steps) != nil:
		e.fault(subject, "database-newer", "A newer planetbell wrote it: its schema is %d, and this one knows %d.", newer.Have, newer.Know)
	case unknown:
		e.fault(subject, "database-ahead", "A newer planetbell has changed it: its schema is %d, and this one knows %d.", newer.Have, newer.Know)
	case pending == len(steps):
		e.ok(subject, "It is empty; the first start makes its tables.")
	case pending > 0:
		e.fault(subject, "database-older", "Its schema is %d; %d migration(s) are missing.", schema.Version(steps), pending)
	default:
		e.ok(subject, "It opens, and its schema (%d) is this program's.", schema.Version(steps))
	}
}

// sentence is the part of an error that is meant for people; other texts could hold anything.
func sentence(err error, otherwise string) string {
	if said, ok := errors.AsType[*bell.Error](err); ok {
		return strings.TrimSuffix(said.Message, ".") + "."
	}
	return otherwise
}

// look is how often the bus is asked how it is.
const look = 20 * time.Millisecond

// bus joins the nodes' bus for a moment, until its own word comes back over it.
func (e *exam) bus(ctx context.Context) {
	if e.cfg.Database.URL == "" {
		e.skip("", "one node needs none")
		return
	}
	name := "PostgreSQL"
	if e.cfg.Bus.URL != "" {
		name = "NATS"
	}
	node, err := e.node()
	if err != nil {
		e.fault(name, "bus-down", "It cannot be used: %s.", strings.TrimSuffix(err.Error(), "."))
		return
	}
	running, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		node.Run(running, bus.Handler{Hints: func([]cluster.Hint) {}, Gap: func() {}})
	}()
	defer func() {
		stop()
		<-ended
	}()
	ticker := time.NewTicker(look)
	defer ticker.Stop()
	for {
		switch s := node.State(); {
		case s.Connected:
			e.ok(name, "What is sent to the other nodes comes through; %d other node(s) were heard.", s.Peers)
			return
		case s.Trouble != "":
			e.fault(name, "bus-down", "%s", s.Trouble)
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			e.fault(name, "bus-down", "It did not connect in time.")
			return
		}
	}
}

func (e *exam) node() (*bus.Node, error) {
	c := bus.Config{
		Name: "doctor-" + bell.NewID(), Metrics: bus.NewMetrics(prometheus.NewRegistry()), Log: slog.New(slog.DiscardHandler),
	}
	if e.cfg.Bus.URL == "" {
		return pgbus.New(pgbus.Config{Config: c, URL: e.cfg.Database.URL})
	}
	return natsbus.New(natsbus.Config{
		Config: c, URL: e.cfg.Bus.URL, Subject: e.cfg.Bus.Subject, CredentialsFile: e.cfg.Bus.CredentialsFile, CAFile: e.cfg.CAFile,
	})
}
