package config

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
)

// layers merges the sources. Lists become maps with numbers as keys on the way in,
// because koanf replaces lists whole and one variable must be able to set one
// project's one secret.
type layers struct {
	merged   *koanf.Koanf
	sources  map[string]string // who set a path; absent: default
	problems *problems
}

func newLayers() *layers {
	return &layers{merged: koanf.New("."), sources: map[string]string{}, problems: &problems{}}
}

// add puts values on top. A secret and its file are two ways to say one thing, so a
// later source that sets one takes away the other.
func (l *layers) add(values map[string]any, source func(path string) string) error {
	for _, path := range slices.Sorted(maps.Keys(values)) {
		other, isFile := strings.CutSuffix(path, fileSuffix)
		if !isFile {
			other = path + fileSuffix
		}
		if _, both := values[other]; both && isSecretFile(path) {
			l.problems.errors = append(l.problems.errors, Problem{
				Where: source(path), Path: shown(other), Message: "is set, and its file too; keep one of them.",
			})
		} else if !both {
			l.merged.Delete(other)
			delete(l.sources, other)
		}
		l.sources[path] = source(path)
	}
	if err := l.merged.Load(confmap.Provider(values, "."), nil); err != nil {
		return fmt.Errorf("merge settings: %w", err)
	}
	return nil
}

// isSecretFile reports whether a path names the file of a secret, rather than a setting
// of its own whose key ends in _file.
func isSecretFile(path string) bool {
	base, ok := strings.CutSuffix(path, fileSuffix)
	if !ok {
		return false
	}
	field, found := fieldAt(configType, strings.Split(base, "."))
	return found && field.Type == secretType
}

// fieldAt finds the field that a dotted path names.
func fieldAt(t reflect.Type, parts []string) (reflect.StructField, bool) {
	for _, f := range fields(t) {
		if key(f) != parts[0] {
			continue
		}
		switch {
		case len(parts) == 1:
			return f, true
		case isSection(f.Type):
			return fieldAt(f.Type, parts[1:])
		case isList(f.Type) && len(parts) > 2:
			return fieldAt(f.Type.Elem(), parts[2:])
		}
	}
	return reflect.StructField{}, false
}

// addFile reads a YAML file's content. It fails with an *Error when it is not YAML.
func (l *layers) addFile(name string, content []byte) error {
	parsed := koanf.New(".")
	if err := parsed.Load(rawbytes.Provider(content), yaml.Parser()); err != nil {
		return &Error{Problems: []Problem{{Where: name, Message: yamlSentence(err)}}}
	}
	flat := map[string]any{}
	l.flatten(name, parsed.Raw(), configType, "", flat)
	return l.add(flat, func(string) string { return name })
}

// yamlSentence keeps of a parser's error what holds no content of the file: a wrong
// file may have a secret at the wrong place.
func yamlSentence(err error) string {
	text := err.Error()
	line := ""
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		line = "line " + m[1] + ": "
	}
	if m := yamlDuplicate.FindStringSubmatch(text); m != nil {
		return line + "the key " + m[1] + " stands twice; keep one."
	}
	for _, known := range yamlMistakes {
		if strings.Contains(text, known.parser) {
			// The parser names no line when it is the first.
			return cmp.Or(line, "line 1: ") + "is not YAML: " + known.says + "; look at the lines around it too."
		}
	}
	return line + "is not YAML of the form \"key: value\"."
}

// yamlMistakes are the parser's complaints in words, the first that fits counts.
var yamlMistakes = []struct{ parser, says string }{
	{"mapping values are not allowed", "a second colon in one line, or a line that is indented too far; put text with a colon in quotes"},
	{"found character that cannot start any token", "a tab, or text that begins with a special character; indent with spaces, and put such text in quotes"},
	{"found a tab character", "a tab; indent with spaces"},
	{"did not find expected ',' or ']'", "a list that begins with [ is not closed"},
	{"did not find expected ',' or '}'", "what begins with { is not closed"},
	{"did not find expected '-' indicator", "the hyphens of a list do not stand in one column"},
	{"did not find expected key", "a line is indented in another way than its neighbours, or quotes are not closed"},
	{"did not find expected", "something is missing"},
	{"could not find expected ':'", "a key without a colon, or quotes that are not closed"},
	{"block sequence entries are not allowed", "a list begins in the middle of a line"},
}

var (
	yamlLine      = regexp.MustCompile(`line (\d+)`)
	yamlDuplicate = regexp.MustCompile(`mapping key ("[a-z0-9_]{1,40}") already defined`)
)

// flatten walks a YAML tree along the schema: it refuses what is not in it and writes
// the rest to out by dotted path.
func (l *layers) flatten(name string, tree map[string]any, t reflect.Type, path string, out map[string]any) {
	wrong := func(path, message string) {
		l.problems.errors = append(l.problems.errors, Problem{Where: name, Path: shown(path), Message: message})
	}
	for _, k := range slices.Sorted(maps.Keys(tree)) {
		here, value := join(path, k), tree[k]
		field, ok := fieldAt(t, []string{k})
		switch {
		case !ok && !isSecretKeyFile(t, k):
			wrong(here, unknownKey(k, t))
		case value == nil: // "key:" with nothing after it: not set
		case ok && isSection(field.Type):
			section, isMap := value.(map[string]any)
			if !isMap {
				wrong(here, "is one value, want a section with the keys "+strings.Join(keysOf(field.Type), ", ")+".")
				continue
			}
			l.flatten(name, section, field.Type, here, out)
		case ok && isList(field.Type):
			list, isSlice := value.([]any)
			if !isSlice {
				wrong(here, "is not a list; begin each entry with a hyphen.")
				continue
			}
			for i, entry := range list {
				at := join(here, strconv.Itoa(i))
				section, isMap := entry.(map[string]any)
				if !isMap {
					wrong(at, "is one value, want the keys "+strings.Join(keysOf(field.Type.Elem()), ", ")+".")
					continue
				}
				l.flatten(name, section, field.Type.Elem(), at, out)
				out[join(at, present)] = true
			}
		default:
			out[here] = value
		}
	}
}

// present marks a list entry, so that one without any key is still counted.
const present = "-"

func isSecretKeyFile(t reflect.Type, k string) bool {
	base, ok := strings.CutSuffix(k, fileSuffix)
	field, found := fieldAt(t, []string{base})
	return ok && found && field.Type == secretType
}

func unknownKey(k string, t reflect.Type) string {
	if meant := didYouMean(k, keysOf(t)); meant != "" {
		return "is not a setting; did you mean " + meant + "?"
	}
	if places := elsewhere(k); len(places) > 0 {
		return "is not a setting here; it belongs to " + strings.Join(places, " or ") + "."
	}
	return "is not a setting; known here: " + strings.Join(keysOf(t), ", ") + "."
}

// addEnv takes every variable with our prefix. An unknown one is an error, because a
// misspelt variable that is silently ignored is found only when a call does not ring.
func (l *layers) addEnv(environ []string) error {
	values := map[string]any{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		rest, ours := strings.CutPrefix(name, EnvPrefix)
		if !ours || slices.Contains(otherVariables, name) || serviceLink.MatchString(name) {
			continue
		}
		path, ok := pathOfEnv(configType, rest, "")
		if !ok {
			l.problems.errors = append(l.problems.errors, Problem{Where: name, Message: unknownVariable(name)})
			continue
		}
		values[path] = value
		for at := range entriesOn(path) {
			values[join(at, present)] = true
		}
	}
	return l.add(values, EnvName)
}

// otherVariables begin with our prefix and are no settings.
var otherVariables = []string{FileVariable, "PLANETBELL_TEST_LOGS", "PLANETBELL_TEST_POSTGRES", "PLANETBELL_TEST_CHROME", "PLANETBELL_TEST_SCREENSHOTS"}

// FileVariable names the configuration file.
const FileVariable = "PLANETBELL_CONFIG"

// serviceLink matches the variables that Kubernetes and Docker put into every container
// beside a service called planetbell or planetbell-something.
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// entriesOn yields the list entries that a path runs through.
func entriesOn(path string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		parts := strings.Split(path, ".")
		for i, part := range parts {
			if _, err := strconv.Atoi(part); err == nil && !yield(strings.Join(parts[:i+1], ".")) {
				return
			}
		}
	}
}

func unknownVariable(name string) string {
	// Suggestions are made for the entry that the variable names, not for entry 0.
	numbers := listNumber.FindAllStringSubmatch(name, -1)
	var candidates []string
	for _, path := range pathsOf(configType, "") {
		candidate := EnvName(path)
		for _, n := range numbers {
			candidate = strings.Replace(candidate, "_0_", "_"+n[1]+"_", 1)
		}
		candidates = append(candidates, candidate)
	}
	if meant := didYouMean(name, candidates); meant != "" {
		return "is not a setting; did you mean " + meant + "?"
	}
	return "is not a setting; config.example.yaml lists them all."
}

// listNumber finds the numbers of list entries in a variable's name, without zeros
// before them.
var listNumber = regexp.MustCompile(`_0*(\d+)(?:_|$)`)

// addFlags takes flags by the path they set.
func (l *layers) addFlags(flags []Flag) error {
	values, names := map[string]any{}, map[string]string{}
	for _, f := range flags {
		path := strings.NewReplacer("[", ".", "]", "").Replace(f.Path)
		if _, ok := fieldAt(configType, strings.Split(path, ".")); !ok {
			return errors.New("flag " + f.Name + " sets " + f.Path + ", which is not a setting")
		}
		values[path], names[path] = f.Value, f.Name
	}
	return l.add(values, func(path string) string { return names[path] })
}
