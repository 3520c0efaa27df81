package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/planetbell/planetbell/internal/console"
)

// newTokenCommand makes "planetbell token".
func newTokenCommand(admin *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Issue PlanetKit access tokens",
		Args:  noArgs,
		RunE:  showHelp,
	}
	admin.add(cmd)
	cmd.AddCommand(newTokenMintCommand(admin))
	return cmd
}

func newTokenMintCommand(admin *adminFlags) *cobra.Command {
	var in console.AccessTokenRequest
	cmd := &cobra.Command{
		Use:   "mint --project NAME --user ID",
		Short: "Issue a PlanetKit access token for a user",
		Long: `Issue a PlanetKit access token: what a client shows to Planet Cloud to make a call or
to join a group call. The token, and nothing else, goes to standard output, so that it
can be piped. Whoever holds it can call as that user; it is meant to be used at once.`,
		Example: `  planetbell token mint --project main --user alice | pbcopy`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if in.Project == "" || in.UserID == "" {
				return usageError(cmd, errors.New("say for whom: --project NAME --user ID"))
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			token, err := client.MintAccessToken(cmd.Context(), in)
			if err != nil {
				return explain(cmd.Context(), client, in.Project, err)
			}
			if admin.json {
				return printJSON(cmd.OutOrStdout(), token)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token.AccessToken.Reveal())
			return err
		},
	}
	cmd.Flags().StringVar(&in.Project, "project", "", "the project, by its name in the configuration (required)")
	cmd.Flags().StringVar(&in.UserID, "user", "", "the user ID that the token is for (required)")
	complete(cmd, "project", admin.projectNames)
	complete(cmd, "user", admin.userIDs)
	return cmd
}

// showHelp is what a command does that only groups others.
func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// usage says what to give when an argument check fails.
func usage(check cobra.PositionalArgs, give string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) != nil {
			return usageError(cmd, errors.New(give))
		}
		return nil
	}
}
