package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/doctor"
)

// doctorFlags are what `planetbell doctor` was told.
type doctorFlags struct {
	json, offline, strict bool
	only                  []string
	timeout               time.Duration
}

// The bounds of --timeout.
const (
	leastDoctor = time.Second
	mostDoctor  = 10 * time.Minute
)

func newDoctor() *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check everything that a ring needs, without a phone",
		Long: `Check everything that a ring needs: the configuration, the push credentials and what
Apple and Google say to them, LINE Planet's key, the way to the callback URLs, the database,
the clock, this machine. Nothing is changed, and nobody rings. Run it where the server
runs, as the same user, while it runs or before it does.

Each line is ok, a warning or an error; what is wrong comes with what to do, and
docs/doctor.md explains it. The exit code is 0 when there is no error (with --strict: no
warning either), 1 when there is one, and 2 when nothing could be checked.

Checks, for --only:
` + doctorChecks(),
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runDoctor(cmd, &f) },
	}
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON")
	cmd.Flags().StringSliceVar(&f.only, "only", nil, "make these checks only, with commas")
	cmd.Flags().BoolVar(&f.offline, "offline", false, "ask nobody but this machine, the database and the bus")
	cmd.Flags().DurationVar(&f.timeout, "timeout", doctor.DefaultTime, "for all checks, which run at once; from 1s to 10m")
	cmd.Flags().BoolVar(&f.strict, "strict", false, "exit with 1 for a warning too")
	complete(cmd, "only", fixed(doctor.Names()...))
	complete(cmd, "timeout", cobra.NoFileCompletions)
	return cmd
}

func doctorChecks() string {
	var b strings.Builder
	for _, name := range doctor.Names() {
		fmt.Fprintf(&b, "  %-15s %s\n", name, doctor.About(name))
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func runDoctor(cmd *cobra.Command, f *doctorFlags) error {
	if f.timeout < leastDoctor || f.timeout > mostDoctor {
		return usageError(cmd, fmt.Errorf("--timeout is %s, want 1s to 10m", f.timeout))
	}
	for _, name := range f.only {
		if doctor.About(name) == "" {
			return usageError(cmd, fmt.Errorf("there is no check %q for --only", name))
		}
	}
	results, err := examine(cmd, f)
	if err != nil {
		return err
	}
	if f.json {
		err = printJSON(cmd.OutOrStdout(), struct {
			Worst   doctor.Level    `json:"worst"`
			Results []doctor.Result `json:"results"`
		}{doctor.Worst(results), results})
	} else {
		printResults(cmd.OutOrStdout(), results, onTerminal(cmd.OutOrStdout()))
	}
	if err != nil {
		return err
	}
	worst := doctor.Worst(results)
	if worst == doctor.Error || worst == doctor.Warning && f.strict {
		return &exitError{code: exitFailed}
	}
	return nil
}

// examine loads the configuration and makes the checks. One that does not load is the only
// thing that can be told.
func examine(cmd *cobra.Command, f *doctorFlags) ([]doctor.Result, error) {
	loaded, err := loadConfig(cmd)
	var wrong *config.Error
	switch {
	case errors.As(err, &wrong) && loaded != nil:
		return doctor.Invalid(wrong), nil
	case errors.As(err, &wrong):
		return nil, &exitError{code: exitUsage, err: err} // there is no file to look at
	case err != nil:
		return nil, configFailure(cmd, err)
	}
	return doctor.Run(cmd.Context(), doctor.Options{Loaded: loaded, Only: f.only, Local: f.offline, Time: f.timeout})
}

func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor is a small number
}

// levelColours are those of a terminal (ECMA-48): green, grey, yellow, red.
var levelColours = map[doctor.Level]string{
	doctor.OK: "\x1b[32m", doctor.Skipped: "\x1b[90m", doctor.Warning: "\x1b[33m", doctor.Error: "\x1b[31m",
}

// printResults writes results for people, under a heading for each check, and a summary.
func printResults(w io.Writer, results []doctor.Result, colours bool) {
	p := printer{w: w}
	counts := map[doctor.Level]int{}
	heading := ""
	for _, r := range results {
		if r.Name != heading {
			heading = r.Name
			p.line("%s: %s", heading, doctor.About(heading))
		}
		counts[r.Level]++
		word := fmt.Sprintf("%-8s", r.Level)
		if colours {
			word = levelColours[r.Level] + word + "\x1b[0m"
		}
		text := clean(r.Finding)
		if r.Subject != "" {
			text = clean(r.Subject) + ": " + text
		}
		if r.Fault != "" {
			text += " [" + r.Fault + "]"
		}
		p.line("  %s %s", word, text)
		if r.Fix != "" {
			p.line("           %s", r.Fix)
		}
	}
	p.line("")
	p.line("%s, %s, %d ok, %d skipped.", counted(counts[doctor.Error], "error"), counted(counts[doctor.Warning], "warning"), counts[doctor.OK], counts[doctor.Skipped])
}
