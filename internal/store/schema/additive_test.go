package schema

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exceptions are statements that break the rule below and may, each with why. One that the
// release before does not survive also has to say so in its migration, or nodes of that release
// start on it: PRAGMA user_version in SQLite, schema_release in PostgreSQL.
var exceptions = map[string]string{
	"DROP INDEX journal_dedup":   "there was no release before",
	"DROP INDEX journal_session": "there was no release before",
}

// breaking are what the queries of the release before do not survive. They name indexes:
// ON CONFLICT, INDEXED BY.
var breaking = []*regexp.Regexp{
	regexp.MustCompile(`(?i)\b(DROP\s+(TABLE|COLUMN|INDEX)|RENAME|TRUNCATE)\b`),
	regexp.MustCompile(`(?i)\bALTER\s+(COLUMN|TYPE)\b|\bSET\s+(DATA\s+TYPE|NOT\s+NULL)\b|\bADD\s+(CONSTRAINT|CHECK|UNIQUE|FOREIGN)\b`),
}

var (
	comment   = regexp.MustCompile(`--[^\n]*`)
	addColumn = regexp.MustCompile(`(?i)\bADD\s+COLUMN\b`)
	needed    = regexp.MustCompile(`(?i)\bNOT\s+NULL\b`)
	given     = regexp.MustCompile(`(?i)\bDEFAULT\b`)
)

// wrong says what about a statement the release before would stumble over; "" if nothing.
func wrong(statement string) string {
	for _, b := range breaking {
		if found := b.FindString(statement); found != "" {
			return found
		}
	}
	for _, column := range addColumn.Split(statement, -1)[1:] {
		if needed.MatchString(column) && !given.MatchString(column) {
			return "a NOT NULL column without a DEFAULT"
		}
	}
	return ""
}

// Migrations go forward only and are additive: nodes of two releases use one database
// while they are upgraded one after the other, and the release before may come back.
func TestMigrationsAreAdditive(t *testing.T) {
	files, err := filepath.Glob("../*/migrations/*.sql")
	if err != nil || len(files) < 9 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(content), "goose Down") {
			t.Errorf("%s has a Down section: migrations go forward only", file)
		}
		for statement := range strings.SplitSeq(comment.ReplaceAllString(string(content), ""), ";") {
			statement = strings.Join(strings.Fields(statement), " ")
			if found := wrong(statement); found != "" && exceptions[statement] == "" {
				t.Errorf("%s breaks the release before (%s): %s", file, found, statement)
			}
		}
	}
}

func TestWhatIsNotAdditive(t *testing.T) {
	for statement, breaks := range map[string]bool{
		"DROP TABLE a": true, "DROP INDEX a": true, "alter table a drop column b": true, "ALTER TABLE a RENAME TO b": true,
		"ALTER TABLE a RENAME COLUMN b TO c": true, "ALTER TABLE a ALTER COLUMN b TYPE bigint": true,
		"ALTER TABLE a ALTER b SET NOT NULL": true, "ALTER TABLE a ADD CONSTRAINT c UNIQUE (b)": true,
		"ALTER TABLE a ADD COLUMN b TEXT NOT NULL":                                        true,
		"ALTER TABLE a ADD COLUMN b TEXT NOT NULL DEFAULT '', ADD COLUMN c TEXT NOT NULL": true,
		"ALTER TABLE a ADD COLUMN b TEXT NOT NULL DEFAULT ''":                             false,
		"ALTER TABLE a ADD COLUMN b INTEGER":                                              false,
		"CREATE TABLE a (b TEXT NOT NULL)":                                                false,
		"CREATE UNIQUE INDEX a_b ON a (b) WHERE b <> ''":                                  false,
	} {
		if found := wrong(statement); (found != "") != breaks {
			t.Errorf("%q: found %q", statement, found)
		}
	}
}
