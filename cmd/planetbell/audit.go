package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/console"
)

// newAuditCommand makes "planetbell audit".
func newAuditCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "See who did what on the admin listener",
		Args:  noArgs,
		RunE:  showHelp,
	}
	admin.add(cmd)
	cmd.AddCommand(newAuditListCommand(admin))
	return cmd
}

// auditQuery is which entries are asked for.
type auditQuery struct {
	who, action, outcome, since, until, before string
	limit                                      int
}

func newAuditListCommand(admin *adminFlags) *cobra.Command {
	var in auditQuery
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List changes, sign-ins and refusals, the newest first",
		Example: "  planetbell audit list --who alice --action device --since 24h",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if in.outcome != "" && !slices.Contains(audit.Outcomes(), audit.Outcome(in.outcome)) {
				return usageError(cmd, fmt.Errorf("--outcome %s: want done, refused or failed", in.outcome))
			}
			if in.limit < 1 {
				return usageError(cmd, errors.New("--limit: want at least 1"))
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			list, err := in.ask(cmd.Context(), client, admin)
			if err != nil {
				return err
			}
			return admin.showAudit(cmd, list)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&in.who, "who", "", "only what this user or token did")
	flags.StringVar(&in.action, "action", "", "only this action, such as device.remove, or all of one thing, such as device")
	flags.StringVar(&in.outcome, "outcome", "", "only what became so: done, refused or failed")
	flags.StringVar(&in.since, "since", "", "only from then on: a time such as 2026-09-01T12:00:00Z, or how long ago, such as 24h")
	flags.StringVar(&in.until, "until", "", "only before then, in the same way")
	flags.StringVar(&in.before, "before", "", "begin where an earlier list ended")
	flags.IntVar(&in.limit, "limit", 50, "how many at most")
	complete(cmd, "outcome", fixed("done", "refused", "failed"))
	for _, name := range []string{"who", "action", "since", "until", "before", "limit"} {
		complete(cmd, name, cobra.NoFileCompletions)
	}
	return cmd
}

func (in *auditQuery) ask(ctx context.Context, client *adminClient, admin *adminFlags) (console.AuditList, error) {
	now := admin.now()
	query := url.Values{}
	for name, value := range map[string]string{
		"who": in.who, "action": in.action, "outcome": in.outcome, "since": ago(in.since, now), "until": ago(in.until, now), "before": in.before,
	} {
		if value != "" {
			query.Set(name, value)
		}
	}
	list := console.AuditList{Entries: []console.AuditEntry{}}
	next, err := pages(query, "before", in.limit, func() (int, string, error) {
		page, err := client.Audit(ctx, query)
		list.Entries = append(list.Entries, page.Entries...)
		return len(page.Entries), page.Next, err
	})
	list.Next = next
	return list, err
}

func (a *adminFlags) showAudit(cmd *cobra.Command, list console.AuditList) error {
	if a.json {
		return printJSON(cmd.OutOrStdout(), list)
	}
	if len(list.Entries) == 0 {
		_, err := fmt.Fprintln(cmd.ErrOrStderr(), "There is no such entry.")
		return err
	}
	now := a.now()
	rows := [][]string{{"WHEN", "WHO", "ROLE", "BY", "FROM", "ACTION", "OUTCOME", "WHAT"}}
	for _, e := range list.Entries {
		rows = append(rows, []string{
			moment(now, e.At), cmp.Or(e.Who, "-"), cmp.Or(string(e.Role), "-"), cmp.Or(e.Via, "-"), cmp.Or(e.Remote, "-"), e.Action, string(e.Outcome), cmp.Or(e.Object, "-"),
		})
	}
	if err := table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	if list.Next != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "There are more: add --before %s, or a higher --limit.\n", clean(list.Next))
	}
	return nil
}

// Audit returns the page of the audit log that query asks for.
func (c *adminClient) Audit(ctx context.Context, query url.Values) (console.AuditList, error) {
	list := console.AuditList{Entries: []console.AuditEntry{}}
	err := c.do(ctx, http.MethodGet, "/admin/v1/audit?"+query.Encode(), nil, &list)
	return list, err
}
