package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/planetbell/planetbell/internal/testlog"
)

// initialised writes a configuration to a new folder with init and returns the file.
func initialised(t *testing.T, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	var out, errors bytes.Buffer
	args = append([]string{"init", "--dir", dir}, args...)
	if code := run(t.Context(), args, strings.NewReader(""), &out, &errors); code != 0 {
		t.Fatalf("init ended with %d: %s", code, &errors)
	}
	return filepath.Join(dir, "planetbell.yaml")
}

// serving runs serve on ports of the system's choice until stop is called, which returns
// its exit code. It returns what was printed up to the last line of the announcement.
func serving(t *testing.T, file string) (said string, stop func() int) {
	t.Helper()
	return servingWithLog(t, file, testlog.Writer(t))
}

func servingWithLog(t *testing.T, file string, log io.Writer) (said string, stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{
			"serve", "--config", file, "--public-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0", "--log-format", "json",
		}, strings.NewReader(""), w, log)
		_ = w.Close()
	}()
	var b strings.Builder
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		b.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			break
		}
	}
	go func() { _, _ = io.Copy(io.Discard, r) }() // ends when serve does
	return b.String(), func() int {
		cancel()
		return <-code
	}
}

func TestServe(t *testing.T) {
	file := initialised(t, "--api-secret", testlog.HexSecret(1, 64), "--api-key", "my-key", "--service-id", "my-service")
	said, stop := serving(t, file)
	testlog.Keep(t, "serve", said)
	for _, want := range []string{
		"planetbell dev is up.", "Project main: service my-service in evaluation.", "/cb/***", "agent_call_status_cb",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in\n%s", want, said)
		}
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range regexp.MustCompile(`"([0-9a-f]{32,})"`).FindAllStringSubmatch(string(content), -1) {
		if strings.Contains(said, secret[1]) {
			t.Error("serve prints a secret of the configuration")
		}
	}
	if strings.Contains(said, "NOT READY") {
		t.Error("serve takes real credentials for placeholders")
	}
	callback := regexp.MustCompile(`callback_secret: "([0-9a-f]+)"`).FindSubmatch(content)
	public := regexp.MustCompile(`public +(http://\S+)`).FindStringSubmatch(said)
	admin := regexp.MustCompile(`admin +(http://\S+)`).FindStringSubmatch(said)
	if callback == nil || public == nil || admin == nil {
		t.Fatalf("no addresses in\n%s", said)
	}
	for url, want := range map[string]int{
		public[1] + "/cb/" + string(callback[1]) + "/notify":     http.StatusOK, // the Console's test button
		public[1] + "/cb/" + strings.Repeat("0", 48) + "/notify": http.StatusNotFound,
		admin[1] + "/livez":             http.StatusOK,
		admin[1] + "/admin/v1/projects": http.StatusUnauthorized,
	} {
		if got := status(t, url); got != want {
			t.Errorf("%s answers %d, want %d", url[strings.LastIndex(url, "/"):], got, want)
		}
	}
	if code := stop(); code != 0 {
		t.Errorf("exit code %d after a graceful stop, want 0", code)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), "data", "planetbell.db")); err != nil {
		t.Errorf("the database is not in the data folder: %v", err)
	}
}

// heard passes on what is written, and tells of lines with certain words.
type heard struct {
	io.Writer
	words map[string]chan struct{}
}

func (h heard) Write(line []byte) (int, error) {
	for words, told := range h.words {
		if bytes.Contains(line, []byte(words)) {
			close(told)
		}
	}
	return h.Writer.Write(line)
}

// SIGHUP reads the configuration anew; one that is broken by then changes nothing.
func TestServeTakesSIGHUP(t *testing.T) {
	file := initialised(t)
	anew, broken := make(chan struct{}), make(chan struct{})
	_, stop := servingWithLog(t, file, heard{testlog.Writer(t), map[string]chan struct{}{"was read anew": anew, "cannot be read anew": broken}})
	hangUp := func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	hangUp()
	<-anew
	if err := os.WriteFile(file, []byte("projects: "+testlog.TextSecret("key")), 0o600); err != nil {
		t.Fatal(err)
	}
	hangUp()
	<-broken
	if code := stop(); code != 0 {
		t.Errorf("exit code %d after a graceful stop, want 0", code)
	}
}

// status asks with a connection of its own, so that nothing is left open.
func status(t *testing.T, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal("the URL cannot be asked")
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal("no answer") // the error holds the URL, and that the secret
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode
}

func TestServeSaysThatCredentialsAreMissing(t *testing.T) {
	file := initialised(t, "--base-url", "https://calls.example.com")
	said, stop := serving(t, file)
	for _, want := range []string{
		"seen from outside as https://calls.example.com",
		"NOT READY FOR CALLS: placeholders stand in service_id, api_key, api_secret.",
		"notify_cb             https://calls.example.com/cb/***",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not in\n%s", want, said)
		}
	}
	if code := stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
}

func TestServeDoesNotStartOnATakenPort(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	var out, errors bytes.Buffer
	code := run(t.Context(), []string{
		"serve", "--config", initialised(t), "--public-address", taken.Addr().String(), "--admin-address", "127.0.0.1:0",
	}, strings.NewReader(""), &out, &errors)
	testlog.Keep(t, "serve", errors.String())
	if code != exitFailed || !strings.Contains(errors.String(), "planetbell: start: ") || out.Len() > 0 {
		t.Errorf("exit code %d, out %q, errors %q; want 1 and a sentence", code, &out, &errors)
	}
}
