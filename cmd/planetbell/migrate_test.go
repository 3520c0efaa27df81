package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/internal/testpg"
)

// does runs a command, wants its exit code, and returns what it said.
func does(t *testing.T, code int, args ...string) (out, errs string) {
	t.Helper()
	var stdout, stderr strings.Builder
	if got := run(t.Context(), args, strings.NewReader(""), &stdout, &stderr); got != code {
		t.Errorf("planetbell %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, &stdout, &stderr)
	}
	for _, said := range []string{stdout.String(), stderr.String()} {
		testlog.Keep(t, args[0], said)
		if strings.Contains(said, testlog.Text) {
			t.Errorf("planetbell %s prints a secret", args[0])
		}
	}
	return stdout.String(), stderr.String()
}

func wantSaid(t *testing.T, said string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(said, part) {
			t.Errorf("it does not say %q:\n%s", part, said)
		}
	}
}

// An operator moves from SQLite to PostgreSQL.
func TestMoveToPostgreSQL(t *testing.T) {
	url := testpg.Start(t, testpg.NoFsync).URL("postgres")
	folder := t.TempDir()
	file := filepath.Join(folder, "planetbell.yaml")
	if err := os.WriteFile(file, []byte("admin: {token: "+testlog.TextSecret("admin-0123456789-0123456789")+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	sqliteFile := filepath.Join(folder, "data", "planetbell.db")
	does(t, 0, "migrate", "--config", file)

	t.Setenv("PLANETBELL_DATABASE_URL", url)
	out, _ := does(t, 0, "migrate", "status", "--config", file)
	wantSaid(t, out, "not yet", "The PostgreSQL database has schema 0")
	out, _ = does(t, 0, "migrate", "--dry-run", "--config", file)
	wantSaid(t, out, "These would be applied:\n  1 ")
	out, _ = does(t, 0, "migrate", "--config", file)
	wantSaid(t, out, "applied 1 ", "The PostgreSQL database is up to date")
	out, _ = does(t, 0, "migrate", "status", "--json", "--config", file)
	wantSaid(t, out, `"pending": 0`)

	out, _ = does(t, 0, "migrate-data", "--config", file)
	wantSaid(t, out, "TABLE", "calls ", "0 rows are in PostgreSQL; number and sum of each table are the same", sqliteFile+" is as it was")
	other := filepath.Join(folder, "url")
	if err := os.WriteFile(other, []byte(url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	does(t, 0, "migrate-data", "--from", "sqlite://"+sqliteFile, "--to-file", other)
}

func TestProgress(t *testing.T) {
	now := time.Now()
	show := func(terminal bool) string {
		var said strings.Builder
		p := newProgress(&said, func() time.Time { return now })
		p.terminal = terminal
		for done := range int64(5) {
			p.step("copy calls", done*25, 100)
			now = now.Add(lineEvery / 2)
		}
		p.step("copy devices", 0, 0)
		p.end()
		p.end()
		return said.String()
	}
	if got, want := show(false), "copy calls: 50 %\ncopy calls: 100 %\n"; got != want {
		t.Errorf("in a log: %q, want %q", got, want)
	}
	got := show(true)
	wantSaid(t, got, "\r\x1b[Kcopy calls           [===============               ]  50 %", "] 100 %\n\r\x1b[Kcopy devices")
	if !strings.HasSuffix(got, "] 100 %\n") || strings.Count(got, "\n") != 2 {
		t.Errorf("on a terminal: %q", got)
	}
	if newProgress(io.Discard, time.Now).terminal {
		t.Error("io.Discard is taken for a terminal")
	}
}

// Every flag of the commands for the database is in docs/cli.md.
func TestDatabaseCommandsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := []*cobra.Command{newBackup(), newRestore(), newMigrate(), newMigrateData()}
	for _, cmd := range append(commands, commands[2].Commands()...) {
		name := strings.TrimPrefix(cmd.CommandPath(), "planetbell ")
		_, section, found := strings.Cut(string(text), "\n### "+name+"\n")
		if !found {
			t.Errorf("docs/cli.md has no section on %s", name)
		}
		section, _, _ = strings.Cut(section, "\n##")
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(section, "--"+f.Name) {
				t.Errorf("docs/cli.md, %s: there is nothing on --%s", name, f.Name)
			}
		})
	}
}
