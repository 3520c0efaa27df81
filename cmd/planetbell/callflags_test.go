package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

func TestCallListFilters(t *testing.T) {
	s := newServer(t)
	s.calls = someCalls()
	base := s.start()
	ask(t, base, "call", "list", "--state", "ended", "--outcome", "push_failed", "--since", "24h", "--until", "2026-09-01T11:00:00Z").ok(t)
	want := call.Filter{
		State: bell.CallEnded, Outcome: planet.OutcomePushFailed,
		Since: noon.Add(-24 * time.Hour), Until: noon.Add(-time.Hour),
	}
	if diff := cmp.Diff(want, s.filter); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, refused := range [][]string{{"--state", "over"}, {"--outcome", "lost"}, {"--since", "yesterday"}, {"--until", "5"}} {
		ask(t, base, append([]string{"call", "list"}, refused...)...).fails(t, strings.TrimPrefix(refused[0], "--")+": want")
	}
	ask(t, base, "call", "list", "--lang", "la").fails(t, "--lang: the language is not one")
	ask(t, base, "call", "show", "x", "--lang", "").fails(t, "--lang: the language is not one")
}

func TestCallsAreExplainedInJapanese(t *testing.T) {
	s := newServer(t)
	s.calls = someCalls()
	s.records[sid] = call.Record{Call: missedCall()}
	base := s.start()
	for name, stdout := range map[string]string{
		"list": ask(t, base, "call", "list", "--lang", "ja").ok(t).stdout,
		"show": ask(t, base, "call", "show", string(sid), "--lang", "ja").ok(t).stdout,
	} {
		if !strings.Contains(stdout, "60秒以内に応答がありませんでした。") || strings.Contains(stdout, "Nobody answered within") {
			t.Errorf("%s:\n%s", name, stdout)
		}
	}
	show := ask(t, base, "call", "show", string(sid), "--lang", "ja").ok(t).stdout
	for _, want := range []string{"理由: 60秒以内に応答がありませんでした。終了させたのは発信者です。\n", "対応: 着信者の端末が鳴動しなかった場合は"} {
		if !strings.Contains(show, want) {
			t.Errorf("%q is not in\n%s", want, show)
		}
	}
}
