package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// Default returns a Config with every default and no project.
func Default() Config {
	var c Config
	setDefaults(reflect.ValueOf(&c).Elem())
	return c
}

// DefaultProject returns a Project with every default.
func DefaultProject() Project {
	var p Project
	setDefaults(reflect.ValueOf(&p).Elem())
	return p
}

// DefaultAPNs returns an APNs credential with every default.
func DefaultAPNs() APNs {
	var a APNs
	setDefaults(reflect.ValueOf(&a).Elem())
	return a
}

// setDefaults fills a struct from its default tags. A tag that does not parse is a
// mistake in this package, found by its first test.
func setDefaults(v reflect.Value) {
	for _, f := range fields(v.Type()) {
		field := v.FieldByIndex(f.Index)
		if isSection(f.Type) {
			setDefaults(field)
			continue
		}
		text, ok := f.Tag.Lookup("default")
		if !ok {
			continue
		}
		if err := setText(field, text); err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", f.Name, err))
		}
	}
}

// isSection reports whether a field holds further settings rather than a value.
func isSection(t reflect.Type) bool { return t.Kind() == reflect.Struct && t != prefixType }

// isList reports whether a field is a list of sections.
func isList(t reflect.Type) bool { return t.Kind() == reflect.Slice && isSection(t.Elem()) }

var (
	durationType = reflect.TypeFor[time.Duration]()
	secretType   = reflect.TypeFor[planet.Secret]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
)

// setText sets a value from text, as it comes from the environment, a flag or a tag.
// Lists are separated by commas.
func setText(v reflect.Value, text string) error {
	if v.Kind() == reflect.Slice {
		v.SetZero()
		for part := range strings.SplitSeq(text, ",") {
			if part = strings.TrimSpace(part); part == "" {
				continue
			}
			element := reflect.New(v.Type().Elem()).Elem()
			if err := setText(element, part); err != nil {
				return err
			}
			v.Set(reflect.Append(v, element))
		}
		return nil
	}
	switch {
	case v.Type() == durationType:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("%s, want a duration with its unit, such as 30s or 1m30s", quote(text))
		}
		v.SetInt(int64(d))
	case v.Type() == prefixType:
		p, err := parsePrefix(text)
		if err != nil {
			return fmt.Errorf("%s, want an address or a range such as 10.0.0.0/8", quote(text))
		}
		v.Set(reflect.ValueOf(p))
	case v.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return fmt.Errorf("%s, want true or false", quote(text))
		}
		v.SetBool(text == "true")
	case v.Kind() == reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%s, want a whole number", quote(text))
		}
		v.SetInt(int64(n))
	case v.Kind() == reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%s, want a number such as 0.1", quote(text))
		}
		v.SetFloat(n)
	default:
		v.SetString(text)
	}
	return nil
}

// parsePrefix takes "10.0.0.0/8" and also a single address.
func parsePrefix(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("parse prefix: %w", err)
	}
	return p.Masked(), nil
}

// quote shows a wrong value in a sentence, cut to a length that fits one line.
func quote(text string) string {
	const most = 60
	if len(text) > most {
		return strconv.Quote(text[:most]) + "..."
	}
	return strconv.Quote(text)
}
