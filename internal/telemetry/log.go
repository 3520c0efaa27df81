package telemetry

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/lmittmann/tint"
	"golang.org/x/term"
)

// The formats of [NewLogger].
const (
	FormatAuto = "auto" // text on a terminal, JSON elsewhere
	FormatJSON = "json" // one JSON object per line
	FormatText = "text" // for people; coloured on a terminal
)

// NewLogger makes the process's logger. level is debug, info, warn or error; format one
// of the Format constants. What it writes has passed a guard that takes out what the
// code around it should never have logged, see [Redact]. It is safe for concurrent use
// if w is, which *os.File is.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var least slog.Level
	if err := least.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	terminal := isTerminal(w)
	switch {
	case format == FormatJSON, format == FormatAuto && !terminal:
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least, ReplaceAttr: forReaders})), nil
	case format == FormatText, format == FormatAuto:
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level: least, ReplaceAttr: forReaders, NoColor: !terminal, TimeFormat: time.TimeOnly + ".000",
		})), nil
	}
	return nil, fmt.Errorf("log format %q: want auto, json or text", format)
}

// forReaders is what every attribute passes: the guard, and a form that people read.
func forReaders(groups []string, a slog.Attr) slog.Attr {
	if a = Redact(groups, a); a.Value.Kind() == slog.KindDuration {
		return slog.String(a.Key, durationText(a.Value.Duration()))
	}
	return a
}

// durationText writes a duration with its unit, in JSON too, where slog would write a
// number of nanoseconds: "38µs", "1.75ms", "2.781s". More digits than that say nothing.
func durationText(d time.Duration) string {
	switch size := d.Abs(); {
	case size >= time.Second:
		d = d.Round(time.Millisecond)
	case size >= time.Millisecond:
		d = d.Round(10 * time.Microsecond)
	case size >= time.Microsecond:
		d = d.Round(time.Microsecond)
	}
	return d.String()
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) //nolint:gosec // a file descriptor is a small number
}

const redacted = "<secret>"

// Redact is a slog.HandlerOptions.ReplaceAttr, and the last line of defence only:
// secrets have types that print as "<secret>". It replaces the text of attributes whose
// key, or a group's key around them, names a secret (token, secret, password,
// authorization, cookie, cc_param, in any spelling). Numbers and durations under such a
// key are counts and stay, and so does a key that ends in "fingerprint". In errors of
// net/http it replaces the URL: APNs' contain push tokens, ours the callback secret.
func Redact(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey || a.Key == slog.SourceKey) {
		return a
	}
	switch a.Value.Kind() {
	case slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindBool, slog.KindDuration, slog.KindTime:
		return a
	}
	secret := namesSecret(a.Key)
	for _, g := range groups {
		secret = secret || namesSecret(g)
	}
	if secret {
		if a.Value.Kind() == slog.KindString && a.Value.String() == "" {
			return a
		}
		return slog.String(a.Key, redacted)
	}
	if err, ok := a.Value.Any().(error); ok {
		return slog.String(a.Key, withoutURL(err))
	}
	return a
}

// namesSecret reports whether a key stands for something secret: pushToken,
// x-voip-sla-key and CC_PARAM are all recognised.
func namesSecret(key string) bool {
	plain := strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(key))
	if strings.HasSuffix(plain, "fingerprint") {
		return false
	}
	for _, word := range []string{
		"token", "secret", "password", "authorization", "cookie", "ccparam", "credential",
		"apikey", "slakey", "clientkey", "signingkey", "privatekey", "subscription",
	} {
		if strings.Contains(plain, word) {
			return true
		}
	}
	return plain == "param"
}

// withoutURL returns an error's text with the URL of a failed request taken out.
func withoutURL(err error) string {
	text := err.Error()
	var failed *url.Error
	if errors.As(err, &failed) && failed.URL != "" {
		quoted := strconv.Quote(failed.URL)
		text = strings.NewReplacer(quoted, "<url>", failed.URL, "<url>").Replace(text)
	}
	return text
}
