package serverapi

import (
	"encoding/json"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/planetbell/planetbell/planet"
)

// The form of an error's body is not documented (docs/line-planet.md 11 no. 22).
func TestParseProblem(t *testing.T) {
	for _, c := range []struct{ body, code, message string }{
		{`{"message":"m","code":"C","status":"S"}`, "C", "m"},
		{`{"message":"m","status":"S"}`, "S", "m"},
		{`{"message":"m","code":4010}`, "4010", "m"},
		{`{"message":"m","status":401}`, "401", "m"},
		{`{"message":{"a":1},"code":[1]}`, "", `{"message":{"a":1},"code":[1]}`},
		{`{"error":"e"}`, "", `{"error":"e"}`},
		{`"ApiKey not found"`, "", `"ApiKey not found"`},
		{`ApiKey not found`, "", `ApiKey not found`},
		{"a\r\n\tb\x00\x1b[31m\xff", "", "a   b[31m"},
		{` `, "", ""},
		{``, "", ""},
		{`null`, "", "null"},
	} {
		if code, message := parseProblem([]byte(c.body)); code != c.code || message != c.message {
			t.Errorf("%q: %q, %q", c.body, code, message)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"data":{"sid":"151AD995-749C-4A28-893F-636700469DB1"}}`, `{"sid":"a"}`, `{"message":"m","code":1,"status":"s"}`,
		`ApiKey not found`, `{"data":"x","sid":7}`, `[]`, "\xff\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		code, message := parseProblem(body)
		for text, limit := range map[string]int{code: maxCode, message: maxProblem} {
			if len(text) > limit && code != message || !utf8.ValidString(text) {
				t.Errorf("%d bytes: %q", len(text), text)
			}
			for _, r := range text {
				if !unicode.IsPrint(r) {
					t.Errorf("%q is not printable", r)
				}
			}
		}
		sid, err := parseSession(body)
		if err != nil {
			return
		}
		if again, err := planet.ParseSessionID(string(sid)); err != nil || again != sid || !json.Valid(body) {
			t.Errorf("%q is no session ID: %v", sid, err)
		}
	})
}
