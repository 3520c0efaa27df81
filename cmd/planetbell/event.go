package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/webhook"
)

// newEventCommand makes "planetbell event".
func newEventCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "event",
		Short: "See what your own systems are told, and tell it again",
		Args:  noArgs,
		RunE:  showHelp,
	}
	admin.add(cmd)
	cmd.AddCommand(newEventListCommand(admin), newEventEndpointsCommand(admin), newEventReplayCommand(admin),
		newEventEnableCommand(admin), newEventTestCommand(admin), newEventSecretCommand())
	return cmd
}

// eventQuery is which events are asked for.
type eventQuery struct {
	state, endpoint, before string
	limit                   int
}

func newEventListCommand(admin *adminFlags) *cobra.Command {
	var in eventQuery
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List events with what became of them, the newest first",
		Example: "  planetbell event list --state dead --endpoint main/crm",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if in.state != "" && !slices.Contains(console.EventStates(), webhook.State(in.state)) {
				return usageError(cmd, fmt.Errorf("--state %s: want waiting, told or dead", in.state))
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			list, err := in.ask(cmd.Context(), client)
			if err != nil {
				return err
			}
			return admin.showEvents(cmd, list)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&in.state, "state", "", "only these: waiting, told or dead (given up)")
	flags.StringVar(&in.endpoint, "endpoint", "", "only of this endpoint, as planetbell event endpoints shows it")
	flags.StringVar(&in.before, "before", "", "begin where an earlier list ended")
	flags.IntVar(&in.limit, "limit", 50, "how many at most")
	complete(cmd, "state", fixed("waiting", "told", "dead"))
	complete(cmd, "endpoint", admin.endpoints)
	for _, name := range []string{"before", "limit"} {
		complete(cmd, name, cobra.NoFileCompletions)
	}
	return cmd
}

func (in *eventQuery) ask(ctx context.Context, client *adminClient) (console.EventList, error) {
	query := map[string][]string{}
	for name, value := range map[string]string{"state": in.state, "endpoint": in.endpoint, "before": in.before} {
		if value != "" {
			query[name] = []string{value}
		}
	}
	list := console.EventList{Events: []console.Event{}}
	next, err := pages(query, "before", in.limit, func() (int, string, error) {
		page, err := client.Events(ctx, query)
		list.Events = append(list.Events, page.Events...)
		return len(page.Events), page.Next, err
	})
	list.Next = next
	return list, err
}

func (a *adminFlags) showEvents(cmd *cobra.Command, list console.EventList) error {
	if a.json {
		return printJSON(cmd.OutOrStdout(), list)
	}
	if len(list.Events) == 0 {
		_, err := fmt.Fprintln(cmd.ErrOrStderr(), "There is no such event.")
		return err
	}
	now := a.now()
	rows := [][]string{{"ID", "TYPE", "ENDPOINT", "HAPPENED", "STATE", "TRIES", "LAST FAILURE"}}
	for i := range list.Events {
		e := &list.Events[i]
		rows = append(rows, []string{e.ID, string(e.Type), e.Endpoint, moment(now, e.At), eventState(e, now), strconv.Itoa(e.Attempts), eventFailure(e)})
	}
	if err := table(cmd.OutOrStdout(), rows); err != nil {
		return err
	}
	if list.Next != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "There are more: add --before %s, or a higher --limit.\n", clean(list.Next))
	}
	return nil
}

func eventState(e *console.Event, now time.Time) string {
	switch {
	case e.State == webhook.Behind:
		return "waiting, behind an earlier one"
	case e.State == webhook.Waiting && e.NextAt.After(now):
		return "waiting, " + relative(now, e.NextAt)
	}
	return string(e.State)
}

func eventFailure(e *console.Event) string {
	if e.Status != 0 && e.Reason != "" {
		return e.Reason + " " + strconv.Itoa(e.Status)
	}
	return cmp.Or(e.Reason, "-")
}

func newEventEndpointsCommand(admin *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "endpoints",
		Short: "List the endpoints and how they do",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			list, err := client.Endpoints(cmd.Context())
			switch {
			case err != nil:
				return err
			case admin.json:
				return printJSON(cmd.OutOrStdout(), list)
			case len(list.Endpoints) == 0:
				_, err := fmt.Fprintln(cmd.ErrOrStderr(), "There is no endpoint. Add one to a project's events in the configuration.")
				return err
			}
			now := admin.now()
			rows := [][]string{{"ENDPOINT", "HOST", "FALLBACK", "HEALTH", "WAITING", "OLDEST", "TYPES"}}
			for _, e := range list.Endpoints {
				oldest := "-"
				if !e.OldestAt.IsZero() {
					oldest = moment(now, e.OldestAt)
				}
				rows = append(rows, []string{e.Endpoint, e.Host, cmp.Or(e.FallbackHost, "-"), string(e.Health), strconv.Itoa(e.Waiting), oldest, typeList(e.Types)})
			}
			return table(cmd.OutOrStdout(), rows)
		},
	}
}

func typeList(types []bell.EventType) string {
	if len(types) == len(bell.EventTypes()) {
		return "all"
	}
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return strings.Join(names, " ")
}

func newEventReplayCommand(admin *adminFlags) *cobra.Command {
	var endpoint string
	var dead bool
	cmd := &cobra.Command{
		Use:   "replay ID... | --dead --endpoint NAME",
		Short: "Tell events again",
		Long: `Tell events again: those with the IDs given, whether they were told or given up, or,
with --dead, all that an endpoint did not take. They keep their IDs, so that the receiver
knows what it has.`,
		Example: "  planetbell event replay --dead --endpoint main/crm",
		Args: func(cmd *cobra.Command, ids []string) error {
			switch {
			case dead && (len(ids) > 0 || endpoint == ""):
				return usageError(cmd, errors.New("--dead wants --endpoint NAME and no IDs"))
			case !dead && len(ids) == 0:
				return usageError(cmd, errors.New("give at least one event ID, as planetbell event list shows it, or --dead --endpoint NAME"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, ids []string) error {
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			total, err := replayEvents(cmd.Context(), client, ids, endpoint)
			if err != nil {
				return err
			}
			if admin.json {
				return printJSON(cmd.OutOrStdout(), console.Replayed{Replayed: total})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s will be told again.\n", counted(total, "event"))
			return err
		},
	}
	cmd.Flags().StringVar(&endpoint, "endpoint", "", "only to this endpoint, as planetbell event endpoints shows it")
	cmd.Flags().BoolVar(&dead, "dead", false, "all that the endpoint did not take")
	complete(cmd, "endpoint", admin.endpoints)
	return cmd
}

// replayEvents replays the events with these IDs, or without any all that are dead.
func replayEvents(ctx context.Context, client *adminClient, ids []string, endpoint string) (total int, err error) {
	for more := len(ids) == 0; more; {
		answer, err := client.ReplayDead(ctx, endpoint)
		if err != nil {
			return total, err
		}
		total += answer.Replayed
		more = answer.More
	}
	for _, id := range ids {
		answer, err := client.ReplayEvent(ctx, id, endpoint)
		if err != nil {
			return total, fmt.Errorf("event %.40s: %w", clean(id), err)
		}
		total += answer.Replayed
	}
	return total, nil
}

func newEventEnableCommand(admin *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "enable ENDPOINT",
		Short: "Tell an endpoint again that answered 410 Gone",
		Args:  usage(cobra.ExactArgs(1), "name one endpoint, as planetbell event endpoints shows it"),
		ValidArgsFunction: func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return admin.endpoints(cmd, args, begun)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			if err := client.EnableEndpoint(cmd.Context(), args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is told events again.\n", clean(args[0]))
			return err
		},
	}
}

func newEventTestCommand(admin *adminFlags) *cobra.Command {
	var project string
	cmd := &cobra.Command{
		Use:   "test --project NAME",
		Short: "Send a test event to all endpoints of a project",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if project == "" {
				return usageError(cmd, errors.New("say of which project: --project NAME"))
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			sent, err := client.TestEvent(cmd.Context(), project)
			if err != nil {
				return err
			}
			if admin.json {
				return printJSON(cmd.OutOrStdout(), sent)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Event %s is on its way; planetbell event list shows what becomes of it.\n", clean(sent.ID))
			return err
		},
	}
	cmd.Flags().StringVar(&project, "project", "", "the project, by its name in the configuration (required)")
	complete(cmd, "project", admin.projectNames)
	return cmd
}

func newEventSecretCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "secret",
		Short: "Print a new signing secret",
		Long: `Print a new secret for projects[].events[].secret, and nothing else, to standard output.
Nothing is kept of it, and no server is asked.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), bell.NewSigningSecret().Reveal())
			return err
		},
	}
}

func (a *adminFlags) endpoints(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.offer(cmd, func(ctx context.Context, client *adminClient) (found []cobra.Completion, err error) {
		list, err := client.Endpoints(ctx)
		for _, e := range list.Endpoints {
			found = append(found, cobra.CompletionWithDesc(e.Endpoint, clean(e.Host)))
		}
		return found, err
	})
}
