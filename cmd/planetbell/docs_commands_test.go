package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/doctor"
)

var (
	inlineCommand = regexp.MustCompile("`(planetbell [a-z][^`]*)`")
	blockCommand  = regexp.MustCompile(`^ *(?:sudo )?(planetbell [a-z].*)`)
	substitution  = regexp.MustCompile(`\$\([^)]*\)`)
	afterCommand  = regexp.MustCompile(` +(#|>|\||&&|2>).*`)
)

// notCommands are texts of planetbell's that begin with its name.
var notCommands = []string{"planetbell is not answering", "planetbell servers use"}

// Whatever the documents tell people to type is taken by the command line, without being run;
// in the runbooks, also what stands in a sentence must be whole.
func TestCommandsOfDocumentsAreTaken(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	runbooks, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	tried, inRunbooks := 0, 0
	for _, page := range append(append(pages, "../../README.md"), runbooks...) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		runbook := slices.Contains(runbooks, page)
		for _, command := range commandsIn(string(text)) {
			tried++
			if runbook {
				inRunbooks++
			}
			if err := parseOnly(command, runbook); err != nil {
				t.Errorf("%s: %s: %v", page, command, err)
			}
		}
	}
	if tried < 100 || inRunbooks < 12 {
		t.Errorf("%d commands were tried, %d of them of runbooks", tried, inRunbooks)
	}
	for _, wrong := range []string{
		"planetbell doctor --only file-limit", "planetbell event replay --dead", "planetbell event enable", "planetbell confg check",
		"planetbell doctor --onyl apns", "planetbell event enabel x", "planetbell debug user bob --minutes many",
	} {
		if parseOnly(wrong, true) == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}

// commandsIn are those in a page's sentences and code blocks. Lines that show what can be left
// out, or repeated, are none.
func commandsIn(text string) []string {
	var all []string
	block := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			block = !block
			continue
		}
		found := inlineCommand.FindAllStringSubmatch(line, -1)
		if block {
			found = blockCommand.FindAllStringSubmatch(line, -1)
		}
		for _, m := range found {
			none := slices.ContainsFunc(notCommands, func(begin string) bool { return strings.HasPrefix(m[1], begin) })
			if !none && !strings.ContainsAny(m[1], "[]") && !strings.Contains(m[1], "...") && !strings.HasSuffix(m[1], "\\") {
				all = append(all, m[1])
			}
		}
	}
	return all
}

// parseOnly has a command's flags and arguments parsed and checked. One that only names a
// command need not be whole, unless whole says so.
func parseOnly(command string, whole bool) error {
	command = strings.Replace(command, "completion SHELL", "completion bash", 1)
	command = afterCommand.ReplaceAllString(substitution.ReplaceAllString(command, "x"), "")
	root := newRoot(strings.NewReader(""), io.Discard, io.Discard)
	root.InitDefaultCompletionCmd("x")
	cmd, rest, err := root.Find(strings.Fields(command)[1:])
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if len(rest) == 0 && !whole {
		return nil
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	if err := cmd.ValidateRequiredFlags(); err != nil {
		return err
	}
	if cmd.Name() == "doctor" {
		only, err := cmd.Flags().GetStringSlice("only")
		if err != nil {
			return err
		}
		return doctorKnows(only)
	}
	return cmd.ValidateFlagGroups()
}

func doctorKnows(only []string) error {
	for _, name := range only {
		if doctor.About(name) == "" {
			return errNoCheck(name)
		}
	}
	return nil
}

type errNoCheck string

func (e errNoCheck) Error() string { return "doctor has no check " + string(e) }
