package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/planetbell/planetbell/planet"
)

// Setting is one setting as it is in effect.
type Setting struct {
	Path   string `json:"setting"` // such as projects[0].api_secret
	Env    string `json:"variable"`
	Value  string `json:"value"`  // "<secret>" for a secret that is set
	Source string `json:"source"` // "default", or the file, variable or flag
}

// Redacted returns the configuration as YAML without any secret: each that is set reads
// "<secret>".
func (c Config) Redacted() string { return c.render(nil) }

// String is Redacted, so that no way of printing a Config shows a secret.
func (c Config) String() string { return c.Redacted() }

// YAML returns the effective settings as YAML without any secret, each line that is not a
// default with a comment that says who set it.
func (l *Loaded) YAML() string {
	sources := map[string]string{}
	for _, s := range l.Settings {
		if s.Source != fromDefault {
			sources[s.Path] = "from " + s.Source
		}
	}
	return l.Config.render(sources)
}

const fromDefault = "default"

func (c Config) render(comments map[string]string) string {
	var b strings.Builder
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(node(reflect.ValueOf(c), "", comments)); err != nil {
		return "# these settings cannot be written as YAML\n"
	}
	return b.String()
}

// node turns a value into YAML, in the order of the structs.
func node(v reflect.Value, path string, comments map[string]string) *yaml.Node {
	switch {
	case isSection(v.Type()):
		section := &yaml.Node{Kind: yaml.MappingNode}
		for _, f := range fields(v.Type()) {
			child := node(v.FieldByIndex(f.Index), join(path, key(f)), comments)
			section.Content = append(section.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key(f)}, child)
		}
		return section
	case v.Kind() == reflect.Slice:
		list := &yaml.Node{Kind: yaml.SequenceNode}
		if !isList(v.Type()) {
			list.Style, list.LineComment = yaml.FlowStyle, comments[path]
		} else if v.Len() == 0 {
			list.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			list.Content = append(list.Content, node(v.Index(i), fmt.Sprintf("%s[%d]", path, i), comments))
		}
		return list
	default:
		scalar := &yaml.Node{Kind: yaml.ScalarNode, Value: show(v), LineComment: comments[path]}
		if v.Kind() == reflect.String {
			scalar.Tag = "!!str"
		}
		return scalar
	}
}

// show prints one value; this is the only place that turns settings into text.
func show(v reflect.Value) string {
	switch value := v.Interface().(type) {
	case planet.Secret:
		return value.String()
	case time.Duration:
		return durationText(value)
	case netip.Prefix:
		return value.String()
	}
	if v.Kind() == reflect.Slice {
		var parts []string
		for i := range v.Len() {
			parts = append(parts, show(v.Index(i)))
		}
		return strings.Join(parts, ",")
	}
	text := fmt.Sprint(v.Interface())
	// A URL must not hold a password; one that does all the same is not shown.
	if scheme, rest, isURL := strings.Cut(text, "://"); isURL {
		if at := strings.LastIndex(rest, "@"); at >= 0 {
			return scheme + "://<secret>" + rest[at:]
		}
	}
	return text
}

// settings lists every setting with its source.
func (d *decoder) settings(c *Config) []Setting {
	var all []Setting
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for _, f := range fields(v.Type()) {
			here, field := join(path, key(f)), v.FieldByIndex(f.Index)
			switch {
			case isSection(f.Type):
				walk(field, here)
			case isList(f.Type):
				for n := range field.Len() {
					walk(field.Index(n), fmt.Sprintf("%s.%d", here, n))
				}
			default:
				all = append(all, Setting{Path: shown(here), Env: EnvName(here), Value: show(field), Source: d.source(here)})
			}
		}
	}
	walk(reflect.ValueOf(c).Elem(), "")
	return all
}

// source says who set a setting, and for a secret from a file that it was one.
func (d *decoder) source(path string) string {
	if source, ok := d.layers.sources[path]; ok {
		return source
	}
	if source, ok := d.layers.sources[path+fileSuffix]; ok {
		for _, s := range d.secrets {
			if s.path == shown(path+fileSuffix) {
				return source + ", file " + s.name
			}
		}
		return source
	}
	return fromDefault
}
