package datamove

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/planetbell/planetbell/internal/store/postgres"
	"github.com/planetbell/planetbell/planet"
)

// progressTable is where the target keeps how far a move is. It is gone after a whole one.
const progressTable = postgres.MoveTable

// lockKey is the advisory lock of who moves data into a database: "move" in ASCII.
const lockKey = 0x6d6f7665

// applicationName is what PostgreSQL's list of connections shows.
const applicationName = "planetbell migrate-data"

// lockNotAvailable is the SQLSTATE of a lock that was waited for in vain.
const lockNotAvailable = "55P03"

// target is the PostgreSQL database.
type target struct{ conn *pgx.Conn }

func connect(ctx context.Context, url planet.Secret) (*target, error) {
	parsed, err := pgxpool.ParseConfig(url.Reveal()) // settings of a pool are allowed, as for a server
	if err != nil {                                  // its text may hold what was given
		return nil, errors.New("the target is not a URL of a PostgreSQL database: want postgres://user@host:5432/database")
	}
	config := parsed.ConnConfig
	config.RuntimeParams["application_name"] = applicationName
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect to the PostgreSQL database: %w", err)
	}
	if encoding := conn.PgConn().ParameterStatus("server_encoding"); encoding != "UTF8" {
		err := fmt.Errorf("the encoding of the PostgreSQL database is %s; make it anew with ENCODING 'UTF8'", encoding)
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return &target{conn: conn}, nil
}

// alone refuses a target that somebody else uses: a server, or another move. One that was
// broken off may still hold the lock while PostgreSQL finds that out, so it is waited for.
func (t *target) alone(ctx context.Context) error {
	if _, err := t.conn.Exec(ctx, `SET lock_timeout = '10s'`); err != nil {
		return fmt.Errorf("look at the PostgreSQL database: %w", err)
	}
	_, err := t.conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, lockKey)
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok && refused.Code == lockNotAvailable {
		return errors.New("another planetbell migrate-data writes to the PostgreSQL database")
	}
	if err != nil {
		return fmt.Errorf("lock the PostgreSQL database: %w", err)
	}
	return t.unused(ctx)
}

// unused wants that no server uses the target: none that is connected, and none that has
// said a moment ago that it is alive, perhaps through a pooler that hides its name.
func (t *target) unused(ctx context.Context) error {
	var others int
	err := t.conn.QueryRow(ctx, `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'planetbell%' AND application_name <> $1`, applicationName).Scan(&others)
	if err == nil && others == 0 {
		others, err = t.nodes(ctx)
	}
	if err != nil {
		return fmt.Errorf("look at who uses the PostgreSQL database: %w", err)
	}
	if others > 0 {
		return errors.New("planetbell servers use the PostgreSQL database; stop them first. What was killed counts for ten seconds more")
	}
	return nil
}

// nodes counts the servers that have said within ten seconds that they are alive. They say so
// every second. Before the first migration there are none.
func (t *target) nodes(ctx context.Context) (alive int, err error) {
	var there bool
	if err := t.conn.QueryRow(ctx, `SELECT to_regclass('nodes') IS NOT NULL`).Scan(&there); err != nil || !there {
		return 0, err
	}
	err = t.conn.QueryRow(ctx, `SELECT count(*) FROM nodes
		WHERE seen_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 10000000`).Scan(&alive)
	return alive, err
}

// tables reads all tables with the types of their columns.
func (t *target) tables(ctx context.Context) (map[string]map[string]string, error) {
	rows, err := t.conn.Query(ctx, `SELECT c.relname, a.attname, format_type(a.atttypid, NULL)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
			AND a.attnum > 0 AND NOT a.attisdropped AND c.relname <> $1`, progressTable)
	if err != nil {
		return nil, fmt.Errorf("read the PostgreSQL schema: %w", err)
	}
	all := map[string]map[string]string{}
	var name, column, kind string
	_, err = pgx.ForEachRow(rows, []any{&name, &column, &kind}, func() error {
		if all[name] == nil {
			all[name] = map[string]string{}
		}
		all[name][column] = kind
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the PostgreSQL schema: %w", err)
	}
	return all, nil
}

func (t *target) count(ctx context.Context, of *table) (n int64, err error) {
	if err := t.conn.QueryRow(ctx, `SELECT count(*) FROM "`+of.name+`"`).Scan(&n); err != nil {
		return 0, fmt.Errorf("count the rows of %s: %w", of.name, err)
	}
	return n, nil
}

// readProgress makes the table of progress if there is none, and reads what an earlier run
// has copied of the same source.
func (t *target) readProgress(ctx context.Context, print string, tables []*table) error {
	_, err := t.conn.Exec(ctx, `CREATE TABLE IF NOT EXISTS `+progressTable+` (
		source text NOT NULL, name text PRIMARY KEY, after_key text NOT NULL, copied bigint NOT NULL)`)
	if err != nil {
		return fmt.Errorf("make the table of progress: %w", err)
	}
	rows, err := t.conn.Query(ctx, `SELECT source, name, after_key, copied FROM `+progressTable)
	if err != nil {
		return fmt.Errorf("read the progress: %w", err)
	}
	named := map[string]*table{}
	for _, of := range tables {
		named[of.name] = of
	}
	var source, name, after string
	var copied int64
	_, err = pgx.ForEachRow(rows, []any{&source, &name, &after, &copied}, func() error {
		of := named[name]
		if source != print || of == nil {
			return errors.New("an earlier move into it came from another SQLite database: go on with that one, or name an empty database")
		}
		of.copied = copied
		of.after, err = of.decodeKey(after)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the progress of the PostgreSQL database: %w", err)
	}
	for _, of := range tables {
		if of.after != nil {
			continue
		}
		_, err := t.conn.Exec(ctx, `INSERT INTO `+progressTable+` (source, name, after_key, copied) VALUES ($1, $2, '', 0)
			ON CONFLICT DO NOTHING`, print, of.name)
		if err != nil {
			return fmt.Errorf("begin to keep the progress: %w", err)
		}
	}
	return nil
}

// encodeKey and decodeKey keep a key as text: JSON, in which numbers keep all digits, and
// texts are what JSON and PostgreSQL can hold.
func encodeKey(key []any) (string, error) {
	kept := make([]any, len(key))
	for i, value := range key {
		kept[i] = value
		if s, ok := value.(string); ok {
			kept[i] = postgres.Escape(s)
		}
	}
	encoded, err := json.Marshal(kept)
	return string(encoded), err
}

func (t *table) decodeKey(encoded string) ([]any, error) {
	if encoded == "" {
		return nil, nil
	}
	decoder := json.NewDecoder(strings.NewReader(encoded))
	decoder.UseNumber()
	var key []any
	if err := decoder.Decode(&key); err != nil {
		return nil, fmt.Errorf("the progress of %s is damaged: %w", t.name, err)
	}
	for i, value := range key {
		switch v := value.(type) {
		case json.Number:
			var err error
			if key[i], err = v.Int64(); err != nil {
				return nil, fmt.Errorf("the progress of %s is damaged: %w", t.name, err)
			}
		case string:
			key[i] = postgres.Unescape(v)
		}
	}
	return key, nil
}

// write copies rows and the progress in one transaction.
func (t *target) write(ctx context.Context, of *table, batch [][]any) error {
	after := of.keyOf(batch[len(batch)-1])
	encoded, err := encodeKey(after)
	if err != nil {
		return fmt.Errorf("note the progress: %w", err)
	}
	names := make([]string, len(of.columns))
	for i, c := range of.columns {
		names[i] = c.name
	}
	for _, row := range batch {
		of.toTarget(row)
	}
	err = pgx.BeginFunc(ctx, t.conn, func(tx pgx.Tx) error {
		if _, err := tx.CopyFrom(ctx, pgx.Identifier{of.name}, names, pgx.CopyFromRows(batch)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE `+progressTable+` SET after_key = $1, copied = copied + $2 WHERE name = $3`,
			encoded, len(batch), of.name)
		return err
	})
	if err != nil {
		return fmt.Errorf("write to the PostgreSQL database: %w", err)
	}
	of.after = after
	of.copied += int64(len(batch))
	return nil
}

// each reads all rows of a table.
func (t *target) each(ctx context.Context, of *table, take func([]any) error) error {
	rows, err := t.conn.Query(ctx, `SELECT `+of.names()+` FROM "`+of.name+`"`)
	if err != nil {
		return fmt.Errorf("read the PostgreSQL database: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		row, err := rows.Values()
		if err != nil {
			return fmt.Errorf("read the PostgreSQL database: %w", err)
		}
		fromTarget(row)
		if err := take(row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the PostgreSQL database: %w", err)
	}
	return nil
}

// nextval finds the sequence of a default: nextval('events_seq_seq'::regclass).
var nextval = regexp.MustCompile(`^nextval\('([^']+)'::regclass\)$`)

// setSequences makes the target give keys that are larger than all that were copied, and than
// last, the largest that the source has given.
func setSequences(ctx context.Context, tx pgx.Tx, t *table, last int64) error {
	for _, c := range t.columns {
		var sequence, def *string
		err := tx.QueryRow(ctx, `SELECT pg_get_serial_sequence(quote_ident($1), $2),
			(SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
				WHERE d.adrelid = quote_ident($1)::regclass AND a.attname = $2)`, t.name, c.name).Scan(&sequence, &def)
		if err != nil {
			return fmt.Errorf("look for the sequence of %s.%s: %w", t.name, c.name, err)
		}
		if sequence == nil && def != nil {
			if found := nextval.FindStringSubmatch(*def); found != nil {
				sequence = &found[1]
			}
		}
		if sequence == nil {
			continue
		}
		_, err = tx.Exec(ctx, `SELECT setval($1::text::regclass, greatest(m, $2, 1), greatest(m, $2) > 0)
			FROM (SELECT coalesce(max("`+c.name+`"), 0) AS m FROM "`+t.name+`") AS largest`, *sequence, last)
		if err != nil {
			return fmt.Errorf("set the sequence of %s.%s: %w", t.name, c.name, err)
		}
	}
	return nil
}
