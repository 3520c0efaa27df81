package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestServerIsNotRunning(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"device", "list"},
		{"call", "list"},
		{"call", "show", "abc"},
		{"device", "remove", phone},
		{"token", "mint", "--project", "main", "--user", "alice"},
		{"call", "list", "--project", "main"},
	} {
		ask(t, base, args...).fails(t, "planetbell is not answering on "+base+": start it with planetbell serve")
	}
}

func TestAnswersThatAreNotOurs(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"a web page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello</html>") }, "is not planetbell's admin listener (status 200)"},
		{"a redirect", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://evil.example.net/")
			w.WriteHeader(http.StatusFound)
		}, "is not planetbell's admin listener (status 302)"},
		{"JSON of another kind", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, "[]")
		}, "is not planetbell's admin listener"},
		{"a broken problem", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, "{")
		}, "refused with status 418"},
		{"a cut answer", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, "{")
		}, "broke off"},
		{"a hung up line", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "is not answering on"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ask(t, handle(t, test.answer), "device", "list").fails(t, test.want)
		})
	}
}

func TestTokenProblems(t *testing.T) {
	base := newServer(t).start()
	with := func(environ ...string) result {
		r := command{args: []string{"device", "list", "--admin-url", base}, environ: environ}.run(t)
		r.noSecrets(t)
		return r
	}
	with().fails(t, "wants an admin token: set PLANETBELL_ADMIN_TOKEN or give --admin-token-file")
	with("PLANETBELL_ADMIN_TOKEN="+testlog.TextSecret("wrong")).fails(t,
		"does not take the admin token from PLANETBELL_ADMIN_TOKEN", "The admin token is wrong")
	with("PLANETBELL_ADMIN_TOKEN_FILE=/nowhere/token").fails(t, "PLANETBELL_ADMIN_TOKEN_FILE", "no such file")
}

func TestTokenFromFiles(t *testing.T) {
	base := newServer(t).start()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("  "+adminToken.Reveal()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(environ []string, args ...string) result {
		r := command{args: append([]string{"device", "list", "--admin-url", base}, args...), environ: environ}.run(t)
		r.noSecrets(t)
		return r
	}
	run([]string{"PLANETBELL_ADMIN_TOKEN_FILE=" + file}).ok(t)
	run([]string{"PLANETBELL_ADMIN_TOKEN=" + testlog.TextSecret("wrong")}, "--admin-token-file", file).ok(t)
	run(nil, "--admin-token-file", empty).fails(t, "--admin-token-file", "is empty")
	run(nil, "--admin-token-file", "/nowhere/token").fails(t, "--admin-token-file", "no such file")
	r := command{
		args: []string{"device", "list", "--admin-url", base, "--admin-token-file", "-"}, stdin: adminToken.Reveal(),
	}.run(t)
	r.ok(t).noSecrets(t)
}

func TestAddressFromTheConfigurationFile(t *testing.T) {
	base := newServer(t).start()
	dir := t.TempDir()
	file := filepath.Join(dir, "planetbell.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func() result {
		r := command{args: []string{"device", "list", "--config", file}}.run(t)
		r.noSecrets(t)
		return r
	}
	admin := "admin:\n  address: " + strings.TrimPrefix(base, "http://") + "\n  token: " + adminToken.Reveal() + "\n"
	// Nothing but the admin listener is set: the server would not start with this, but it
	// says all that is needed to reach one that runs.
	write(admin)
	run().ok(t)
	write(strings.Replace(admin, adminToken.Reveal(), testlog.TextSecret("another-one"), 1))
	run().fails(t, "does not take the admin token from admin.token in "+file)
	write("admin:\n  address: nowhere\n")
	run().fails(t, "the configuration that says where the server is cannot be used", "admin.address")
	write("admin: [")
	run().fails(t, "cannot be used")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	run().fails(t, "cannot be used", file)
}

func TestNoConfigurationAtAll(t *testing.T) {
	t.Chdir(t.TempDir())
	command{args: []string{"device", "list"}}.run(t).fails(t, "--config", "--admin-url", "PLANETBELL_ADMIN_TOKEN")
}

func TestConcernsAdmin(t *testing.T) {
	for path, want := range map[string]bool{"": true, "admin": true, "admin.token": true, "administration": false, "projects[0].name": false} {
		if got := concernsAdmin(&config.Error{Problems: []config.Problem{{Path: path}}}); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
}

func TestAddressesThatAreRefused(t *testing.T) {
	for _, base := range []string{"127.0.0.1:8081", "localhost", "ftp://localhost", "http://", "http://u:p@localhost", "http://localhost?x", "http://a b"} {
		ask(t, base, "device", "list").fails(t, "--admin-url: want the address of the admin listener")
	}
}

func TestHTTPSWantsATrustedCertificate(t *testing.T) {
	proxied := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"devices":[]}`)
	}))
	proxied.Config.ErrorLog = slog.NewLogLogger(testlog.New(t).Handler(), slog.LevelDebug)
	proxied.StartTLS()
	t.Cleanup(proxied.Close)
	ask(t, proxied.URL, "device", "list").fails(t, "is not trusted", "--admin-ca-file")
	file := filepath.Join(t.TempDir(), "ca.pem")
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxied.Certificate().Raw})
	if err := os.WriteFile(file, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	ask(t, proxied.URL, "device", "list", "--admin-ca-file", file).ok(t)
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	ask(t, proxied.URL, "device", "list", "--admin-ca-file", file).fails(t, "--admin-ca-file", "no PEM certificate")
	ask(t, proxied.URL, "device", "list", "--admin-ca-file", file+"x").fails(t, "--admin-ca-file", "no such file")
}

// timeoutError is what a connection gives that waited too long.
type timeoutError struct{ error }

func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

func TestWhyThereWasNoAnswer(t *testing.T) {
	client, err := newAdminClient("http://127.0.0.1:1/", "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name string
		ctx  context.Context
		err  error
		want string
	}{
		{"no such host", t.Context(), &net.DNSError{Name: "nowhere.example"}, "there is no host named nowhere.example"},
		{"too slow", t.Context(), timeoutError{errors.New("slow")}, "did not answer on http://127.0.0.1:1 within 15s"},
		{"given up", canceled, errors.New("anything"), "canceled"},
		{"anything else", t.Context(), io.ErrUnexpectedEOF, "is not answering on http://127.0.0.1:1: unexpected EOF"},
	}
	for _, test := range tests {
		if got := client.unreachable(test.ctx, test.err); !strings.Contains(got.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, got, test.want)
		}
	}
}

func TestReadSecretFile(t *testing.T) {
	if got, err := readSecretFile("-", strings.NewReader("\n secret \n")); err != nil || got != planet.Secret("secret") {
		t.Errorf("%v, %v", len(got), err)
	}
	for want, in := range map[string]io.Reader{
		"standard input is empty":       strings.NewReader(" \n"),
		"standard input is longer than": strings.NewReader(strings.Repeat("a", 65<<10)),
		"read standard input":           iotest.ErrReader(errors.New("broken pipe")),
	} {
		if _, err := readSecretFile("-", in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

func TestPages(t *testing.T) {
	tests := []struct {
		name   string
		limit  int
		sizes  []int // of the pages there are
		asked  []string
		next   string
		failed error
	}{
		{"one short page", 100, []int{3}, []string{"100"}, "", nil},
		{"as many as wanted, no more there", 3, []int{3}, []string{"3"}, "", nil},
		{"as many as wanted, more there", 3, []int{3, 3}, []string{"3"}, "page 1", nil},
		{"two pages", 700, []int{500, 200, 1}, []string{"500", "200"}, "page 2", nil},
		{"all of two pages", 9999, []int{500, 10}, []string{"500", "500"}, "", nil},
		{"an empty page that names a next one", 10, []int{0, 5}, []string{"10"}, "page 1", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			query := map[string][]string{}
			var asked []string
			next, err := pages(query, "after", test.limit, func() (int, string, error) {
				asked = append(asked, query["limit"][0])
				n := test.sizes[len(asked)-1]
				if len(asked) == len(test.sizes) {
					return n, "", nil
				}
				return n, fmt.Sprintf("page %d", len(asked)), nil
			})
			if err != nil || next != test.next || strings.Join(asked, " ") != strings.Join(test.asked, " ") {
				t.Errorf("next %q, asked %v, %v; want %q, %v", next, asked, err, test.next, test.asked)
			}
		})
	}
	broken := errors.New("broken")
	if _, err := pages(map[string][]string{}, "after", 5, func() (int, string, error) { return 0, "", broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestAdminTimeoutIsLongerThanTheServersOwn(t *testing.T) {
	if adminTimeout <= 10*time.Second { // console's requestTime
		t.Errorf("%s: the server's own sentence would not arrive", adminTimeout)
	}
}

func TestWhatIsSent(t *testing.T) {
	type request struct{ method, target, contentType, authorization, body string }
	var got []request
	base := handle(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, request{r.Method, r.URL.RequestURI(), r.Header.Get("Content-Type"), r.Header.Get("Authorization"), string(body)})
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fmt.Fprint(w, "{}")
	})
	client, err := newAdminClient(base+"/", "token", "a test", nil)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := newAdminClient(base, "", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, errList := bare.Devices(ctx, url.Values{"user_id": {"a b&c"}})
	_, errCall := client.Call(ctx, "a/../b?c", url.Values{})
	_, errMint := client.MintAccessToken(ctx, console.AccessTokenRequest{Project: "main", UserID: "alice"})
	_, errAdd := client.AddDevice(ctx, console.NewDevice{Project: "main", UserID: "bob", Channel: bell.FCM, PushToken: console.SentSecret{Secret: "the token"}})
	if err := errors.Join(errList, errCall, errMint, errAdd, client.RemoveDevice(ctx, "../calls")); err != nil {
		t.Fatal(err)
	}
	want := []request{
		{"GET", "/admin/v1/devices?user_id=a+b%26c", "", "", ""},
		{"GET", "/admin/v1/calls/a%2F..%2Fb%3Fc?", "", "Bearer token", ""},
		{"POST", "/admin/v1/access_tokens", "application/json", "Bearer token", `{"project":"main","user_id":"alice"}`},
		{"POST", "/admin/v1/devices", "application/json", "Bearer token", `{"project":"main","user_id":"bob","channel":"fcm","push_token":"the token"}`},
		{"DELETE", "/admin/v1/devices/..%2Fcalls", "", "Bearer token", ""},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(request{})); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestRefusalsAreRepeatedCleanly(t *testing.T) {
	base := handle(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, `{"detail":"Wait\u001b[2J a moment."}`)
	})
	r := ask(t, base, "device", "list")
	if r.err == nil || r.err.Error() != "Wait?[2J a moment." {
		t.Errorf("error %q", r.err)
	}
}

func TestProxiesNeverSeeTheToken(t *testing.T) {
	proxy := handle(t, func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy)
	}
	client, err := newAdminClient("http://planetbell.invalid:8081", "token", "a test", nil)
	if err != nil {
		t.Fatal(err)
	}
	transport, ok := client.http.Transport.(*http.Transport)
	if !ok || transport.Proxy != nil {
		t.Error("the client would use a proxy")
	}
}
