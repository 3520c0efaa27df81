package postgres

import (
	"context"
	"flag"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// statements collects the texts of what a store asks.
type statements struct {
	mu    sync.Mutex
	texts map[string]bool
}

func (s *statements) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	s.add(data.SQL)
	return ctx
}

func (s *statements) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (s *statements) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	for _, q := range data.Batch.QueuedQueries {
		s.add(q.SQL)
	}
	return ctx
}

func (s *statements) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (s *statements) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (s *statements) add(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.texts[text] = true
}

// planned are the statements that have a plan.
var planned = regexp.MustCompile(`(?s)^\s*(SELECT .*FROM|WITH|INSERT|UPDATE|DELETE)\b`)

// explain asks PostgreSQL how it does each statement when it must not read whole tables. If it
// does so all the same, there is no index for it, and it would hold up everybody once the
// table is large. Endpoints that are gone are few, and so are nodes. It must look at some
// statements at least.
func (s *statements) explain(t *testing.T, location string, least int) {
	t.Helper()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, location)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	for _, setting := range []string{`SET enable_seqscan = off`, `SET plan_cache_mode = force_generic_plan`} {
		if _, err := conn.Exec(ctx, setting); err != nil {
			t.Fatal(err)
		}
	}
	explained := 0
	for _, text := range slices.Sorted(maps.Keys(s.texts)) {
		if !planned.MatchString(text) {
			continue
		}
		prepared, err := conn.Prepare(ctx, "explained", text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		nothing := strings.TrimSuffix(strings.Repeat("NULL, ", len(prepared.ParamOIDs)), ", ")
		if nothing != "" {
			nothing = "(" + nothing + ")"
		}
		rows, err := conn.Query(ctx, `EXPLAIN EXECUTE explained`+nothing, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatalf("explain %s: %v", text, err)
		}
		explained++
		for _, step := range plan {
			if strings.Contains(step, "Seq Scan on ") && !strings.Contains(step, "gone_endpoints") && !strings.Contains(step, "on nodes") && !strings.Contains(step, "goose_db_version") {
				t.Errorf("%s\nreads a whole table:\n%s", text, strings.Join(plan, "\n"))
				break
			}
		}
		if err := conn.Deallocate(ctx, "explained"); err != nil {
			t.Fatal(err)
		}
	}
	if whole := !strings.Contains(flag.Lookup("test.run").Value.String(), "/"); whole && explained < least {
		t.Errorf("%d statements have a plan; the test looks at too little", explained)
	}
}
