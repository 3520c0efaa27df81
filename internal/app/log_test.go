package app

import (
	"io"
	"log/slog"
	"testing"

	"github.com/planetbell/planetbell/internal/testlog"
)

// logInto is a test's logger whose lines are also written to w.
func logInto(t *testing.T, w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(io.MultiWriter(testlog.Writer(t), w), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
