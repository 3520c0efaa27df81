package verdict

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

const document = "../../docs/verdicts.md"

// The document is made of the tables: UPDATE_DOCS=1 writes it.
func TestTheDocumentIsWhatTheRulesAre(t *testing.T) {
	t.Parallel()
	want := []byte(documented())
	if os.Getenv("UPDATE_DOCS") != "" {
		if err := os.WriteFile(document, want, 0o644); err != nil { //nolint:gosec // a public document
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("docs/verdicts.md differs from the rules: run UPDATE_DOCS=1 go test ./internal/verdict -run TheDocument, and review what it wrote")
	}
}

func documented() string {
	var b strings.Builder
	b.WriteString(`# Verdicts: why a phone rang, or did not

` + "`planetbell why SID`" + ` and the admin API's verdicts answer in one sentence, English or Japanese, from the record of the call.
This page is made of the rules in ` + "`internal/verdict`" + `; a test holds the two together. Words in braces stand for what the
record says. Codes are stable. **Rang** means: as far as can be known, a device had the call, or was given it, in time.
LINE Planet tells no app server that a phone rings, and LINE's own apps send no receipts, so for them a push that the
provider took is the last thing that is known.

Rules are tried from the top; the first that matches counts. If no device rang and no rule of the call matches, the call
has the verdict of the device whose rule stands highest here. The hops, in the order of a call's way:
`)
	for i, h := range Hops() {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, " `%s`", h)
	}
	b.WriteString(".\n")
	calls, devices := Rules()
	table(&b, "Calls", calls)
	table(&b, "Devices", devices)
	return b.String()
}

func table(b *strings.Builder, title string, rules []Rule) {
	fmt.Fprintf(b, "\n## %s\n\n| Code | Rang | Hop | Sentence | It needs | What to do |\n|---|---|---|---|---|---|\n", title)
	for _, r := range rules {
		rang := "no"
		if r.Rang {
			rang = "yes"
		}
		fix := r.Fix.English
		if fix == "" {
			fix = "-"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s | %s | %s |\n", r.Code, rang, r.Hop, r.Sentence.English, r.Needs, fix)
	}
}

// Every rule has all its texts in both languages, and codes are unique.
func TestEveryRuleIsWhole(t *testing.T) {
	t.Parallel()
	calls, devices := Rules()
	seen := map[Code]bool{}
	for _, r := range append(calls, devices...) {
		if seen[r.Code] {
			t.Errorf("%s: there are two", r.Code)
		}
		seen[r.Code] = true
		if r.Sentence.English == "" || r.Sentence.Japanese == "" || r.Needs == "" || r.Hop == "" {
			t.Errorf("%s is not whole: %+v", r.Code, r)
		}
		if (r.Fix.English == "") != (r.Fix.Japanese == "") {
			t.Errorf("%s: what to do is said in one language only", r.Code)
		}
		if !r.Rang && r.Fix.English == "" && r.Code != "notice" && r.Code != "under_way" && r.Hop != HopCaller {
			t.Errorf("%s: nothing rang, and there is nothing to do?", r.Code)
		}
		for _, text := range []string{r.Sentence.English, r.Fix.English} {
			if text != "" && !strings.HasSuffix(text, ".") {
				t.Errorf("%s: %q is no sentence", r.Code, text)
			}
		}
		for _, text := range []string{r.Sentence.Japanese, r.Fix.Japanese} {
			if text != "" && !strings.HasSuffix(text, "。") {
				t.Errorf("%s: %q is no sentence", r.Code, text)
			}
		}
	}
}
