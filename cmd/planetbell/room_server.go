package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/planet"
	"github.com/planetbell/planetbell/planet/serverapi"
)

// roomDone is what the commands on rooms print with --json.
type roomDone struct {
	Project   string   `json:"project"`
	ServiceID string   `json:"service_id"`
	RoomID    string   `json:"room_id"`
	UserIDs   []string `json:"user_ids,omitempty"`
	Bytes     int      `json:"bytes,omitempty"`
}

func newRoomKickCommand(admin *adminFlags) *cobra.Command {
	flags := lineFlags{admin: admin}
	reason := ""
	cmd := &cobra.Command{
		Use:   "kick ROOM USER...",
		Short: "Remove users from a group call",
		Long: `Remove users from the group call that runs in a room, through LINE Planet's Server API.
Their apps get the reason as the user release code, with disconnect reason 1110. Nothing
keeps them from joining again while they get access tokens. LINE Planet does not say who
of them was there.`,
		Example: "  planetbell room kick --project main lounge mallory --reason Spam",
		Args:    usage(cobra.MinimumNArgs(2), "give a room ID and at least one user ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			line, err := flags.open(cmd)
			if err != nil {
				return err
			}
			defer line.Close()
			room, users := args[0], args[1:]
			if err := line.KickOut(cmd.Context(), planet.RoomRef{RoomID: room}, users, reason); err != nil {
				return line.explain("room "+room, err)
			}
			if flags.json {
				return printJSON(cmd.OutOrStdout(), roomDone{Project: line.project.Name, ServiceID: line.project.ServiceID, RoomID: room, UserIDs: users})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Not in room %s any more: %s.\n", room, strings.Join(users, ", "))
			return err
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&reason, "reason", "Removed", "what their apps are told: letters and digits only")
	complete(cmd, "reason", cobra.NoFileCompletions)
	return cmd
}

func newRoomMessageCommand(admin *adminFlags) *cobra.Command {
	flags := lineFlags{admin: admin}
	cmd := &cobra.Command{
		Use:   "message ROOM TEXT|-",
		Short: "Send an application control message to everybody in a group call",
		Long: `Send an application control message to everybody in the group call that runs in a room,
through LINE Planet's Server API. The text has at most 3,072 bytes; "-" reads it from
standard input, as it is. It is for apps, not for people: PlanetKit hands it to the app.`,
		Example: `  planetbell room message --project main lounge '{"type":"closing","minutes":5}'`,
		Args:    usage(cobra.ExactArgs(2), `give a room ID and a text, or "-" to read it from standard input`),
		RunE: func(cmd *cobra.Command, args []string) error {
			room, message := args[0], []byte(args[1])
			if args[1] == "-" {
				var err error
				// One byte more is enough to see that it is too long.
				if message, err = io.ReadAll(io.LimitReader(cmd.InOrStdin(), serverapi.MaxMessage+1)); err != nil {
					return fmt.Errorf("read the message from standard input: %w", err)
				}
			}
			line, err := flags.open(cmd)
			if err != nil {
				return err
			}
			defer line.Close()
			if err := line.Broadcast(cmd.Context(), planet.RoomRef{RoomID: room}, message); err != nil {
				return line.explain("room "+room, err)
			}
			if flags.json {
				return printJSON(cmd.OutOrStdout(), roomDone{Project: line.project.Name, ServiceID: line.project.ServiceID, RoomID: room, Bytes: len(message)})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "Sent %s to everybody in room %s.\n", counted(len(message), "byte"), room)
			return err
		},
	}
	flags.add(cmd)
	return cmd
}
