package config

import (
	"strings"
	"testing"
)

func TestCalleeOfANode(t *testing.T) {
	c := Canary{CalleeUserID: "callee"}
	a, b := c.CalleeOf("a"), c.CalleeOf("b")
	if c.CalleeOf("") != "callee" || a == b || len(a) != len("callee")+nodeDigits || a != c.CalleeOf("a") || !strings.HasPrefix(a, "callee-") {
		t.Errorf("%q, %q, %q", c.CalleeOf(""), a, b)
	}
}

func TestCanaryBase(t *testing.T) {
	p := Public{BaseURL: "https://calls.example.com/"}
	for given, want := range map[string]string{"": "https://calls.example.com", "https://proxy.example.com/x/": "https://proxy.example.com/x"} {
		if got := (&Canary{CallbackURL: given}).Base(p); got != want {
			t.Errorf("%q: %s", given, got)
		}
	}
}

func TestCanaries(t *testing.T) {
	one := func(fields string) string { return "canaries: [{" + fields + "}]\n" }
	checkAll(t, []rule{
		{name: "whole", yaml: one(`name: a, project: main, caller_user_id: x, callee_user_id: y, every: 1m, timeout: 50s, callback_url: "https://proxy.example.com/x"`)},
		{name: "nothing", yaml: one(`every: 2m`), errors: []string{
			"canaries[0].callee_user_id: the user ID is empty; give 1 to 64 characters.",
			"canaries[0].caller_user_id: the user ID is empty; give 1 to 64 characters.",
			`canaries[0].name: "", want 1 to 32 of a-z, 0-9 and hyphen, beginning with a letter or digit.`, `canaries[0].project: "" is not the name of a project.`,
		}},
		{name: "itself", yaml: one(`name: a, project: main, caller_user_id: x, callee_user_id: x`), errors: []string{
			"canaries[0].callee_user_id: is the same as caller_user_id; nobody calls themselves.",
		}},
		{name: "in the clear, and out of bounds", yaml: one(`name: a, project: main, caller_user_id: x, callee_user_id: y, callback_url: "http://calls.example.com", every: 59s, timeout: 51s`), errors: []string{
			"canaries[0].callback_url: want https; plain http is for a fake on the same machine.",
			"canaries[0].every: 59s, want 1m to 24h.", "canaries[0].timeout: 51s, want 1s to 50s.",
		}},
		{
			name: "two alike", yaml: "canaries: [{name: a, project: main, caller_user_id: x, callee_user_id: y}, {name: a, project: main, caller_user_id: z, callee_user_id: y}]\n",
			errors: []string{
				"canaries[1].callee_user_id: is also that of canaries[0]; each needs a callee of its own.",
				`canaries[1].name: "a" is also the name of canaries[0]; give each its own.`,
			},
		},
	})
}
