package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	const run = `{"Action":"run","Package":"x/e2e","Test":"TestA"}
{"Action":"output","Package":"x/e2e","Test":"TestA","Output":"=== RUN TestA\n"}
{"Action":"output","Package":"x/e2e","Test":"TestA/deep","Output":"    {\"time\":\"now\"}\n"}
{"Action":"output","Package":"x/e2e","Test":"TestA/deep","Output":"    a_test.go:3: got 1, want 2\n"}
{"Action":"fail","Package":"x/e2e","Test":"TestA/deep"}
{"Action":"fail","Package":"x/e2e","Test":"TestA"}
{"Action":"output","Package":"x/e2e","Test":"TestB","Output":"    b_test.go:1: fine\n"}
{"Action":"pass","Package":"x/e2e","Test":"TestB"}
{"Action":"fail","Package":"x/e2e"}
{"Action":"output","Package":"x/cmd","Output":"panic: no test at all\n"}
{"Action":"fail","Package":"x/cmd"}
`
	r := report{said: map[string][]string{}}
	if err := r.read(strings.NewReader(run)); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	r.print(&out)
	const want = `-- e2e TestA/deep
    a_test.go:3: got 1, want 2
-- cmd
panic: no test at all
failed: e2e TestA/deep
failed: cmd
`
	if out.String() != want {
		t.Errorf("printed\n%s\nwant\n%s", out.String(), want)
	}
}

func TestCutShort(t *testing.T) {
	r := report{said: map[string][]string{}}
	if err := r.read(strings.NewReader(`{"Action":"fa`)); err == nil {
		t.Error("half a line was taken for a whole one")
	}
}
