package testchrome

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Page is a tab. Use it from one goroutine.
type Page struct {
	Ctx context.Context // for chromedp's actions
	t   testing.TB
	dir string

	mu    sync.Mutex // guards faults: events come on a goroutine of the browser's
	fault []string
}

// Page opens a tab and begins to listen to what goes wrong in it. Whatever it heard fails the
// test at its end, unless Forgive took it.
func (b *Browser) Page() *Page {
	b.t.Helper()
	p := &Page{t: b.t, dir: screenshots(b.t)}
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithListener(p.hear))
	p.Ctx = ctx
	b.t.Cleanup(cancel)
	_, err := chromedp.Call(ctx, audits.Enable, cdp.Empty{})
	if err != nil {
		b.t.Fatalf("open a page: %v", err)
	}
	b.t.Cleanup(func() {
		for _, fault := range p.Faults() {
			b.t.Errorf("a page: %s", fault)
		}
	})
	return p
}

// Do runs actions, and ends the test if one fails.
func (p *Page) Do(actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.Ctx, actions...); err != nil {
		p.t.Fatalf("a page: %v; it shows %q", err, p.excerpt())
	}
}

// excerpt is what the page shows, for the message of a test that fails.
func (p *Page) excerpt() string {
	text, err := chromedp.Run(p.Ctx, chromedp.Evaluate[string](`location.pathname + ": " + document.body.innerText.slice(0, 600)`))
	if err != nil {
		return ""
	}
	return text
}

// Size sets the page's size in CSS pixels; below 600 wide it is a phone's.
func (p *Page) Size(width, height int64) {
	p.t.Helper()
	size := emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 600}
	if _, err := chromedp.Call(p.Ctx, emulation.SetDeviceMetricsOverride, size); err != nil {
		p.t.Fatalf("set a page's size: %v", err)
	}
}

// Scheme makes the page believe that its reader wants "dark" or "light".
func (p *Page) Scheme(scheme string) {
	p.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(p.Ctx, emulation.SetEmulatedMedia, media); err != nil {
		p.t.Fatalf("set a page's colours: %v", err)
	}
}

// Screenshot keeps a picture of what is in view, as name.png.
func (p *Page) Screenshot(name string) {
	p.t.Helper()
	picture, err := chromedp.Run(p.Ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(p.dir, name+".png"), picture, 0o644)
	}
	if err != nil {
		p.t.Fatalf("screenshot %s: %v", name, err)
	}
}

// Faults are the page's so far: console messages of any kind, violations, requests to others.
func (p *Page) Faults() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.fault...)
}

// Forgive drops faults that hold a text, which a test causes on purpose, and reports how many.
func (p *Page) Forgive(text string) (dropped int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.fault[:0]
	for _, f := range p.fault {
		if strings.Contains(f, text) {
			dropped++
			continue
		}
		kept = append(kept, f)
	}
	p.fault = kept
	return dropped
}

func (p *Page) note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = append(p.fault, fmt.Sprintf(format, args...))
}

// hear takes the browser's events. It must not run actions: they would wait for it.
func (p *Page) hear(event any) {
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		var words []string
		for _, a := range e.Args {
			words = append(words, string(a.Value)+a.Description)
		}
		p.note("console.%s: %s", e.Type, strings.Join(words, " "))
	case *runtime.EventExceptionThrown:
		what := ""
		if o := e.ExceptionDetails.Exception; o != nil {
			what = o.Description
		}
		p.note("exception: %s %s", e.ExceptionDetails.Text, what)
	case *log.EventEntryAdded:
		p.note("log %s: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL)
	case *audits.EventIssueAdded:
		if e.Issue.Code == audits.InspectorIssueCodeContentSecurityPolicyIssue {
			p.note("content security policy: %s", e.Issue.Details.ContentSecurityPolicyIssueDetails.ViolatedDirective)
		}
	case *network.EventRequestWillBeSent:
		if host := hostOf(e.Request.URL); host != "" && host != "127.0.0.1" && host != "localhost" {
			p.note("a request to another host: %s", host)
		}
	}
}

// hostOf is the host of an address that goes over the network, else "".
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "ws" && u.Scheme != "wss") {
		return ""
	}
	return u.Hostname()
}
