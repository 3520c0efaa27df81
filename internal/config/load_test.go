package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// valid is the smallest configuration without an error, as YAML.
func valid() string {
	return fmt.Sprintf(`
admin: {token: %s}
app_tokens: {signing_key: "%s"}
projects:
  - name: main
    service_id: my-service
    api_key: my-api-key
    api_secret: "%s"
    client_key: %s
    callback_secret: %s
`, testlog.TextSecret("admin-token-0001"), testlog.HexSecret(1, 64), testlog.HexSecret(2, 64),
		testlog.TextSecret("client-key"), testlog.TextSecret("callback-secret-0123456789-0123"))
}

// at makes dir the working folder and writes planetbell.yaml there.
func at(t *testing.T, content string) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	write(t, "planetbell.yaml", content)
	return dir
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// load loads and keeps everything that was said, to be searched for secrets.
func load(t *testing.T, o Options) (*Loaded, error) {
	t.Helper()
	loaded, err := Load(o)
	if loaded != nil {
		for _, what := range []string{
			loaded.YAML(), loaded.Config.Redacted(), fmt.Sprintf("%v %+v %#v", loaded.Settings, loaded.Warnings, loaded.Settings),
			fmt.Sprintf("%v", loaded.Config), fmt.Sprintf("%+v", loaded.Config),
		} {
			noSecret(t, what)
		}
		sentences(t, loaded.Warnings)
	}
	if err != nil {
		noSecret(t, err.Error())
	}
	if wrong := new(Error); errors.As(err, &wrong) {
		sentences(t, wrong.Problems)
	}
	return loaded, err
}

// sentences wants every problem to be one line that ends like a sentence.
func sentences(t *testing.T, problems []Problem) {
	t.Helper()
	for _, p := range problems {
		if text := p.String(); strings.Contains(text, "\n") || strings.HasSuffix(text, "..") || !strings.HasSuffix(text, ".") && !strings.HasSuffix(text, "?") {
			t.Errorf("%q is not a sentence", text)
		}
	}
}

func noSecret(t *testing.T, what string) {
	t.Helper()
	testlog.Keep(t, "config", what)
	if strings.Contains(what, testlog.Text) || strings.Contains(what, testlog.Hex) {
		t.Errorf("a secret is printed:\n%s", what)
	}
}

func mustLoad(t *testing.T, o Options) *Loaded {
	t.Helper()
	loaded, err := load(t, o)
	if err != nil {
		t.Fatalf("load: %v", err)
	}
	return loaded
}

// lines returns the problems of an error, one a line.
func lines(t *testing.T, err error) []string {
	t.Helper()
	var wrong *Error
	if !errors.As(err, &wrong) {
		t.Fatalf("error %v, want a *config.Error", err)
	}
	return strings.Split(wrong.Error(), "\n")
}

func TestDefaults(t *testing.T) {
	dir := at(t, valid())
	got := mustLoad(t, Options{}).Config
	want := Default()
	want.DataDir, want.Database.Path, want.Public.TLS.ACME.CacheDir = "data", "data/planetbell.db", "data/acme"
	want.Admin.Token = planet.Secret(testlog.TextSecret("admin-token-0001"))
	want.AppTokens.SigningKey = planet.Secret(testlog.HexSecret(1, 64))
	p := DefaultProject()
	p.Name, p.ServiceID, p.APIKey = "main", "my-service", "my-api-key"
	p.APISecret = planet.Secret(testlog.HexSecret(2, 64))
	p.ClientKey = planet.Secret(testlog.TextSecret("client-key"))
	p.CallbackSecret = planet.Secret(testlog.TextSecret("callback-secret-0123456789-0123"))
	want.Projects = []Project{p}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b planet.Secret) bool { return a == b })); diff != "" {
		t.Errorf("in %s, -want +got:\n%s", dir, diff)
	}
	if got.Calls.Deadline() != 55*time.Second || got.LongPoll.Hold != 25*time.Second {
		t.Errorf("deadline %s, hold %s; want 55s, 25s", got.Calls.Deadline(), got.LongPoll.Hold)
	}
	if p.Environment != planet.Evaluation || p.UnknownCallee != RingOut || p.AppTokenLifetime != time.Hour {
		t.Errorf("project defaults: %s, %s, %s", p.Environment, p.UnknownCallee, p.AppTokenLifetime)
	}
	if a := DefaultAPNs(); len(a.Servers) != 2 || a.Servers[0] != bell.APNsProduction || a.VoIPExpiration != 0 {
		t.Errorf("APNs defaults: %v, %s", a.Servers, a.VoIPExpiration)
	}
}

func TestLaterSourcesWin(t *testing.T) {
	at(t, valid()+"public: {address: \"127.0.0.1:1001\"}\n")
	env := []string{"PLANETBELL_PUBLIC_ADDRESS=127.0.0.1:1002", "HOME=/nowhere"}
	flags := []Flag{{Name: "--public-address", Path: "public.address", Value: "127.0.0.1:1003"}}
	for _, test := range []struct {
		o             Options
		value, source string
	}{
		{Options{}, "127.0.0.1:1001", "planetbell.yaml"},
		{Options{Environ: env}, "127.0.0.1:1002", "PLANETBELL_PUBLIC_ADDRESS"},
		{Options{Environ: env, Flags: flags}, "127.0.0.1:1003", "--public-address"},
	} {
		loaded := mustLoad(t, test.o)
		if loaded.Config.Public.Address != test.value {
			t.Errorf("address %s, want %s", loaded.Config.Public.Address, test.value)
		}
		if s := setting(t, loaded, "public.address"); s.Source != test.source || s.Value != test.value {
			t.Errorf("setting %+v, want source %s", s, test.source)
		}
	}
	if s := setting(t, mustLoad(t, Options{}), "admin.address"); s.Source != "default" {
		t.Errorf("source of a default: %q", s.Source)
	}
}

func setting(t *testing.T, loaded *Loaded, path string) Setting {
	t.Helper()
	for _, s := range loaded.Settings {
		if s.Path == path {
			return s
		}
	}
	t.Fatalf("no setting %s", path)
	return Setting{}
}

func TestEverySettingHasAVariable(t *testing.T) {
	seen := map[string]string{}
	for _, path := range pathsOf(configType, "") {
		name := EnvName(path)
		if other, taken := seen[name]; taken {
			t.Errorf("%s stands for %s and %s", name, other, path)
		}
		seen[name] = path
		got, ok := pathOfEnv(configType, strings.TrimPrefix(name, EnvPrefix), "")
		if !ok || got != path {
			t.Errorf("%s is read as %q, want %s", name, got, path)
		}
	}
	if EnvName("projects[12].fcm.base_url") != "PLANETBELL_PROJECTS_12_FCM_BASE_URL" {
		t.Errorf("%s", EnvName("projects[12].fcm.base_url"))
	}
}

func TestOnlyTheEnvironment(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "keys/secret", testlog.HexSecret(3, 64)+"\n")
	got := mustLoad(t, Options{Environ: []string{
		"PLANETBELL_ADMIN_TOKEN=" + testlog.TextSecret("admin-token-0001"),
		"PLANETBELL_APP_TOKENS_SIGNING_KEY=" + testlog.HexSecret(1, 64),
		"PLANETBELL_PROJECTS_0_NAME=main",
		"PLANETBELL_PROJECTS_0_SERVICE_ID=my-service",
		"PLANETBELL_PROJECTS_0_API_KEY=my-api-key",
		"PLANETBELL_PROJECTS_0_API_SECRET_FILE=keys/secret",
		"PLANETBELL_PROJECTS_0_CLIENT_KEY=" + testlog.TextSecret("client-key"),
		"PLANETBELL_PROJECTS_0_CALLBACK_SECRET=" + testlog.TextSecret("callback-secret-0123456789-0123"),
		"PLANETBELL_CALLBACKS_ALLOW_FROM=10.0.0.0/8, 192.0.2.7",
		"PLANETBELL_CALLS_SAFETY=7s",
		"PLANETBELL_CALLBACKS_RECORDING=true",
		"PLANETBELL_LIMITS_LONG_POLLS=500",
	}})
	c := got.Config
	if got.File != "" || len(c.Projects) != 1 || c.Projects[0].APISecret.Reveal() != testlog.HexSecret(3, 64) {
		t.Errorf("file %q, %d projects", got.File, len(c.Projects))
	}
	if len(c.Callbacks.AllowFrom) != 2 || c.Callbacks.AllowFrom[1].String() != "192.0.2.7/32" {
		t.Errorf("allow_from %v", c.Callbacks.AllowFrom)
	}
	if c.Calls.Safety != 7*time.Second || !c.Callbacks.Recording || c.Limits.LongPolls != 500 {
		t.Errorf("safety %s, recording %v, polls %d", c.Calls.Safety, c.Callbacks.Recording, c.Limits.LongPolls)
	}
	if s := setting(t, got, "projects[0].api_secret"); s.Source != "PLANETBELL_PROJECTS_0_API_SECRET_FILE, file keys/secret" || s.Value != "<secret>" {
		t.Errorf("secret from a file: %+v", s)
	}
}

func TestOneVariableChangesOneProject(t *testing.T) {
	at(t, valid())
	got := mustLoad(t, Options{Environ: []string{"PLANETBELL_PROJECTS_0_API_SECRET=" + testlog.HexSecret(9, 64)}}).Config.Projects[0]
	if got.APISecret.Reveal() != testlog.HexSecret(9, 64) || got.Name != "main" {
		t.Errorf("name %s; the secret is not the variable's, or the rest is gone", got.Name)
	}
}

func TestALaterFileReplacesASecretAndTheOtherWayRound(t *testing.T) {
	at(t, strings.Replace(valid(), "api_secret: ", "api_secret_file: secret #", 1))
	write(t, "secret", testlog.HexSecret(4, 64))
	write(t, "other", testlog.HexSecret(5, 64))
	for _, test := range []struct {
		env  []string
		want string
	}{
		{nil, testlog.HexSecret(4, 64)},
		{[]string{"PLANETBELL_PROJECTS_0_API_SECRET=" + testlog.HexSecret(6, 64)}, testlog.HexSecret(6, 64)},
		{[]string{"PLANETBELL_PROJECTS_0_API_SECRET_FILE=other"}, testlog.HexSecret(5, 64)},
	} {
		if got := mustLoad(t, Options{Environ: test.env}).Config.Projects[0].APISecret; got.Reveal() != test.want {
			t.Errorf("with %d variables: another secret", len(test.env))
		}
	}
	at(t, valid())
	write(t, "other", testlog.HexSecret(5, 64))
	got := mustLoad(t, Options{Environ: []string{"PLANETBELL_PROJECTS_0_API_SECRET_FILE=other"}})
	if got.Config.Projects[0].APISecret.Reveal() != testlog.HexSecret(5, 64) {
		t.Error("a file from the environment does not replace the text in YAML")
	}
}

func TestRelativePaths(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	yaml := strings.Replace(valid(), "api_secret: ", "api_secret_file: keys/secret #", 1) + "data_dir: state\ndatabase: {path: calls.db}\n"
	write(t, "etc/planetbell.yaml", yaml)
	write(t, "etc/keys/secret", testlog.HexSecret(4, 64))
	loaded := mustLoad(t, Options{File: "etc/planetbell.yaml"})
	if !slices.Contains(loaded.SecretFiles, "etc/keys/secret") || !slices.IsSorted(loaded.SecretFiles) {
		t.Errorf("the files with secrets are %q", loaded.SecretFiles)
	}
	got := loaded.Config
	if got.DataDir != "etc/state" || got.Database.Path != "etc/state/calls.db" || got.Public.TLS.ACME.CacheDir != "etc/state/acme" {
		t.Errorf("%s, %s, %s", got.DataDir, got.Database.Path, got.Public.TLS.ACME.CacheDir)
	}
	got = mustLoad(t, Options{
		File:  "etc/planetbell.yaml",
		Flags: []Flag{{Name: "--data-dir", Path: "data_dir", Value: "here"}},
	}).Config
	if got.DataDir != "here" || got.Database.Path != "here/calls.db" {
		t.Errorf("a flag's path: %s, %s", got.DataDir, got.Database.Path)
	}
	write(t, "etc/abs.yaml", strings.Replace(yaml, "data_dir: state", "data_dir: "+dir+"/abs", 1))
	if got = mustLoad(t, Options{File: "etc/abs.yaml"}).Config; got.DataDir != dir+"/abs" {
		t.Errorf("an absolute path: %s", got.DataDir)
	}
}

func TestWhereTheFileIsFound(t *testing.T) {
	at(t, valid())
	write(t, "named.yaml", valid())
	write(t, "variable.yaml", valid())
	env := []string{"PLANETBELL_CONFIG=variable.yaml"}
	for want, o := range map[string]Options{
		"planetbell.yaml": {},
		"variable.yaml":   {Environ: env},
		"named.yaml":      {Environ: env, File: "named.yaml"},
	} {
		if got := mustLoad(t, o).File; got != want {
			t.Errorf("read %s, want %s", got, want)
		}
	}
}

func TestFilesThatCannotBeRead(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "folder/x", "")
	if err := os.Truncate("folder/x", maxFile+1); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		o    Options
		want string
	}{
		{Options{File: "absent.yaml"}, "--config: absent.yaml: there is no such file."},
		{Options{Environ: []string{"PLANETBELL_CONFIG=absent.yaml"}}, "PLANETBELL_CONFIG: absent.yaml: there is no such file."},
		{Options{File: "folder"}, "--config: folder: is a folder, want a file."},
		{Options{File: "folder/x"}, "--config: folder/x: is larger than 4 MB; this cannot be the right file."},
		{Options{File: "folder/x/y"}, "--config: folder/x/y: cannot be read."},
	} {
		_, err := load(t, test.o)
		if got := lines(t, err); got[0] != test.want {
			t.Errorf("%s, want %s", got[0], test.want)
		}
	}
	if err := os.Mkdir("planetbell.yaml", 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := load(t, Options{})
	if got := lines(t, err); got[0] != "planetbell.yaml: is a folder, want a file." {
		t.Errorf("%s", got[0])
	}
}

func TestNothingAtAll(t *testing.T) {
	t.Chdir(t.TempDir())
	if _, err := load(t, Options{Environ: []string{"PLANETBELL_LOG_LEVEL=debug"}}); !errors.Is(err, ErrNothing) {
		t.Errorf("%v, want ErrNothing", err)
	}
}

func TestAFlagThatSetsNothing(t *testing.T) {
	at(t, valid())
	_, err := load(t, Options{Flags: []Flag{{Name: "--x", Path: "no.such", Value: "1"}}})
	if err == nil || !strings.Contains(err.Error(), "--x sets no.such") {
		t.Errorf("%v", err)
	}
}

func TestVariablesOfKubernetesAreNoSettings(t *testing.T) {
	at(t, valid())
	mustLoad(t, Options{Environ: []string{
		"PLANETBELL_SERVICE_HOST=10.0.0.1", "PLANETBELL_SERVICE_PORT=80", "PLANETBELL_SERVICE_PORT_HTTP=80",
		"PLANETBELL_PORT=tcp://10.0.0.1:80", "PLANETBELL_PORT_80_TCP=tcp://10.0.0.1:80", "PLANETBELL_PORT_80_TCP_ADDR=10.0.0.1",
		"PLANETBELL_ADMIN_SERVICE_HOST=10.0.0.2", "PLANETBELL_ADMIN_PORT_8081_TCP_PROTO=tcp", "PLANETBELL_TEST_LOGS=x",
	}})
}

func TestUnknownVariables(t *testing.T) {
	at(t, valid())
	_, err := load(t, Options{Environ: []string{
		"PLANETBELL_PROJECTS_3_API_SECRETS=" + testlog.TextSecret("x"), "PLANETBELL_PUBLIC_ADDRES=:1", "PLANETBELL_QWERTZUIOP=1",
		"PLANETBELL_PROJECTS_01_NAME=x", "PLANETBELL_MISCELLANEOUS=x",
	}})
	want := []string{
		"PLANETBELL_MISCELLANEOUS: is not a setting; config.example.yaml lists them all.",
		"PLANETBELL_QWERTZUIOP: is not a setting; config.example.yaml lists them all.",
		"PLANETBELL_PROJECTS_01_NAME: is not a setting; did you mean PLANETBELL_PROJECTS_1_NAME?",
		"PLANETBELL_PROJECTS_3_API_SECRETS: is not a setting; did you mean PLANETBELL_PROJECTS_3_API_SECRET?",
		"PLANETBELL_PUBLIC_ADDRES: is not a setting; did you mean PLANETBELL_PUBLIC_ADDRESS?",
	}
	if diff := cmp.Diff(want, lines(t, err)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWrongYAMLIsNotRepeated(t *testing.T) {
	secret := testlog.TextSecret("in-the-wrong-place")
	for content, want := range map[string]string{
		secret:                        `planetbell.yaml: line 1: is not YAML of the form "key: value".`,
		"public: {address: 1\na: b\n": "planetbell.yaml: line 1: is not YAML: what begins with { is not closed; look at the lines around it too.",
		"log: {}\nlog: {}\n":          `planetbell.yaml: line 2: the key "log" stands twice; keep one.`,
		"a: *" + secret + "\n":        `planetbell.yaml: is not YAML of the form "key: value".`,
		"a: b: " + secret + "\n":      "planetbell.yaml: line 1: is not YAML: a second colon in one line, or a line that is indented too far; put text with a colon in quotes; look at the lines around it too.",
		"\tpublic: {}\n":              "planetbell.yaml: line 1: is not YAML: a tab, or text that begins with a special character; indent with spaces, and put such text in quotes; look at the lines around it too.",
		"public:\n  - a\n b: 1\n":     "planetbell.yaml: line 2: is not YAML: a line is indented in another way than its neighbours, or quotes are not closed; look at the lines around it too.",
		"public: [a\nlog: {}\n":       "planetbell.yaml: line 1: is not YAML: a list that begins with [ is not closed; look at the lines around it too.",
		"log:\n  level: \"" + secret:  "planetbell.yaml: line 2: is not YAML of the form \"key: value\".",
	} {
		at(t, content)
		_, err := load(t, Options{})
		if got := lines(t, err); len(got) != 1 || got[0] != want {
			t.Errorf("%q, want %s", got, want)
		}
	}
}

// Whatever a file holds, loading it ends with a sentence.
func FuzzLoad(f *testing.F) {
	f.Add(valid())
	f.Add("projects: [{apns: [{}]}]\n1: 2\n")
	f.Add("public: {tls: {acme: {domains: [a.b]}}}\ncalls: {ring_time: 61s}\nprojects:\n- 3\n")
	f.Fuzz(func(t *testing.T, content string) {
		// Files named by fuzzed content would be read, so nothing that names one is tried.
		if strings.Contains(content, "file") {
			return
		}
		loaded, err := Load(Options{File: "planetbell.yaml", Content: []byte(content)})
		if err == nil && len(loaded.Config.Projects) == 0 {
			t.Error("a configuration without a project passed")
		}
		if err != nil && err.Error() == "" {
			t.Error("an error without a sentence")
		}
	})
}
