package config

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPathsAsPeopleReadThem(t *testing.T) {
	for path, want := range map[string]string{
		"data_dir":                   "data_dir",
		"public.address":             "public.address",
		"projects.0.name":            "projects[0].name",
		"projects.12.apns.3.key_id":  "projects[12].apns[3].key_id",
		"projects.0":                 "projects[0]",
		"projects.1.fcm.base_url":    "projects[1].fcm.base_url",
		"public.tls.acme.directory":  "public.tls.acme.directory",
		"limits.sign_ups_per_minute": "limits.sign_ups_per_minute",
	} {
		if got := shown(path); got != want {
			t.Errorf("%s is shown as %s, want %s", path, got, want)
		}
	}
}

func TestNamesOfVariables(t *testing.T) {
	for path, want := range map[string]string{
		"data_dir":                        "PLANETBELL_DATA_DIR",
		"projects[0].api_secret":          "PLANETBELL_PROJECTS_0_API_SECRET",
		"projects.0.api_secret_file":      "PLANETBELL_PROJECTS_0_API_SECRET_FILE",
		"projects[3].apns[1].bundle_id":   "PLANETBELL_PROJECTS_3_APNS_1_BUNDLE_ID",
		"public.tls.acme.cache_dir":       "PLANETBELL_PUBLIC_TLS_ACME_CACHE_DIR",
		"projects[0].fcm.base_url":        "PLANETBELL_PROJECTS_0_FCM_BASE_URL",
		"callbacks.allow_from":            "PLANETBELL_CALLBACKS_ALLOW_FROM",
		"limits.deliveries_in_flight":     "PLANETBELL_LIMITS_DELIVERIES_IN_FLIGHT",
		"projects[10].app_token_lifetime": "PLANETBELL_PROJECTS_10_APP_TOKEN_LIFETIME",
	} {
		if got := EnvName(path); got != want {
			t.Errorf("%s is set by %s, want %s", path, got, want)
		}
	}
}

func TestVariablesThatNameNoSetting(t *testing.T) {
	for _, rest := range []string{
		"", "PUBLIC", "PUBLIC_", "PUBLIC_ADDRESS_", "_PUBLIC_ADDRESS", "PROJECTS", "PROJECTS_0", "PROJECTS_X_NAME", "PROJECTS_-1_NAME",
		"PROJECTS_00_NAME", "PROJECTS__NAME", "PROJECTS_0_APNS_KEY", "PUBLIC_ADDRESS_FILE", "public_address", "ADMIN_TOKEN_FILE_FILE",
	} {
		if path, ok := pathOfEnv(configType, rest, ""); ok {
			t.Errorf("PLANETBELL_%s sets %s, want nothing", rest, path)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"adress", "address", 1},
		{"servcie", "service", 2},
		{"hold", "gold", 1},
		{"kitten", "sitting", 3},
	} {
		if got := distance(test.a, test.b); got != test.want {
			t.Errorf("from %q to %q: %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

// Distance is one: nothing to itself, the same both ways, never longer by a detour.
func TestDistanceIsADistance(t *testing.T) {
	word := rapid.StringMatching(`[a-d_]{0,8}`)
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := word.Draw(t, "a"), word.Draw(t, "b"), word.Draw(t, "c")
		if (distance(a, b) == 0) != (a == b) {
			t.Errorf("%q and %q: %d", a, b, distance(a, b))
		}
		if distance(a, b) != distance(b, a) {
			t.Errorf("%q and %q: not the same both ways", a, b)
		}
		if distance(a, c) > distance(a, b)+distance(b, c) {
			t.Errorf("%q over %q to %q is shorter", a, b, c)
		}
	})
}

func TestDidYouMean(t *testing.T) {
	keys := []string{"address", "base_url", "behind_proxy", "tls", "trusted_proxies", "web_origins"}
	for written, want := range map[string]string{
		"adress":         "address",
		"baseUrl":        "base_url",
		"base-url":       "base_url",
		"behindproxy":    "behind_proxy",
		"TLS":            "tls",
		"trusted_proxys": "trusted_proxies",
		"weborigin":      "web_origins",
		"projects":       "",
		"completely_new": "",
	} {
		if got := didYouMean(written, keys); got != want {
			t.Errorf("%s: %q, want %q", written, got, want)
		}
	}
}

func TestKeysInAnotherSection(t *testing.T) {
	for written, want := range map[string][]string{
		"hold":        {"long_poll.hold"},
		"signing_key": {"app_tokens.signing_key"},
		"address":     {"admin.address", "public.address"},
		"data_dir":    {"data_dir"},
		"bundle_id":   {"projects[0].apns[0].bundle_id"},
		"dress":       nil,
	} {
		if got := elsewhere(written); !slices.Equal(got, want) {
			t.Errorf("%s belongs to %q, want %q", written, got, want)
		}
	}
}

func TestSecretFilesAreToldFromOtherFiles(t *testing.T) {
	for path, want := range map[string]bool{
		"admin.token_file":                    true,
		"projects.0.api_secret_file":          true,
		"projects.0.apns.0.key_file":          true,
		"projects.0.fcm.service_account_file": true,
		"public.tls.key_file":                 false,
		"public.tls.certificate_file":         false,
		"projects.0.apns.0.p12_file":          false,
		"ca_file":                             false,
		"admin.token":                         false,
		"nowhere.token_file":                  false,
		"projects_file":                       false,
	} {
		if got := isSecretFile(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}
