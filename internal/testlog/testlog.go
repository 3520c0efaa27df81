// Package testlog gives tests a logger whose lines are also searched for secrets.
//
// Every test logs through it. When PLANETBELL_TEST_LOGS names a folder (make test
// sets it), all lines, error texts and metric dumps are kept there, and at the end
// tools/leakcheck searches them. So that it can find what must not be there, every
// secret in a test carries a canary: [Hex] where only hexadecimal is allowed, [Text]
// elsewhere.
package testlog

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The canaries that test secrets contain.
const (
	Hex  = "5ec2e75ec2e7"
	Text = "CANARY"
)

// HexSecret returns n hexadecimal characters that contain the canary. The seed makes
// different ones. n must be at least 20.
func HexSecret(seed, n int) string {
	s := fmt.Sprintf("%08x%s", seed, Hex)
	return s + strings.Repeat("a", n-len(s))
}

// TextSecret returns a secret of letters, digits and hyphens that contains the canary.
func TextSecret(name string) string { return Text + "-" + name }

// CCParam returns a plausible cc_param (standard base64 with '+', '/' and '=') that
// contains the canary.
func CCParam(seed int) string {
	return fmt.Sprintf("eyJj+/%s%08d/+IkEifQ==", Text, seed)
}

// New returns a logger at debug level that writes to t and to the searched folder.
func New(t testing.TB) *slog.Logger {
	return slog.New(slog.NewJSONHandler(Writer(t), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Writer returns where New writes, for code that makes its own logger.
func Writer(t testing.TB) io.Writer {
	w := io.Writer(t.Output())
	if f := open(t, "log"); f != nil {
		w = io.MultiWriter(w, f)
	}
	return w
}

// Keep stores a text (an error, a metrics page, a response body) to be searched.
func Keep(t testing.TB, what, text string) {
	t.Helper()
	if f := open(t, "txt"); f != nil {
		if _, err := fmt.Fprintf(f, "%s: %s\n", what, text); err != nil {
			t.Errorf("keep %s: %v", what, err)
		}
	}
}

// open returns a file of this test in the searched folder, or nil without one.
func open(t testing.TB, ext string) *os.File {
	dir := os.Getenv("PLANETBELL_TEST_LOGS")
	if dir == "" {
		return nil
	}
	name := strings.NewReplacer("/", "_", " ", "_").Replace(t.Name())
	name = fmt.Sprintf("%s-%d.%s", name, os.Getpid(), ext)
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatalf("keep test logs: %v", err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}
