package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/planet"
)

// everyField calls visit for every field of the schema, sections and lists included.
func everyField(t reflect.Type, visit func(owner reflect.Type, f reflect.StructField)) {
	for _, f := range fields(t) {
		visit(t, f)
		switch {
		case isSection(f.Type):
			everyField(f.Type, visit)
		case isList(f.Type):
			everyField(f.Type.Elem(), visit)
		}
	}
}

func TestTagsAreWhole(t *testing.T) {
	form := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	everyField(configType, func(owner reflect.Type, f reflect.StructField) {
		name := owner.Name() + "." + f.Name
		if !form.MatchString(key(f)) {
			t.Errorf("%s: key %q, want lower case with underscores", name, key(f))
		}
		_, low := f.Tag.Lookup("min")
		_, high := f.Tag.Lookup("max")
		if low != high {
			t.Errorf("%s has one bound, want both", name)
		}
		if f.Type == secretType && f.Tag.Get("default") != "" {
			t.Errorf("%s: a secret has no default, everybody would know it", name)
		}
		switch path := f.Tag.Get("path"); path {
		case "", "yes", "data":
		default:
			t.Errorf("%s: path %q is not understood", name, path)
		}
		if strings.HasSuffix(key(f), "_file") && f.Tag.Get("path") != "yes" {
			t.Errorf("%s names a file that would not be found beside the configuration", name)
		}
		value := reflect.New(f.Type).Elem()
		if text, ok := f.Tag.Lookup("default"); ok {
			if err := setText(value, text); err != nil {
				t.Errorf("%s: default %q: %v", name, text, err)
			}
			if message := outOfBounds(value, f.Tag, text); message != "" {
				t.Errorf("%s: its default is %s", name, message)
			}
		} else if low && !isSection(f.Type) {
			t.Errorf("%s has bounds and no default", name)
		}
	})
}

// The structs are the reference of every setting, so each field says what it is for, and
// its bounds as people write them.
func TestEveryFieldIsExplained(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "config.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			return true
		}
		for _, f := range fields.Fields.List {
			name := f.Names[0].Name
			if _, section := f.Type.(*ast.Ident); section && name == f.Type.(*ast.Ident).Name {
				continue // its type explains it
			}
			count++
			if !strings.HasPrefix(f.Doc.Text(), name+" ") {
				t.Errorf("%s.%s: its comment does not begin with its name", spec.Name, name)
			}
		}
		return true
	})
	if count < 40 {
		t.Errorf("%d fields found, there are more", count)
	}
}

func TestTextBecomesAValue(t *testing.T) {
	var (
		text     string
		number   int
		flag     bool
		duration time.Duration
		secret   planet.Secret
		prefix   netip.Prefix
		words    []string
		prefixes []netip.Prefix
	)
	for _, test := range []struct {
		into any
		text string
		want any
	}{
		{&text, "x y", "x y"},
		{&text, "", ""},
		{&number, "-17", -17},
		{&flag, "true", true},
		{&flag, "false", false},
		{&duration, "1m30s", 90 * time.Second},
		{&duration, "0s", time.Duration(0)},
		{&secret, "CANARY", planet.Secret("CANARY")},
		{&prefix, "10.1.2.3/8", netip.MustParsePrefix("10.0.0.0/8")},
		{&prefix, "192.0.2.1", netip.MustParsePrefix("192.0.2.1/32")},
		{&prefix, "::1", netip.MustParsePrefix("::1/128")},
		{&words, "a, b,,c ", []string{"a", "b", "c"}},
		{&words, "", []string(nil)},
		{&prefixes, "10.0.0.1,fd00::/8", []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32"), netip.MustParsePrefix("fd00::/8")}},
	} {
		v := reflect.ValueOf(test.into).Elem()
		if err := setText(v, test.text); err != nil {
			t.Errorf("%q as %s: %v", test.text, v.Type(), err)
			continue
		}
		if !reflect.DeepEqual(v.Interface(), test.want) {
			t.Errorf("%q as %s: %v, want %v", test.text, v.Type(), v.Interface(), test.want)
		}
	}
}

func TestTextThatIsNoValue(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, test := range []struct {
		into any
		text string
		want string
	}{
		{new(int), "1e3", `"1e3", want a whole number`},
		{new(int), "", `"", want a whole number`},
		{new(bool), "TRUE", `"TRUE", want true or false`},
		{new(time.Duration), "60", `"60", want a duration with its unit, such as 30s or 1m30s`},
		{new(time.Duration), long, `"` + long[:60] + `"..., want a duration with its unit, such as 30s or 1m30s`},
		{new(netip.Prefix), "10.0.0", `"10.0.0", want an address or a range such as 10.0.0.0/8`},
		{new([]netip.Prefix), "10.0.0.1,x", `"x", want an address or a range such as 10.0.0.0/8`},
	} {
		v := reflect.ValueOf(test.into).Elem()
		if err := setText(v, test.text); err == nil || err.Error() != test.want {
			t.Errorf("%q as %s: %v, want %s", test.text, v.Type(), err, test.want)
		}
	}
}

func TestDefaultsDoNotShareMemory(t *testing.T) {
	a, b := DefaultAPNs(), DefaultAPNs()
	a.Servers[0] = "changed"
	if b.Servers[0] == "changed" {
		t.Error("two credentials share their list of servers")
	}
}
