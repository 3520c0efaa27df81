package pages

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

var verb = regexp.MustCompile(`%[sdvqf%]`)

func TestEveryTextIsInBothLanguages(t *testing.T) {
	parts := 0
	for key, text := range catalogue {
		if text.en == "" || text.ja == "" && key != "space" {
			t.Errorf("%s is missing in a language: %+v", key, text)
		}
		if !slices.Equal(verb.FindAllString(text.en, -1), verb.FindAllString(text.ja, -1)) {
			t.Errorf("%s has other values, or another order, in Japanese: %+v", key, text)
		}
		parts++
	}
	if parts < 100 {
		t.Errorf("%d texts; the test would prove little", parts)
	}
}

// literal finds keys in Go code and templates.
var literal = regexp.MustCompile(`(?:\bt |\.T\(|\badd\()\s*"([a-z_]+(?:\.[a-z0-9_]+)?)"|"((?:nav|say|ready|wrong|trouble|test|form|why)\.[a-z0-9_]+)"`)

// kinds finds the kinds of values.
var kinds = regexp.MustCompile(`(?:\bword |\.Word\(|Choices\(w, |Choices\(f\.Words, )\s*"([a-z_]+)"`)

func sources(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range []string{".", ".."} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if d.IsDir() && path != dir && filepath.Base(path) != "templates" {
				return filepath.SkipDir
			}
			if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") || strings.Contains(path, "catalogue") {
				return err
			}
			if ext := filepath.Ext(path); ext != ".go" && ext != ".html" {
				return nil
			}
			text, err := os.ReadFile(path)
			b.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func TestEveryTextIsUsedAndEveryUsedOneIsThere(t *testing.T) {
	source := sources(t)
	used, kind := map[Key]bool{}, map[string]bool{}
	for _, m := range literal.FindAllStringSubmatch(source, -1) {
		key := Key(m[1] + m[2])
		if used[key] = true; catalogue[key] == (text{}) {
			t.Errorf("there is no text %s", key)
		}
	}
	for _, m := range kinds.FindAllStringSubmatch(source, -1) {
		kind[m[1]] = true
	}
	for key := range catalogue {
		of, _, _ := strings.Cut(string(key), ".")
		if !used[key] && !kind[of] {
			t.Errorf("nothing uses %s", key)
		}
	}
	if len(used) < 60 || len(kind) < 8 {
		t.Errorf("found %d texts and %d kinds; the test would prove little", len(used), len(kind))
	}
}

func values[T ~string](all ...T) (list []string) {
	for _, v := range all {
		list = append(list, string(v))
	}
	return list
}

// What our own types can be has a name.
func TestEveryValueHasAName(t *testing.T) {
	for kind, all := range map[string][]string{
		"outcome":    values(planet.Outcomes()...),
		"suppressed": values(bell.Suppressions()...),
		"role":       values(bell.Roles()...),
		"state":      values(bell.CallRinging, bell.CallEnded, bell.CallLost, bell.CallNotice),
		"delivery": values(bell.DeliveryPending, bell.DeliverySending, bell.DeliveryAccepted, bell.DeliveryReceived,
			bell.DeliveryFailed, bell.DeliveryExpired, bell.DeliveryWithdrawn),
		"verdict": values(bell.Accepted, bell.Deposited, bell.RetryNow, bell.RetryBackoff, bell.RetryConnect,
			bell.RetryThrottled, bell.RetryCredential, bell.RetryOtherHost, bell.Rejected),
		"channel": values(bell.APNsVoIP, bell.APNsAlert, bell.FCM, bell.LongPoll, bell.WebPush),
	} {
		for _, v := range all {
			if catalogue[Key(kind+"."+v)] == (text{}) {
				t.Errorf("the value %s.%s has no name", kind, v)
			}
		}
	}
}

func TestLanguages(t *testing.T) {
	for _, test := range []struct {
		asked, chosen, accepted string
		want                    planet.Language
	}{
		{"", "", "", planet.English},
		{"ja", "en", "en", planet.Japanese},
		{"", "ja", "en", planet.Japanese},
		{"xx", "", "ja-JP,ja;q=0.9,en;q=0.8", planet.Japanese},
		{"", "", "de, en;q=0.5, ja;q=0.7", planet.Japanese},
		{"", "", "ja;q=0, en;q=0.1", planet.English},
		{"", "", "ja;q=9", planet.English},
		{"", "", strings.Repeat("ja,", 100), planet.English},
	} {
		if got := LanguageOf(test.asked, test.chosen, test.accepted); got != test.want {
			t.Errorf("asked %q, chosen %q, accepted %.30q: %s, want %s", test.asked, test.chosen, test.accepted, got, test.want)
		}
	}
}

func TestTemplatesParse(t *testing.T) {
	if _, err := New(); err != nil {
		t.Fatal(err)
	}
}
