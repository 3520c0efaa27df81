package deploycheck

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	histogram = regexp.MustCompile(`_(bucket|count|sum)$`)
	metric    = regexp.MustCompile(`planetbell_[a-z_]+[a-z]`)
)

// TestMetricsInTheDocumentsExist: whoever sets an alarm on a metric that does not exist is never
// woken.
func TestMetricsInTheDocumentsExist(t *testing.T) {
	code := map[string]bool{}
	err := filepath.WalkDir("../../internal", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, name := range metric.FindAllString(string(text), -1) {
			code[name] = true
		}
		return err
	})
	if err != nil || len(code) < 30 {
		t.Fatalf("found %d metrics in the code, error %v; the rule would prove nothing", len(code), err)
	}
	pages, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("found %d runbooks, error %v", len(pages), err)
	}
	pages = append(pages, "../../docs/operations.md", "../../docs/scale.md", rules, "../../deploy/grafana/planetbell.json")
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range metric.FindAllString(string(text), -1) {
			if base := histogram.ReplaceAllString(name, ""); !code[name] && !code[base] {
				t.Errorf("%s names %s, which no code has", page, name)
			}
		}
	}
}

// TestScaleShowsWhatItPrints: the page has every size, and every input that is assumed is marked.
func TestScaleShowsWhatItPrints(t *testing.T) {
	page, err := os.ReadFile("../../docs/scale.md")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := os.ReadFile("../scale/plan.go")
	if err != nil {
		t.Fatal(err)
	}
	sizes := regexp.MustCompile(`(?m)^\t\{"([^"]+)", `).FindAllStringSubmatch(string(plan), -1)
	if len(sizes) < 4 {
		t.Fatalf("found %d sizes", len(sizes))
	}
	for _, s := range sizes {
		if !strings.Contains(string(page), "\n"+s[1]+" (") {
			t.Errorf("docs/scale.md does not show the size %q: run make scale", s[1])
		}
	}
}
