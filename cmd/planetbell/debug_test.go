package main

import (
	"strings"
	"testing"
)

func TestDebugUser(t *testing.T) {
	s := newServer(t)
	url := s.start()
	if r := ask(t, url, "debug", "user", "bob"); r.err == nil || !strings.Contains(r.err.Error(), "--project") {
		t.Errorf("two projects: error %v", r.err)
	}
	r := ask(t, url, "debug", "user", "bob", "--project", "main", "--minutes", "20").ok(t)
	if !strings.Contains(r.stdout, "everything about calls to bell-eval/bob until") {
		t.Errorf("%s", r.stdout)
	}
	if r := ask(t, url, "debug", "list").ok(t); !strings.Contains(r.stdout, "bell-eval/bob") {
		t.Errorf("%s", r.stdout)
	}
	if r := ask(t, url, "debug", "user", "bob", "--project", "main", "--minutes", "61"); r.err == nil || !strings.Contains(r.err.Error(), "1 to 60") {
		t.Errorf("error %v", r.err)
	}
	ask(t, url, "debug", "stop", "bob", "--project", "main").ok(t)
	if r := ask(t, url, "debug", "stop", "bob", "--project", "main"); r.err == nil {
		t.Error("stopped twice")
	}
	if r := ask(t, url, "debug", "list").ok(t); !strings.Contains(r.stderr, "There is none") {
		t.Errorf("%s%s", r.stdout, r.stderr)
	}
}
