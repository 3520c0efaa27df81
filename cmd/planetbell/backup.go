package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/store/sqlite"
)

func newBackup() *cobra.Command {
	var database string
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the SQLite database to a file, while the server runs",
		Long: `Copy the SQLite database to a new file, while the server runs or not. The file is
checked and on disk when the command ends. cc_param is erased from it; it holds push tokens,
so keep it as safe as the database. docs/backup.md says what it costs the server.`,
		Example: `  planetbell backup /var/backups/planetbell-$(date +%F).db`,
		Args:    usage(cobra.ExactArgs(1), "name the file to write"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := databaseFile(cmd, database)
			if err != nil {
				return err
			}
			bar := newProgress(cmd.ErrOrStderr(), time.Now)
			saved, err := sqlite.Backup(cmd.Context(), path, args[0], func(done, total int64) { bar.step("copy", done, total) })
			bar.end()
			if err != nil {
				return err
			}
			p := printer{w: cmd.OutOrStdout()}
			p.line("Copied %s to %s.", path, args[0])
			p.line("%s, schema %d, %s. It was checked and is on disk.", sized(saved.Bytes), saved.Schema, counted(int(saved.Calls), "call"))
			if saved.Ringing > 0 {
				p.line("The cc_param of %s was erased in it.", counted(int(saved.Ringing), "ringing call"))
			}
			return nil
		},
	}
	addDatabaseFlag(cmd, &database)
	cmd.ValidArgsFunction = offerFiles
	return cmd
}

func newRestore() *cobra.Command {
	var database string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the SQLite database",
		Long: `Put a backup in the place of the SQLite database. The server must be stopped. The
database that was there is kept under another name. A backup that is damaged, or that a
newer planetbell wrote, is refused and nothing is changed.`,
		Args: usage(cobra.ExactArgs(1), "name the backup"),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := databaseFile(cmd, database)
			if err != nil {
				return err
			}
			bar := newProgress(cmd.ErrOrStderr(), time.Now)
			done, err := sqlite.Restore(cmd.Context(), args[0], path, func(n, total int64) { bar.step("copy", n, total) })
			bar.end()
			if err != nil {
				return err
			}
			p := printer{w: cmd.OutOrStdout()}
			p.line("Restored %s from %s.", path, args[0])
			p.line("%s, schema %d, %s. It was checked and is on disk.", sized(done.Bytes), done.Schema, counted(int(done.Calls), "call"))
			if done.Pending > 0 {
				p.line("The server will apply %s to it when it starts.", counted(done.Pending, "migration"))
			}
			if done.Aside != "" {
				p.line("The database that was there is %s.", done.Aside)
			}
			return nil
		},
	}
	addDatabaseFlag(cmd, &database)
	cmd.ValidArgsFunction = offerFiles
	return cmd
}

func offerFiles(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func addDatabaseFlag(cmd *cobra.Command, database *string) {
	cmd.Flags().StringVar(database, "database", "", "SQLite file; without it, that of the configuration")
}

// databaseFile is the SQLite file that a command works on.
func databaseFile(cmd *cobra.Command, given string) (string, error) {
	if given != "" {
		return given, nil
	}
	d, err := database(cmd)
	if err == nil && d.URL != "" {
		err = errors.New("the configuration has a PostgreSQL database: save and restore it with PostgreSQL's own tools, or name a SQLite file with --database")
	}
	return d.Path, err
}

// database is what the configuration says about the database. It only has to be right about
// that.
func database(cmd *cobra.Command) (config.Database, error) {
	loaded, err := loadConfig(cmd)
	var wrong *config.Error
	if errors.Is(err, config.ErrNothing) {
		return config.Database{}, usageError(cmd, errors.New("there is no configuration that says where the database is: name it, or the configuration with --config"))
	}
	if err != nil && (!errors.As(err, &wrong) || loaded == nil || concernsDatabase(wrong)) {
		return config.Database{}, configFailure(cmd, err)
	}
	return loaded.Config.Database, nil
}

func concernsDatabase(e *config.Error) bool {
	return slices.ContainsFunc(e.Problems, func(p config.Problem) bool {
		return p.Path == "" || p.Path == "data_dir" || p.Path == "database" || strings.HasPrefix(p.Path, "database.")
	})
}

// sized is a number of bytes for people.
func sized(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
