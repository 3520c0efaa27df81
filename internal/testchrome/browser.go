package testchrome

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// patience bounds everything that a page of one test does together. A browser that starts
// beside other tests on a small machine needs seconds, not minutes.
const patience = 3 * time.Minute

// Browser is one Chromium process. Its pages share cookies, storage and service workers, as
// tabs of one person do. Use it from one goroutine.
type Browser struct {
	t   testing.TB
	ctx context.Context // of the browser's first, empty tab
}

// program returns the path of Chromium, or "".
func program() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}

// New starts a browser that ends with the test. Names other than localhost do not resolve in it.
func New(t testing.TB) *Browser {
	t.Helper()
	path := program()
	if path == "" {
		if os.Getenv("PLANETBELL_TEST_CHROME") != "" {
			t.Fatal("there is no chromium in PATH; tools/packages installs it")
		}
		t.Skip("there is no chromium in PATH: install Debian's package chromium, or run make test, which does")
	}
	options := slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // it is our own page, and root has no other way
		chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("lang", "en-US"),
		chromedp.WindowSize(1280, 860),
	})
	bounded, stop := context.WithTimeoutCause(context.Background(), patience, errors.New("the browser test took too long"))
	allocator, end := chromedp.NewExecAllocator(bounded, options...)
	ctx, _ := chromedp.NewContext(allocator, chromedp.WithErrorf(func(format string, args ...any) { t.Logf("chromedp: "+format, args...) }))
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Logf("the browser's end: %v", err)
		}
		end()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start chromium: %v", err)
	}
	return &Browser{t: t, ctx: ctx}
}

// screenshots is where pictures of pages are kept: the folder that PLANETBELL_TEST_SCREENSHOTS names, or
// the test's own, which is removed.
func screenshots(t testing.TB) string {
	t.Helper()
	folder := os.Getenv("PLANETBELL_TEST_SCREENSHOTS")
	if folder == "" {
		return t.TempDir()
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Clean(folder)
}
