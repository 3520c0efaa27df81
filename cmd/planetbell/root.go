package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/config"
)

// The exit codes, beside 0.
const (
	exitFailed = 1 // what was asked for did not work
	exitUsage  = 2 // it was asked for in the wrong way, or something has to be set up first
)

// commands lists every subcommand. Each lives in a file of its name, writes to
// cmd.OutOrStdout() and cmd.ErrOrStderr(), reads cmd.InOrStdin(), stops when
// cmd.Context() ends, and reports failure by its error.
func commands() []*cobra.Command {
	admin := &adminFlags{environ: os.Environ(), now: time.Now}
	return []*cobra.Command{
		newDemo(),
		newSim(),
		newServe(),
		newInit(),
		newConfig(),
		newDoctor(),
		newBackup(),
		newRestore(),
		newMigrate(),
		newMigrateData(),
		newTokenCommand(admin),
		newDeviceCommand(admin),
		newCallCommand(admin),
		newWhyCommand(admin),
		newRoomCommand(admin),
		newAgentCommand(admin),
		newEventCommand(admin),
		newDebugCommand(admin),
		newAuditCommand(admin),
		newAdminCommand(),
		newVersion(),
	}
}

// newRoot makes the whole command tree.
func newRoot(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	root := &cobra.Command{
		Use:   "planetbell",
		Short: "The app server for LINE Planet",
		Long: `planetbell is the app server for LINE Planet, ready made: it issues PlanetKit access
tokens, keeps users and devices, takes LINE Planet's callbacks, and rings the callee's
devices.

Begin with "planetbell init", which writes a configuration, and "planetbell serve".`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          showHelp,
	}
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.PersistentFlags().String("config", "", "configuration file (default: $PLANETBELL_CONFIG, ./planetbell.yaml, /etc/planetbell/planetbell.yaml)")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usageError(cmd, err) })
	if err := root.MarkPersistentFlagFilename("config", "yaml", "yml"); err != nil {
		panic(err) // there is such a flag, three lines up
	}
	root.AddCommand(commands()...)
	offerNoFiles(root)
	return root
}

// offerNoFiles keeps the shell from completing file names where a command takes no
// argument.
func offerNoFiles(cmd *cobra.Command) {
	if cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, c := range cmd.Commands() {
		offerNoFiles(c)
	}
}

// run executes the program in-process and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot(stdin, stdout, stderr)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var failure *exitError
	if !errors.As(err, &failure) {
		failure = &exitError{code: exitFailed, err: err}
	}
	if failure.err != nil {
		fmt.Fprintln(stderr, "planetbell:", failure.err) //nolint:errcheck // nobody is left to tell
	}
	return failure.code
}

// exitError is a failure with an exit code of its own. Without err nothing more is
// printed, because the command has said it all.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return "failed"
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// noArgs refuses arguments, with the exit code of a wrong use.
func noArgs(cmd *cobra.Command, args []string) error {
	err := cobra.NoArgs(cmd, args)
	if err == nil {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // two slips of the pen
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		err = fmt.Errorf("%w, did you mean %s", err, strings.Join(near, " or "))
	}
	return usageError(cmd, err)
}

func usageError(cmd *cobra.Command, err error) error {
	return &exitError{code: exitUsage, err: fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
}

// loadConfig loads the configuration that a command works with: the file named by
// --config or found, the environment, and the command's own flags.
func loadConfig(cmd *cobra.Command, flags ...config.Flag) (*config.Loaded, error) {
	file, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, fmt.Errorf("read --config: %w", err)
	}
	return config.Load(config.Options{File: file, Environ: os.Environ(), Flags: flags})
}

// configFailure turns an error of loadConfig into what the command reports. Without any
// configuration that is one screen of what to do.
func configFailure(cmd *cobra.Command, err error) error {
	if errors.Is(err, config.ErrNothing) {
		cmd.PrintErr(nothingConfigured)
		return &exitError{code: exitUsage}
	}
	var wrong *config.Error
	if errors.As(err, &wrong) {
		for _, p := range wrong.Problems {
			cmd.PrintErrln(p)
		}
		return &exitError{code: exitFailed, err: fmt.Errorf("the configuration has %s", counted(len(wrong.Problems), "error"))}
	}
	return err
}

const nothingConfigured = `planetbell has no configuration yet.

Looked for   ./planetbell.yaml, /etc/planetbell/planetbell.yaml,
             $PLANETBELL_CONFIG, --config, and PLANETBELL_PROJECTS_0_* variables.

What is missing, and where to get it
  service ID, API key, API secret   LINE Planet Console, your project's page
  a public https:// address         a proxy in front of planetbell, or its own TLS (public.tls)
  push credentials, when you push   Apple: a .p8 key.  Firebase: a service account file.
  everything else                   made for you by "planetbell init"

Next
  planetbell init     writes planetbell.yaml here, with fresh secrets, and prints the
                      callback URLs to register in the LINE Planet Console
  planetbell serve    starts the server with it

Only looking?
  planetbell demo     rings pretend phones on this machine; no account, no configuration
`
