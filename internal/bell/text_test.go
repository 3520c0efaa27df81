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
