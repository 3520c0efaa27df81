package deploycheck

import (
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"

	"github.com/planetbell/planetbell/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// folder is what is tested.
const folder = "../../deploy"

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// all returns the names of the files in the folder, relative to it.
func all(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && d.Name() == "secrets" {
			return fs.SkipDir // somebody's own, not in the repository
		}
		if !d.IsDir() && d.Name() != "env" {
			name, relErr := filepath.Rel(folder, path)
			names = append(names, name)
			return relErr
		}
		return nil
	})
	if err != nil || len(names) < 15 {
		t.Fatalf("found %d files in %s, error %v; the tests would prove nothing", len(names), folder, err)
	}
	return names
}

// documents parses a YAML file, which may hold several documents.
func documents(t *testing.T, name string) []map[string]any {
	t.Helper()
	var docs []map[string]any
	d := yaml.NewDecoder(strings.NewReader(read(t, name)))
	for {
		var doc map[string]any
		err := d.Decode(&doc)
		if err != nil && err.Error() == "EOF" {
			return docs
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		docs = append(docs, doc)
	}
}

// at walks a parsed document: map keys, and numbers for entries of lists.
func at(t *testing.T, node any, path ...any) any {
	t.Helper()
	for i, step := range path {
		var next any
		switch key := step.(type) {
		case string:
			m, _ := node.(map[string]any)
			next = m[key]
		case int:
			if l, _ := node.([]any); key < len(l) {
				next = l[key]
			}
		}
		if next == nil {
			t.Fatalf("there is nothing at %v (looked for %v)", path[:i+1], path)
		}
		node = next
	}
	return node
}

func seconds(t *testing.T, v any) time.Duration {
	t.Helper()
	switch v := v.(type) {
	case int:
		return time.Duration(v) * time.Second
	case string:
		d, err := time.ParseDuration(v)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	t.Fatalf("%v is no time", v)
	return 0
}

// longestHold is the longest that a poll may be set to wait.
func longestHold(t *testing.T) time.Duration {
	t.Helper()
	f, ok := reflect.TypeFor[config.LongPoll]().FieldByName("Hold")
	if !ok {
		t.Fatal("config.LongPoll has no Hold")
	}
	return seconds(t, f.Tag.Get("max"))
}

func TestEveryYAMLFileParses(t *testing.T) {
	parsed := 0
	for _, name := range all(t) {
		if filepath.Ext(name) == ".yaml" {
			parsed++
			if len(documents(t, name)) == 0 {
				t.Errorf("%s is empty", name)
			}
		}
	}
	if parsed < 10 {
		t.Errorf("%d YAML files; the rule would prove nothing", parsed)
	}
}

// Files that are run can be, and nothing that looks like a key is in the repository.
func TestNoSecretIsInTheFolder(t *testing.T) {
	for _, name := range all(t) {
		text := read(t, name)
		for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", r) }) {
			if len(word) >= 24 {
				t.Errorf("%s holds %d hexadecimal characters in a row", name, len(word))
			}
		}
		if strings.Contains(text, "PRIVATE KEY") {
			t.Errorf("%s holds a private key", name)
		}
	}
	info, err := os.Stat(filepath.Join(folder, "compose/make-secrets"))
	if err != nil || info.Mode()&0o100 == 0 {
		t.Errorf("compose/make-secrets cannot be run: %v, %v", info, err)
	}
	ignored, err := os.ReadFile("../../.gitignore")
	if lines := strings.Split(string(ignored), "\n"); err != nil || !slices.Contains(lines, "/deploy/compose/secrets/") {
		t.Error(".gitignore does not keep deploy/compose/secrets/ out")
	}
}
