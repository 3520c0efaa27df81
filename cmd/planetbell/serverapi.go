package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/planet/serverapi"
)

// lineFlags are how the commands that ask LINE Planet itself find the key to do so: in the
// configuration file. No server of ours has to run.
type lineFlags struct {
	admin   *adminFlags // for the environment and the clock
	project string
	json    bool
}

func (l *lineFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.project, "project", "", "whose API key asks, by its name in the configuration; may be left out if there is one project")
	cmd.Flags().BoolVar(&l.json, "json", false, "print JSON")
	complete(cmd, "project", func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		loaded, _ := l.load(cmd)
		var names []cobra.Completion
		if loaded != nil {
			for i := range loaded.Config.Projects {
				names = append(names, loaded.Config.Projects[i].Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

func (l *lineFlags) load(cmd *cobra.Command) (*config.Loaded, error) {
	file := ""
	if f := cmd.Flag("config"); f != nil {
		file = f.Value.String()
	}
	return config.Load(config.Options{File: file, Environ: l.admin.environ, Now: l.admin.now})
}

// lineAPI is LINE Planet as one project may ask it. Close the client.
type lineAPI struct {
	*serverapi.Client
	project *config.Project
	url     string
}

// open finds the project and makes its client.
func (l *lineFlags) open(cmd *cobra.Command) (*lineAPI, error) {
	loaded, err := l.load(cmd)
	var wrong *config.Error
	if err != nil && (!errors.As(err, &wrong) || loaded == nil) {
		return nil, configFailure(cmd, err)
	}
	project, at, err := l.find(loaded.Config.Projects)
	if err != nil {
		return nil, err
	}
	if wrong != nil && slices.ContainsFunc(wrong.Problems, func(p config.Problem) bool { return concernsKey(p.Path, at) }) {
		return nil, configFailure(cmd, wrong)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if loaded.Config.CAFile != "" {
		roots, err := readRoots(loaded.Config.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	client, err := serverapi.New(serverapi.Config{
		Environment: project.Environment, BaseURL: project.ServerAPIURL, ServiceID: project.ServiceID,
		APIKey: project.APIKey, APISecret: project.APISecret, Transport: transport,
	})
	if err != nil {
		return nil, err
	}
	return &lineAPI{client, project, cmp.Or(project.ServerAPIURL, project.Environment.APIBaseURL())}, nil
}

// find returns the project that --project means, and where it stands in the configuration.
func (l *lineFlags) find(projects []config.Project) (*config.Project, string, error) {
	var names []string
	for i := range projects {
		if projects[i].Name == l.project || l.project == "" && len(projects) == 1 {
			return &projects[i], fmt.Sprintf("projects[%d]", i), nil
		}
		names = append(names, projects[i].Name)
	}
	switch {
	case len(names) == 0:
		return nil, "", errors.New("the configuration has no project")
	case l.project == "":
		return nil, "", fmt.Errorf("say for which project: --project NAME, one of %s", strings.Join(names, ", "))
	}
	return nil, "", fmt.Errorf("there is no project %q; there is: %s", l.project, strings.Join(names, ", "))
}

// concernsKey says whether a wrong setting keeps us from asking LINE Planet. Another, an
// expired push certificate perhaps, does not.
func concernsKey(path, project string) bool {
	key, inside := strings.CutPrefix(path, project+".")
	if !inside {
		return path == "" || path == "ca_file" || path == "projects" || path == project
	}
	return slices.Contains([]string{"name", "environment", "service_id", "api_key", "api_secret", "server_api_url"}, key)
}

// explain makes a sentence for the operator of what LINE Planet answered. thing is what was
// asked for, such as "room lounge".
func (l *lineAPI) explain(thing string, err error) error {
	var e *serverapi.Error
	if !errors.As(err, &e) {
		return err
	}
	p := l.project
	text := ""
	switch {
	case errors.Is(e, serverapi.ErrUnauthorized):
		text = fmt.Sprintf("LINE Planet (%s) refuses the API key %s of project %q, or its secret: compare api_key and api_secret with the LINE Planet Console", p.Environment, shortKey(p.APIKey), p.Name)
	case errors.Is(e, serverapi.ErrForbidden):
		text = fmt.Sprintf("the API key %s of project %q has no right for service %q", shortKey(p.APIKey), p.Name, p.ServiceID)
	case errors.Is(e, serverapi.ErrRoomNotFound):
		text = fmt.Sprintf("no call is running in %s of service %q", thing, p.ServiceID)
	case errors.Is(e, serverapi.ErrTooManyRequests), errors.Is(e, serverapi.ErrUnavailable):
		text = fmt.Sprintf("%v; try again later", e.Kind)
	case errors.Is(e, serverapi.ErrNoAnswer):
		return fmt.Errorf("%s: %s", l.url, clean(e.Error()))
	default:
		return errors.New(clean(e.Error()))
	}
	if e.Message != "" {
		text += fmt.Sprintf(". It says %q", clean(e.Message))
	}
	return errors.New(text)
}

// shortKey is enough of an API key to know it by; keys have about 160 characters.
func shortKey(key string) string {
	if len(key) > 16 {
		key = key[:16] + "…"
	}
	return fmt.Sprintf("%q", key)
}
