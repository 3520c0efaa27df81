package config

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/testlog"
)

func TestPolicyHook(t *testing.T) {
	hook := func(fields string) string { return "    policy_hook: {" + fields + "}\n" }
	secret := func(size int) string {
		return "whsec_" + base64.StdEncoding.EncodeToString([]byte(testlog.TextSecret(strings.Repeat("x", 64)))[:size])
	}
	const form = "projects[0].policy_hook.secret: want \"whsec_\" followed by 24 to 64 bytes in base64; make one with `echo \"whsec_$(openssl rand -base64 32)\"`."
	checkAll(t, []rule{
		{name: "whole", yaml: hook(`url: "https://calls.example.com/may-ring", secret: "` + secret(24) + `", timeout: 1s, cache_max: 0s`)},
		{name: "a fake on this machine", yaml: hook(`url: "http://127.0.0.1:8090", secret: "` + secret(64) + `"`)},
		{name: "no secret", yaml: hook(`url: "https://calls.example.com"`), errors: []string{
			"projects[0].policy_hook.secret: is missing; your endpoint checks with it that questions come from here: make one with `echo \"whsec_$(openssl rand -base64 32)\"`.",
		}},
		{name: "another secret", yaml: hook(`url: "https://calls.example.com", secret: "` + testlog.TextSecret("hook-secret") + `"`), errors: []string{form}},
		{name: "a short secret", yaml: hook(`url: "https://calls.example.com", secret: "` + secret(23) + `"`), errors: []string{form}},
		{name: "a long secret", yaml: hook(`url: "https://calls.example.com", secret: "` + secret(64)[:40] + strings.Repeat("A", 64) + `"`), errors: []string{form}},
		{name: "a secret for nothing", yaml: hook(`secret: "` + secret(24) + `"`), warnings: []string{
			"projects[0].policy_hook.secret: is set, but there is no url: no hook is asked.",
		}},
		{name: "in the clear", yaml: hook(`url: "http://calls.example.com", secret: "` + secret(24) + `"`), errors: []string{
			"projects[0].policy_hook.url: want https; plain http is for a fake on the same machine.",
		}},
		{name: "a query", yaml: hook(`url: "https://calls.example.com/?key=1", secret: "` + secret(24) + `"`), errors: []string{
			"projects[0].policy_hook.url: want a URL of scheme, host and perhaps a path, such as https://push.example.com.",
		}},
	})
}

// A hook that answers late would take the time in which the call rings.
func TestPolicyHookTimes(t *testing.T) {
	for _, fields := range []string{"timeout: 9ms", "timeout: 1001ms", "cache_max: -1s", "cache_max: 61m"} {
		at(t, valid()+"    policy_hook: {"+fields+"}\n")
		if _, err := load(t, Options{}); err == nil || !strings.Contains(err.Error(), "policy_hook."+strings.Split(fields, ":")[0]) {
			t.Errorf("%s: %v", fields, err)
		}
	}
}
