package config

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// ErrNothing says that there is no configuration at all: no file was named or found,
// and no project is set in the environment.
var ErrNothing = errors.New("no configuration: no file was found and no project is set in the environment")

// Problem is one thing that is wrong, or worth a warning.
type Problem struct {
	Where   string `json:"where,omitempty"`   // the file, variable or flag that set it
	Path    string `json:"setting,omitempty"` // such as projects[0].api_secret
	Message string `json:"message"`           // what is wrong and what to do; never a secret
}

// String joins the three parts to one line.
func (p Problem) String() string {
	parts := []string{p.Where, p.Path, p.Message}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

// Error is everything that is wrong with a configuration, sorted by setting.
type Error struct {
	Problems []Problem
}

// Error returns one line per problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// problems collects. A setting has at most one error, its first, because what follows
// from a wrong value is noise.
type problems struct {
	errors   []Problem
	warnings []Problem
	where    func(path string) string // who set it
}

func (p *problems) wrong(path, message string) {
	if p.has(path) {
		return
	}
	p.errors = append(p.errors, Problem{Where: p.where(path), Path: path, Message: message})
}

func (p *problems) warn(path, message string) {
	p.warnings = append(p.warnings, Problem{Where: p.where(path), Path: path, Message: message})
}

// has also finds the error of the file that should have held a secret.
func (p *problems) has(path string) bool {
	return slices.ContainsFunc(p.errors, func(known Problem) bool {
		return path != "" && (known.Path == path || known.Path == path+fileSuffix)
	})
}

func (p *problems) sort() {
	by := func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Where, b.Where))
	}
	slices.SortFunc(p.errors, by)
	slices.SortFunc(p.warnings, by)
}
