package testchrome

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// A page that is clean has no faults; one that breaks each rule has one for each.
func TestAPageTellsWhatIsWrongWithIt(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		if r.URL.Path == "/favicon.ico" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		body := `<h1>hello</h1>`
		if r.URL.Path == "/broken" {
			w.Header().Set("Content-Security-Policy", "script-src 'nonce-a'; img-src *")
			body = `<h1>broken</h1><script nonce="a">console.log("chatter"); fetch("https://elsewhere.example/x").catch(() => {}); nothing.there()</script><script>1</script>`
		}
		fmt.Fprintf(w, `<!doctype html><html lang="en"><title>t</title>%s</html>`, body)
	}))
	t.Cleanup(server.Close)
	b := New(t)

	clean := b.Page()
	clean.Do(chromedp.Navigate(server.URL+"/"), chromedp.WaitVisible("h1"))
	clean.Screenshot("clean")
	if faults := clean.Faults(); len(faults) != 0 {
		t.Errorf("faults of a clean page: %q", faults)
	}

	broken := b.Page()
	broken.Do(chromedp.Navigate(server.URL+"/broken"), chromedp.WaitVisible("h1"))
	broken.Do(chromedp.WaitVisible("h1"))
	for _, want := range []string{"console.log", "exception", "content security policy", "a request to another host"} {
		if broken.Forgive(want) == 0 {
			t.Errorf("no fault %q in %s", want, strings.Join(broken.Faults(), "\n"))
		}
	}
	broken.Forgive("") // the browser's own words about the same
}
