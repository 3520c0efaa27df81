package policy

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func TestAnswers(t *testing.T) {
	field := func(key, value string) map[string]string { return map[string]string{key: value} }
	long := strings.Repeat("x", maxFieldValue)
	for _, test := range []struct {
		body    string
		want    bell.Decision
		dropped int
	}{
		{"", bell.Decision{}, 0},
		{" \n", bell.Decision{}, 0},
		{"{}", bell.Decision{}, 0},
		{`{"ring":true,"more":[1,{}]}`, bell.Decision{}, 0},
		{`{"ring":null,"reason":"blocked"}`, bell.Decision{}, 0},
		{`{"ring":false}`, bell.Decision{Suppress: bell.SuppressPolicy}, 0},
		{`{"ring":false,"reason":"blocked","caller_name":"x","app_fields":{"app_x":"1"}}`, bell.Decision{Suppress: bell.SuppressBlocked}, 0},
		{`{"ring":false,"reason":"do_not_disturb"}`, bell.Decision{Suppress: bell.SuppressDoNotDisturb}, 0},
		{`{"ring":false,"reason":""}`, bell.Decision{Suppress: bell.SuppressPolicy}, 0},
		{`{"ring":false,"reason":"<script>"}`, bell.Decision{Suppress: bell.SuppressPolicy}, 0},
		{`{"ring":false,"reason":7,"app_fields":{"app_x":[]}}`, bell.Decision{Suppress: bell.SuppressPolicy}, 0},
		{`{"caller_name":"Alice\u0000\u202e\n"}`, bell.Decision{CallerName: "Alice"}, 0},
		{`{"caller_name":{}}`, bell.Decision{}, 0},
		{`{"app_fields":{"app_x":"1"}}`, bell.Decision{AppFields: field("app_x", "1")}, 0},
		{`{"app_fields":{"app_x":"` + long + `"}}`, bell.Decision{AppFields: field("app_x", long)}, 0},
		{`{"app_fields":{"app_x":"` + long + `x","app_y":"1"}}`, bell.Decision{AppFields: field("app_y", "1")}, 1},
		{`{"app_fields":{"app_x":1,"app_y":"","app_":"1","APP_z":"1","x":"1","app_a-b":"1","cc_param":"1","_env":"1","app_call_type":"V","app_bell_x":"1"}}`, bell.Decision{}, 10},
		{`{"app_fields":null}`, bell.Decision{}, 0},
	} {
		got, dropped, err := parseAnswer([]byte(test.body))
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil || dropped != test.dropped {
			t.Errorf("%.60s: %s, dropped %d, error %v", test.body, diff, dropped, err)
		}
	}
	for _, body := range []string{
		`[]`, `"no"`, `null`, `{"ring":"false"}`, `{"ring":0}`, `{"ring":false`, `{"ring":false}{}`, `{"app_fields":[]}`, "<html>",
		`{"x":"` + strings.Repeat("x", maxAnswer) + `"}`,
	} {
		if got, _, err := parseAnswer([]byte(body)); err == nil || !cmp.Equal(got, bell.Decision{}) || strings.Contains(err.Error(), "html") {
			t.Errorf("%.60s: %+v, error %v", body, got, err)
		}
	}
}

func TestOfTooManyFieldsTheSameStay(t *testing.T) {
	var fields []string
	for i := range 40 {
		fields = append(fields, fmt.Sprintf(`"app_%02d":"1"`, i))
	}
	got, dropped, err := parseAnswer([]byte(`{"app_fields":{` + strings.Join(fields, ",") + `}}`))
	if err != nil || dropped != 24 {
		t.Fatalf("dropped %d, error %v", dropped, err)
	}
	if keys := slices.Sorted(maps.Keys(got.AppFields)); len(keys) != 16 || keys[0] != "app_00" || keys[15] != "app_15" {
		t.Errorf("%v", keys)
	}
}

func TestLifeOfAnswers(t *testing.T) {
	const most = 5 * time.Minute
	for value, want := range map[string]time.Duration{
		"": 0, "max-age=10": 10 * time.Second, "private, max-age=60": time.Minute, "Max-Age=\"60\"": time.Minute,
		"max-age=300": most, "max-age=301": most, "max-age=999999999999999999999": 0, "max-age=-1": 0, "max-age=x": 0, "max-age": 0,
		"no-store, max-age=60": 0, "max-age=60, no-cache": 0, "s-maxage=60": 0, "max-age=2147483647": most,
	} {
		if got := lifeOf(http.Header{"Cache-Control": {value}}, most); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	if got := lifeOf(http.Header{"Cache-Control": {"max-age=60"}}, 0); got != 0 {
		t.Errorf("switched off: %v", got)
	}
	if got := lifeOf(http.Header{"Cache-Control": {"max-age=60", "no-store"}}, most); got != 0 {
		t.Errorf("two lines: %v", got)
	}
}

// Whatever comes from outside, what goes on is bounded.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"ring":false,"reason":"blocked"}`))
	f.Add([]byte(`{"caller_name":"\ud800","app_fields":{"app_x":"\u0000","app_y":"y"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, _, err := parseAnswer(body)
		if err != nil && !cmp.Equal(d, bell.Decision{}) {
			t.Errorf("a decision with an error: %+v", d)
		}
		if d.Suppress != bell.RingsAll && !slices.Contains(bell.Suppressions(), d.Suppress) {
			t.Errorf("reason %q", d.Suppress)
		}
		if len(d.CallerName) > bell.MaxText || !utf8.ValidString(d.CallerName) || len(d.AppFields) > planet.MaxAppFields {
			t.Errorf("too much: %+v", d)
		}
		for key, value := range d.AppFields {
			if !planet.ValidAppField(key) || strings.HasPrefix(key, takenPrefix) || value == "" || len(value) > maxFieldValue || !utf8.ValidString(value) || strings.Contains(value, "\x00") {
				t.Errorf("field %q: %q", key, value)
			}
		}
	})
}
