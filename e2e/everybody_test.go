package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/planetbell/planetbell/internal/testchrome"
)

// look is one way in which somebody looks at a page.
type look struct {
	name, scheme  string
	width, height int64
	rules         string // axe-core's options
}

// What axe-core is run with. By itself it looks for what breaks WCAG 2.1 A or AA or a best
// practice; the size of what is pressed is of WCAG 2.2, and has to be asked for.
const (
	allRules  = `{ resultTypes: ["violations"], rules: { "target-size": { enabled: true } } }`
	someRules = `{ resultTypes: ["violations"], runOnly: ["color-contrast", "target-size"] }`
)

var (
	// everyLook is how each page is looked at once.
	everyLook = []look{
		{"", "light", 1000, 720, allRules},
		{"", "dark", 1000, 720, allRules},
		{"-phone", "dark", 390, 844, allRules},
		{"-phone", "light", 390, 844, allRules},
	}
	// otherLook is for a page of which one language has been looked at: in another one words are
	// longer, and break elsewhere.
	otherLook = []look{
		{"", "light", 1000, 720, allRules},
		{"-phone", "dark", 390, 844, someRules},
	}
)

// looksAt looks at a page as it is now, in many ways and without loading it anew. Of each a
// picture is kept, and what keeps somebody from using the page fails the test.
func looksAt(t *testing.T, p *testchrome.Page, name string, looks []look) {
	t.Helper()
	for _, l := range looks {
		for _, barrier := range barriers(t, p, l) {
			t.Errorf("%s%s, %s: %s", name, l.name, l.scheme, barrier)
		}
		p.Screenshot(name + l.name + "-" + l.scheme)
	}
}

// barriers are what axe-core finds on a page, and whether one has to scroll sideways. The width
// is the window's own: a phone's browser makes innerWidth as wide as what is on the page.
func barriers(t *testing.T, p *testchrome.Page, l look) []string {
	t.Helper()
	if there, err := chromedp.Run(p.Ctx, chromedp.Evaluate[bool](`"axe" in window`)); err != nil || !there {
		axe, err := os.ReadFile("testdata/axe/axe.min.js")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := chromedp.Run(p.Ctx, chromedp.Evaluate[bool](string(axe)+"; true")); err != nil {
			t.Fatalf("load axe-core: %v", err)
		}
	}
	p.Size(l.width, l.height)
	p.Scheme(l.scheme)
	found, err := chromedp.Run(p.Ctx, chromedp.Evaluate[[]string](fmt.Sprintf(`(async (width, options) => {
		const frame = () => new Promise(requestAnimationFrame);
		await frame();
		await frame(); // a chart is drawn anew when the window has changed
		const found = [];
		const wide = document.documentElement.scrollWidth;
		if (wide > width) found.push("wide: " + wide + " px, in a window of " + width);
		const { violations } = await axe.run(document, options);
		for (const v of violations) found.push(v.id + ": " + v.nodes.slice(0, 4)
			.map(n => n.html.slice(0, 120) + " " + n.failureSummary.slice(0, 300)).join(" | "));
		return found;
	})(%d, %s)`, l.width, l.rules), chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("look at a page: %v", err)
	}
	return found
}

// What is wrong in one way of looking only is found in that one.
func TestBarriersAreFound(t *testing.T) {
	t.Parallel()
	p := testchrome.New(t).Page()
	p.Do(chromedp.Navigate("about:blank"))
	if _, err := chromedp.Run(p.Ctx, chromedp.Evaluate[bool](`document.documentElement.innerHTML = `+"`"+`
		<head><title>A page</title><meta name="viewport" content="width=device-width">
		<style>
			body { background: #fff; color: #222 } button { padding: 0; border: 0; width: 60px; height: 40px; font-size: 10px }
			@media (prefers-color-scheme: dark) { body { background: #111; color: #444 } }
			@media (max-width: 600px) { div { width: 500px } button { width: 30px; height: 12px; display: block } }
		</style></head>
		<body><main><h1>A page</h1><div>Words</div><button>one</button><button>two</button></main></body>`+"`"+`;
		document.documentElement.lang = "en"; true`)); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{{}, {"color-contrast"}, {"color-contrast", "target-size", "wide"}, {"target-size", "wide"}} {
		for _, l := range []look{everyLook[i], {everyLook[i].name, everyLook[i].scheme, everyLook[i].width, everyLook[i].height, someRules}} {
			got := []string{}
			for _, barrier := range barriers(t, p, l) {
				name, _, _ := strings.Cut(barrier, ":")
				got = append(got, name)
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Errorf("%s%s: found %q, want %q", l.scheme, l.name, got, want)
			}
		}
	}
}
