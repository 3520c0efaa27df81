package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/planetbell/planetbell/internal/testlog"
)

// TestMain lets scripts run this program, and looks for goroutines that tests left.
func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){
		"planetbell": func() {
			os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts plays testdata/script: each tells how an operator meets the program.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":     exits,
			"line":      startLine,
			"nosecrets": func(ts *testscript.TestScript, _ bool, _ []string) { noSecrets(t, ts) },
			"mode":      mode,
			"secrets":   secrets,
			"subst":     subst,
		},
	})
}

// secrets sets $HEX, $HEX2 and $TEXT. They are not part of the script's environment from
// the start, because testscript prints that.
func secrets(ts *testscript.TestScript, _ bool, _ []string) {
	ts.Setenv("HEX", testlog.HexSecret(1, 64))
	ts.Setenv("HEX2", testlog.HexSecret(2, 64))
	ts.Setenv("TEXT", testlog.TextSecret("script-0123456789-0123456789-012"))
}

// exits runs a command and wants its exit code: exits 2 planetbell serve.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got, err = exit.ExitCode(), nil
	}
	ts.Check(err)
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// noSecrets looks for canaries in what the last command said.
func noSecrets(t *testing.T, ts *testscript.TestScript) {
	for _, name := range []string{"stdout", "stderr"} {
		said := ts.ReadFile(name)
		testlog.Keep(t, ts.Name()+" "+name, said)
		if strings.Contains(said, testlog.Hex) || strings.Contains(said, testlog.Text) {
			ts.Fatalf("a secret is on %s", name)
		}
	}
}

// mode wants a file's permissions: mode 0600 planetbell.yaml.
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// subst puts the script's secrets in place of $HEX, $HEX2 and $TEXT in files, and makes
// them private.
func subst(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		content := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(content), 0o600))
		ts.Check(os.Chmod(ts.MkAbs(name), 0o600))
	}
}
