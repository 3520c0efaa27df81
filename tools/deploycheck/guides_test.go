package deploycheck

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// guides are the pages for those who write clients, by name.
func guides(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../docs/clients/*.md")
	if err != nil || len(files) < 7 {
		t.Fatalf("found %d guides, error %v", len(files), err)
	}
	pages := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pages[filepath.Base(file)] = string(text)
	}
	return pages
}

var (
	request = regexp.MustCompile(`\b(GET|POST) (/v2/[a-z_/{}A-Z ]*[a-z}])`)
	path    = regexp.MustCompile(`["'(\x60 ](/v2/[a-z_/]+)`)
	field   = regexp.MustCompile(`\bapp_[a-z]+(_[a-z]+)*\b`)
	code    = regexp.MustCompile("(?s)```js\n(.*?)```")
)

// A client that is written after the guides asks for what exists: every path, with its method, is in
// the contract, and every field of a call or notice is one that the server sends.
func TestGuidesNameWhatExists(t *testing.T) {
	text, err := os.ReadFile("../../openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var contract struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(text, &contract); err != nil {
		t.Fatal(err)
	}
	fields := sent(t)
	for name, page := range guides(t) {
		for _, m := range request.FindAllStringSubmatch(page, -1) {
			if p := strings.ReplaceAll(m[2], "room ID", "id"); contract.Paths[p][strings.ToLower(m[1])] == nil {
				t.Errorf("%s asks for %s %s, which openapi.yaml does not have", name, m[1], p)
			}
		}
		for _, m := range path.FindAllStringSubmatch(page, -1) {
			if contract.Paths[strings.TrimSuffix(m[1], "/")] == nil && !strings.HasPrefix(m[1], "/v2/rooms/") {
				t.Errorf("%s asks for %s, which openapi.yaml does not have", name, m[1])
			}
		}
		for _, f := range field.FindAllString(page, -1) {
			if !fields[f] && f != "app_token_lifetime" && f != "app_topic" { // a setting; a customer's own
				t.Errorf("%s reads the field %s, which nothing sends", name, f)
			}
		}
	}
}

// sent is the fields that the protocol's package and its users write.
func sent(t *testing.T) map[string]bool {
	t.Helper()
	fields := map[string]bool{}
	for _, folder := range []string{"../../planet", "../../internal/bell", "../../internal/httpapi"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range field.FindAllString(string(text), -1) {
				fields[f] = true
			}
		}
	}
	if len(fields) < 10 {
		t.Fatalf("found %d fields; the rule would prove nothing", len(fields))
	}
	return fields
}

// The JavaScript of the guides is JavaScript, and what a lost call may hang on does what it says.
func TestGuidesJavaScriptParses(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil && os.Getenv("PLANETBELL_TEST_LOGS") != "" {
		t.Fatal("there is no node in PATH; tools/packages installs it")
	}
	if err != nil {
		t.Skip("there is no node in PATH: install Debian's package nodejs, or run make test, which does")
	}
	blocks := 0
	for name, page := range guides(t) {
		for _, m := range code.FindAllStringSubmatch(page, -1) {
			blocks++
			file := filepath.Join(t.TempDir(), fmt.Sprintf("%d.mjs", blocks))
			write(t, file, m[1])
			if out, err := exec.Command(node, "--check", file).CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", name, err, out)
			}
		}
	}
	if blocks < 4 {
		t.Errorf("found %d blocks of JavaScript; the test would prove nothing", blocks)
	}
	for part, around := range samples {
		runSample(t, node, part, around)
	}
}

// sample is what stands around a sample of docs/clients/web.md to run it, and what it then prints.
type sample struct{ before, after, want string }

// samples are the samples that a lost call may hang on, by a piece of their text.
var samples = map[string]sample{
	// Three streams: the first in pieces, with a heartbeat, and cut within an event; the second ends with an empty id.
	"async function hold": {
		before: `const base = "", appToken = "t", told = [];
			const incoming = (call, by) => told.push("call " + call.n + " " + by), stopRinging = (call) => told.push("ended " + call.n);
			const streams = [["id: a\nevent: call\nda", 'ta: {"n":1}\n\n: alive\n\nid: b\nevent: ended\ndata: {"n":2}\n\nevent: call\ndata: {"n":4}\nid: c\n'], ['id:\nevent: call\ndata:{"n":3}\n\n'], []];
			globalThis.fetch = async (path, { headers }) => {
				told.push("from " + (headers["Last-Event-ID"] ?? "now"));
				return new Response(new ReadableStream({ start(c) {
					for (const piece of streams.shift()) c.enqueue(new TextEncoder().encode(piece));
					c.close();
				} }));
			};`,
		after: `for (let i = 0; i < 3; i++) await hold();
			console.log(told.join());`,
		want: "from now,call 1 stream,ended 2,from b,call 3 stream,from now",
	},
	// No receipt gets through, and the call comes twice; another one is long over.
	"planetKit.verifyCall": {
		before: `const told = [], clock = 0, myId = "", myServiceId = "", mediaHtmlElement = null, delegate = null;
			const api = async (method, path, { sid, channel }) => { told.push(sid + " by " + channel); throw new Error("no network"); };
			const planetKit = { verifyCall: ({ ccParam }) => told.push("verify " + ccParam) };`,
		after: `for (const by of ["push", "stream"]) incoming({ app_session_id: "s", cc_param: "c", app_expires_at: String(Date.now() + 60000) }, by);
			incoming({ app_session_id: "old", cc_param: "o", app_expires_at: "1" }, "push");
			await null;
			console.log(told.join());`,
		want: "s by webpush,verify c,s by sse,old by webpush",
	},
}

// runSample runs the one sample of docs/clients/web.md that has part in it.
func runSample(t *testing.T, node, part string, around sample) {
	t.Helper()
	ran := 0
	for _, m := range code.FindAllStringSubmatch(guides(t)["web.md"], -1) {
		if !strings.Contains(m[1], part) {
			continue
		}
		ran++
		file := filepath.Join(t.TempDir(), "sample.mjs")
		write(t, file, around.before+"\n"+m[1]+"\n"+around.after)
		out, err := exec.Command(node, file).CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != around.want {
			t.Errorf("web.md, the sample with %s: %v\ngot  %s\nwant %s", part, err, got, around.want)
		}
	}
	if ran != 1 {
		t.Errorf("web.md has %d samples with %s, want one", ran, part)
	}
}
