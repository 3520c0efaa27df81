package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

func TestProject(t *testing.T) {
	secret := testlog.HexSecret(2, 64)
	clientKey, callback := testlog.TextSecret("client-key"), testlog.TextSecret("callback-secret-0123456789-0123")
	const callbackForm = " characters, want 32 to 128 of A-Z, a-z, 0-9, hyphen, underscore; make one with `openssl rand -hex 24`."
	checkAll(t, []rule{
		{name: "name", replace: []string{"name: main", "name: Main Project"}, errors: []string{`projects[0].name: "Main Project", want 1 to 32 of a-z, 0-9 and hyphen, beginning with a letter or digit.`}},
		{name: "name that is a number", replace: []string{"name: main", "name: 17"}, errors: []string{"projects[0].name: want text; put it in quotes."}},
		{name: "environment", replace: []string{"name: main", "name: main\n    environment: production"}, errors: []string{`projects[0].environment: "production", want evaluation or real.`}},
		{
			name: "callee policy and times", replace: []string{"name: main", "name: main\n    unknown_callee: shrug\n    app_token_lifetime: 30s\n    issued_at_skew: 1m"},
			errors: []string{
				"projects[0].app_token_lifetime: 30s, want 1m to 720h.", "projects[0].issued_at_skew: 1m, want 0s to 30s.",
				`projects[0].unknown_callee: "shrug", want ring_out or refuse.`,
			},
		},
		{name: "short secret", replace: []string{secret, secret[:63]}, errors: []string{"projects[0].api_secret: 63 characters, want 64 hexadecimal."}},
		{name: "secret of other letters", replace: []string{secret, secret[:58] + testlog.Text}, errors: []string{"projects[0].api_secret: contains other characters, want 64 hexadecimal."}},
		{
			name: "secret in capitals", replace: []string{secret, secret[:60] + "ABCD"},
			errors: []string{"projects[0].api_secret: contains upper-case letters; LINE Planet's secret is lower-case hexadecimal and is used as text."},
		},
		{
			name: "address of the Server API", replace: []string{"name: main", "name: main\n    server_api_url: http://proxy.example"},
			errors: []string{"projects[0].server_api_url: the base URL of the Server API is http; the API secret travels only over https, or within this machine."},
		},
		{name: "address of the Server API on this machine", replace: []string{"name: main", "name: main\n    server_api_url: http://127.0.0.1:8099"}},
		{name: "short client key", replace: []string{clientKey, "short"}, errors: []string{"projects[0].client_key: 5 characters, want 8 to 256 printable ASCII characters without spaces."}},
		{
			name: "client key that is the API key", replace: []string{clientKey, "my-api-key"},
			warnings: []string{"projects[0].client_key: is LINE's API key, which every copy of your app then carries; choose another one unless your apps cannot be changed."},
		},
		{name: "short callback secret", replace: []string{callback, callback[:31]}, errors: []string{"projects[0].callback_secret: 31" + callbackForm}},
		{name: "callback secret with a slash", replace: []string{callback, callback + "/x"}, errors: []string{"projects[0].callback_secret: 40" + callbackForm}},
		{
			name: "placeholders", replace: []string{secret, PlaceholderAPISecret.Reveal(), "my-api-key", PlaceholderAPIKey, "my-service", PlaceholderServiceID},
			warnings: []string{"projects[0]: placeholders stand in service_id, api_key, api_secret: the server starts and takes callbacks, but LINE Planet will refuse its access tokens. Put in the values from the LINE Planet Console."},
		},
	})
}

func TestIDsOfLINE(t *testing.T) {
	at(t, strings.NewReplacer("my-service", "my_service", "my-api-key", `"my api key"`).Replace(valid()))
	_, err := load(t, Options{})
	got := lines(t, err)
	for i, want := range []string{"planetbell.yaml: projects[0].api_key: ", "planetbell.yaml: projects[0].service_id: "} {
		if len(got) != 2 || !strings.HasPrefix(got[i], want) || !strings.HasSuffix(got[i], ".") {
			t.Errorf("%q, want two sentences, of api_key and service_id", got)
		}
	}
}

func TestNoProject(t *testing.T) {
	at(t, "admin: {token: "+testlog.TextSecret("admin-token-0001")+"}\nprojects: []\n")
	_, err := load(t, Options{})
	want := "planetbell.yaml: projects: there is none; add at least one (`planetbell init` writes a file with one)."
	if got := lines(t, err); !slices.Contains(got, want) {
		t.Errorf("%q, want %s", got, want)
	}
}

func TestProjectsThatCannotBeToldApart(t *testing.T) {
	_, entry, _ := strings.Cut(valid(), "projects:\n")
	checkAll(t, []rule{
		{name: "the same twice", yaml: entry, errors: []string{
			"projects[1].callback_secret: is the same as in projects[0]; callbacks would not show which project they are for.",
			"projects[1].client_key: is the same as in projects[0], with the same service ID; register_user would not show which project is meant.",
			`projects[1].name: "main" is also the name of projects[0].`,
			`projects[1].service_id: "my-service" in environment evaluation is also that of projects[0].`,
		}},
		{name: "one in each environment", yaml: strings.NewReplacer(
			"name: main", "name: live\n    environment: real", "client-key", "other-key", "callback-secret", "callback-secreT",
		).Replace(entry)},
		{name: "empty entries are wrong once each", yaml: "  - name: b\n  - name: c\n", errors: []string{
			"projects[1].api_key: the API key is empty; give 1 to 512 characters.",
			"projects[1].api_secret: is missing; it stands beside the API key in the LINE Planet Console.",
			"projects[1].callback_secret: 0 characters, want 32 to 128 of A-Z, a-z, 0-9, hyphen, underscore; make one with `openssl rand -hex 24`.",
			"projects[1].client_key: is missing; choose what your apps send as apiKey in register_user.",
			"projects[1].service_id: the service ID is empty; give 1 to 64 characters.",
			"projects[2].api_key: the API key is empty; give 1 to 512 characters.",
			"projects[2].api_secret: is missing; it stands beside the API key in the LINE Planet Console.",
			"projects[2].callback_secret: 0 characters, want 32 to 128 of A-Z, a-z, 0-9, hyphen, underscore; make one with `openssl rand -hex 24`.",
			"projects[2].client_key: is missing; choose what your apps send as apiKey in register_user.",
			"projects[2].service_id: the service ID is empty; give 1 to 64 characters.",
		}},
		{name: "entries that are no section", yaml: "  - main\n", errors: []string{
			"projects[1]: is one value, want the keys name, environment, environment_label, service_id, api_key, api_secret, api_secret_file, server_api_url, client_key, client_key_file, callback_secret, callback_secret_file, shared_user_ids, unknown_callee, app_token_lifetime, issued_at_skew, call_rules, caller_names, policy_hook, missed_calls, invitations, apns, fcm, web_push, events.",
		}},
	})
}

func TestProjectsThatAreNoList(t *testing.T) {
	at(t, "projects: {name: main}\n")
	_, err := load(t, Options{})
	if got := lines(t, err); !slices.Contains(got, "planetbell.yaml: projects: is not a list; begin each entry with a hyphen.") {
		t.Errorf("%q", got)
	}
	t.Chdir(t.TempDir())
	_, err = load(t, Options{Environ: []string{"PLANETBELL_PROJECTS_1_NAME=x"}})
	if got := lines(t, err); !slices.Contains(got, "projects: the entries are numbered from 0 without gaps, and projects[0] is not set.") {
		t.Errorf("%q", got)
	}
}

func TestAPNs(t *testing.T) {
	const good = "bundle_id: com.example.a, team_id: ABCDE12345, key_id: ABC123DEFG, key_file: keys/AuthKey_ABC123DEFG.p8"
	apns := func(entries ...string) string {
		return "    apns:\n      - {" + strings.Join(entries, "}\n      - {") + "}\n"
	}
	const notKey = "projects[0].apns[0].key: is not an APNs key (PKCS#8, EC P-256); download the .p8 again from Apple's developer pages."
	key := "keys/AuthKey_ABC123DEFG.p8"
	checkAll(t, []rule{
		{name: "key", yaml: apns(good)},
		{name: "certificate", yaml: apns("bundle_id: a, certificate_file: keys/voip.pem, certificate_key_file: keys/voip-key.pem")},
		{name: "p12", yaml: apns("bundle_id: a, p12_file: keys/voip.p12, p12_password: changeit")},
		{name: "none", yaml: apns("bundle_id: a"), errors: []string{
			"projects[0].apns[0]: has no credential; set key_file with team_id and key_id, or certificate_file with certificate_key_file, or p12_file.",
		}},
		{
			name: "two", yaml: apns(good + ", p12_file: keys/voip.p12"),
			errors: []string{"projects[0].apns[0]: has several credentials; keep one of key, certificate_file, p12_file."},
		},
		{name: "absent key file", yaml: apns(strings.Replace(good, key, "keys/absent", 1)), errors: []string{"projects[0].apns[0].key_file: keys/absent: there is no such file."}},
		{name: "no PEM", yaml: apns(strings.Replace(good, key, "keys/notpem.p8", 1)), errors: []string{"projects[0].apns[0].key: is not PEM; want the whole .p8 file with its BEGIN and END lines."}},
		{name: "other curve", yaml: apns(strings.Replace(good, key, "keys/p384.p8", 1)), errors: []string{notKey}},
		{name: "certificate for key", yaml: apns(strings.Replace(good, key, "keys/voip.pem", 1)), errors: []string{notKey}},
		{
			name: "identifiers", yaml: apns("bundle_id: com.example.a.voip, team_id: short, key_id: abc123defg, servers: [], production_url: 'http://push.example.com', key_file: " + key),
			errors: []string{
				"projects[0].apns[0].bundle_id: ends in .voip; give the app's bundle ID, the topic is made from it.",
				`projects[0].apns[0].key_id: "abc123defg", want the 10 characters from the key's page, also in its file name AuthKey_<key_id>.p8.`,
				"projects[0].apns[0].production_url: want https; plain http is for a fake on the same machine.",
				"projects[0].apns[0].servers: is empty, want production, sandbox or both.",
				`projects[0].apns[0].team_id: "short", want the 10 characters of the Apple developer team.`,
			},
		},
		{name: "values", yaml: apns(good + ", voip_expiration: 16s, servers: [staging], sandbox_url: '" + "https://x@y'"), errors: []string{
			"projects[0].apns[0].sandbox_url: want a URL of scheme, host and perhaps a path, such as https://push.example.com.",
			`projects[0].apns[0].servers: "staging", want production or sandbox.`,
			"projects[0].apns[0].voip_expiration: 16s, want 0s to 15s.",
		}},
		{name: "bundle ID", yaml: apns(strings.Replace(good, "com.example.a", "com_example", 1)), errors: []string{`projects[0].apns[0].bundle_id: "com_example", want the app's bundle ID, such as com.example.calls.`}},
		{name: "wrong password", yaml: apns("bundle_id: a, p12_file: keys/voip.p12, p12_password: " + testlog.TextSecret("p12")), errors: []string{"projects[0].apns[0].p12_password: does not open keys/voip.p12."}},
		{name: "no p12", yaml: apns("bundle_id: a, p12_file: keys/broken.p12"), errors: []string{"projects[0].apns[0].p12_file: keys/broken.p12: is not a PKCS#12 file with a certificate and its key."}},
		{name: "absent p12", yaml: apns("bundle_id: a, p12_file: keys/absent"), errors: []string{"projects[0].apns[0].p12_file: keys/absent: there is no such file."}},
		{
			name: "half a certificate", yaml: apns("bundle_id: a, certificate_file: keys/absent"),
			errors: []string{
				"projects[0].apns[0].certificate_file: keys/absent: there is no such file.",
				"projects[0].apns[0].certificate_key_file: is missing; it goes with projects[0].apns[0].certificate_file.",
			},
		},
		{name: "two for the same devices", yaml: apns(good, good), errors: []string{
			"projects[0].apns[1]: rings the same devices as apns[0] (production); give them different servers or app_types.",
		}},
		{name: "two for two servers", yaml: apns(good+", servers: [sandbox]", good+", servers: [production]")},
		{name: "two for two types", yaml: apns(good+", app_types: [IOS]", good+", app_types: [IPAD]", good)},
		{name: "two apps", yaml: apns(good, strings.Replace(good, "com.example.a", "com.example.b", 1))},
	})
}

func TestExpiredCertificates(t *testing.T) {
	at(t, valid()+"    apns:\n      - {bundle_id: a, p12_file: keys/voip.p12, p12_password: changeit}\n"+
		"public: {tls: {certificate_file: keys/voip.pem, key_file: keys/voip-key.pem}}\n")
	stubs(t)
	loaded := mustLoad(t, Options{Now: func() time.Time { return expires.Add(time.Hour) }})
	const expired = "the certificate expired on 2030-01-02; the other side will refuse it."
	got := loaded.Warnings
	if len(got) != 2 || got[0].Message != expired || got[1].Message != expired || got[1].Path != "public.tls.certificate_file" {
		t.Errorf("%v", got)
	}
}

func TestProjectsThatOnlyPoll(t *testing.T) {
	at(t, valid())
	got := mustLoad(t, Options{}).Warnings
	if len(got) != 1 || got[0].String() != "planetbell.yaml: projects[0]: has no apns and no fcm: only clients that poll will ring." {
		t.Errorf("%v", got)
	}
}

func TestFCM(t *testing.T) {
	const path = "projects[0].fcm.service_account: "
	const again = "download the file again from the Firebase console."
	for file, want := range map[string]string{
		"firebase.json":  "",
		"notjson.json":   path + "is not JSON; want the whole service account file from the Firebase console.",
		"user.json":      path + "is not a service account; in the Firebase console make one under Project settings, Service accounts.",
		"noproject.json": path + "has no project_id; " + again,
		"keynopem.json":  path + "private_key is not PEM; " + again,
		"keynorsa.json":  path + "private_key is not an RSA key (PKCS#8); " + again,
		"httptoken.json": path + "want https; plain http is for a fake on the same machine.",
	} {
		r := rule{yaml: "    fcm: {service_account_file: keys/" + file + ", base_url: 'http://127.0.0.1:9'}\n"}
		if want != "" {
			r.errors = []string{want}
		}
		t.Run(file, r.check)
	}
}

func TestDomainProject(t *testing.T) {
	p := DefaultProject()
	p.Name, p.Environment, p.UnknownCallee = "main", planet.Real, Refuse
	d := p.Domain()
	if d.Name != "main" || d.EnvironmentLabel != "real" || !d.UnknownCallee404 || d.AppTokenLifetime != time.Hour || !d.TellMissedCalls {
		t.Errorf("%+v", d)
	}
	p.EnvironmentLabel, p.UnknownCallee, p.MissedCalls.Push = "rc", RingOut, false
	if d = p.Domain(); d.EnvironmentLabel != "rc" || d.UnknownCallee404 || d.TellMissedCalls {
		t.Errorf("%+v", d)
	}
}

func TestURLsToRegister(t *testing.T) {
	p := DefaultProject()
	p.CallbackSecret = planet.Secret(testlog.TextSecret("callback"))
	got := p.CallbackURLs(Public{BaseURL: "https://calls.example.com/planet/"}, true, "S")
	for i, want := range []CallbackURL{
		{"notify_cb", "notify", "https://calls.example.com/planet/cb/S/notify"},
		{"on_call_evt_cb", "call-event", "https://calls.example.com/planet/cb/S/call-event"},
		{"on_gcall_evt_cb", "group-call-event", "https://calls.example.com/planet/cb/S/group-call-event"},
		{"agent_call_status_cb", "agent-call-status", "https://calls.example.com/planet/cb/S/agent-call-status"},
		{"on_call_rec_cb", "recording", "https://calls.example.com/planet/cb/S/recording"},
	} {
		if got[i] != want {
			t.Errorf("%+v, want %+v", got[i], want)
		}
	}
	if n := len(p.CallbackURLs(Public{}, false, "S")); n != 4 {
		t.Errorf("%d URLs without recording, want 4", n)
	}
	if mask := MaskedSecret(p.CallbackSecret); strings.Contains(mask, testlog.Text) || len(mask) != 14 {
		t.Errorf("mask of %d characters", len(mask))
	}
}

func TestURLsOfThisMachine(t *testing.T) {
	tls := PublicTLS{ACME: ACME{Domains: []string{"a.example.com"}}}
	for _, test := range []struct{ got, want string }{
		{Public{Address: "127.0.0.1:80"}.ExternalURL(), "http://127.0.0.1:80"},
		{Public{Address: ":443", TLS: tls}.ExternalURL(), "https://127.0.0.1:443"},
		{Public{Address: "[::]:80"}.ExternalURL(), "http://127.0.0.1:80"},
		{Public{Address: "[::1]:80"}.ExternalURL(), "http://[::1]:80"},
		{Public{Address: "nonsense"}.ExternalURL(), "http://nonsense"},
		{Admin{Address: "0.0.0.0:81"}.URL(), "http://127.0.0.1:81"},
		{Admin{Address: "admin.example.com:81", TLS: AdminTLS{KeyFile: "k"}}.URL(), "https://admin.example.com:81"},
	} {
		if test.got != test.want {
			t.Errorf("%s, want %s", test.got, test.want)
		}
	}
}
