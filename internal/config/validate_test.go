package config

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// rule is a configuration and all that is said about it.
type rule struct {
	name     string
	yaml     string // added to valid()
	replace  []string
	errors   []string // each after "planetbell.yaml: "
	warnings []string
}

const onlyPolling = ": has no apns and no fcm: only clients that poll will ring."

func (r rule) check(t *testing.T) {
	t.Helper()
	at(t, strings.NewReplacer(r.replace...).Replace(valid()+r.yaml))
	stubs(t)
	loaded, err := load(t, Options{Now: func() time.Time { return expires.AddDate(0, 0, -1) }})
	if loaded == nil {
		t.Fatal(err)
	}
	var gotErrors, gotWarnings []string
	if err != nil {
		for _, line := range lines(t, err) {
			gotErrors = append(gotErrors, strings.TrimPrefix(line, "planetbell.yaml: "))
		}
	}
	for _, w := range loaded.Warnings {
		if w := strings.TrimPrefix(w.String(), "planetbell.yaml: "); !strings.HasSuffix(w, onlyPolling) {
			gotWarnings = append(gotWarnings, w)
		}
	}
	if diff := cmp.Diff(r.errors, gotErrors); diff != "" {
		t.Errorf("errors, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(r.warnings, gotWarnings); diff != "" {
		t.Errorf("warnings, -want +got:\n%s", diff)
	}
}

func checkAll(t *testing.T, rules []rule) {
	for _, r := range rules {
		t.Run(r.name, r.check)
	}
}

func TestForm(t *testing.T) {
	checkAll(t, []rule{
		{name: "unknown key with a neighbour", yaml: "logg: {level: debug}\n", errors: []string{"logg: is not a setting; did you mean log?"}},
		{
			name: "key of another section", yaml: "weborigins: []\ncalls: {signing_key: x}\n",
			errors: []string{
				"calls.signing_key: is not a setting here; it belongs to app_tokens.signing_key.",
				"weborigins: is not a setting; known here: data_dir, ca_file, shutdown_timeout, node, public, admin, database, bus, app_tokens, calls, rooms, long_poll, streams, devices, callbacks, limits, retention, webhooks, log, telemetry, canaries, projects.",
			},
		},
		{name: "hyphen for underscore", yaml: "long-poll: {}\n", errors: []string{"long-poll: is not a setting; did you mean long_poll?"}},
		{name: "section with one value", yaml: "database: x\n", errors: []string{"database: is one value, want a section with the keys path, url, url_file."}},
		{name: "empty section and key", yaml: "database:\nlog: {level: }\n"},
		{
			name: "values of the wrong kind",
			yaml: "calls: {ring_time: 60, safety: soon}\nshutdown_timeout: [1s]\nlimits: {long_polls: many, sign_ups_per_minute: 1.5, deliveries_in_flight: true}\n" +
				"callbacks: {recording: yes, allow_from: [1]}\ndatabase: {path: 17}\nca_file: 2020-01-01\n",
			errors: []string{
				"ca_file: want text; put it in quotes.",
				"callbacks.allow_from: entry 0 is not text to YAML; put it in quotes.",
				`callbacks.recording: "yes", want true or false.`,
				"calls.ring_time: want a duration with its unit, such as 30s or 1m30s.",
				`calls.safety: "soon", want a duration with its unit, such as 30s or 1m30s.`,
				"database.path: want text; put it in quotes.",
				"limits.deliveries_in_flight: want a whole number.",
				`limits.long_polls: "many", want a whole number.`,
				"limits.sign_ups_per_minute: want a whole number.",
				"shutdown_timeout: is a list, want a duration with its unit, such as 30s or 1m30s.",
			},
		},
		{
			name: "values out of bounds",
			yaml: "calls: {ring_time: 9s}\nlong_poll: {hold: 56s}\ndevices: {forget_unseen_after: 9601h}\nlimits: {long_polls: 0, invitations_per_minute: 99}\nlog: {level: loud, format: xml}\nshutdown_timeout: 1h\n",
			errors: []string{
				"calls.ring_time: 9s, want 10s to 2m.",
				"devices.forget_unseen_after: 9601h, want 1h to 9600h.",
				"limits.invitations_per_minute: 99, want 100 to 10000.",
				"limits.long_polls: 0, want 10 to 1000000.",
				`log.format: "xml", want auto, json or text.`,
				`log.level: "loud", want debug, info, warn or error.`,
				"long_poll.hold: 56s, want 5s to 55s.",
				"shutdown_timeout: 1h, want 1s to 5m.",
			},
		},
	})
}

func TestFormOfListsAndSecrets(t *testing.T) {
	checkAll(t, []rule{
		{
			name:   "addresses",
			yaml:   "callbacks: {allow_from: [10.0.0.0/8, nowhere]}\npublic: {trusted_proxies: 10.0.0.0/99}\n",
			errors: []string{`callbacks.allow_from: "nowhere", want an address or a range such as 10.0.0.0/8.`, `public.trusted_proxies: "10.0.0.0/99", want an address or a range such as 10.0.0.0/8.`},
		},
		{
			name: "number where a secret belongs", replace: []string{`signing_key: "`, "signing_key: 17}\n#"},
			errors: []string{"app_tokens.signing_key: is not text to YAML; put it in quotes."},
		},
		{
			name: "secret and its file", yaml: "    api_secret_file: keys/empty\n",
			errors: []string{"projects[0].api_secret: is set, and its file too; keep one of them."},
		},
		{
			name: "secret files that cannot be used", replace: []string{"api_secret: ", "api_secret_file: keys/absent #", "client_key: ", "client_key_file: keys/empty #"},
			errors: []string{
				"projects[0].api_secret_file: keys/absent: there is no such file.",
				"projects[0].client_key_file: keys/empty: is empty.",
			},
		},
	})
}

func TestListeners(t *testing.T) {
	checkAll(t, []rule{
		{name: "addresses that are none", yaml: "public: {address: localhost}\n", errors: []string{`public.address: "localhost", want host:port, such as 127.0.0.1:8080.`}},
		{name: "port that is none", yaml: `public: {address: "127.0.0.1:http"}` + "\n", errors: []string{`public.address: "127.0.0.1:http", want a port from 0 to 65535.`}},
		{name: "both the same", yaml: `public: {address: "127.0.0.1:8081"}` + "\n", errors: []string{"admin.address: is the same as public.address; the two listeners need an address each."}},
		{name: "both any port", yaml: `public: {address: "127.0.0.1:0"}` + "\n", replace: []string{"admin: {", `admin: {address: "127.0.0.1:0", `}},
		{
			name: "plain HTTP to the network", yaml: `public: {address: ":8080"}` + "\n",
			errors: []string{"public.address: :8080 would serve plain HTTP to the network; set public.tls, or public.behind_proxy: true when a proxy in front ends TLS."},
		},
		{
			name: "plain HTTP behind a proxy that is not named", yaml: `public: {address: ":8080", behind_proxy: true}` + "\n",
			warnings: []string{"public.trusted_proxies: is empty behind a proxy: every client seems to have the proxy's address, so limits per address count them all as one."},
		},
		{name: "behind a proxy", yaml: `public: {address: ":8080", behind_proxy: true, trusted_proxies: [10.0.0.1]}` + "\n"},
		{name: "own certificate", yaml: `public: {address: ":443", tls: {certificate_file: keys/voip.pem, key_file: keys/voip-key.pem}}` + "\n"},
		{
			name: "certificate without key", yaml: `public: {tls: {certificate_file: keys/voip.pem}}` + "\n",
			errors: []string{"public.tls.key_file: is missing; it goes with public.tls.certificate_file."},
		},
		{
			name: "key of another certificate", yaml: `public: {tls: {certificate_file: keys/voip.pem, key_file: keys/other-key.pem}}` + "\n",
			errors: []string{"public.tls.certificate_file: keys/voip.pem with keys/other-key.pem: private key does not match public key."},
		},
		{name: "ACME", yaml: `public: {address: ":443", base_url: "https://a.example.com", tls: {acme: {domains: [a.example.com], email: a@example.com}}}` + "\n"},
		{
			name: "ACME that cannot work",
			yaml: `public: {address: ":8443", tls: {certificate_file: keys/voip.pem, key_file: keys/voip-key.pem, acme: {domains: ["*.example.com", "10.0.0.1", host], email: nobody, directory_url: "http://ca.example.com"}}}` + "\n",
			errors: []string{
				"public.tls.acme: cannot be used together with certificate_file; keep one of them.",
				"public.tls.acme.directory_url: want https; plain http is for a fake on the same machine.",
				`public.tls.acme.domains: entry 0: "*.example.com", want a full host name; names with * and addresses are not possible here.`,
				"public.tls.acme.email: want an e-mail address.",
			},
			warnings: []string{"public.tls.acme: the authority knocks on port 443, and public.address has port 8443; forward 443 to it."},
		},
		{
			name: "admin on the network without token", replace: []string{"admin: {token: " + testlog.TextSecret("admin-token-0001"), `admin: {address: "0.0.0.0:8081"`},
			errors: []string{"admin.token: is missing, and admin.address 0.0.0.0:8081 can be reached from the network; set a token of at least 16 characters, or admin.users, admin.tokens or admin.oidc, or listen on 127.0.0.1."},
		},
		{
			name: "admin on loopback without token", replace: []string{"admin: {token: " + testlog.TextSecret("admin-token-0001"), `admin: {`},
			warnings: []string{"admin.token: is empty: every user and program on this machine can use the admin API."},
		},
		{
			name: "admin behind a proxy without credentials", replace: []string{"admin: {token: " + testlog.TextSecret("admin-token-0001"), "admin: {behind_proxy: true, trusted_proxies: [127.0.0.1]"},
			errors: []string{"admin.behind_proxy: is set, and there are no credentials: to this server everybody who reaches the proxy would be on this machine, with the role admin; set admin.token of at least 16 characters, or admin.users, admin.tokens or admin.oidc, or remove admin.behind_proxy."},
		},
		{name: "short token", replace: []string{testlog.TextSecret("admin-token-0001"), testlog.TextSecret("a")}, errors: []string{"admin.token: 8 characters, want at least 16."}},
		{
			name: "admin on the network in the clear", replace: []string{"admin: {", `admin: {address: "0.0.0.0:8081", `},
			warnings: []string{"admin.address: 0.0.0.0:8081 serves plain HTTP to the network, so tokens and passwords travel in the clear; set admin.tls, or admin.behind_proxy when a proxy in front ends TLS, or listen on 127.0.0.1."},
		},
		{name: "admin on the network with TLS", replace: []string{"admin: {", `admin: {address: "0.0.0.0:8081", tls: {certificate_file: keys/voip.pem, key_file: keys/voip-key.pem}, `}},
	})
}

func TestURLs(t *testing.T) {
	const form = "public.base_url: want a URL such as https://calls.example.com."
	for url, want := range map[string]rule{
		"https://calls.example.com":                        {},
		"https://calls.example.com:8443/":                  {},
		"http://localhost:8080":                            {},
		"http://[::1]:8080/planet":                         {},
		"calls.example.com":                                {errors: []string{form}},
		"ftp://calls.example.com":                          {errors: []string{form}},
		"https://":                                         {errors: []string{form}},
		"https://%zz":                                      {errors: []string{form}},
		"https://calls.example.com/?a=b":                   {errors: []string{"public.base_url: has a query or fragment; LINE Planet appends its own query, so give scheme, host and path only."}},
		"https://u:" + testlog.Text + "@calls.example.com": {errors: []string{"public.base_url: contains a user name or password; leave it out, the callback secret protects the URLs."}},
		"http://calls.example.com":                         {warnings: []string{"public.base_url: is not https: callbacks carry key material of calls (cc_param) and the callback secret in the clear."}},
	} {
		want.yaml = `public: {base_url: "` + url + "\"}\n"
		want.check(t)
	}
	rule{
		yaml: `public: {web_origins: ["https://app.example.com", "https://app.example.com/", "*", "app.example.com"]}` + "\n",
		errors: []string{
			"public.web_origins: entry 1: want scheme and host only, such as https://app.example.com.",
		},
	}.check(t)
}

func TestCallTimesAndSigningKey(t *testing.T) {
	key := testlog.HexSecret(1, 64)
	checkAll(t, []rule{
		{
			name: "safety longer than the ring", yaml: "calls: {ring_time: 20s, safety: 20s}\n",
			errors: []string{"calls.safety: 20s, want less than calls.ring_time (20s).", "long_poll.hold: 25s, want less than calls.ring_time (20s), or a client that polls anew may miss a whole call."},
		},
		{
			name: "ring longer than PlanetKit's", yaml: "calls: {ring_time: 90s}\n",
			warnings: []string{"calls.ring_time: is longer than the 60 seconds that PlanetKit waits for an answer; later pushes reach calls that are over."},
		},
		{
			name: "records that are not kept", yaml: "retention: {calls: 23h, journal: 1s}\n",
			errors: []string{
				"retention.calls: 23h, want at least 24h, or 0s to keep everything.",
				"retention.journal: 1s, want at least 24h, or 0s to keep everything.",
			},
		},
		{
			name: "calls that go before they are lost", yaml: "retention: {calls: 47h}\ncalls: {lost_after: 48h}\n",
			errors: []string{"retention.calls: 47h, want at least calls.lost_after, 48h: a call must not be removed while its end is waited for."},
		},
		{name: "records kept for a day, and for ever", yaml: "retention: {calls: 24h, journal: 0s}\n"},
		{
			name: "records kept for too long", yaml: "retention: {calls: 87601h, journal: -1h}\n",
			errors: []string{
				"retention.calls: 87601h, want 0s to 87600h.",
				"retention.journal: -1h, want 0s to 87600h.",
			},
		},
		{
			name: "devices forgotten soon", yaml: "devices: {forget_unseen_after: 719h}\n",
			warnings: []string{"devices.forget_unseen_after: is less than 30 days: the phone of somebody who does not open the app for so long rings no more."},
		},
		{name: "no signing key", replace: []string{key, ""}, errors: []string{"app_tokens.signing_key: is missing; make one with `openssl rand -hex 32`."}},
		{name: "short signing key", replace: []string{key, key[:62]}, errors: []string{"app_tokens.signing_key: 62 characters, want at least 64 hexadecimal; make one with `openssl rand -hex 32`."}},
		{
			name: "signing key of letters", replace: []string{key, testlog.TextSecret("signing-key-of-letters")},
			errors: []string{"app_tokens.signing_key: 29 characters that are not all hexadecimal, want at least 64 hexadecimal; make one with `openssl rand -hex 32`."},
		},
		{
			name: "signing key that is LINE's secret", replace: []string{key, testlog.HexSecret(2, 64)},
			errors: []string{"app_tokens.signing_key: is the same as projects[0].api_secret; an app token could then pass as an access token of LINE Planet."},
		},
		{name: "CA file that is none", yaml: "ca_file: keys/notpem.p8\n", errors: []string{"ca_file: keys/notpem.p8: holds no PEM certificate."}},
		{name: "CA file that is absent", yaml: "ca_file: keys/absent\n", errors: []string{"ca_file: keys/absent: there is no such file."}},
		{name: "data folder that is a file", yaml: "data_dir: keys/empty\n", errors: []string{"data_dir: keys/empty is a file, want a folder."}},
	})
}

func TestFilesThatEverybodyCanRead(t *testing.T) {
	at(t, strings.Replace(valid(), "api_secret: ", "api_secret_file: keys/api #", 1))
	write(t, "keys/api", testlog.HexSecret(2, 64))
	for _, name := range []string{"planetbell.yaml", "keys/api"} {
		if err := os.Chmod(name, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, w := range mustLoad(t, Options{}).Warnings {
		if strings.Contains(w.Message, "every user") {
			got = append(got, w.String())
		}
	}
	want := []string{
		"planetbell.yaml: holds a secret and every user of this machine can read it (mode 0644); `chmod o-r` it.",
		"planetbell.yaml: projects[0].api_secret_file: keys/api holds a secret and every user of this machine can read it (mode 0644); `chmod o-r` it.",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestPrintedConfigurationsHaveNoPassword(t *testing.T) {
	c := Default()
	c.Public.BaseURL = "https://user:" + testlog.Text + "@calls.example.com"
	c.Projects = []Project{DefaultProject()}
	c.Projects[0].APISecret = planet.Secret(testlog.HexSecret(2, 64))
	text := c.Redacted()
	noSecret(t, text)
	for _, want := range []string{"base_url: https://<secret>@calls.example.com", "api_secret: <secret>", "client_key: \"\"", "apns: []"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
