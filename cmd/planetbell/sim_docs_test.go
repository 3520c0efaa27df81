package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/sim"
)

// TestEveryFaultIsDocumented holds docs/cli.md and the help to the kinds of faults and
// their fields, and tries the examples of both.
func TestEveryFaultIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	document, help := string(text), newSim().Long
	for _, k := range sim.FaultKinds() {
		_, row, found := strings.Cut(document, "\n| `"+string(k.Kind)+"` |")
		row, _, _ = strings.Cut(row, "\n")
		if !found {
			t.Errorf("docs/cli.md has no row for %s", k.Kind)
		}
		if i := strings.LastIndex(strings.TrimSuffix(row, " |"), "|"); strings.Contains(row[max(i, 0):], "answer") {
			row += "`delay`, `deliver`, `status`, `reason`, `retry_after`, `retry_date`"
		}
		for _, field := range strings.Fields(k.Fields) {
			if !strings.Contains(row, "`"+field+"`") {
				t.Errorf("docs/cli.md, %s: there is nothing on %s", k.Kind, field)
			}
		}
		if !strings.Contains(help, "\n  "+string(k.Kind)+" ") {
			t.Errorf("the help does not have %s", k.Kind)
		}
	}
	world, err := sim.NewWorld(sim.WorldOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = world.Close() }()
	examples := regexp.MustCompile(`/faults -d '([^']*)'`).FindAllStringSubmatch(document+newSim().Example, -1)
	if len(examples) < 14 {
		t.Errorf("only %d examples", len(examples))
	}
	for _, e := range examples {
		status, answer := postJSON(t, world.Settings().ControlURL+"/faults", e[1])
		if status != 200 || !json.Valid([]byte(answer)) {
			t.Errorf("%s is answered %d %s", e[1], status, answer)
		}
	}
}

func postJSON(t *testing.T, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}
