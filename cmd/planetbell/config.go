package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/config"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check the configuration, print what to register",
		Args:  noArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(newConfigCheck(), newConfigURLs())
	return cmd
}

func newConfigCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say everything that is wrong, else print the effective settings",
		Long: `Check the configuration as "serve" would. When it is right, print the effective
settings as YAML, secrets redacted, each that is not a default with who set it. Warnings
and errors go to standard error. The exit code is 1 when there is an error, and 2 when
there is no configuration.`,
		Args: noArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	addSettingFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := loadConfig(cmd, givenSettings(cmd.Flags())...)
		if *asJSON {
			return checkJSON(cmd, loaded, err)
		}
		if loaded != nil {
			for _, w := range loaded.Warnings {
				cmd.PrintErrln("warning:", w)
			}
		}
		var wrong *config.Error
		if errors.As(err, &wrong) {
			for _, p := range wrong.Problems {
				cmd.PrintErrln(p)
			}
			return &exitError{code: exitFailed, err: fmt.Errorf("the configuration has %s", counted(len(wrong.Problems), "error"))}
		}
		if err != nil {
			return configFailure(cmd, err)
		}
		p := printer{w: cmd.OutOrStdout()}
		p.line("%s", loaded.YAML())
		p.line("# %s: no errors, %s, %s.", source(loaded), counted(len(loaded.Warnings), "warning"), counted(len(loaded.Config.Projects), "project"))
		return nil
	}
	return cmd
}

func source(loaded *config.Loaded) string {
	if loaded.File == "" {
		return "environment"
	}
	return loaded.File
}

// checked is the answer of `config check --json`.
type checked struct {
	Valid    bool             `json:"valid"`
	File     string           `json:"file,omitempty"`
	Errors   []config.Problem `json:"errors"`
	Warnings []config.Problem `json:"warnings"`
	Settings []config.Setting `json:"settings"`
}

func checkJSON(cmd *cobra.Command, loaded *config.Loaded, err error) error {
	answer := checked{
		Valid: err == nil, Errors: []config.Problem{}, Warnings: []config.Problem{}, Settings: []config.Setting{},
	}
	if loaded != nil {
		answer.File, answer.Settings = loaded.File, loaded.Settings
		answer.Warnings = append(answer.Warnings, loaded.Warnings...)
	}
	var wrong *config.Error
	code := exitFailed
	switch {
	case errors.As(err, &wrong):
		answer.Errors = wrong.Problems
	case errors.Is(err, config.ErrNothing):
		answer.Errors, code = append(answer.Errors, config.Problem{Message: err.Error()}), exitUsage
	case err != nil:
		return err
	}
	if printed := printJSON(cmd.OutOrStdout(), answer); printed != nil {
		return printed
	}
	if err != nil {
		return &exitError{code: code}
	}
	return nil
}

func newConfigURLs() *cobra.Command {
	return &cobra.Command{
		Use:   "urls",
		Short: "Print the callback URLs whole, to register them",
		Long: `Print every project's callback URLs as they are to be registered in the LINE Planet
Console. They contain the callback secret: whoever knows one can make your users' phones
ring. Do not paste them elsewhere.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := loadConfig(cmd)
			if err != nil {
				return configFailure(cmd, err)
			}
			p := printer{w: cmd.OutOrStdout()}
			for i := range loaded.Config.Projects {
				project := &loaded.Config.Projects[i]
				p.line("%s: service %s in %s", project.Name, project.ServiceID, project.Environment)
				p.callbacks(project, &loaded.Config, project.CallbackSecret.Reveal())
			}
			return nil
		},
	}
}
