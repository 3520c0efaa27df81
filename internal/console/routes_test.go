package console_test

import (
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/console"
)

// What changes something is in the audit log.
func TestEveryChangingRouteIsAudited(t *testing.T) {
	unsafe := 0
	for _, r := range console.Routes() {
		method, _, _ := strings.Cut(r.Pattern, " ")
		if method == "GET" || method == "HEAD" || r.Harmless {
			continue
		}
		unsafe++
		if noun, verb, found := strings.Cut(r.Action, "."); !found || noun == "" || verb == "" {
			t.Errorf(`%s changes something and has no action for the audit log: register it with does("noun.verb"), or with changesNothing()`, r.Pattern)
		}
	}
	if unsafe < 8 {
		t.Errorf("%d changing routes; the test would prove little", unsafe)
	}
}

func TestEveryRouteHasARole(t *testing.T) {
	for _, r := range console.Routes() {
		if anybody := r.Kind == "open" || r.Kind == "signin"; anybody == r.Least.Valid() {
			t.Errorf("%s is %s and wants role %q", r.Pattern, r.Kind, r.Least)
		}
	}
}
