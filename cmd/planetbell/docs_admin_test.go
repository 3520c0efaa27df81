package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func TestEveryAdminCommandAndFlagIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	document := string(text)
	admin := &adminFlags{now: time.Now}
	commands, flags := 0, 0
	alone := []*cobra.Command{newWhyCommand(admin)} // no group
	for _, group := range []*cobra.Command{
		newTokenCommand(admin), newDeviceCommand(admin), newCallCommand(admin), newRoomCommand(admin), newAgentCommand(admin), newEventCommand(admin),
		newAuditCommand(admin), newAdminCommand(), newDebugCommand(admin),
	} {
		group.PersistentFlags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(document, "`--"+f.Name) {
				t.Errorf("docs/cli.md does not have --%s", f.Name)
			}
		})
		several := append(group.Commands(), alone...)
		alone = nil
		for _, cmd := range several {
			commands++
			_, section, found := strings.Cut(document, "\n### "+cmd.CommandPath()+"\n")
			if !found || cmd.Short == "" {
				t.Errorf("docs/cli.md has no section on %s", cmd.CommandPath())
			}
			section, _, _ = strings.Cut(section, "\n##")
			cmd.Flags().VisitAll(func(f *pflag.Flag) {
				flags++
				if !strings.Contains(section, "--"+f.Name) {
					t.Errorf("docs/cli.md, %s: there is nothing on --%s", cmd.CommandPath(), f.Name)
				}
			})
		}
	}
	if commands != 24 || flags < 15 {
		t.Errorf("looked at %d commands and %d flags", commands, flags)
	}
}
