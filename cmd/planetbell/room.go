package main

import "github.com/spf13/cobra"

// newRoomCommand makes "planetbell room".
func newRoomCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "room",
		Short: "Remove users from a group call, send it a message",
		Args:  noArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(newRoomKickCommand(admin), newRoomMessageCommand(admin))
	return cmd
}
