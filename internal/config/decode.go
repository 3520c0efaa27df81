package config

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// decoder fills the structs from the merged layers.
type decoder struct {
	layers   *layers
	problems *problems
	file     string // the configuration file; empty for none
	folder   string // what its relative paths are relative to
	secrets  []secretFile
}

// secretFile is a file that a secret was read from.
type secretFile struct {
	path string // the setting, with _file
	name string
}

// where says who set a setting: the variable, the flag or the file.
func (d *decoder) where(path string) string {
	dotted := strings.NewReplacer("[", ".", "]", "").Replace(path)
	for _, at := range []string{dotted, dotted + fileSuffix} {
		if source, ok := d.layers.sources[at]; ok {
			return source
		}
	}
	return d.file
}

// section fills a struct.
func (d *decoder) section(v reflect.Value, path string) {
	for _, f := range fields(v.Type()) {
		here, field := join(path, key(f)), v.FieldByIndex(f.Index)
		switch {
		case isSection(f.Type):
			d.section(field, here)
		case isList(f.Type):
			d.list(field, here)
		case f.Type == secretType:
			name := d.secret(field, here)
			if from := v.FieldByName(f.Name + "File"); from.IsValid() {
				from.SetString(name)
			}
		case d.layers.merged.Exists(here):
			d.value(field, f, here)
		case strings.HasPrefix(f.Tag.Get("path"), "yes") && field.String() != "":
			field.SetString(d.resolve(field.String(), here))
		}
	}
}

// list makes as many elements as there are numbers, which must begin at 0 without gaps.
func (d *decoder) list(v reflect.Value, path string) {
	entries, _ := d.layers.merged.Get(path).(map[string]any)
	for i := range len(entries) {
		at := join(path, strconv.Itoa(i))
		if _, ok := entries[strconv.Itoa(i)]; !ok {
			d.problems.wrong(shown(path), fmt.Sprintf("the entries are numbered from 0 without gaps, and %s is not set.", shown(at)))
			return
		}
		element := reflect.New(v.Type().Elem()).Elem()
		setDefaults(element)
		d.section(element, at)
		v.Set(reflect.Append(v, element))
	}
}

// secret takes a secret's text, or reads it from its file, whose name it returns.
func (d *decoder) secret(v reflect.Value, path string) string {
	fileAt := path + fileSuffix
	switch {
	case d.layers.merged.Exists(path):
		if text, ok := d.text(path); ok {
			v.Set(reflect.ValueOf(planet.Secret(text)))
		}
	case d.layers.merged.Exists(fileAt):
		name, ok := d.text(fileAt)
		if !ok || name == "" {
			return ""
		}
		name = d.resolve(name, fileAt)
		secret, err := ReadSecret(name)
		if err != nil {
			d.problems.wrong(shown(fileAt), err.Error())
			return ""
		}
		d.secrets = append(d.secrets, secretFile{path: shown(fileAt), name: name})
		v.Set(reflect.ValueOf(secret))
		return name
	}
	return ""
}

// text returns a setting that must be text. A number is refused, not converted: YAML
// has already dropped its leading zeros or made an exponent of its letter e.
func (d *decoder) text(path string) (string, bool) {
	text, ok := d.layers.merged.Get(path).(string)
	if !ok {
		d.problems.wrong(shown(path), "is not text to YAML; put it in quotes.")
	}
	return text, ok
}

// value sets one setting and checks its bounds.
func (d *decoder) value(v reflect.Value, f reflect.StructField, path string) {
	switch raw := d.layers.merged.Get(path).(type) {
	case string:
		if err := setText(v, raw); err != nil {
			d.problems.wrong(shown(path), err.Error()+".")
			return
		}
	case bool:
		if v.Kind() != reflect.Bool {
			d.problems.wrong(shown(path), wantOf(v))
			return
		}
		v.SetBool(raw)
	case float64:
		if v.Kind() != reflect.Float64 {
			d.problems.wrong(shown(path), wantOf(v))
			return
		}
		v.SetFloat(raw)
	case int:
		if v.Kind() == reflect.Float64 {
			v.SetFloat(float64(raw))
			break
		}
		if v.Kind() != reflect.Int {
			d.problems.wrong(shown(path), wantOf(v))
			return
		}
		v.SetInt(int64(raw))
	case []any:
		if v.Kind() != reflect.Slice {
			d.problems.wrong(shown(path), "is a list, "+wantOf(v))
			return
		}
		if !d.elements(v, raw, path) {
			return
		}
	default:
		d.problems.wrong(shown(path), wantOf(v))
		return
	}
	if f.Tag.Get("path") == "yes" && v.String() != "" {
		v.SetString(d.resolve(v.String(), path))
	}
	written, isText := d.layers.merged.Get(path).(string)
	if !isText {
		written = show(v)
	}
	if message := outOfBounds(v, f.Tag, written); message != "" {
		d.problems.wrong(shown(path), message)
	}
}

// elements sets a list of plain values.
func (d *decoder) elements(v reflect.Value, raw []any, path string) bool {
	if len(raw) == 0 {
		v.SetZero() // as if it came from an empty variable
		return true
	}
	list := reflect.MakeSlice(v.Type(), len(raw), len(raw))
	for i, entry := range raw {
		text, ok := entry.(string)
		if !ok {
			d.problems.wrong(shown(path), fmt.Sprintf("entry %d is not text to YAML; put it in quotes.", i))
			return false
		}
		if err := setText(list.Index(i), text); err != nil {
			d.problems.wrong(shown(path), err.Error()+".")
			return false
		}
	}
	v.Set(list)
	return true
}

// wantOf says what kind of value a setting takes.
func wantOf(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		return "want a duration with its unit, such as 30s or 1m30s."
	case v.Kind() == reflect.Bool:
		return "want true or false."
	case v.Kind() == reflect.Int:
		return "want a whole number."
	case v.Kind() == reflect.Float64:
		return "want a number, such as 0.1."
	case v.Kind() == reflect.Slice:
		return "want a list."
	default:
		return "want text; put it in quotes."
	}
}

// outOfBounds checks the tags min, max and oneof. The sentence shows a number or duration
// as it was written.
func outOfBounds(v reflect.Value, tag reflect.StructTag, written string) string {
	if words, ok := tag.Lookup("oneof"); ok {
		known := strings.Fields(words)
		for _, value := range each(v) {
			if !slices.Contains(known, value) {
				return quote(value) + ", want " + choice(known) + "."
			}
		}
	}
	low, bounded := tag.Lookup("min")
	if !bounded {
		return ""
	}
	least, most := reflect.New(v.Type()).Elem(), reflect.New(v.Type()).Elem()
	if setText(least, low) != nil || setText(most, tag.Get("max")) != nil {
		panic("config: bounds that do not parse: " + string(tag))
	}
	if v.Int() >= least.Int() && v.Int() <= most.Int() {
		return ""
	}
	return fmt.Sprintf("%s, want %s to %s.", written, low, tag.Get("max"))
}

// choice writes "a, b or c".
func choice(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// each returns a value's text, or that of every element of a list.
func each(v reflect.Value) []string {
	if v.Kind() != reflect.Slice {
		return []string{v.String()}
	}
	var all []string
	for i := range v.Len() {
		all = append(all, v.Index(i).String())
	}
	return all
}

// resolve makes a path in the configuration file relative to that file. Paths from
// variables and flags stay relative to where the process was started.
func (d *decoder) resolve(name, path string) string {
	source, set := d.layers.sources[path]
	if filepath.IsAbs(name) || (set && source != d.file) {
		return filepath.Clean(name)
	}
	return filepath.Join(d.folder, name)
}

// dataPaths puts what belongs into the data folder there.
func (d *decoder) dataPaths(c *Config) {
	for _, name := range []*string{&c.Database.Path, &c.Public.TLS.ACME.CacheDir} {
		if !filepath.IsAbs(*name) {
			*name = filepath.Join(c.DataDir, *name)
		}
	}
}

// durationText writes a duration without the zero units that its String adds.
func durationText(t time.Duration) string {
	text := t.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
