// Failures prints which tests failed, and the last of what each of them said.
//
// Usage: failures FILE...
//
// The files are what "go test -json" and gotestsum's --jsonfile write. The names come last, one to a
// line, so that they are in sight where only the end of a long output is shown. Prints nothing when
// nothing failed. A file that is missing, cut short or not in that form is named as such.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
)

const (
	tail     = 12  // lines of a failed test that are shown
	widest   = 240 // bytes of a line
	mostSaid = 20  // failed tests whose output is shown
)

// event is a line of "go test -json" (cmd/test2json).
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

// name of the test, or of the package for what belongs to no test.
func (e event) name() string {
	return strings.TrimSpace(path.Base(e.Package) + " " + e.Test)
}

// report is what was read, in the order of the failures.
type report struct {
	failed []string
	said   map[string][]string
}

func main() {
	r := report{said: map[string][]string{}}
	for _, name := range os.Args[1:] {
		if err := r.file(name); err != nil {
			fmt.Printf("%s: %v\n", name, err)
		}
	}
	r.print(os.Stdout)
}

func (r *report) file(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return r.read(f)
}

// read adds the events of one run.
func (r *report) read(from io.Reader) error {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			var e event
			if bad := json.Unmarshal(line, &e); bad != nil {
				return fmt.Errorf("not a line of go test -json: %w", bad)
			}
			r.add(e)
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

func (r *report) add(e event) {
	name := e.name()
	switch e.Action {
	case "output":
		line := strings.TrimRight(e.Output, "\n")
		if strings.HasPrefix(strings.TrimSpace(line), "{") || strings.TrimSpace(line) == "" {
			return // the log of a server
		}
		said := append(r.said[name], line[:min(len(line), widest)])
		r.said[name] = said[max(0, len(said)-tail):]
	case "fail":
		r.failed = append(r.failed, name)
	case "pass", "skip":
		delete(r.said, name)
	}
}

// leaves are the failed tests that have no failed test inside them, and packages of which no test failed.
func (r *report) leaves() []string {
	var leaves []string
	for _, name := range r.failed {
		inside := func(other string) bool {
			return strings.HasPrefix(other, name+"/") || !strings.Contains(name, " ") && strings.HasPrefix(other, name+" ")
		}
		if !slices.ContainsFunc(r.failed, inside) {
			leaves = append(leaves, name)
		}
	}
	return leaves
}

func (r *report) print(to io.Writer) {
	leaves := r.leaves()
	for i, name := range leaves {
		if i == mostSaid {
			fmt.Fprintf(to, "... and %d more\n", len(leaves)-i)
			break
		}
		fmt.Fprintf(to, "-- %s\n%s\n", name, strings.Join(r.said[name], "\n"))
	}
	for _, name := range leaves {
		fmt.Fprintln(to, "failed:", name)
	}
}
