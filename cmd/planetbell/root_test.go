package main

import (
	"errors"
	"io"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command can be found, says in one line what it does, and refuses arguments that
// it has no use for.
func TestEveryCommandExplainsItself(t *testing.T) {
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: %q, want one line without a full stop", cmd.CommandPath(), cmd.Short)
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	root := newRoot(strings.NewReader(""), io.Discard, io.Discard)
	walk(root)
	for _, args := range [][]string{{"serve"}, {"init"}, {"config", "check"}, {"config", "urls"}, {"version"}} {
		if code := run(t.Context(), append(args, "surplus"), strings.NewReader(""), io.Discard, io.Discard); code != exitUsage {
			t.Errorf("%v surplus: exit code %d, want %d", args, code, exitUsage)
		}
	}
}

func TestExitErrors(t *testing.T) {
	if text := (&exitError{code: exitFailed}).Error(); text != "failed" {
		t.Errorf("%q", text)
	}
	cause := errors.New("cause")
	if err := (&exitError{code: exitUsage, err: cause}); !errors.Is(err, cause) || err.Error() != "cause" {
		t.Errorf("%v does not lead to its cause", err)
	}
}

func TestBuildInfo(t *testing.T) {
	info := readBuild(&debug.BuildInfo{Settings: []debug.BuildSetting{
		{Key: "vcs.modified", Value: "true"},
		{Key: "vcs.revision", Value: "0123abc"},
		{Key: "vcs.time", Value: "2026-09-01T12:00:00Z"},
	}})
	if info.Revision != "0123abc+changes" || info.Time != "2026-09-01T12:00:00Z" || info.Version != version {
		t.Errorf("%+v", info)
	}
	if info = readBuild(nil); info.Revision != "" || info.Go == "" {
		t.Errorf("%+v", info)
	}
}

// A reader that cannot be read, for what comes from standard input.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("gone") }

func TestASecretThatCannotBeRead(t *testing.T) {
	var said strings.Builder
	code := run(t.Context(), []string{"init", "--dir", t.TempDir(), "--api-secret-file", "-"}, broken{}, io.Discard, &said)
	if code != exitFailed || !strings.Contains(said.String(), "it cannot be read") {
		t.Errorf("exit code %d, %q", code, &said)
	}
}
