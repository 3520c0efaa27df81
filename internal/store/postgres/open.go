package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/account"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/device"
	"github.com/planetbell/planetbell/internal/policy"
	"github.com/planetbell/planetbell/internal/retention"
	"github.com/planetbell/planetbell/internal/room"
	"github.com/planetbell/planetbell/internal/store/sqldb"
	"github.com/planetbell/planetbell/internal/webhook"
	"github.com/planetbell/planetbell/planet"
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

const (
	// defaultConnections is for each node: with max_connections at its default of 100 there is
	// room for five nodes, and it is more than a database of 16 cores can use.
	defaultConnections = 18
	// minConnections is what the lanes, the nodes, one other write and two reads need.
	minConnections = allLanes + beatPlaces + 3
	beatPlaces     = 2
	// defaultQueue bounds how many writes wait: some tenths of a second of work. Whoever does
	// not get in is better told so at once than after Planet Cloud has given up.
	defaultQueue = 4096
	// callLanes, endLanes and roomLanes are how many groups are committed at once: more of them share
	// less, and fewer let PostgreSQL idle while one waits for the disk.
	callLanes = 4
	endLanes  = 2
	roomLanes = 2
	allLanes  = callLanes + endLanes + roomLanes
	// pingAfter is how long a connection may have been idle and is used without asking whether
	// it still lives. Asking costs a round trip, and what is found broken is run again.
	pingAfter = 30 * time.Second
	// keepAlive finds out that the database's machine is gone; PostgreSQL's own default is hours.
	keepAlive = 15 * time.Second
)

// Config says where the database is. Only URL and Log are needed.
type Config struct {
	// URL is postgres://user:password@host[,host...]/database with pgx's settings, among them
	// sslmode, sslrootcert and connect_timeout in seconds. default_query_exec_mode=exec is for
	// a pooler in transaction mode that knows no prepared statements; the schema is migrated
	// without one. pool_max_conns counts all connections of this node; 18 if it is missing.
	URL      planet.Secret
	Node     string                // names this process in the database: application_name
	Log      *slog.Logger          // gets surprises only
	Registry prometheus.Registerer // for metrics; none if nil
	Queue    int                   // how many writes may wait, of each kind; 4096 if 0

	// Events says what the customer's systems want to be told of a project, of what is decided
	// here, in a transaction: bell.EventDeliveryFailed and bell.EventDeviceRemoved. It must be
	// quick and safe for concurrent use; nothing is wanted if nil.
	Events func(project string) bell.EventSet

	dial   pgconn.DialFunc // of tests, which count round trips
	tracer pgx.QueryTracer // of tests, which count statements
}

// Store is the database of all nodes, as one of them sees it. It is safe for concurrent use.
// Its errors have kind bell.Unavailable when the database itself is in trouble (full, stopping,
// not to be reached, too slow for the caller's context), bell.Overload when too many writes
// wait, and, as each method says, bell.NotFound or bell.Taken. None holds the URL or its
// password.
type Store struct {
	sqldb.Store

	log            *slog.Logger
	metrics        *metrics
	health         health
	queue          int
	connectTimeout time.Duration
	lockTimeout    time.Duration // of lanes; tests make it longer, before anything is written

	writePool, readPool *pgxpool.Pool
	writes              places // of transactions that are not in a lane
	beats               places // of what nodes say to each other, which waits for nobody's transaction
	reads               places
	lists               places // fewer than reads: a ring never waits for somebody's long list
	waiting             atomic.Int64
	lastExpired         atomic.Int64 // until when this process has looked for what is over
	allExpired          atomic.Int64 // when it has looked at everything, by its own clock
	reset               atomic.Int64 // when the connections were distrusted last
	calls               *lanes[*callTask]
	ends                *lanes[*endTask]
	rooms               *lanes[*roomTask]

	mu     sync.Mutex // guards closed, and that work does not grow once it is set
	closed bool
	work   sync.WaitGroup
	close  func() // once
}

// Open connects to the database and brings its schema up to date; of several nodes that start
// at once, one does. It fails when the database cannot be reached, is read-only, has not got
// all data of a move, or was migrated by a version more than one release newer. ctx bounds the start only; Close must be called.
func Open(ctx context.Context, c Config) (*Store, error) {
	config, err := parse(c)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	s := &Store{log: c.Log, queue: c.Queue, connectTimeout: config.ConnConfig.ConnectTimeout, lockTimeout: lockTimeout}
	if s.queue == 0 {
		s.queue = defaultQueue
	}
	s.health.log = c.Log
	s.Store = sqldb.Store{Engine: engine{s}, Events: c.Events}
	if err := s.start(ctx, c, config); err != nil {
		err = inward(err)
		if sentence := trouble(err); sentence != "" {
			err = bell.E(bell.Unavailable, sentence, err)
		}
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return s, nil
}

// parse reads the URL. Errors do not quote it.
func parse(c Config) (*pgxpool.Config, error) {
	url := c.URL.Reveal()
	if !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		return nil, errors.New("its URL does not begin with postgres://")
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("its URL cannot be used: check that it is postgres://user:password@host:port/database, with special characters in the password written as %XX, known settings after the question mark, and files that can be read")
	}
	if !strings.Contains(url, "pool_max_conns=") {
		config.MaxConns = defaultConnections
	}
	if config.MaxConns < minConnections {
		return nil, fmt.Errorf("pool_max_conns in its URL is %d; %d are needed at least", config.MaxConns, minConnections)
	}
	connection := config.ConnConfig
	if connection.ConnectTimeout == 0 {
		connection.ConnectTimeout = connectTimeout
	}
	dialer := &net.Dialer{Timeout: connection.ConnectTimeout, KeepAlive: keepAlive}
	connection.DialFunc = dialer.DialContext
	if c.dial != nil {
		connection.DialFunc = c.dial
	}
	connection.Tracer = c.tracer
	if !strings.Contains(url, "target_session_attrs=") {
		connection.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if _, named := connection.RuntimeParams["application_name"]; !named && c.Node != "" {
		connection.RuntimeParams["application_name"] = name(c.Node)
	}
	config.ShouldPing = func(_ context.Context, p pgxpool.ShouldPingParams) bool { return p.IdleDuration > pingAfter }
	return config, nil
}

// name is a node's, as PostgreSQL takes it: 63 bytes of printable ASCII.
func name(node string) string {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, "planetbell-"+node)
	return clean[:min(len(clean), 63)]
}

func (s *Store) start(ctx context.Context, c Config, config *pgxpool.Config) (err error) {
	if err := check(ctx, config.ConnConfig); err != nil {
		return err
	}
	if err := migrate(ctx, config.ConnConfig, c.Log); err != nil {
		return err
	}
	write, read := config.Copy(), config.Copy()
	write.MaxConns = max(config.MaxConns*3/4, allLanes+beatPlaces+1)
	read.MaxConns = config.MaxConns - write.MaxConns
	write.MinConns, read.MinConns = min(config.MinConns, write.MaxConns), min(config.MinConns, read.MaxConns)
	if s.writePool, err = pgxpool.NewWithConfig(ctx, write); err != nil {
		return err
	}
	if s.readPool, err = pgxpool.NewWithConfig(ctx, read); err != nil {
		s.writePool.Close()
		return err
	}
	s.metrics = newMetrics(c.Registry, map[string]*pgxpool.Pool{"write": s.writePool, "read": s.readPool})
	s.writes = make(places, write.MaxConns-allLanes-beatPlaces)
	s.beats = make(places, beatPlaces)
	s.reads = make(places, read.MaxConns)
	s.lists = make(places, max(read.MaxConns/2, 1))
	s.calls = newLanes(s, callLanes, s.runCalls)
	s.ends = newLanes(s, endLanes, s.runEnds)
	s.rooms = newLanes(s, roomLanes, s.runRooms)
	s.close = sync.OnceFunc(s.stop)
	return nil
}

// check finds out whether the database is one that can be used.
func check(ctx context.Context, config *pgx.ConnConfig) error {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) // it was only looked at
	if encoding := conn.PgConn().ParameterStatus("server_encoding"); encoding != "" && encoding != "UTF8" {
		return fmt.Errorf("its encoding is %s; make it anew with ENCODING 'UTF8'", encoding)
	}
	var moving bool
	if err := conn.QueryRow(ctx, `SELECT to_regclass('`+MoveTable+`') IS NOT NULL`).Scan(&moving); err != nil {
		return err
	}
	if moving {
		return errors.New("not all data of SQLite has been moved into it: run planetbell migrate-data again, to its end, before a server starts")
	}
	return nil
}

// MoveTable is where package datamove keeps how far it is with moving data into a database. It
// is gone when all is moved; as long as it is there, no server may write.
const MoveTable = "data_move"

// Close finishes the writes that wait and closes the connections. Methods called later fail
// with bell.Unavailable; Close itself may be called again.
func (s *Store) Close() error {
	s.close()
	return nil
}

func (s *Store) stop() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.calls.close()
	s.ends.close()
	s.rooms.close()
	s.work.Wait()
	s.writePool.Close()
	s.readPool.Close()
}

// enter counts somebody who works with the database. They end with work.Done.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errStoreClosed
	}
	s.work.Add(1)
	return nil
}
