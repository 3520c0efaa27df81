package postgres

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRewrite(t *testing.T) {
	for query, want := range map[string]string{
		`SELECT 1`:                             `SELECT 1`,
		`a = ? AND b = ?`:                      `a = $1 AND b = $2`,
		`a = ?1 OR b = ?1`:                     `a = $1 OR b = $1`,
		`?, ?, ?6, ?6, ?, ?`:                   `$1, $2, $6, $6, $7, $8`,
		`?2, ?1, ?`:                            `$2, $1, $3`,
		`?12`:                                  `$12`,
		`a = '?' AND b = ? AND c = 'it''s ?1'`: `a = '?' AND b = $1 AND c = 'it''s ?1'`,
		`"a?" = ?`:                             `"a?" = $1`,
		`FROM events INDEXED BY events_new WHERE x = ?`: `FROM events  WHERE x = $1`,
		`UPDATE t INDEXED BY t_leased SET a = ?`:        `UPDATE t  SET a = $1`,
		`FROM a CROSS JOIN b ON b.x = a.x`:              `FROM a JOIN b ON b.x = a.x`,
		`'INDEXED BY x' || 'CROSS JOIN'`:                `'INDEXED BY x' || 'CROSS JOIN'`,
		`UNINDEXED BY x, MYCROSS JOIN`:                  `UNINDEXED BY x, MYCROSS JOIN`,
		`INDEXED, CROSS`:                                `INDEXED, CROSS`,
		`'open`:                                         `'open`,
	} {
		if got := rewrite(query); got != want {
			t.Errorf("%s\nbecomes %s\nwant    %s", query, got, want)
		}
		if got := rewrite(query); got != want {
			t.Errorf("the second time, %s becomes %s", query, got)
		}
	}
}

// Whatever the query, outside quotes no mark stays, and nothing else is lost.
func TestRewriteLosesNothing(t *testing.T) {
	marks := regexp.MustCompile(`\$[0-9]+`)
	rapid.Check(t, func(r *rapid.T) {
		parts := rapid.SliceOf(rapid.SampledFrom([]string{
			"?", "?1", "?7", " ", "SELECT", "'?'", `"?"`, "''", "a_b", "(", ")", ",", " CROSS JOIN ", " INDEXED BY x ", "é", "\n",
		})).Draw(r, "parts")
		var want strings.Builder
		for _, p := range parts {
			want.WriteString(p)
		}
		got := rewrite(want.String())
		strip := func(s string) string {
			s = strings.NewReplacer("INDEXED BY x", "", "CROSS", "", " ", "", "?7", "#", "?1", "#", "?", "#").Replace(s)
			return marks.ReplaceAllString(s, "#")
		}
		if quotes := strings.Count(want.String(), "'")%2 + strings.Count(want.String(), `"`)%2; quotes == 0 && strip(got) != strip(want.String()) {
			r.Errorf("%q becomes %q", want.String(), got)
		}
	})
}
