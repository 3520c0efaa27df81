package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestHashPassword(t *testing.T) {
	password := testlog.TextSecret("password-of-alice")
	for _, stdin := range []string{password, password + "\n", password + "\r\nmore\n"} {
		r := command{stdin: stdin, args: []string{"admin", "hash-password"}}.run(t).ok(t)
		hash, err := bell.ParsePasswordHash(planet.Secret(strings.TrimSuffix(r.stdout, "\n")))
		if err != nil || hash.Memory != 64<<10 || r.stderr != "" {
			t.Errorf("%v, %+v", err, hash)
		}
		r.noSecrets(t)
	}
	for _, stdin := range []string{"", "short", "\n" + password, strings.Repeat("x", 1025) + "\n", strings.Repeat("x", 5000)} {
		r := command{stdin: stdin, args: []string{"admin", "hash-password"}}.run(t)
		r.fails(t, "want 15 to 1024 characters")
	}
}

func TestAdminToken(t *testing.T) {
	seen := map[string]bool{}
	for range 3 {
		r := command{args: []string{"admin", "token"}}.run(t).ok(t)
		words := strings.Fields(r.stdout)
		if len(words) != 4 || words[0] != "token" || words[2] != "token_sha256" || seen[words[1]] {
			t.Fatalf("%q", words)
		}
		seen[words[1]] = true
		sum := sha256.Sum256([]byte(words[1]))
		if words[3] != hex.EncodeToString(sum[:]) || len(words[1]) < 40 || !strings.HasPrefix(words[1], "pba_") {
			t.Error("the hash is not the token's, or the token is short")
		}
	}
}

// audited is an audit log in memory, newest first.
type audited struct{ entries []audit.Entry }

func (a *audited) Audit(_ context.Context, e audit.Entry) error {
	a.entries = append([]audit.Entry{e}, a.entries...)
	return nil
}

func (a *audited) AuditLog(_ context.Context, f audit.Filter, _ audit.Cursor, limit int) (found []audit.Entry, _ error) {
	for _, e := range a.entries {
		if len(found) < limit && (f.Who == "" || f.Who == e.Who) && strings.HasPrefix(e.Action, f.Action) {
			found = append(found, e)
		}
	}
	return found, nil
}

func TestAuditList(t *testing.T) {
	base := newServer(t).start()
	ask(t, base, "device", "remove", phone).ok(t)
	r := ask(t, base, "audit", "list", "--who", "admin.token", "--action", "device").ok(t)
	for _, part := range []string{"WHEN", "admin.token", "admin", "token", "127.0.0.1", "device.remove", "done", "removed_device=" + phone} {
		if !strings.Contains(r.stdout, part) {
			t.Errorf("%q is not in\n%s", part, r.stdout)
		}
	}
	r = ask(t, base, "audit", "list", "--who", "nobody").ok(t)
	if r.stdout != "" || r.stderr != "There is no such entry.\n" {
		t.Errorf("%q, %q", r.stdout, r.stderr)
	}
	var list console.AuditList
	if err := json.Unmarshal([]byte(ask(t, base, "audit", "list", "--limit", "1", "--json").ok(t).stdout), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Entries) != 1 || list.Entries[0].Action != "device.remove" {
		t.Errorf("%+v", list)
	}
	ask(t, base, "audit", "list", "--outcome", "good").fails(t, "want done, refused or failed")
	ask(t, base, "audit", "list", "--limit", "0").fails(t, "want at least 1")
}

// On the server's machine the commands find a token by themselves: the one that may do most.
func TestOwnToken(t *testing.T) {
	tokens := []config.AdminToken{
		{Token: "viewer", Role: bell.Viewer}, {TokenSHA256: "hash", Role: bell.Admin}, {Token: "operator", Role: bell.Operator}, {Token: "other", Role: bell.Operator},
	}
	for _, c := range []struct {
		admin         config.Admin
		token, source string
	}{
		{config.Admin{}, "", "admin.token"},
		{config.Admin{Token: "main", Tokens: tokens}, "main", "admin.token"},
		{config.Admin{Tokens: tokens}, "operator", "admin.tokens[2]"},
		{config.Admin{Tokens: tokens[1:2]}, "", "admin.token"},
	} {
		if token, source := ownToken(&c.admin); token.Reveal() != c.token || source != c.source {
			t.Errorf("%q from %s, want %q from %s", token.Reveal(), source, c.token, c.source)
		}
	}
}
