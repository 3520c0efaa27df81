package config

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const exampleFile = "../../config.example.yaml"

func example(t *testing.T) string {
	t.Helper()
	return string(must(os.ReadFile(exampleFile)))
}

func TestTheExampleLoads(t *testing.T) {
	content := example(t)
	t.Chdir(t.TempDir())
	write(t, "planetbell.yaml", content)
	stubs(t)
	loaded := mustLoad(t, Options{Now: func() time.Time { return expires.AddDate(-1, 0, 0) }})
	if len(loaded.Warnings) > 0 {
		t.Errorf("warnings: %v", loaded.Warnings)
	}
}

// Every setting stands in the example, and nothing else (that is refused by Load).
func TestTheExampleNamesEverySetting(t *testing.T) {
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(example(t)), &tree); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	keysIn(tree, "", seen)
	for _, path := range pathsOf(configType, "") {
		base, isFile := strings.CutSuffix(path, fileSuffix)
		if isSecretFile(path) && isFile {
			continue // one of the two is enough
		}
		if !seen[path] && !seen[path+fileSuffix] {
			t.Errorf("config.example.yaml does not have %s", shown(base))
		}
	}
}

// keysIn collects the paths of a YAML tree, every list entry under number 0.
func keysIn(tree any, path string, seen map[string]bool) {
	switch node := tree.(type) {
	case map[string]any:
		for k, v := range node {
			seen[join(path, k)] = true
			keysIn(v, join(path, k), seen)
		}
	case []any:
		for _, v := range node {
			keysIn(v, join(path, "0"), seen)
		}
	}
}

// What the example gives as value is the default, apart from what has none and what
// shows a server behind a proxy.
func TestTheExampleShowsTheDefaults(t *testing.T) {
	content := example(t)
	t.Chdir(t.TempDir())
	write(t, "planetbell.yaml", content)
	stubs(t)
	var got []string
	for _, s := range mustLoad(t, Options{}).Settings {
		if s.Source != "planetbell.yaml" || strings.HasPrefix(s.Path, "projects[0].apns[") {
			continue
		}
		if s.Value != defaultOf(s.Path) {
			got = append(got, s.Path)
		}
	}
	want := []string{
		"public.base_url", "public.behind_proxy", "public.trusted_proxies", "public.web_origins", "admin.token",
		"admin.users[0].name", "admin.users[0].password_hash", "admin.tokens[0].name", "admin.tokens[0].token_sha256", "app_tokens.signing_key",
		"canaries[0].name", "canaries[0].project", "canaries[0].caller_user_id", "canaries[0].callee_user_id",
		"projects[0].name", "projects[0].service_id", "projects[0].api_key", "projects[0].api_secret", "projects[0].client_key", "projects[0].callback_secret",
		"projects[0].invitations.members[0].room", "projects[0].invitations.members[0].users", "projects[0].invitations.members_url", "projects[0].invitations.members_token",
		"projects[0].web_push.vapid_subject", "projects[0].events[0].url", "projects[0].events[0].secret",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings that differ from their default, -want +got:\n%s", diff)
	}
}

// defaultOf returns a setting's default as it is shown once loaded.
func defaultOf(path string) string {
	switch path {
	case "public.tls.acme.cache_dir":
		return "data/acme"
	case "database.path":
		return "data/planetbell.db"
	}
	f, ok := fieldAt(configType, strings.Split(strings.NewReplacer("[", ".", "]", "").Replace(path), "."))
	if !ok {
		return "?"
	}
	v := reflect.New(f.Type).Elem()
	if text := f.Tag.Get("default"); text != "" {
		if err := setText(v, text); err != nil {
			return err.Error()
		}
	}
	return show(v)
}

var exampleKey = regexp.MustCompile(`^\s*(?:- )?([a-z0-9_]+):`)

// Every key has a comment: above it, or above a neighbour that it belongs to.
func TestTheExampleExplainsEveryBlock(t *testing.T) {
	explained := true
	for i, line := range strings.Split(example(t), "\n") {
		switch {
		case strings.TrimSpace(line) == "":
			explained = false
		case strings.Contains(line, "#"):
			explained = true
		case exampleKey.MatchString(line) && !explained:
			section := exampleKey.FindStringSubmatch(line)[1]
			if !slices.Contains([]string{"database", "app_tokens", "calls"}, section) { // their keys say it all
				t.Errorf("line %d: nothing explains %s", i+1, section)
			}
			explained = true
		}
	}
}
