package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/store/postgres"
	"github.com/planetbell/planetbell/internal/store/schema"
	"github.com/planetbell/planetbell/internal/store/sqlite"
)

// migrations are those of a database: both kinds offer them.
type migrations interface {
	// Status lists all, and changes nothing.
	Status(ctx context.Context) ([]schema.Step, error)
	// Up applies what is missing, and returns it.
	Up(ctx context.Context) ([]schema.Step, error)
}

func newMigrate() *cobra.Command {
	var database string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the database's schema up to date",
		Long: `Bring the database's schema up to date. "serve" does the same when it starts; this is
for who wants it done before. It goes forward only: to go back, restore a backup. A SQLite
database must not be in use; a PostgreSQL one may be.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, name, err := migrationsOf(cmd, database)
			if err != nil {
				return err
			}
			return migrate(cmd, m, name, dryRun)
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be applied")
	addDatabaseFlag(cmd, &database)
	cmd.AddCommand(newMigrateStatus())
	return cmd
}

func newMigrateStatus() *cobra.Command {
	var database string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "List the migrations, and which of them the database has",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, name, err := migrationsOf(cmd, database)
			if err != nil {
				return err
			}
			steps, err := m.Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), newMigrationsAnswer(steps))
			}
			return listMigrations(cmd, name, steps)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	addDatabaseFlag(cmd, &database)
	return cmd
}

// migrationsOf finds the database that is meant, and a name for it that may be shown.
func migrationsOf(cmd *cobra.Command, given string) (migrations, string, error) {
	if given != "" {
		return sqlite.NewMigrations(given), given, nil
	}
	d, err := database(cmd)
	if err != nil {
		return nil, "", err
	}
	if d.URL != "" {
		return postgres.NewMigrations(d.URL), "The PostgreSQL database", nil
	}
	return sqlite.NewMigrations(d.Path), d.Path, nil
}

func migrate(cmd *cobra.Command, m migrations, name string, dryRun bool) error {
	p := printer{w: cmd.OutOrStdout()}
	steps, err := m.Status(cmd.Context())
	if err != nil {
		return err
	}
	if err := schema.Known(steps); err != nil {
		return fmt.Errorf("migrate %s: %w", name, err)
	}
	pending := schema.Pending(steps)
	if len(pending) == 0 {
		p.line("%s is up to date: schema %d.", name, schema.Version(steps))
		return nil
	}
	if dryRun {
		p.line("%s has schema %d. These would be applied:", name, schema.Version(steps))
		for _, s := range pending {
			p.line("  %d %s", s.Version, s.Name)
		}
		return nil
	}
	done, err := m.Up(cmd.Context())
	for _, s := range done {
		p.line("applied %d %s, which took %s", s.Version, s.Name, length(s.Took))
	}
	if err != nil {
		return err
	}
	p.line("%s is up to date: schema %d.", name, schema.Version(append(steps, done...)))
	return nil
}

func listMigrations(cmd *cobra.Command, name string, steps []schema.Step) error {
	rows := [][]string{{"VERSION", "NAME", "APPLIED"}}
	for _, s := range steps {
		applied := "not yet"
		if s.Applied() {
			applied = s.AppliedAt.UTC().Format("2006-01-02 15:04:05 MST")
		}
		label := s.Name
		if label == "" {
			label = "(of a newer planetbell)"
		}
		rows = append(rows, []string{strconv.FormatInt(s.Version, 10), label, applied})
	}
	if err := table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	printer{w: cmd.OutOrStdout()}.line("%s has schema %d, %s to apply.", name, schema.Version(steps), counted(len(schema.Pending(steps)), "migration"))
	return nil
}

// migrationsAnswer is what "migrate status --json" prints.
type migrationsAnswer struct {
	Schema     int64             `json:"schema"`
	Pending    int               `json:"pending"`
	Migrations []migrationAnswer `json:"migrations"`
}

type migrationAnswer struct {
	Version   int64      `json:"version"`
	Name      string     `json:"name,omitempty"` // missing if a newer planetbell applied it
	AppliedAt *time.Time `json:"appliedAt,omitempty"`
}

func newMigrationsAnswer(steps []schema.Step) migrationsAnswer {
	answer := migrationsAnswer{Schema: schema.Version(steps), Pending: len(schema.Pending(steps))}
	for _, s := range steps {
		m := migrationAnswer{Version: s.Version, Name: s.Name}
		if s.Applied() {
			m.AppliedAt = &s.AppliedAt
		}
		answer.Migrations = append(answer.Migrations, m)
	}
	return answer
}
