package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/planet"
)

// completionTime bounds how long the shell's Tab key may wait for the server.
const completionTime = 2 * time.Second

// adminFlags are how the commands for daily work find the running server: by its
// configuration file, or by --admin-url.
type adminFlags struct {
	environ []string
	now     func() time.Time

	url       string
	tokenFile string
	caFile    string
	json      bool
}

// add declares the flags on cmd, for it and its subcommands.
func (a *adminFlags) add(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	flags.StringVar(&a.url, "admin-url", "", "address of the server's admin listener, such as http://127.0.0.1:8081; without it the configuration file says where it is")
	flags.StringVar(&a.tokenFile, "admin-token-file", "", "file with the admin token; else PLANETBELL_ADMIN_TOKEN or the configuration file has it")
	flags.StringVar(&a.caFile, "admin-ca-file", "", "PEM certificates to trust for an admin listener with HTTPS, beside the system's")
	flags.BoolVar(&a.json, "json", false, "print JSON, as docs/admin-api.md describes it")
}

// client makes the client for the server that the flags mean.
func (a *adminFlags) client(cmd *cobra.Command) (*adminClient, error) {
	base, token, source, err := a.server(cmd)
	if err != nil {
		return nil, err
	}
	if a.tokenFile != "" {
		source = a.tokenFile
		if token, err = readSecretFile(a.tokenFile, cmd.InOrStdin()); err != nil {
			return nil, fmt.Errorf("--admin-token-file: %w", err)
		}
	}
	var roots *x509.CertPool
	if a.caFile != "" {
		if roots, err = readRoots(a.caFile); err != nil {
			return nil, fmt.Errorf("--admin-ca-file: %w", err)
		}
	}
	return newAdminClient(base, token, source, roots)
}

// server finds address and token without --admin-token-file.
func (a *adminFlags) server(cmd *cobra.Command) (base string, token planet.Secret, source string, err error) {
	if a.url != "" {
		token, source, err = a.tokenFromEnvironment()
		return a.url, token, source, err
	}
	file := ""
	if f := cmd.Flag("config"); f != nil {
		file = f.Value.String()
	}
	loaded, err := config.Load(config.Options{File: file, Environ: a.environ, Now: a.now})
	var wrong *config.Error
	switch {
	case errors.Is(err, config.ErrNothing):
		return "", "", "", errors.New("there is no configuration to read the server's address from: name the file with --config, or give --admin-url and set PLANETBELL_ADMIN_TOKEN")
	case errors.As(err, &wrong) && loaded != nil && !concernsAdmin(wrong):
		// Something else is wrong, an expired push certificate perhaps. The server may run
		// all the same, and this may be the command to find out.
	case err != nil:
		return "", "", "", fmt.Errorf("the configuration that says where the server is cannot be used:\n%w", err)
	}
	token, source = ownToken(&loaded.Config.Admin)
	if loaded.File != "" {
		source += " in " + loaded.File
	}
	return loaded.Config.Admin.URL(), token, source, nil
}

// ownToken is the token of the configuration that may do most: admin.token, or one of
// admin.tokens that stands there itself.
func ownToken(a *config.Admin) (token planet.Secret, source string) {
	token, source = a.Token, "admin.token"
	var role bell.Role
	for i := range a.Tokens {
		if t := &a.Tokens[i]; a.Token == "" && t.Token != "" && !role.Covers(t.Role) {
			token, source, role = t.Token, fmt.Sprintf("admin.tokens[%d]", i), t.Role
		}
	}
	return token, source
}

func concernsAdmin(e *config.Error) bool {
	return slices.ContainsFunc(e.Problems, func(p config.Problem) bool {
		return p.Path == "" || p.Path == "admin" || strings.HasPrefix(p.Path, "admin.")
	})
}

func (a *adminFlags) tokenFromEnvironment() (planet.Secret, string, error) {
	name := config.EnvName("admin.token")
	for _, variable := range a.environ {
		key, value, _ := strings.Cut(variable, "=")
		if value == "" {
			continue
		}
		switch key {
		case name:
			return planet.Secret(strings.TrimSpace(value)), name, nil
		case name + "_FILE":
			token, err := readSecretFile(value, strings.NewReader(""))
			if err != nil {
				return "", "", fmt.Errorf("%s: %w", key, err)
			}
			return token, value, nil
		}
	}
	return "", "", nil
}

func readRoots(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return roots, nil
}

// printJSON writes v as the admin API would, but indented.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// selection are the flags that say whose devices or calls are meant.
type selection struct {
	project     string
	environment string
	service     string
	user        string
	limit       int
}

func (s *selection) add(a *adminFlags, cmd *cobra.Command, limit int) {
	flags := cmd.Flags()
	flags.StringVar(&s.project, "project", "", "only of this project's environment and service")
	flags.StringVar(&s.environment, "environment", "", "only of this environment: evaluation or real")
	flags.StringVar(&s.service, "service-id", "", "only of this service")
	flags.StringVar(&s.user, "user", "", "only of this user")
	flags.IntVar(&s.limit, "limit", limit, "how many to show at most")
	cmd.MarkFlagsMutuallyExclusive("project", "environment")
	cmd.MarkFlagsMutuallyExclusive("project", "service-id")
	complete(cmd, "project", a.projectNames)
	complete(cmd, "environment", fixed("evaluation", "real"))
	complete(cmd, "user", a.userIDs)
	complete(cmd, "service-id", cobra.NoFileCompletions)
	complete(cmd, "limit", cobra.NoFileCompletions)
}

// query turns the flags into parameters of the admin API.
func (s *selection) query(ctx context.Context, client *adminClient) (url.Values, error) {
	if s.limit < 1 {
		return nil, errors.New("--limit: want at least 1")
	}
	environment, service := s.environment, s.service
	if s.project != "" {
		project, err := findProject(ctx, client, s.project)
		if err != nil {
			return nil, err
		}
		environment, service = string(project.Environment), project.ServiceID
	}
	query := url.Values{}
	for name, value := range map[string]string{"environment": environment, "service_id": service, "user_id": s.user} {
		if value != "" {
			query.Set(name, value)
		}
	}
	return query, nil
}

func findProject(ctx context.Context, client *adminClient, name string) (console.Project, error) {
	projects, err := client.Projects(ctx)
	if err != nil {
		return console.Project{}, err
	}
	var names []string
	for _, p := range projects {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return console.Project{}, fmt.Errorf("there is no project %q; there is: %s", name, strings.Join(names, ", "))
}

// explain says which projects there are when a request was refused because of its
// project. Otherwise the error stays.
func explain(ctx context.Context, client *adminClient, project string, err error) error {
	var refused *refusal
	if !errors.As(err, &refused) {
		return err
	}
	if _, unknown := findProject(ctx, client, project); unknown != nil {
		return unknown
	}
	return err
}

// pages asks for pages until limit entries are there or no more exist. It returns where
// the rest begins, empty at the end.
func pages(query url.Values, cursor string, limit int, page func() (n int, next string, err error)) (string, error) {
	for limit > 0 {
		query.Set("limit", strconv.Itoa(min(limit, console.MaxLimit)))
		n, next, err := page()
		if err != nil || next == "" {
			return "", err
		}
		query.Set(cursor, next)
		if limit -= n; limit <= 0 || n == 0 {
			return next, nil
		}
	}
	return "", nil
}

// complete registers what the shell offers for a flag. Registering fails only for a flag
// that does not exist, which the first test of the command finds.
func complete(cmd *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}

func fixed(values ...cobra.Completion) cobra.CompletionFunc {
	return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
}

// offer is the frame of completions that ask the server. Without one there is nothing to
// offer, and nothing to say.
func (a *adminFlags) offer(cmd *cobra.Command, ask func(context.Context, *adminClient) ([]cobra.Completion, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	parent := cmd.Context()
	if parent == nil {
		parent = context.Background()
	}
	ctx, cancel := context.WithTimeout(parent, completionTime)
	defer cancel()
	client, err := a.client(cmd)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, err := ask(ctx, client)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

func (a *adminFlags) projectNames(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.offer(cmd, func(ctx context.Context, client *adminClient) (found []cobra.Completion, err error) {
		projects, err := client.Projects(ctx)
		for _, p := range projects {
			found = append(found, cobra.CompletionWithDesc(p.Name, fmt.Sprintf("%s, %s", p.Environment, p.ServiceID)))
		}
		return found, err
	})
}

func (a *adminFlags) userIDs(cmd *cobra.Command, _ []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.offer(cmd, func(ctx context.Context, client *adminClient) (found []cobra.Completion, err error) {
		list, err := client.Devices(ctx, url.Values{"limit": {strconv.Itoa(console.MaxLimit)}})
		for _, d := range list.Devices {
			if strings.HasPrefix(d.UserID, toComplete) && !slices.Contains(found, cobra.Completion(d.UserID)) {
				found = append(found, d.UserID)
			}
		}
		return found, err
	})
}

func (a *adminFlags) deviceIDs(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.offer(cmd, func(ctx context.Context, client *adminClient) (found []cobra.Completion, err error) {
		list, err := client.Devices(ctx, url.Values{"limit": {strconv.Itoa(console.MaxLimit)}})
		for _, d := range list.Devices {
			if strings.HasPrefix(d.ID, toComplete) && !slices.Contains(args, d.ID) {
				found = append(found, cobra.CompletionWithDesc(d.ID, clean(fmt.Sprintf("%s/%s %s", d.ServiceID, d.UserID, d.Channel))))
			}
		}
		return found, err
	})
}

func (a *adminFlags) sessionIDs(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.offer(cmd, func(ctx context.Context, client *adminClient) (found []cobra.Completion, err error) {
		list, err := client.Calls(ctx, url.Values{})
		for _, c := range list.Calls {
			if strings.HasPrefix(string(c.SID), strings.ToLower(toComplete)) {
				found = append(found, cobra.CompletionWithDesc(string(c.SID), clean(fmt.Sprintf("%s to %s, %s", c.Caller.UserID, c.Callee.UserID, ending(c)))))
			}
		}
		return found, err
	})
}
