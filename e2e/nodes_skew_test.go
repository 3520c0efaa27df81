//go:build !race

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// skewed builds planetbell with a clock that is wrong by as many seconds as the environment
// variable TEST_CLOCK_SKEW says. The program has no such switch, and its own files stay as they are: the
// build puts another file in the place of Go's own time.go.
func skewed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := exec.CommandContext(t.Context(), "go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		t.Skipf("Go's own source is not here: %v", err)
	}
	const now = "\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), now) != 1 {
		t.Skip("time.Now of this Go is another one; change this test")
	}
	changed := strings.Replace(string(text), now, now+"\tsec += testClockSkew\n", 1) + `
var testClockSkew = func() (skew int64) {
	text, _ := syscall.Getenv("TEST_CLOCK_SKEW")
	minus := len(text) > 0 && text[0] == '-'
	for _, c := range text {
		if c >= '0' && c <= '9' {
			skew = skew*10 + int64(c-'0')
		}
	}
	if minus {
		return -skew
	}
	return skew
}()
`
	changed = strings.Replace(changed, "import (\n", "import (\n\t\"syscall\"\n", 1)
	file, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	list, err := json.Marshal(map[string]map[string]string{"Replace": {original: file}})
	if err != nil {
		t.Fatal(err)
	}
	for path, content := range map[string][]byte{file: []byte(changed), overlay: list} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, "planetbell")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", out, "../cmd/planetbell")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, said)
	}
	return out
}

// The clock of one node is half a minute ahead and that of another half a minute behind. No call is
// lost all the same, and the nodes say that their clocks differ.
func TestClocksThatDiffer(t *testing.T) {
	s := scaleOf(t)
	s.onlyFull(t) // the whole program is built once more
	s.rate, s.span = min(50, s.rate), min(30*time.Second, s.span)
	d := deploy(t, false, false, s.settings()...)
	o := d.options(t, s)
	o.program = skewed(t)
	o.env = func(i int) []string { return []string{"TEST_CLOCK_SKEW=" + []string{"30", "-30", "0"}[i]} }
	n := newNodes(t, o)
	f := n.addFleet(60)
	l := n.begin(f, s.rate, s.span)
	n.finish(l, l.groupCalls(2))
	for _, node := range n.list[:2] {
		node.log.mu.Lock()
		said := false
		for text := range node.log.warned {
			said = said || strings.Contains(text, "clock")
		}
		node.log.mu.Unlock()
		if !said {
			t.Errorf("%s does not say that its clock is wrong", node.name)
		}
	}
}
