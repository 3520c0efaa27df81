package postgres

import (
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// mark begins a text that is escaped, and each escaped byte in it: the control character
// "substitute", which no sensible text holds.
const mark = 0x1a

// escape turns any bytes into text that PostgreSQL can keep. A text that it keeps as it is, and
// that is nearly every one, stays as it is. Two texts never become the same. Escaped ones lose
// their place in the order of bytes; lists are ordered by what is kept, so pages stay right.
func escape(s string) string {
	if plain(s) {
		return s
	}
	const digits = "0123456789abcdef"
	b := make([]byte, 0, len(s)+16)
	b = append(b, mark)
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if c := s[i]; c == 0 || c == mark || r == utf8.RuneError && size == 1 {
			b = append(b, mark, digits[c>>4], digits[c&15])
			i++
			continue
		}
		b = append(b, s[i:i+size]...)
		i += size
	}
	return string(b)
}

// plain reports whether a text is kept as it is.
func plain(s string) bool {
	return s == "" || s[0] != mark && strings.IndexByte(s, 0) < 0 && utf8.ValidString(s)
}

// unescape is the inverse of escape. What escape never makes, it leaves as it is.
func unescape(s string) string {
	if s == "" || s[0] != mark {
		return s
	}
	b := make([]byte, 0, len(s))
	for rest := s[1:]; rest != ""; {
		i := strings.IndexByte(rest, mark)
		if i < 0 {
			b = append(b, rest...)
			break
		}
		b = append(b, rest[:i]...)
		if len(rest) < i+3 {
			return s
		}
		c, err := hex.DecodeString(rest[i+1 : i+3])
		if err != nil {
			return s
		}
		b = append(b, c[0])
		rest = rest[i+3:]
	}
	return string(b)
}
