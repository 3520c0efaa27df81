package bell

import "strings"

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
