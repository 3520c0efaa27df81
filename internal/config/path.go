package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// EnvPrefix begins the name of every variable that sets something.
const EnvPrefix = "PLANETBELL_"

// key returns a field's key in the YAML file.
func key(f reflect.StructField) string { return f.Tag.Get("koanf") }

// fields returns the settings of a section. A field with the key "-" is none: it is filled
// by Load.
func fields(t reflect.Type) []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(t), func(f reflect.StructField) bool { return key(f) == "-" })
}

// join appends a key to a dotted path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// shown turns the dotted path of the loader, projects.0.name, into the one that people
// read, projects[0].name.
func shown(path string) string {
	var b strings.Builder
	for i, part := range strings.Split(path, ".") {
		if _, err := strconv.Atoi(part); err == nil {
			b.WriteString("[" + part + "]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}

// EnvName returns the variable that sets a setting: projects[0].api_secret is set by
// PLANETBELL_PROJECTS_0_API_SECRET.
func EnvName(path string) string {
	path = strings.NewReplacer("[", "_", "]", "", ".", "_").Replace(path)
	return EnvPrefix + strings.ToUpper(path)
}

// pathOfEnv finds the setting that the rest of a variable's name (without the prefix)
// stands for. Keys contain underscores themselves, so the schema decides where one ends.
func pathOfEnv(t reflect.Type, rest, path string) (string, bool) {
	for _, f := range fields(t) {
		name, here := strings.ToUpper(key(f)), join(path, key(f))
		after, deeper := strings.CutPrefix(rest, name+"_")
		switch {
		case isSection(f.Type):
			if found, ok := pathOfEnv(f.Type, after, here); deeper && ok {
				return found, true
			}
		case isList(f.Type):
			number, tail, ok := strings.Cut(after, "_")
			if n, err := strconv.Atoi(number); !deeper || !ok || err != nil || n < 0 || strconv.Itoa(n) != number {
				continue
			}
			if found, ok := pathOfEnv(f.Type.Elem(), tail, join(here, number)); ok {
				return found, true
			}
		case rest == name:
			return here, true
		case f.Type == secretType && rest == name+"_FILE":
			return here + fileSuffix, true
		}
	}
	return "", false
}

// fileSuffix makes the key under which a secret's file is named.
const fileSuffix = "_file"

// keysOf lists what may stand in a section, for suggestions.
func keysOf(t reflect.Type) []string {
	var keys []string
	for _, f := range fields(t) {
		keys = append(keys, key(f))
		if f.Type == secretType {
			keys = append(keys, key(f)+fileSuffix)
		}
	}
	return keys
}

// pathsOf lists every setting of a section and below, list elements under the number 0.
func pathsOf(t reflect.Type, path string) []string {
	var paths []string
	for _, f := range fields(t) {
		here := join(path, key(f))
		switch {
		case isSection(f.Type):
			paths = append(paths, pathsOf(f.Type, here)...)
		case isList(f.Type):
			paths = append(paths, pathsOf(f.Type.Elem(), join(here, "0"))...)
		case f.Type == secretType:
			paths = append(paths, here, here+fileSuffix)
		default:
			paths = append(paths, here)
		}
	}
	return paths
}

// didYouMean returns the candidate closest to what was written, or "" when none is
// close enough to be meant.
func didYouMean(written string, candidates []string) string {
	written = strings.ToLower(strings.ReplaceAll(written, "-", "_"))
	best, least := "", 1+max(2, len(written)/3)
	for _, candidate := range candidates {
		if d := distance(written, strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance counts the letters to add, remove or change between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// elsewhere returns the settings with this key in other places, for a key that stands in
// the wrong section.
func elsewhere(written string) []string {
	var found []string
	for _, path := range pathsOf(configType, "") {
		if path == written || strings.HasSuffix(path, "."+written) {
			found = append(found, shown(path))
		}
	}
	slices.Sort(found)
	return found
}

var configType = reflect.TypeFor[Config]()
