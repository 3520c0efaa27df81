package config

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var sameSecret = cmp.Comparer(func(a, b planet.Secret) bool { return a == b })

// loadedExample loads config.example.yaml with stub credentials, a variable and a flag.
func loadedExample(t *testing.T) *Loaded {
	t.Helper()
	content := example(t)
	t.Chdir(t.TempDir())
	write(t, "planetbell.yaml", content)
	stubs(t)
	return mustLoad(t, Options{
		Environ: []string{"PLANETBELL_PROJECTS_0_ENVIRONMENT=real", "PLANETBELL_ADMIN_TOKEN=" + testlog.TextSecret("admin-token-0001")},
		Flags:   []Flag{{Name: "--log-level", Path: "log.level", Value: "debug"}},
		Now:     func() time.Time { return expires.AddDate(0, 0, -1) },
	})
}

func TestEffectiveSettings(t *testing.T) {
	golden, err := filepath.Abs("testdata/effective.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := loadedExample(t).YAML()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got (go test -update rewrites):\n%s", diff)
	}
}

// What is printed can be used as a file again: with the secrets put back it means the
// same.
func TestWhatIsPrintedCanBeReadBack(t *testing.T) {
	first := loadedExample(t)
	c := &first.Config
	p := &c.Projects[0]
	text := first.YAML()
	for _, secret := range []planet.Secret{
		c.Admin.Token, c.Admin.Users[0].PasswordHash, c.Admin.Tokens[0].TokenSHA256, c.AppTokens.SigningKey, p.APISecret, p.ClientKey, p.CallbackSecret, p.Invitations.MembersToken, p.APNs[0].Key, p.APNs[2].P12Password, p.FCM.ServiceAccount,
		p.WebPush.VAPIDPrivateKey, p.Events[0].URL, p.Events[0].Secret,
	} {
		quoted, err := json.Marshal(secret.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		text = strings.Replace(text, "<secret>", string(quoted), 1)
	}
	// The paths in it have the data folder before them already.
	text = strings.ReplaceAll(text, ": data/", ": ")
	write(t, "planetbell.yaml", text)
	second := mustLoad(t, Options{})
	samePrefix := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(*c, second.Config, sameSecret, samePrefix, notPrinted); diff != "" {
		t.Errorf("-first +second:\n%s", diff) // secrets print as <secret> here too
	}
}

func TestSettingsListEverything(t *testing.T) {
	loaded := loadedExample(t)
	seen := map[string]bool{}
	for _, s := range loaded.Settings {
		if seen[s.Path] {
			t.Errorf("%s is listed twice", s.Path)
		}
		seen[s.Path] = true
		if s.Env != EnvName(s.Path) || s.Source == "" {
			t.Errorf("%+v", s)
		}
	}
	for _, path := range pathsOf(configType, "") {
		if !isSecretFile(path) && !seen[shown(path)] {
			t.Errorf("%s is not listed", shown(path))
		}
	}
	for path, source := range map[string]string{
		"projects[0].environment":         "PLANETBELL_PROJECTS_0_ENVIRONMENT",
		"admin.token":                     "PLANETBELL_ADMIN_TOKEN",
		"log.level":                       "--log-level",
		"projects[0].apns[0].key":         "planetbell.yaml, file keys/AuthKey_ABC123DEFG.p8",
		"projects[0].fcm.service_account": "planetbell.yaml, file keys/firebase.json",
		"projects[0].apns[1].team_id":     "default",
	} {
		if got := setting(t, loaded, path); got.Source != source {
			t.Errorf("%s comes from %q, want %q", path, got.Source, source)
		}
	}
}

// notPrinted are the fields that are no settings.
var notPrinted = cmp.Options{
	cmpopts.IgnoreFields(APNs{}, "KeyFile", "P12PasswordFile"), cmpopts.IgnoreFields(FCM{}, "ServiceAccountFile"),
	cmpopts.IgnoreFields(WebPush{}, "VAPIDPrivateKeyFile"),
}

// Load remembers the files that push credentials came from, so that they can be looked at
// again.
func TestFilesOfCredentialsAreRemembered(t *testing.T) {
	p := loadedExample(t).Config.Projects[0]
	if p.APNs[0].KeyFile != "keys/AuthKey_ABC123DEFG.p8" || p.FCM.ServiceAccountFile != "keys/firebase.json" || p.WebPush.VAPIDPrivateKeyFile != "keys/vapid.key" {
		t.Errorf("files %q, %q and %q", p.APNs[0].KeyFile, p.FCM.ServiceAccountFile, p.WebPush.VAPIDPrivateKeyFile)
	}
	if p.APNs[2].P12PasswordFile != "" || p.APNs[1].KeyFile != "" {
		t.Error("a credential that was given as text, or not at all, has a file")
	}
	again, err := ReadSecret(p.APNs[0].KeyFile)
	if err != nil || again != p.APNs[0].Key {
		t.Errorf("the file holds something else than what was loaded (%v)", err)
	}
}

func TestSecretsAreMarkedNotShown(t *testing.T) {
	loaded := loadedExample(t)
	for _, path := range pathsOf(configType, "") {
		field, ok := fieldAt(configType, strings.Split(path, "."))
		if !ok || field.Type != secretType {
			continue
		}
		if s := setting(t, loaded, shown(path)); s.Value != "<secret>" && s.Value != "" {
			t.Errorf("%s is shown", path)
		}
	}
	encoded, err := json.Marshal(loaded)
	if err != nil {
		t.Fatal(err)
	}
	noSecret(t, string(encoded))
	if strings.Contains(string(encoded), "PRIVATE KEY") || strings.Contains(loaded.YAML(), "PRIVATE KEY") {
		t.Error("a private key is shown")
	}
}

func TestDurationsAreShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 90 * time.Second: "1m30s", time.Minute: "1m", time.Hour: "1h",
		720 * time.Hour: "720h", time.Hour + time.Second: "1h0m1s", 70 * time.Minute: "1h10m", 1500 * time.Millisecond: "1.5s",
	} {
		if got := durationText(d); got != want {
			t.Errorf("%d: %s, want %s", d, got, want)
		}
		if back, err := time.ParseDuration(durationText(d)); err != nil || back != d {
			t.Errorf("%s is read back as %s", durationText(d), back)
		}
	}
}

func TestProblemsAsLines(t *testing.T) {
	for want, p := range map[string]Problem{
		"planetbell.yaml: a.b: is wrong.": {Where: "planetbell.yaml", Path: "a.b", Message: "is wrong."},
		"a.b: is wrong.":                  {Path: "a.b", Message: "is wrong."},
		"PLANETBELL_X: is wrong.":         {Where: "PLANETBELL_X", Message: "is wrong."},
	} {
		if p.String() != want {
			t.Errorf("%s, want %s", p, want)
		}
	}
}

// Several commands may load at once.
func TestLoadIsSafeForConcurrentUse(t *testing.T) {
	at(t, valid())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := Load(Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}
