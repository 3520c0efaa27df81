package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// mint does not look for secrets: printing one is what the command is for.
func mint(t *testing.T, base string, args ...string) result {
	t.Helper()
	return command{
		args:    append([]string{"token", "mint", "--admin-url", base}, args...),
		environ: []string{"PLANETBELL_ADMIN_TOKEN=" + adminToken.Reveal()},
	}.run(t)
}

func TestMintPrintsTheTokenAndNothingElse(t *testing.T) {
	s := newServer(t)
	s.minted = planet.Secret(testlog.TextSecret("minted"))
	r := mint(t, s.start(), "--project", "main", "--user", "alice")
	if r.err != nil || r.stderr != "" {
		t.Fatalf("error %v, standard error %q", r.err, r.stderr)
	}
	if r.stdout != s.minted.Reveal()+"\n" {
		t.Error("standard output is not the token and a line feed")
	}
	wantAsked(t, s, "mint main alice")
}

func TestMintJSON(t *testing.T) {
	s := newServer(t)
	s.minted = planet.Secret(testlog.TextSecret("minted"))
	r := mint(t, s.start(), "--project", "live", "--user", "alice", "--json")
	var got console.AccessToken
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil || r.err != nil {
		t.Fatalf("%v, %v", r.err, err)
	}
	if got.AccessToken.Secret != s.minted || got.Project != "live" || got.ServiceID != "bell-real" || got.UserID != "alice" || !got.IssuedAt.Equal(noon) {
		t.Errorf("got %+v", got)
	}
}

func TestMintRefused(t *testing.T) {
	s := newServer(t)
	base := s.start()
	ask(t, base, "token", "mint", "--project", "main").fails(t, "say for whom: --project NAME --user ID")
	ask(t, base, "token", "mint", "--user", "alice").fails(t, "say for whom")
	ask(t, base, "token", "mint", "--project", "moon", "--user", "alice").fails(t, `there is no project "moon"; there is: main, live`)
	ask(t, base, "token", "mint", "alice").fails(t, "unknown command")
	s.fail = bell.E(bell.Invalid, "user ID: no spaces.", nil)
	ask(t, base, "token", "mint", "--project", "main", "--user", "a b").fails(t, "user ID: no spaces.")
}

func TestGroupsShowTheirHelp(t *testing.T) {
	for _, group := range []string{"token", "device", "call"} {
		r := command{args: []string{group}}.run(t).ok(t)
		if !strings.Contains(r.stdout, "Available Commands:") || !strings.Contains(r.stdout, "--admin-url") {
			t.Errorf("planetbell %s prints %q", group, r.stdout)
		}
		testlog.Keep(t, "help", r.stdout)
	}
}
