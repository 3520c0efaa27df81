package bell

import (
	"strings"
	"unicode"
)

// MaxText bounds what a client may say about itself, in bytes; LINE Planet's display
// names have 128.
const MaxText = 128

// Clip cuts text to MaxText bytes, at a character's border. What no database takes (NUL,
// bytes that are not UTF-8) becomes U+FFFD.
func Clip(s string) string {
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= MaxText {
		return s
	}
	end := MaxText
	for end > 0 && s[end]&0xC0 == 0x80 {
		end--
	}
	return s[:end]
}

// CleanName makes a name that is safe to show: no control characters, nothing that turns the
// direction of what stands beside it, at most MaxText bytes. Clients choose their names.
func CleanName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return ' '
		case unicode.IsControl(r), r == '\u2028', r == '\u2029', unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, name)
	return strings.TrimSpace(Clip(strings.TrimSpace(name)))
}
