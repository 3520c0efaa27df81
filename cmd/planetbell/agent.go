package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/planet"
	"github.com/planetbell/planetbell/planet/serverapi"
)

// newAgentCommand makes "planetbell agent".
func newAgentCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Call a user and play stored audio",
		Args:  noArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(newAgentCallCommand(admin))
	return cmd
}

// agentDone is what "agent call" prints with --json.
type agentDone struct {
	Project   string           `json:"project"`
	ServiceID string           `json:"service_id"`
	Caller    string           `json:"from_user_id"`
	Callee    string           `json:"to_user_id"`
	SID       planet.SessionID `json:"sid"`
}

func newAgentCallCommand(admin *adminFlags) *cobra.Command {
	flags := lineFlags{admin: admin}
	var call serverapi.AgentCall
	var waitMS int
	cmd := &cobra.Command{
		Use:   "call --from USER CALLEE --content ID",
		Short: "Place a 1-to-1 call that plays stored audio",
		Long: `Place a 1-to-1 call that plays audio which was uploaded in the LINE Planet Console ("Audio
Caller"), through LINE Planet's Server API. The callee's devices ring as for any call. The
session ID goes to standard output; planetbell call show tells what becomes of the call.`,
		Example: "  planetbell agent call --project main --from reminder bob --content 3f6c1d --count 2 --wait-ms 1000",
		Args:    usage(cobra.ExactArgs(1), "give the user ID of the callee"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if call.Caller.UserID == "" || len(call.ContentIDs) == 0 {
				return usageError(cmd, errors.New("say who calls and what is played: --from USER --content ID"))
			}
			line, err := flags.open(cmd)
			if err != nil {
				return err
			}
			defer line.Close()
			call.Callee.UserID, call.PlayWait = args[0], time.Duration(waitMS)*time.Millisecond
			sid, err := line.MakeAgentCall(cmd.Context(), call)
			if err != nil {
				return line.explain("", err)
			}
			if flags.json {
				return printJSON(cmd.OutOrStdout(), agentDone{line.project.Name, line.project.ServiceID, call.Caller.UserID, call.Callee.UserID, sid})
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), sid)
			return err
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&call.Caller.UserID, "from", "", "the user ID that the callee sees as the caller (required)")
	cmd.Flags().StringArrayVar(&call.ContentIDs, "content", nil, "content ID of uploaded audio (required); may be repeated")
	cmd.Flags().IntVar(&waitMS, "wait-ms", 0, "milliseconds between two times that the audio is played")
	cmd.Flags().IntVar(&call.PlayCount, "count", 1, "how often the audio is played")
	cmd.Flags().StringVar(&call.AppServerData, "app-data", "", "app server data: comes back in the call's callbacks; at most 4095 bytes")
	for _, name := range []string{"from", "content", "wait-ms", "count", "app-data"} {
		complete(cmd, name, cobra.NoFileCompletions)
	}
	return cmd
}
