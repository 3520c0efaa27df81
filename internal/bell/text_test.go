package bell

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestClip(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"short":         {"Ann", "Ann"},
		"empty":         {"", ""},
		"full":          {strings.Repeat("a", MaxText), strings.Repeat("a", MaxText)},
		"long":          {strings.Repeat("a", MaxText+1), strings.Repeat("a", MaxText)},
		"at a border":   {strings.Repeat("a", MaxText-1) + "ä", strings.Repeat("a", MaxText-1)},
		"NUL":           {"a\x00b", "a\uFFFDb"},
		"not UTF-8":     {"a\xffb", "a\uFFFDb"},
		"only not UTF8": {"\xff\xfe", "\uFFFD"},
	} {
		if got := Clip(c.in); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestCleanName(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "  Ann Ä. ": "Ann Ä.", "a\tb\nc": "a b c", "\x00\x01\x7f\u009f": "", "\u202eevil\u2066\u2069\u200f": "evil",
		"👩‍👩‍👧": "👩‍👩‍👧", "\xff\xfeA": "\uFFFD\uFFFDA",
		strings.Repeat("ä", 100):       strings.Repeat("ä", 64),
		strings.Repeat("x", 127) + "ä": strings.Repeat("x", 127),
	} {
		got := CleanName(name)
		if got != want || !utf8.ValidString(got) || len(got) > MaxText {
			t.Errorf("%q became %q, want %q", name, got, want)
		}
	}
}

func FuzzClip(f *testing.F) {
	f.Add("Ann")
	f.Add(strings.Repeat("ä", 100))
	f.Fuzz(func(t *testing.T, s string) {
		got := Clip(s)
		if len(got) > MaxText || !utf8.ValidString(got) || strings.ContainsRune(got, 0) {
			t.Errorf("Clip(%q) = %q", s, got)
		}
	})
}
