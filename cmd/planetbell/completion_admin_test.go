package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// offered are the words that the shell would offer after these, without descriptions.
func offered(t *testing.T, environ []string, words ...string) []string {
	t.Helper()
	r := command{args: append([]string{"__complete"}, words...), environ: environ}.run(t).ok(t)
	r.noSecrets(t)
	var found []string
	for line := range strings.Lines(r.stdout) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, ":") {
			word, _, _ := strings.Cut(line, "\t")
			found = append(found, word)
		} else if line != ":4" {
			t.Errorf("completion directive %s: files are offered too", line)
		}
	}
	return found
}

func TestCompletion(t *testing.T) {
	s := newServer(t)
	s.devices, s.calls = someDevices(), someCalls()
	url := "--admin-url=" + s.start()
	token := []string{"PLANETBELL_ADMIN_TOKEN=" + adminToken.Reveal()}
	tests := []struct {
		name  string
		words []string
		want  []string
	}{
		{"channels to list", []string{"device", "list", url, "--channel", ""}, []string{"apns_voip", "apns_alert", "fcm", "web_push", "longpoll"}},
		{"channels to add", []string{"device", "add", url, "--channel", ""}, []string{"apns_voip", "apns_alert", "fcm", "web_push"}},
		{"environments", []string{"call", "show", url, "--environment", ""}, []string{"evaluation", "real"}},
		{"APNs servers", []string{"device", "add", url, "--apns-server", ""}, []string{"production", "sandbox"}},
		{"projects", []string{"token", "mint", url, "--project", ""}, []string{"main", "live"}},
		{"users", []string{"token", "mint", url, "--user", ""}, []string{"bob", "carol", "dave"}},
		{"users with a beginning", []string{"call", "list", url, "--user", "c"}, []string{"carol"}},
		{"devices", []string{"device", "remove", url, ""}, []string{phone, pad, desk}},
		{"devices not yet named", []string{"device", "remove", url, phone, ""}, []string{pad, desk}},
		{"devices with a beginning", []string{"device", "remove", url, phone[:35] + "2"}, []string{pad}},
		{"calls", []string{"call", "show", url, ""}, []string{"a1", string(sid), "b2"}},
		{"calls in capitals", []string{"call", "show", url, "9A1"}, []string{string(sid)}},
		{"one call is enough", []string{"call", "show", url, "a1", ""}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, offered(t, token, test.words...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCompletionWithoutServerOffersNothingAndSaysNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	s := newServer(t)
	for _, args := range [][]string{
		{"device", "remove", ""},                             // no configuration
		{"device", "remove", "--admin-url=" + s.start(), ""}, // no token
		{"call", "show", "--admin-url=http://127.0.0.1:1", ""},
	} {
		if got := offered(t, nil, args...); got != nil {
			t.Errorf("%v: offered %v", args, got)
		}
	}
}
