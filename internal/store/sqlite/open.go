package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	driversqlite "modernc.org/sqlite"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/internal/retention"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/store/schema"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/internal/webhook"
)

// What the store promises.
var (
	_ account.Store   = (*Store)(nil)
	_ device.Store    = (*Store)(nil)
	_ call.Store      = (*Store)(nil)
	_ delivery.Store  = (*Store)(nil)
	_ policy.Store    = (*Store)(nil)
	_ room.Store      = (*Store)(nil)
	_ webhook.Store   = (*Store)(nil)
	_ retention.Store = (*Store)(nil)
)

//go:embed migrations/*.sql
var migrations embed.FS

// errLocked says that another process holds the lock file.
var errLocked = errors.New("locked by another process")

// Config says where the database is. Only Path and Log are needed.
type Config struct {
	Path     string                // of the database file; it and its folder are made if missing
	Log      *slog.Logger          // gets surprises only
	Registry prometheus.Registerer // for the writer's metrics; none if nil
	Queue    int                   // how many writes may wait; 4096 if 0

	// Events says what the customer's systems want to be told of a project, of what is
	// decided here, in a transaction: bell.EventDeliveryFailed and bell.EventDeviceRemoved.
	// It must be quick and safe for concurrent use; nothing is wanted if nil.
	Events func(project string) bell.EventSet
}

// Store is the database of a single node. It is safe for concurrent use. Its errors
// have kind bell.Unavailable when the database itself is in trouble (full, locked,
// damaged, closed, too slow for the caller's context) and, as each method says,
// bell.NotFound or bell.Taken.
type Store struct {
	sqldb.Store

	path    string
	lock    *os.File
	writes  *sql.DB
	reads   *sql.DB
	writer  *writer
	readers *readerPool
	lists   chan struct{} // a place for each list that is being read
	close   func() error  // once
}

// Open opens the database, brings its schema up to date, and starts the writer. It
// fails when another process has the database open, and when the database was written
// by a newer version. ctx bounds nothing that is written; Close must be called.
func Open(ctx context.Context, c Config) (_ *Store, err error) {
	if err := prepareFiles(c.Path); err != nil {
		return nil, err
	}
	lock, err := lockDatabase(c.Path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: c.Path, lock: lock}
	s.Store = sqldb.Store{Engine: engine{s}, Events: c.Events}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open the database %s: %w", c.Path, outward(err)), s.closeFiles())
		}
	}()
	return s, s.start(ctx, c)
}

func (s *Store) start(ctx context.Context, c Config) error {
	// SQLite commits with fdatasync where C builds do; it is as durable as fsync and,
	// measured on ext4, cheaper. Where the system has none, fsync stays.
	if _, err := driversqlite.Fdatasync(true); err != nil && !errors.Is(err, driversqlite.ErrFdatasyncUnavailable) {
		return fmt.Errorf("choose fdatasync: %w", err)
	}
	var err error
	if s.writes, err = openPool(c.Path, writerPragmas, 1); err != nil {
		return err
	}
	if s.reads, err = openPool(c.Path, readerPragmas, readers); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // see detached
	if err := checkVersion(ctx, s.writes); err != nil {
		return err
	}
	if err := migrate(ctx, s.writes, c.Log); err != nil {
		return err
	}
	connect := func() (*link, error) {
		l, err := newLink(ctx, s.writes)
		if err == nil {
			l.erased = true // by whoever had the database before, perhaps
		}
		return l, err
	}
	first, err := connect()
	if err != nil {
		return err
	}
	limit := c.Queue
	if limit == 0 {
		limit = defaultQueue
	}
	s.writer = newWriter(c.Log, sqldb.NewMetrics(c.Registry), limit, first, connect)
	s.readers = newReaderPool(s.reads)
	s.lists = make(chan struct{}, listSlots)
	s.close = sync.OnceValue(s.stop)
	go s.writer.run()
	return nil
}

// Close finishes the writes that wait, closes the files and frees the lock. Methods
// called later fail with bell.Unavailable; Close itself may be called again.
func (s *Store) Close() error { return s.close() }

func (s *Store) stop() error {
	s.writer.close()
	err := s.readers.close()
	if s.writer.link != nil {
		err = errors.Join(err, s.writer.link.close())
	}
	if err = errors.Join(err, s.closeFiles()); err != nil {
		return fmt.Errorf("close the database %s: %w", s.path, err)
	}
	return nil
}

// closeFiles closes what Open has opened so far. The last connection to close is the
// writer's: SQLite then moves the write-ahead log into the database and removes it.
func (s *Store) closeFiles() error {
	var errs []error
	for _, db := range []*sql.DB{s.reads, s.writes} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(append(errs, s.lock.Close())...)
}

// prepareFiles makes the folder and the database file, for the owner's eyes only:
// SQLite would use the umask. Its "-wal" and "-shm" files take over the mode.
func prepareFiles(path string) error {
	if path == "" {
		return errors.New("open the database: no path was given; name a file")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder of the database %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("open the database file: %w", err)
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Perm()&0o077 != 0 { // a file that was there before
		err = f.Chmod(0o600)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("protect the database file %s: %w", path, err)
	}
	return nil
}

// busyTimeout is how long a connection waits, in milliseconds, for one of another program.
const busyTimeout = "busy_timeout(5000)"

// writerPragmas are the settings of the connection that writes.
//
// synchronous(full) syncs every commit; the group makes it cheap. mmap_size(0) because a
// read error in mapped memory ends the process. cache_size in KiB: the session index has random
// keys and must stay in memory. wal_autocheckpoint in pages of 4 KiB: the default
// of 1,000 makes the writer stop to copy pages ten times a second under load.
// journal_size_limit returns disk space after a burst. secure_delete(on) zeroes what
// is erased (cc_param, push tokens); measured with the benchmarks of this package it
// costs at most 3 %, because the pages are written anyway. The log is emptied by emptyLog.
var writerPragmas = []string{
	busyTimeout, "journal_mode(wal)", "synchronous(full)", "mmap_size(0)", "cache_size(-65536)",
	"temp_store(memory)", "secure_delete(on)", "wal_autocheckpoint(8000)", "journal_size_limit(67108864)",
	"trusted_schema(off)",
}

// readerPragmas are the settings of the connections that read.
var readerPragmas = []string{
	busyTimeout, "query_only(on)", "mmap_size(0)", "cache_size(-8192)", "temp_store(memory)", "trusted_schema(off)",
}

func openPool(path string, pragmas []string, size int) (*sql.DB, error) {
	db, err := sql.Open("sqlite", fileName(path, "rwc", pragmas))
	if err != nil {
		return nil, fmt.Errorf("set up connections: %w", err)
	}
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	return db, nil
}

// oldestSQLite is the first version without the bug by which a write-ahead log that is
// reset while another connection checkpoints loses commits (3.7.0 to 3.51.2).
var oldestSQLite = [3]int{3, 51, 3}

func checkVersion(ctx context.Context, db *sql.DB) error {
	var version string
	if err := db.QueryRowContext(ctx, "SELECT sqlite_version()").Scan(&version); err != nil {
		return fmt.Errorf("ask for SQLite's version: %w", err)
	}
	if !newEnough(version) {
		return fmt.Errorf("SQLite %s can lose commits; build with 3.51.3 or newer", version)
	}
	return nil
}

func newEnough(version string) bool {
	parts := strings.SplitN(version, ".", 3)
	for i, want := range oldestSQLite {
		if i >= len(parts) {
			return false
		}
		have, err := strconv.Atoi(parts[i])
		if err != nil || have != want {
			return err == nil && have > want
		}
	}
	return true
}

// migrate brings the schema up to date.
func migrate(ctx context.Context, db *sql.DB, log *slog.Logger) error {
	all, err := newMigrations(db)
	if err != nil {
		return err
	}
	steps, err := all.Status(ctx)
	if err != nil {
		return err
	}
	if err := usable(db, steps); err != nil {
		return err
	}
	if newer := schema.Known(steps); newer != nil {
		log.Warn("a newer planetbell has changed the database, and this one can work with it; put the newer one back soon", "schema", schema.Version(steps))
		return nil
	}
	done, err := all.Up(ctx)
	for _, m := range done {
		log.Info("database migrated", "version", m.Version, "took", m.Took)
	}
	return err
}
