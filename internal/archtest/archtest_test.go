// Package archtest holds the import rules of ARCHITECTURE.md, who may know whom, and
// that documents lead somewhere.
package archtest

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/planetbell/planetbell/"

// layers from the bottom up. A package may import packages of lower layers; of its own
// layer only what "same" allows.
var layers = []struct {
	name     string
	packages []string
}{
	{"protocol", []string{"planet"}},
	{"domain", []string{"internal/bell"}},
	{"capabilities", []string{
		"internal/audit",
		"internal/account", "internal/device", "internal/call", "internal/room", "internal/policy", "internal/delivery",
		"internal/retention", "internal/webhook", "internal/cluster", "internal/verdict",
	}},
	{"adapters and edges", []string{"internal/push", "internal/store", "internal/bus", "internal/httpapi", "internal/console", "internal/canary"}},
	{"app", []string{"internal/app"}},
	{"doctor", []string{"internal/doctor"}},
	{"stage", []string{"internal/stage"}},
	{"commands", []string{"cmd", "e2e", "tools"}},
}

// leaves know nothing of ours but planet (and each other's nothing), and may be
// imported from anywhere above the domain.
var leaves = []string{"internal/config", "internal/telemetry", "internal/sim", "internal/testlog", "internal/testpg", "internal/testchrome", "internal/archtest", "internal/egress", "internal/gcpace", "examples"}

type pkg struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
		var p pkg
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 15 {
		t.Fatalf("go list found %d packages; the rules would prove nothing", len(all))
	}
	return all
}

func ours(path string) (string, bool) { return strings.CutPrefix(path, module) }

func within(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func layerOf(path string) int {
	for i, l := range layers {
		for _, root := range l.packages {
			if within(path, root) {
				return i
			}
		}
	}
	return -1
}

func leaf(path string) bool {
	for _, l := range leaves {
		if within(path, l) {
			return true
		}
	}
	return false
}

func TestImportsPointDown(t *testing.T) {
	for _, p := range packages(t) {
		from, inside := ours(p.ImportPath)
		if !inside {
			continue // the module's root: only the contract that is embedded
		}
		if layerOf(from) < 0 && !leaf(from) {
			t.Errorf("%s has no layer: give it one in this test and in ARCHITECTURE.md", from)
		}
		for _, imported := range p.Imports {
			to, mine := ours(imported)
			if mine && !allowed(from, to) {
				t.Errorf("%s must not import %s", from, to)
			}
		}
	}
}

// allowed holds the rules of ARCHITECTURE.md, "Packages", for product code.
func allowed(from, to string) bool {
	switch {
	case from == "planet" || within(from, "planet"):
		return within(to, "planet")
	case within(to, "internal/sim"): // the simulator never becomes part of a server's work
		return within(from, "cmd") || within(from, "internal/sim") || within(from, "internal/stage") || within(from, "tools") || within(from, "e2e")
	case within(to, "internal/testlog"):
		return within(from, "internal/testpg") || within(from, "internal/store/storetest") || within(from, "internal/push/pushtest") ||
			within(from, "internal/bus/bustest") || within(from, "tools") || within(from, "e2e")
	case within(to, "internal/testchrome"): // tests of pages
		return within(from, "tools") || within(from, "e2e")
	case within(to, "internal/testpg"): // suites and benches; a server starts no PostgreSQL
		return within(from, "internal/store/storetest") || within(from, "internal/bus/bustest") || within(from, "tools") || within(from, "e2e")
	case within(to, "examples"): // what can be copied and changed; a server needs none of it
		return within(from, "examples") || within(from, "internal/stage") || within(from, "cmd") || within(from, "e2e")
	case within(from, "internal/sim"):
		return within(to, "planet") || within(to, "internal/sim")
	case leaf(from):
		return within(to, "planet") || within(to, "internal/bell")
	case within(to, "internal/config"): // settings are handed down, not looked up
		return layerOf(from) >= layerOf("internal/app")
	case leaf(to):
		return layerOf(from) > 1
	}
	lf, lt := layerOf(from), layerOf(to)
	if lf == lt && lf >= 0 {
		return sibling(from, to)
	}
	return lt >= 0 && lt < lf
}

// sibling: capabilities do not know one another, and edges know no adapters; parts of one
// package's tree may.
func sibling(from, to string) bool {
	root := func(p string) string {
		return strings.Join(strings.SplitN(p, "/", 3)[:min(2, strings.Count(p, "/")+1)], "/")
	}
	return root(from) == root(to)
}

func TestPlanetStandsAlone(t *testing.T) {
	for _, p := range packages(t) {
		from, _ := ours(p.ImportPath)
		if !within(from, "planet") {
			continue
		}
		for _, imported := range p.Imports {
			// The client of the Server API paces its requests, and callers hand it the pacer that
			// their clients share: a type that Go programs know, not one of ours.
			paces := from == "planet/serverapi" && imported == "golang.org/x/time/rate"
			if strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") &&
				!strings.HasPrefix(imported, module+"planet") && imported != "github.com/golang-jwt/jwt/v5" && !paces {
				t.Errorf("%s imports %s: planet has the standard library and the JWT library only", from, imported)
			}
		}
	}
}

func TestOnlyCommandsAndTestsKnowTheSimulator(t *testing.T) {
	if allowed("internal/app", "internal/sim") || allowed("internal/httpapi", "internal/sim/clients") {
		t.Error("the rule does not hold the simulator out")
	}
	for _, p := range packages(t) {
		from, _ := ours(p.ImportPath)
		for _, imported := range p.Imports {
			if to, _ := ours(imported); within(from, "internal/app") && within(to, "internal/sim") {
				t.Errorf("%s imports %s", from, to)
			}
		}
	}
}
