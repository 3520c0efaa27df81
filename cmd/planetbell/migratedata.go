package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/store/datamove"
	"github.com/planetbell/planetbell/planet"
)

// moveFlags are those of "migrate-data".
type moveFlags struct{ from, to, toFile string }

func newMigrateData() *cobra.Command {
	var flags moveFlags
	cmd := &cobra.Command{
		Use:   "migrate-data",
		Short: "Copy all data of the SQLite database to PostgreSQL",
		Long: `Copy all data of the SQLite database into an empty PostgreSQL database, and compare
both. Stop the server first, and start it with database.url when the command is done. Whatever
breaks it off, give the same command again: it goes on where it was. The SQLite database is
only read.

What is not given is taken from the configuration, which has either database.path or
database.url: give --to as long as it has the path, and --from when it has the URL already and
the data is not at the default path.`,
		Example: `  planetbell migrate-data --from sqlite://data/planetbell.db --to postgres://bell@db.example.com/planetbell`,
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return migrateData(cmd, flags) },
	}
	cmd.Flags().StringVar(&flags.from, "from", "", "sqlite://FILE, where the data is")
	cmd.Flags().StringVar(&flags.to, "to", "", "postgres:// URL, where it goes. Leave the password out, others see it here: set PGPASSWORD, or use --to-file")
	cmd.Flags().StringVar(&flags.toFile, "to-file", "", "file with that URL; - is standard input")
	cmd.MarkFlagsMutuallyExclusive("to", "to-file")
	complete(cmd, "from", cobra.NoFileCompletions)
	complete(cmd, "to", cobra.NoFileCompletions)
	return cmd
}

func migrateData(cmd *cobra.Command, flags moveFlags) error {
	from, to, err := flags.databases(cmd)
	if err != nil {
		return err
	}
	bar := newProgress(cmd.ErrOrStderr(), time.Now)
	moved, err := datamove.Move(cmd.Context(), datamove.Config{
		From: from, To: to,
		Progress: func(phase, table string, done, total int64) { bar.step(phase+" "+table, done, total) },
	})
	bar.end()
	if errors.Is(err, context.Canceled) {
		return errors.New("it was stopped; give the same command again to go on")
	}
	if err != nil {
		return err
	}
	rows := [][]string{{"TABLE", "ROWS", "SUM"}}
	for _, t := range moved.Tables {
		rows = append(rows, []string{t.Name, fmt.Sprint(t.Rows), t.Sum[:16]})
	}
	if err := table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	p := printer{w: cmd.OutOrStdout()}
	p.line("")
	if moved.Before > 0 {
		p.line("%s had been copied by an earlier run.", counted(int(moved.Before), "row"))
	}
	p.line("%s are in PostgreSQL; number and sum of each table are the same on both sides.", counted(int(moved.Rows()), "row"))
	p.line("Set database.url and start the server. %s is as it was: keep it until all is well.", from)
	return nil
}

// databases finds out what is moved where.
func (f moveFlags) databases(cmd *cobra.Command) (from string, to planet.Secret, err error) {
	switch {
	case f.toFile != "":
		if to, err = readSecretFile(f.toFile, cmd.InOrStdin()); err != nil {
			return "", "", fmt.Errorf("--to-file: %w", err)
		}
	case f.to != "":
		to = planet.Secret(f.to)
	}
	if f.from != "" {
		var given bool
		if from, given = strings.CutPrefix(f.from, "sqlite://"); !given || from == "" {
			return "", "", usageError(cmd, errors.New("--from: want sqlite:// and the name of a file, such as sqlite:///var/lib/planetbell/planetbell.db"))
		}
	}
	if from == "" || to == "" {
		d, err := database(cmd)
		if err != nil {
			return "", "", err
		}
		if from == "" {
			from = d.Path
		}
		if to == "" {
			to = d.URL
		}
	}
	switch {
	case to == "":
		return "", "", usageError(cmd, errors.New("say where the data goes: --to, --to-file, or database.url in the configuration"))
	case !strings.HasPrefix(to.Reveal(), "postgres://") && !strings.HasPrefix(to.Reveal(), "postgresql://"):
		return "", "", usageError(cmd, errors.New("the target: want a URL that begins with postgres://"))
	}
	return from, to, nil
}
