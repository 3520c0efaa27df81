package planet

import (
	"errors"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/testlog"
)

func TestParseQuery(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     url.Values
		problem  string
	}{
		{"empty", "", url.Values{}, ""},
		{"two", "sid=1&type=A", url.Values{"sid": {"1"}, "type": {"A"}}, ""},
		{"decoded once", "param=%2B%2F%3D%252B", url.Values{"param": {"+/=%2B"}}, ""},
		{"plus is a space", "stid=a+b", url.Values{"stid": {"a b"}}, ""},
		{"raw equals signs", "param=abc==", url.Values{"param": {"abc=="}}, ""},
		{"semicolon is ordinary", "stid=a;b&x=1", url.Values{"stid": {"a;b"}, "x": {"1"}}, ""},
		{"repeated", "a=1&b=2&a=3&a=4", url.Values{"a": {"1", "3", "4"}, "b": {"2"}}, ""},
		{"no value", "a&b=", url.Values{"a": {""}, "b": {""}}, ""},
		{"no name", "=1", url.Values{"": {"1"}}, ""},
		{"stray ampersands", "&&a=1&", url.Values{"a": {"1"}}, ""},
		{"encoded name", "user%5Fid=1", url.Values{"user_id": {"1"}}, ""},
		{"UTF-8", "display_name=%E3%82%A2", url.Values{"display_name": {"ア"}}, ""},
		{"broken escape", "stid=%ZZ", nil, `parameter "stid" of the callback is not percent-encoded`},
		{"cut escape", "stid=%4", nil, "is not percent-encoded"},
		{"broken name", "%ZZ=1", nil, "parameter name that is not percent-encoded"},
		{"long name", strings.Repeat("n", 129) + "=1", nil, "parameter name of more than 128 bytes"},
		{"most parameters", strings.Repeat("a=1&", 127) + "b=1", url.Values{"a": repeat("1", 127), "b": {"1"}}, ""},
		{"too many parameters", strings.Repeat("&", 128), nil, "too many parameters"},
		{"too long", "a=" + strings.Repeat("x", 64<<10), nil, "has 65538 bytes of parameters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseQuery(c.in)
			wantParameterError(t, err, c.problem)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A caller may append to what it got; that must not reach another parameter.
func TestParseQueryValuesShareNothing(t *testing.T) {
	values, err := ParseQuery("a=1&b=2&c=3")
	if err != nil {
		t.Fatal(err)
	}
	values.Add("a", "x")
	values.Add("b", "y")
	if diff := cmp.Diff(url.Values{"a": {"1", "x"}, "b": {"2", "y"}, "c": {"3"}}, values); diff != "" {
		t.Error(diff)
	}
}

func TestParseQueryReadsWhatURLWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := url.Values(rapid.MapOfN(rapid.StringN(0, 20, 100), rapid.SliceOfN(rapid.String(), 1, 4), 0, 20).Draw(t, "values"))
		got, err := ParseQuery(want.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestParseBody(t *testing.T) {
	const form, object = "application/x-www-form-urlencoded", "application/json"
	for _, c := range []struct {
		name, contentType, body string
		want                    url.Values
		problem                 string
	}{
		{"form", form, "sid=1&type=A", url.Values{"sid": {"1"}, "type": {"A"}}, ""},
		{"form with charset", form + "; charset=UTF-8", "a=1", url.Values{"a": {"1"}}, ""},
		{"form without type", "", "a=%2B", url.Values{"a": {"+"}}, ""},
		{"empty", object, " \n", url.Values{}, ""},
		{"empty object", object, "{}", url.Values{}, ""},
		{
			"scalars", object, `{"sid":"1","duration":30,"f":1.5,"ok":true,"no":false,"null":null}`,
			url.Values{"sid": {"1"}, "duration": {"30"}, "f": {"1.5"}, "ok": {"true"}, "no": {"false"}},
			"",
		},
		{"large number keeps its digits", object, `{"ts":1599463610820123456}`, url.Values{"ts": {"1599463610820123456"}}, ""},
		{"first of a repeated name is first", object, `{"a":"1","a":"2"}`, url.Values{"a": {"1", "2"}}, ""},
		{"without type", "", `{"a":"1"}`, url.Values{"a": {"1"}}, ""},
		{"other JSON type", "application/problem+json; charset=utf-8", `{"a":"1"}`, url.Values{"a": {"1"}}, ""},
		{"plus stays", object, `{"param":"a+b/=="}`, url.Values{"param": {"a+b/=="}}, ""},
		{"nested object", object, `{"a":{"b":1}}`, nil, `parameter "a" of the callback is an object or a list`},
		{"list", object, `{"a":[1]}`, nil, "is an object or a list"},
		{"not an object", object, `["a"]`, nil, "not one JSON object"},
		{"text", object, `"a"`, nil, "not one JSON object"},
		{"cut", object, `{"a":"1"`, nil, "not one JSON object"},
		{"cut value", object, `{"a":`, nil, "not one JSON object"},
		{"cut name", object, `{"a`, nil, "not one JSON object"},
		{"second document", object, `{"a":"1"}{}`, nil, "not one JSON object"},
		{"number as name", object, `{1:2}`, nil, "not one JSON object"},
		{"broken", object, `{"a":tru}`, nil, "not one JSON object"},
		{"long name", object, `{"` + strings.Repeat("n", 129) + `":1}`, nil, "name of more than 128 bytes"},
		{"too many", object, "{" + strings.Repeat(`"a":1,`, 128) + `"b":1}`, nil, "too many parameters"},
		{"other type", "text/plain", "a=1", nil, "neither a form nor JSON"},
		{"unreadable type", "a/b/c;;", "a=1", nil, "Content-Type header that cannot be read"},
		{"broken form", form, "a=%", nil, "is not percent-encoded"},
		{"too long", form, strings.Repeat("x", 64<<10+1), nil, "body of 65537 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseBody(c.contentType, []byte(c.body))
			wantParameterError(t, err, c.problem)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is wrong with a body must be said without quoting it: it may hold param.
func TestDecodingErrorsDoNotQuote(t *testing.T) {
	secret := testlog.CCParam(3)
	for i, body := range []string{
		`{"param":"` + secret,
		`{"param":` + secret + `}`,
		`{"param":["` + secret + `"]}`,
		`"` + secret + `"`,
		secret,
		"param=" + secret + "%ZZ",
		"param=" + secret + strings.Repeat("&", 200),
	} {
		for _, contentType := range []string{"application/json", "application/x-www-form-urlencoded", "text/plain"} {
			_, err := ParseBody(contentType, []byte(body))
			if err == nil {
				continue
			}
			testlog.Keep(t, strconv.Itoa(i), err.Error())
			if strings.Contains(err.Error(), testlog.Text) {
				t.Errorf("body %d as %s: the error quotes the secret", i, contentType)
			}
		}
	}
}

func TestParameterError(t *testing.T) {
	for _, c := range []struct {
		err  ParameterError
		want string
	}{
		{ParameterError{"Notify", "sid", "is missing"}, `parameter "sid" of the Notify callback is missing`},
		{ParameterError{"", "sid", "is missing"}, `parameter "sid" of the callback is missing`},
		{ParameterError{"Call Event", "", "has too many"}, "the Call Event callback has too many"},
		{ParameterError{"", "a\nb", "is wrong"}, `parameter "a\nb" of the callback is wrong`},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

// wantParameterError is wantProblem for errors that callers tell apart by type.
func wantParameterError(t testing.TB, err error, problem string) {
	t.Helper()
	wantProblem(t, err, problem)
	var p *ParameterError
	if err != nil && !errors.As(err, &p) {
		t.Errorf("error %v is a %T, not a *ParameterError", err, err)
	}
}

func repeat(text string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = text
	}
	return all
}
