package deploycheck

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// guides are the pages for those who write clients, by name.
func guides(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../docs/clients/*.md")
	if err != nil || len(files) < 7 {
		t.Fatalf("found %d guides, error %v", len(files), err)
	}
	pages := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pages[filepath.Base(file)] = string(text)
	}
	return pages
}

var (
	request = regexp.MustCompile(`\b(GET|POST) (/v2/[a-z_/{}A-Z ]*[a-z}])`)
	path    = regexp.MustCompile(`["'(\x60 ](/v2/[a-z_/]+)`)
	field   = regexp.MustCompile(`\bapp_[a-z]+(_[a-z]+)*\b`)
	code    = regexp.MustCompile("(?s)```js\n(.*?)```")
)

// A client that is written after the guides asks for what exists: every path, with its method, is in
// the contract, and every field of a call or notice is one that the server sends.
func TestGuidesNameWhatExists(t *testing.T) {
	text, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var contract struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(text, &contract); err != nil {
		t.Fatal(err)
	}
	fields := sent(t)
	for name, page := range guides(t) {
		for _, m := range request.FindAllStringSubmatch(page, -1) {
			if p := strings.ReplaceAll(m[2], "room ID", "id"); contract.Paths[p][strings.ToLower(m[1])] == nil {
				t.Errorf("%s asks for %s %s, which openapi.yaml does not have", name, m[1], p)
			}
		}
		for _, m := range path.FindAllStringSubmatch(page, -1) {
			if contract.Paths[strings.TrimSuffix(m[1], "/")] == nil && !strings.HasPrefix(m[1], "/v2/rooms/") {
				t.Errorf("%s asks for %s, which openapi.yaml does not have", name, m[1])
			}
		}
		for _, f := range field.FindAllString(page, -1) {
			if !fields[f] && f != "app_token_lifetime" && f != "app_topic" { // a setting; a customer's own
				t.Errorf("%s reads the field %s, which nothing sends", name, f)
			}
		}
	}
}

// sent is the fields that the protocol's package and its users write.
func sent(t *testing.T) map[string]bool {
	t.Helper()
	fields := map[string]bool{}
	for _, folder := range []string{"../../planet", "../../internal/bell", "../../internal/httpapi"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range field.FindAllString(string(text), -1) {
				fields[f] = true
			}
		}
	}
	if len(fields) < 10 {
		t.Fatalf("found %d fields; the rule would prove nothing", len(fields))
	}
	return fields
}

// The JavaScript of the guides is JavaScript.
func TestGuidesJavaScriptParses(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil && os.Getenv("PLANETBELL_TEST_LOGS") != "" {
		t.Fatal("there is no node in PATH; tools/packages installs it")
	}
	if err != nil {
		t.Skip("there is no node in PATH: install Debian's package nodejs, or run make test, which does")
	}
	blocks := 0
	for name, page := range guides(t) {
		for _, m := range code.FindAllStringSubmatch(page, -1) {
			blocks++
			file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.mjs", blocks))
			write(t, file, m[1])
			if out, err := exec.Command(node, "--check", file).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
		}
	}
	if blocks < 4 {
		t.Errorf("found %d blocks of JavaScript; the test would prove nothing", blocks)
	}
}
