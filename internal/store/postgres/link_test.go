package postgres

import "testing"

// What describes a statement's columns is its own, also after others were run on the
// connection.
func TestColumnsAreKept(t *testing.T) {
	s := newStore(t)
	results, err := s.ask(t.Context(), query{sql: "SELECT 1::bigint AS number"}, query{sql: "SELECT 'x'::text AS word"})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"number", "word"} {
		if got := results[i].columns[0].Name; got != want {
			t.Errorf("the column of statement %d is called %q, want %q", i+1, got, want)
		}
	}
}
