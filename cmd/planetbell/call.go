package main

import (
	"cmp"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/planet"
)

// newCallCommand makes "planetbell call".
func newCallCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "call",
		Short: "List calls, and show what happened to one",
		Args:  noArgs,
		RunE:  showHelp,
	}
	admin.add(cmd)
	cmd.AddCommand(newCallListCommand(admin), newCallShowCommand(admin))
	return cmd
}

func newCallListCommand(admin *adminFlags) *cobra.Command {
	var who selection
	var which callFilter
	var in language
	var before string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List 1-to-1 calls, the newest first",
		Example: "  planetbell call list --user bob --limit 5\n  planetbell call list --outcome push_failed --since 24h",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lang, err := in.parse()
			if err != nil {
				return err
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			query, err := who.query(cmd.Context(), client)
			if err != nil {
				return err
			}
			which.query(query, admin.now())
			if before != "" {
				query.Set("before", before)
			}
			list := console.CallList{Calls: []console.Call{}}
			list.Next, err = pages(query, "before", who.limit, func() (int, string, error) {
				page, err := client.Calls(cmd.Context(), query)
				list.Calls = append(list.Calls, page.Calls...)
				return len(page.Calls), page.Next, err
			})
			if err != nil {
				return err
			}
			return admin.showCalls(cmd, list, lang)
		},
	}
	who.add(admin, cmd, 20)
	which.add(cmd)
	in.add(cmd)
	cmd.Flags().StringVar(&before, "before", "", "continue where an earlier list ended")
	complete(cmd, "before", cobra.NoFileCompletions)
	return cmd
}

func (a *adminFlags) showCalls(cmd *cobra.Command, list console.CallList, lang planet.Language) error {
	if a.json {
		return printJSON(cmd.OutOrStdout(), list)
	}
	if len(list.Calls) == 0 {
		_, err := fmt.Fprintln(cmd.ErrOrStderr(), "There is no such call. Calls appear when Planet Cloud calls the callback URLs; planetbell config urls prints them to be registered.")
		return err
	}
	now := a.now()
	rows := [][]string{{"WHEN", "SID", "CALLER", "CALLEE", "TYPE", "ENDED", "TALKED", "WHY"}}
	for _, c := range list.Calls {
		talked := "-"
		if c.DurationMS > 0 {
			talked = length(time.Duration(c.DurationMS) * time.Millisecond)
		}
		when := c.NotifiedAt
		if when.IsZero() {
			when = c.EndedAt
		}
		rows = append(rows, []string{
			moment(now, when), string(c.SID), userName(c.Caller), userName(c.Callee), cmp.Or(c.Type, "-"), ending(c), talked,
			cmp.Or(inLanguage(c.Why, lang), "-"),
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

func newCallShowCommand(admin *adminFlags) *cobra.Command {
	var environment string
	var in language
	cmd := &cobra.Command{
		Use:   "show SID",
		Short: "Tell what happened to a call",
		Long: `Tell the story of one call: when it came in, what was tried for each of the callee's
devices and with what result, and how the call ended. SID is the session ID that clients,
LINE Planet and planetbell call list show, in any letter case.`,
		Args:              usage(cobra.ExactArgs(1), "give one session ID, as planetbell call list shows it"),
		ValidArgsFunction: admin.sessionIDs,
		RunE: func(cmd *cobra.Command, args []string) error {
			lang, err := in.parse()
			if err != nil {
				return err
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			query := url.Values{}
			if environment != "" {
				query.Set("environment", environment)
			}
			story, err := client.Call(cmd.Context(), args[0], query)
			if err != nil {
				return err
			}
			if admin.json {
				return printJSON(cmd.OutOrStdout(), story)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), tell(&story, admin.now(), lang))
			return err
		},
	}
	cmd.Flags().StringVar(&environment, "environment", "", "evaluation or real; without it the newest call with this session ID is shown")
	complete(cmd, "environment", fixed("evaluation", "real"))
	in.add(cmd)
	return cmd
}
