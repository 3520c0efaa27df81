package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/console"
)

// DebugUser has everything be logged about the calls of one user.
func (c *adminClient) DebugUser(ctx context.Context, in console.DebugUserRequest) (console.DebugUser, error) {
	var out console.DebugUser
	err := c.do(ctx, http.MethodPost, "/admin/v1/debug_users", in, &out)
	return out, err
}

// DebugUsers returns who they are.
func (c *adminClient) DebugUsers(ctx context.Context) (console.DebugUserList, error) {
	list := console.DebugUserList{Users: []console.DebugUser{}}
	err := c.do(ctx, http.MethodGet, "/admin/v1/debug_users", nil, &list)
	return list, err
}

// UndebugUser ends it.
func (c *adminClient) UndebugUser(ctx context.Context, p console.Project, userID string) error {
	query := url.Values{"environment": {string(p.Environment)}}
	return c.do(ctx, http.MethodDelete, "/admin/v1/debug_users/"+url.PathEscape(p.ServiceID)+"/"+url.PathEscape(userID)+"?"+query.Encode(), nil, nil)
}

// newDebugCommand makes "planetbell debug".
func newDebugCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "debug",
		Short: "Have everything be logged about one user's calls, for a while",
		Args:  noArgs,
		RunE:  showHelp,
	}
	admin.add(cmd)
	cmd.AddCommand(newDebugUserCommand(admin), newDebugListCommand(admin), newDebugStopCommand(admin))
	return cmd
}

func newDebugUserCommand(admin *adminFlags) *cobra.Command {
	var project string
	var minutes int
	cmd := &cobra.Command{
		Use:     "user NAME",
		Short:   "Log everything about the calls of a callee",
		Example: "  planetbell debug user bob --minutes 10",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, p, err := admin.debugged(cmd, project)
			if err != nil {
				return err
			}
			got, err := client.DebugUser(cmd.Context(), console.DebugUserRequest{
				Environment: p.Environment, ServiceID: p.ServiceID, UserID: args[0], Minutes: minutes,
			})
			switch {
			case err != nil:
				return err
			case admin.json:
				return printJSON(cmd.OutOrStdout(), got)
			}
			where := "that server"
			if got.Node != "" {
				where = "node " + clean(got.Node) + " (and no other)"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The log of %s has everything about calls to %s until %s.\n",
				where, clean(got.ServiceID+"/"+got.UserID), got.Until.Local().Format("15:04:05"))
			return err
		},
	}
	cmd.Flags().StringVar(&project, "project", "", "the user's project; needed when there are several")
	cmd.Flags().IntVar(&minutes, "minutes", 10, "for how long, 1 to 60")
	complete(cmd, "project", admin.projectNames)
	complete(cmd, "minutes", cobra.NoFileCompletions)
	return cmd
}

func newDebugListCommand(admin *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the users about whom everything is logged",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			list, err := client.DebugUsers(cmd.Context())
			switch {
			case err != nil:
				return err
			case admin.json:
				return printJSON(cmd.OutOrStdout(), list)
			case len(list.Users) == 0:
				_, err := fmt.Fprintln(cmd.ErrOrStderr(), "There is none on this node.")
				return err
			}
			rows := [][]string{{"USER", "ENVIRONMENT", "UNTIL"}}
			for _, u := range list.Users {
				rows = append(rows, []string{u.ServiceID + "/" + u.UserID, string(u.Environment), moment(admin.now(), u.Until)})
			}
			return table(cmd.OutOrStdout(), rows)
		},
	}
}

func newDebugStopCommand(admin *adminFlags) *cobra.Command {
	var project string
	cmd := &cobra.Command{
		Use:   "stop NAME",
		Short: "End it early",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, p, err := admin.debugged(cmd, project)
			if err != nil {
				return err
			}
			return client.UndebugUser(cmd.Context(), p, args[0])
		},
	}
	cmd.Flags().StringVar(&project, "project", "", "the user's project; needed when there are several")
	complete(cmd, "project", admin.projectNames)
	return cmd
}

// debugged makes the client, and finds the project: the one that is named, or the only one.
func (a *adminFlags) debugged(cmd *cobra.Command, name string) (*adminClient, console.Project, error) {
	client, err := a.client(cmd)
	if err != nil {
		return nil, console.Project{}, err
	}
	if name != "" {
		p, err := findProject(cmd.Context(), client, name)
		return client, p, err
	}
	projects, err := client.Projects(cmd.Context())
	if err == nil && len(projects) != 1 {
		err = errors.New("there are several projects: say which, with --project")
	}
	if err != nil {
		return nil, console.Project{}, err
	}
	return client, projects[0], nil
}
