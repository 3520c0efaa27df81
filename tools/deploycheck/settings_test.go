package deploycheck

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/planetbell/planetbell/internal/config"
)

// settings are the paths of config.example.yaml, which a test of package config holds to the real
// ones. Lists have the number 0.
func settings(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("../../config.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	var walk func(node any, path string)
	walk = func(node any, path string) {
		switch node := node.(type) {
		case map[string]any:
			for k, v := range node {
				walk(v, strings.TrimPrefix(path+"."+k, "."))
			}
		case []any:
			for _, v := range node {
				walk(v, path+".0")
			}
			found[path] = true // a list of text is a setting itself
		default:
			found[path] = true
		}
	}
	walk(tree, "")
	if len(found) < 60 {
		t.Fatalf("config.example.yaml has %d settings; the tests would prove nothing", len(found))
	}
	return found
}

var variable = regexp.MustCompile(`PLANETBELL_[A-Z0-9_]+`)

// A variable that is not known stops the server's start.
func TestVariablesAreSettings(t *testing.T) {
	known := map[string]bool{}
	for path := range settings(t) {
		name := config.EnvName(strings.TrimSuffix(path, "_file"))
		known[name], known[name+"_FILE"] = true, true
	}
	for _, name := range all(t) {
		for _, v := range variable.FindAllString(read(t, name), -1) {
			if !known[v] {
				t.Errorf("%s names %s, which sets nothing", name, v)
			}
		}
	}
}

// secretsAt makes a folder with a secret for every file that make-secrets writes.
func secretsAt(t *testing.T) string {
	t.Helper()
	secrets := filepath.Join(t.TempDir(), "secrets")
	out, err := exec.Command(filepath.Join(folder, "compose/make-secrets"), secrets).CombinedOutput()
	if err != nil {
		t.Fatalf("make-secrets: %v: %s", err, out)
	}
	entries, err := os.ReadDir(secrets)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(secrets, e.Name()))
		if err == nil && strings.Contains(string(out), strings.TrimSpace(string(text))) {
			t.Errorf("make-secrets prints the secret %s", e.Name())
		}
	}
	return secrets
}

// The configurations are loaded as the server loads them, with the secrets that make-secrets makes.
func TestTheNodesConfigurationsLoad(t *testing.T) {
	secrets := secretsAt(t)
	for _, c := range []struct{ file, mount string }{
		{"compose/planetbell.yaml", "/run/secrets/"},
		{"kubernetes/planetbell.yaml", "/run/secrets/planetbell/"},
	} {
		text := strings.ReplaceAll(read(t, c.file), c.mount, secrets+"/")
		loaded, err := config.Load(config.Options{File: c.file, Content: []byte(text)})
		var wrong *config.Error
		if errors.As(err, &wrong) {
			for _, p := range wrong.Problems {
				t.Errorf("%s: %v", c.file, p)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.file, err)
			continue
		}
		if loaded.Config.Public.Address != ":8080" || loaded.Config.Admin.Address != ":8081" {
			t.Errorf("%s: public %s, admin %s; everything else names 8080 and 8081", c.file, loaded.Config.Public.Address, loaded.Config.Admin.Address)
		}
		for _, w := range loaded.Warnings {
			switch { // inside the pod's or the composition's own network, as meant
			case w.Path == "admin.address", strings.HasSuffix(w.Path, "_file") && strings.Contains(w.Message, "read"),
				w.Path == "database.url" && strings.Contains(w.Message, "sslmode=disable"),
				strings.Contains(w.Message, "no apns and no fcm"): // an example
			default:
				t.Errorf("%s: warning: %v", c.file, w)
			}
		}
	}
}

// What is mounted is what the configuration names, and make-secrets writes all of it.
func TestSecretsAreMounted(t *testing.T) {
	written, err := os.ReadDir(secretsAt(t))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range written {
		names = append(names, e.Name())
	}
	compose := documents(t, "compose.yaml")[0]
	mounted := at(t, compose, "x-planetbell", "secrets").([]any)
	for name := range at(t, compose, "secrets").(map[string]any) {
		if !slices.Contains(names, name) {
			t.Errorf("compose.yaml has the secret %s, which make-secrets does not write", name)
		}
	}
	for _, file := range regexp.MustCompile(`/run/secrets/([a-z_]+)`).FindAllStringSubmatch(read(t, "compose/planetbell.yaml")+read(t, "compose/env.example"), -1) {
		if !slices.Contains(mounted, any(file[1])) {
			t.Errorf("the nodes read the secret %s, which compose.yaml does not mount", file[1])
		}
	}
	template := at(t, documents(t, "kubernetes/secret.example.yaml")[0], "stringData").(map[string]any)
	files := regexp.MustCompile(`(?m)^[^#\n]*/run/secrets/planetbell/([a-z_]+)`).FindAllStringSubmatch(read(t, "kubernetes/planetbell.yaml"), -1)
	if len(files) < 5 {
		t.Errorf("kubernetes/planetbell.yaml reads %d secrets", len(files))
	}
	for _, file := range files {
		if value, ok := template[file[1]]; !ok || value != "" {
			t.Errorf("secret.example.yaml has no empty key %s", file[1])
		}
	}
}
