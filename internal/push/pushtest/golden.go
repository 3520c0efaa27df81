package pushtest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Render writes a request down, header by header, for a golden file. mask replaces what
// differs from run to run, given a header's lower-case name and value; for the body the
// name is empty.
func Render(path string, header http.Header, body []byte, mask func(name, value string) string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "POST %s\n", path)
	var lines []string
	for name, values := range header {
		name = strings.ToLower(name)
		for _, value := range values {
			lines = append(lines, name+": "+mask(name, value)+"\n")
		}
	}
	slices.Sort(lines)
	b.WriteString(strings.Join(lines, ""))
	fmt.Fprintf(&b, "\n%s\n", mask("", string(body)))
	return b.String()
}

// Golden compares with testdata/golden/name, or writes it when update is set.
func Golden(t *testing.T, name, got string, update bool) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatalf("golden folder: %v", err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatalf("golden file: %v", err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("golden file (make it with -update): %v", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
