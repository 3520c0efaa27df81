package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/planetbell/planetbell/internal/app"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/gcpace"
	"github.com/planetbell/planetbell/internal/telemetry"
)

// settingFlags are the settings that have a flag, because they are what one changes for
// a single start.
var settingFlags = []struct{ name, path, help string }{
	{"public-address", "public.address", "host:port for LINE Planet and the clients"},
	{"admin-address", "admin.address", "host:port for the operator"},
	{"base-url", "public.base_url", "how LINE Planet and the clients see the server"},
	{"data-dir", "data_dir", "folder for the database and certificates"},
	{"log-level", "log.level", "debug, info, warn or error"},
	{"log-format", "log.format", "auto, json or text"},
}

func newServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the server until it is told to stop",
		Long: `Run the server. It stops gracefully on SIGTERM and Ctrl-C: what LINE Planet has been
told is accepted stays accepted. A second signal ends it at once. SIGHUP takes up changed
push credentials, which are otherwise looked at every 30 seconds.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return serve(cmd) },
	}
	addSettingFlags(cmd)
	return cmd
}

func addSettingFlags(cmd *cobra.Command) {
	for _, f := range settingFlags {
		cmd.Flags().String(f.name, "", f.help+" ("+f.path+")")
	}
	complete(cmd, "log-level", fixed("debug", "info", "warn", "error"))
	complete(cmd, "log-format", fixed(telemetry.FormatAuto, telemetry.FormatJSON, telemetry.FormatText))
	for _, name := range []string{"public-address", "admin-address", "base-url"} {
		complete(cmd, name, cobra.NoFileCompletions)
	}
}

// givenSettings returns the flags that were given.
func givenSettings(flags *pflag.FlagSet) []config.Flag {
	var given []config.Flag
	for _, f := range settingFlags {
		if flag := flags.Lookup(f.name); flag != nil && flag.Changed {
			given = append(given, config.Flag{Name: "--" + f.name, Path: f.path, Value: flag.Value.String()})
		}
	}
	return given
}

func serve(cmd *cobra.Command) error {
	loaded, err := loadConfig(cmd, givenSettings(cmd.Flags())...)
	if err != nil {
		return configFailure(cmd, err)
	}
	log, err := telemetry.NewLogger(cmd.ErrOrStderr(), loaded.Config.Log.Level, loaded.Config.Log.Format)
	if err != nil {
		return fmt.Errorf("make the log: %w", err)
	}
	for _, w := range loaded.Warnings {
		log.Warn("the configuration works, with a warning", "where", w.Where, "setting", w.Path, "warning", w.Message)
	}
	server, err := app.New(cmd.Context(), loaded.Config, log, app.Version(version))
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer gcpace.Start()()
	defer onHangUp(func() { reload(cmd, server, log) })()
	announce(cmd.OutOrStdout(), loaded, server.PublicURL(), server.AdminURL())
	if err := server.Run(cmd.Context()); err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// onHangUp calls do for every SIGHUP, one after the other, until stop is called.
func onHangUp(do func()) (stop func()) {
	signals, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(signals, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range signals {
			do()
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}

// reload reads the configuration anew for its push credentials.
func reload(cmd *cobra.Command, server *app.App, log *slog.Logger) {
	loaded, err := loadConfig(cmd, givenSettings(cmd.Flags())...)
	if err != nil {
		log.Error("the configuration cannot be read anew; the push credentials stay as they are", "error", err)
		return
	}
	log.Info("the configuration was read anew for its push credentials; other changes need a restart")
	server.Reload(loaded.Config)
}

// announce says where the server listens and what to register. Callback secrets are
// masked: this text ends up in journals and screenshots.
func announce(w io.Writer, loaded *config.Loaded, publicURL, adminURL string) {
	cfg := &loaded.Config
	p := printer{w: w}
	p.line("planetbell %s is up.", version)
	p.line("")
	p.line("  public   %s", publicURL)
	if cfg.Public.BaseURL != "" {
		p.line("           seen from outside as %s", cfg.Public.ExternalURL())
	}
	p.line("  admin    %s", adminURL)
	p.line("")
	for i := range cfg.Projects {
		project := &cfg.Projects[i]
		p.line("Project %s: service %s in %s. Callback URLs, their secret masked (`planetbell config urls` shows them whole):",
			project.Name, project.ServiceID, project.Environment)
		p.callbacks(project, cfg, config.MaskedSecret(project.CallbackSecret))
		if keys := project.Placeholders(); len(keys) > 0 {
			p.line("  NOT READY FOR CALLS: placeholders stand in %s. Callbacks are taken, but", strings.Join(keys, ", "))
			p.line("  LINE Planet will refuse the access tokens. Put in the values from the LINE Planet Console.")
		}
		p.line("")
	}
	p.line("Ctrl-C stops it.")
}

// printer writes lines to people. A failure to write is not an error of the command:
// the reader has gone away.
type printer struct{ w io.Writer }

func (p printer) line(format string, args ...any) {
	_, _ = fmt.Fprintf(p.w, format+"\n", args...)
}

// callbacks prints a project's callback URLs with the secret as given.
func (p printer) callbacks(project *config.Project, cfg *config.Config, secret string) {
	for _, u := range project.CallbackURLs(cfg.Public, cfg.Callbacks.Recording, secret) {
		p.line("  %-21s %s", u.Field, u.URL)
	}
}
