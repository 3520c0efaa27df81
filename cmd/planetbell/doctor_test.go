package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/doctor"
)

// examined runs the command on a configuration, with what changes it, and returns exit code
// and output.
func examined(t *testing.T, change func(text string) string, args ...string) (code int, out, said string) {
	t.Helper()
	dir := t.TempDir()
	if code := run(t.Context(), []string{"init", "--dir", dir}, strings.NewReader(""), io.Discard, io.Discard); code != 0 {
		t.Fatalf("init: exit code %d", code)
	}
	file := filepath.Join(dir, "planetbell.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(change(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr strings.Builder
	code = run(t.Context(), append([]string{"doctor", "--config", file}, args...), strings.NewReader(""), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

func asIs(text string) string { return text }

func TestDoctorSaysWhatIsWrong(t *testing.T) {
	code, out, _ := examined(t, asIs, "--offline")
	if code != exitFailed {
		t.Errorf("placeholders: exit code %d", code)
	}
	for _, want := range []string{
		"\nline: ", "error    main: key and secret: Placeholders stand in service_id, api_key, api_secret. [line-placeholder]\n           Put in the values",
		"skipped  not asked: it needs the network", "\n1 error, ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("there are colours, and no terminal")
	}
}

func TestDoctorsExitCode(t *testing.T) {
	// A new configuration has warnings: nobody can be rung by push yet.
	if code, out, _ := examined(t, asIs, "--only", "config,bus"); code != 0 || !strings.HasSuffix(out, "\n0 errors, 3 warnings, 0 ok, 1 skipped.\n") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if code, _, _ := examined(t, asIs, "--only", "config", "--strict"); code != exitFailed {
		t.Errorf("--strict: exit code %d", code)
	}
	if code, _, said := examined(t, asIs, "--only", "nonsense"); code != exitUsage || !strings.Contains(said, "nonsense") {
		t.Errorf("an unknown check: exit code %d, %s", code, said)
	}
	if code, _, _ := examined(t, asIs, "--timeout", "1h"); code != exitUsage {
		t.Errorf("a timeout of an hour: exit code %d", code)
	}
	if code := run(t.Context(), []string{"doctor", "--config", filepath.Join(t.TempDir(), "absent")}, strings.NewReader(""), io.Discard, io.Discard); code != exitUsage {
		t.Errorf("no configuration: exit code %d", code)
	}
}

func TestDoctorPrintsJSON(t *testing.T) {
	code, out, _ := examined(t, func(text string) string { return text + "\nnonsense: true\n" }, "--json")
	var answer struct {
		Worst   doctor.Level
		Results []doctor.Result
	}
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if code != exitFailed || answer.Worst != doctor.Error || len(answer.Results) != 1 || answer.Results[0].Fault != "config-invalid" {
		t.Errorf("exit code %d, %+v", code, answer)
	}
}

func TestColoursOnATerminal(t *testing.T) {
	var out strings.Builder
	printResults(&out, []doctor.Result{{Name: "clock", Level: doctor.Error, Fault: "clock-wrong", Finding: "It is \x1b[5moff.", Fix: "Set it."}}, true)
	want := "clock: this machine's clock agrees with others\n" +
		"  \x1b[31merror   \x1b[0m It is ?[5moff. [clock-wrong]\n           Set it.\n\n1 error, 0 warnings, 0 ok, 0 skipped.\n"
	if out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}
