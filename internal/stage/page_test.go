package stage_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/stage"
)

// The softphone's page is served under a strict policy, at one origin, and knows the server;
// without an address there is none.
func TestAStageServesThePage(t *testing.T) {
	t.Parallel()
	o := options(t)
	if s := set(t, o); s.PageURL() != "" {
		t.Errorf("a page at %s that nobody asked for", s.PageURL())
	}
	o = options(t)
	o.PageAddress = "127.0.0.1:0"
	s := set(t, o)
	resp, body := fetch(t, s.PageURL(), "")
	if policy := resp.Header.Get("Content-Security-Policy"); resp.StatusCode != http.StatusOK || !strings.Contains(policy, "default-src 'none'") ||
		!strings.Contains(policy, "connect-src 'self' "+s.App.PublicURL()+";") || strings.Contains(policy, "unsafe") {
		t.Errorf("status %d, policy %q", resp.StatusCode, policy)
	}
	if !strings.Contains(body, "app.js") {
		t.Errorf("the page is %.80q", body)
	}
	for _, file := range []string{"sw.js", "manifest.webmanifest", "icon.svg", "favicon.ico"} {
		if resp, _ := fetch(t, s.PageURL()+file, ""); resp.StatusCode != http.StatusOK {
			t.Errorf("%s is answered %d", file, resp.StatusCode)
		}
	}
	if _, body := fetch(t, s.PageURL()+"config.json", ""); !strings.Contains(body, `"server":"`+s.App.PublicURL()+`"`) || strings.Contains(body, s.Config.Projects[0].APISecret.Reveal()) {
		t.Error("the page is told the wrong things")
	}
	if resp, _ := fetch(t, s.PageURL(), "localhost:1"); resp.StatusCode != http.StatusTemporaryRedirect || resp.Header.Get("Location") != s.PageURL() {
		t.Errorf("another name of this host is answered %d", resp.StatusCode)
	}
	if resp, _ := fetch(t, s.PageURL()+"cloud/verify", ""); resp.StatusCode != http.StatusForbidden {
		t.Errorf("a request from no page is answered %d", resp.StatusCode)
	}
	if !strings.Contains(strings.Join(s.Config.Public.WebOrigins, " ")+"/", s.PageURL()) {
		t.Errorf("web origins %v", s.Config.Public.WebOrigins)
	}
}

// A port that is taken stops the stage, and leaves nothing open.
func TestAPageThatCannotBeServed(t *testing.T) {
	t.Parallel()
	o := options(t)
	o.PageAddress = "127.0.0.1:0"
	first := set(t, o)
	bad := options(t)
	bad.PageAddress = strings.TrimSuffix(strings.TrimPrefix(first.PageURL(), "http://"), "/")
	s, err := stage.New(t.Context(), bad)
	if err == nil {
		_ = s.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "softphone") {
		t.Errorf("two pages at one address: %v", err)
	}
}

// fetch asks for a page on a connection of its own; favicon.ico is followed, other redirects not.
func fetch(t *testing.T, address, host string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = host
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if host != "" {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}
