package archtest

import (
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository.
const root = "../.."

var (
	mdLink    = regexp.MustCompile(`\]\(<?([^()\s>]+)>?(?:\s+"[^"]*")?\)`)
	mdHeading = regexp.MustCompile(`(?m)^#{1,6}\s+(.+?)\s*$`)
	mdFence   = regexp.MustCompile("(?ms)^```.*?^```\\s*$")
	mdCode    = regexp.MustCompile("`[^`\n]*`")
	notSlug   = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)

	// citation is how a comment names a section of a document of ours.
	citation = regexp.MustCompile(`\b([a-z./-]*[a-z-]+\.md)[ \t]+(\d+(?:\.\d+)?)\b`)
	section  = regexp.MustCompile(`\b\d+(?:\.\d+)?\b`)
	document = regexp.MustCompile(`\b[A-Za-z0-9./_-]+\.md\b`)
)

// files returns the repository's files with the extension, without folders that are not
// part of it.
func files(t *testing.T, extension string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "bin" || name == "testdata") {
			return fs.SkipDir
		}
		if !d.IsDir() && filepath.Ext(path) == extension {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// anchors are the fragments that a page's headings can be reached by, made as GitHub
// makes them.
func anchors(page string) []string {
	var out []string
	for _, heading := range mdHeading.FindAllStringSubmatch(mdFence.ReplaceAllString(page, ""), -1) {
		text := notSlug.ReplaceAllString(strings.ToLower(heading[1]), "")
		out = append(out, strings.ReplaceAll(text, " ", "-"))
	}
	return out
}

// brokenLinks returns the relative links of a page that lead nowhere. path is where the
// page lies.
func brokenLinks(t *testing.T, path, page string) []string {
	t.Helper()
	var broken []string
	text := mdCode.ReplaceAllString(mdFence.ReplaceAllString(page, ""), "code")
	for _, link := range mdLink.FindAllStringSubmatch(text, -1) {
		u, err := url.Parse(link[1])
		if err == nil && u.Scheme != "" {
			continue // no test reaches beyond this machine
		}
		target, there := page, true
		if err == nil && u.Path != "" {
			file := filepath.Join(filepath.Dir(path), filepath.FromSlash(u.Path))
			info, statErr := os.Stat(file)
			there = statErr == nil
			if there && !info.IsDir() {
				target = read(t, file)
			}
		}
		if err != nil || !there || u.Fragment != "" && !slices.Contains(anchors(target), u.Fragment) {
			broken = append(broken, link[1])
		}
	}
	return broken
}

func TestLinksOfDocumentsResolve(t *testing.T) {
	pages := files(t, ".md")
	if len(pages) < 10 {
		t.Fatalf("found %d documents; the rule would prove nothing", len(pages))
	}
	for _, path := range pages {
		for _, link := range brokenLinks(t, path, read(t, path)) {
			t.Errorf("%s links to %s, which is not there", path, link)
		}
	}
}

func TestBrokenLinksAreFound(t *testing.T) {
	const page = "# A page: *one*\n[up](README.md) [`x`](no.md) [here](#a-page-one) [gone](#gone)\n" +
		"[folder](docs) [site](https://example.com/x) `[code](no-code.md)`\n[cli](docs/cli.md#no-such) \n```\n[fenced](no.md)\n# no heading\n```\n"
	got := brokenLinks(t, filepath.Join(root, "page.md"), page)
	if want := []string{"no.md", "#gone", "docs/cli.md#no-such"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// TestCitedSectionsExist holds comments to the documents of the repository: a document
// that is named is there, or beside the file, and so is the section.
func TestCitedSectionsExist(t *testing.T) {
	cited := 0
	for _, path := range files(t, ".go") {
		if strings.HasSuffix(path, "links_test.go") {
			continue
		}
		for line := range strings.Lines(read(t, path)) {
			_, comment, found := strings.Cut(line, "//")
			if !found {
				continue
			}
			for _, c := range citation.FindAllStringSubmatch(comment, -1) {
				cited++
				if !slices.Contains(sections(t, c[1]), c[2]) {
					t.Errorf("%s cites %s %s, which is not there: %s", path, c[1], c[2], strings.TrimSpace(line))
				}
			}
			for _, name := range document.FindAllString(comment, -1) {
				_, err := os.Stat(filepath.Join(root, name))
				if _, beside := os.Stat(filepath.Join(filepath.Dir(path), name)); err != nil && beside != nil {
					t.Errorf("%s names the document %s, which is not in the repository: %s", path, name, strings.TrimSpace(line))
				}
			}
		}
	}
	if cited < 20 {
		t.Errorf("found %d citations; the rule would prove nothing", cited)
	}
}

// sections are the numbers of a document's headings; one heading may have several.
func sections(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		return nil
	}
	var numbers []string
	for _, heading := range mdHeading.FindAllStringSubmatch(string(text), -1) {
		numbers = append(numbers, section.FindAllString(heading[1], -1)...)
	}
	return numbers
}
