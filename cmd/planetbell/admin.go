package main

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/planetbell/planetbell/internal/console/signin"
	"github.com/planetbell/planetbell/planet"
)

// newAdminCommand makes "planetbell admin": credentials for the admin listener. It asks no
// server.
func newAdminCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Make credentials for the console and the admin API",
		Args:  noArgs,
		RunE:  showHelp,
	}
	cmd.AddCommand(newHashPasswordCommand(), newAdminTokenCommand())
	return cmd
}

func newHashPasswordCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hash-password",
		Short: "Print the hash of a password, for admin.users[].password_hash",
		Long: `Print the Argon2id hash of a password, for admin.users[].password_hash, and nothing else,
to standard output. On a terminal the password is asked for twice and not shown; otherwise it
is the first line of standard input. It has at least 15 characters.`,
		Example: `  planetbell admin hash-password > alice.hash`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := askPassword(cmd)
			if err != nil {
				return err
			}
			hash, err := signin.HashPassword(password)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), hash.PHC().Reveal())
			return err
		},
	}
}

// askPassword reads a password from the terminal, twice, or the first line of anything else.
func askPassword(cmd *cobra.Command) (planet.Secret, error) {
	in := cmd.InOrStdin()
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) { //nolint:gosec // a file descriptor is a small number
		text, err := io.ReadAll(io.LimitReader(in, signin.MaxPassword+3)) // and the end of its line
		if err != nil {
			return "", fmt.Errorf("read the password from standard input: %w", err)
		}
		line, _, _ := bytes.Cut(text, []byte("\n"))
		return planet.Secret(bytes.TrimSuffix(line, []byte("\r"))), nil
	}
	var typed [2][]byte
	for i, prompt := range []string{"Password: ", "Once more: "} {
		cmd.PrintErr(prompt)
		text, err := term.ReadPassword(int(f.Fd())) //nolint:gosec // as above
		cmd.PrintErrln()
		if err != nil {
			return "", fmt.Errorf("read the password from the terminal: %w", err)
		}
		typed[i] = text
	}
	if !bytes.Equal(typed[0], typed[1]) {
		return "", errors.New("the two passwords differ; try again")
	}
	return planet.Secret(typed[0]), nil
}

// adminTokenPrefix lets people, and programs that search for secrets, see what it is.
const adminTokenPrefix = "pba_"

func newAdminTokenCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "token",
		Short: "Print a new API token, and its hash for admin.tokens[].token_sha256",
		Long: `Print a new random API token, and on a second line its SHA-256 for
admin.tokens[].token_sha256. The token is for whoever uses the API, as PLANETBELL_ADMIN_TOKEN;
the server needs only the hash. Nothing is kept of either, and no server is asked.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			raw := make([]byte, 32)
			_, _ = rand.Read(raw) // never fails
			token := adminTokenPrefix + base64.RawURLEncoding.EncodeToString(raw)
			sum := sha256.Sum256([]byte(token))
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "token         %s\ntoken_sha256  %s\n", token, hex.EncodeToString(sum[:]))
			return err
		},
	}
}
