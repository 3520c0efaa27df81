package planet

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "<secret>"

// Secret is text that must never be printed: an API secret, a push token, a
// signing key. Every common way of printing it (fmt, encoding/json, YAML, slog)
// gives "<secret>"; only [Secret.Reveal] gives the text.
//
// Three ways are out of its reach, so avoid them: a struct with a Secret in an
// unexported field printed with fmt (fmt calls no methods there; give such a struct a
// String and a GoString method, or a pointer to the Secret), a Secret as a map's key
// in JSON, and the verb %p.
type Secret string

// Reveal returns the text. Call it only where the text leaves for its one
// rightful receiver: a signature, a provider's request, the database.
func (s Secret) Reveal() string { return string(s) }

// String returns "<secret>", or "" for an empty one, so that a missing secret can
// be told from a present one.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// Format keeps every verb of fmt from printing the text: without it the wrong ones,
// such as %d, would print it in their complaint.
func (s Secret) Format(f fmt.State, verb rune) { format(f, verb, s.String(), s.GoString()) }

// GoString keeps %#v from printing the text.
func (s Secret) GoString() string { return "planet.Secret(" + s.String() + ")" }

// MarshalText keeps JSON and YAML encoders from printing the text.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue keeps slog from printing the text.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Fingerprint returns a short name for the secret that can be shown in public: the
// first 8 hexadecimal digits of its SHA-256, or "" for an empty one. Use it only
// for long random secrets such as push tokens; a short one could be guessed from it.
func (s Secret) Fingerprint() string {
	if s == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

// CCParam is the opaque text that Planet Cloud sends as "param" and that must
// reach the callee's device, unchanged, as "cc_param". It holds key material of the
// call and is treated like a [Secret].
type CCParam string

// Reveal returns the text, byte for byte as Planet Cloud sent it.
func (c CCParam) Reveal() string { return string(c) }

// String returns "<secret>", or "" for an empty one.
func (c CCParam) String() string { return Secret(c).String() }

// Format keeps every verb of fmt from printing the text.
func (c CCParam) Format(f fmt.State, verb rune) { format(f, verb, c.String(), c.GoString()) }

// GoString keeps %#v from printing the text.
func (c CCParam) GoString() string { return "planet.CCParam(" + c.String() + ")" }

// MarshalText keeps JSON and YAML encoders from printing the text.
func (c CCParam) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// LogValue keeps slog from printing the text.
func (c CCParam) LogValue() slog.Value { return slog.StringValue(c.String()) }

// format writes what is safe to see, with width and precision for the verbs that a
// text can have.
func format(f fmt.State, verb rune, text, goText string) {
	switch {
	case verb == 'v' && f.Flag('#'):
		text = goText
	case verb == 'v' || verb == 's' || verb == 'q':
		// The flag '+' means nothing for text but with %q.
		_, _ = fmt.Fprintf(f, fmt.FormatString(f, verb), text)
		return
	}
	_, _ = io.WriteString(f, text) // fmt has no place to report it
}
