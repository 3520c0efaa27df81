package config

import (
	"fmt"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
)

func TestWebPush(t *testing.T) {
	const (
		wrongKey = "projects[0].web_push.vapid_private_key: is not a P-256 private key, its 32 bytes in base64url or PEM; make one with `planetbell init`, " +
			"or openssl ecparam -name prime256v1 -genkey -noout."
		wrongSubject = "projects[0].web_push.vapid_subject: must be mailto: and an address with a domain such as mailto:ops@example.com, or an https URL; " +
			"push services refuse spaces, angle brackets and localhost."
		browsersOnly = "projects[0]: has no apns and no fcm: only browsers and clients that poll will ring."
	)
	section := func(key, subject, more string) string {
		return fmt.Sprintf("    web_push:\n      %s\n      vapid_subject: %q\n%s", key, subject, more)
	}
	const file, good = "vapid_private_key_file: keys/vapid.key", "mailto:ops@example.com"
	text := func(key string) string { return fmt.Sprintf("vapid_private_key: %q", key) }
	checkAll(t, []rule{
		{name: "a key in a file", yaml: section(file, good, ""), warnings: []string{browsersOnly}},
		{name: "a key as text", yaml: section(text(bell.NewVAPIDKey().Reveal()), "https://example.com/contact", ""), warnings: []string{browsersOnly}},
		{name: "a key in PEM", yaml: section("vapid_private_key_file: keys/AuthKey_ABC123DEFG.p8", good, ""), warnings: []string{browsersOnly}},
		{name: "no key", yaml: section(text(testlog.TextSecret("no-key")), good, ""), errors: []string{wrongKey}, warnings: []string{browsersOnly}},
		{name: "a key on P-384", yaml: section("vapid_private_key_file: keys/p384.p8", good, ""), errors: []string{wrongKey}, warnings: []string{browsersOnly}},
		{name: "no subject", yaml: section(file, "", ""), errors: []string{wrongSubject}, warnings: []string{browsersOnly}},
		{name: "localhost", yaml: section(file, "mailto:ops@localhost", ""), errors: []string{wrongSubject}, warnings: []string{browsersOnly}},
		{name: "angle brackets", yaml: section(file, "mailto:<ops@example.com>", ""), errors: []string{wrongSubject}, warnings: []string{browsersOnly}},
		{name: "a space", yaml: section(file, "mailto: ops@example.com", ""), errors: []string{wrongSubject}, warnings: []string{browsersOnly}},
		{
			name: "placeholder", yaml: section(file, PlaceholderVAPIDSubject, ""),
			warnings: []string{browsersOnly, "projects[0].web_push.vapid_subject: is a placeholder; put in how push services can reach you."},
		},
		{
			name: "a subject without a key", yaml: "    web_push: {vapid_subject: \"mailto:ops@example.com\"}\n",
			warnings: []string{"projects[0].web_push.vapid_subject: does nothing without vapid_private_key: no browser will ring."},
		},
		{
			name: "strange hosts", yaml: section(file, good, "      hosts: [push.example.com, \"push_service!\"]\n"), warnings: []string{browsersOnly},
			errors: []string{`projects[0].web_push.hosts: "push_service!" is no host name; want a host such as push.example.com, or *.push.example.com for all hosts in a domain.`},
		},
		{
			name: "no hosts", yaml: section(file, good, "      hosts: []\n"), warnings: []string{browsersOnly},
			errors: []string{"projects[0].web_push.hosts: is empty: no subscription could be registered; name push services, or leave it out."},
		},
		{
			name: "private addresses", yaml: section(file, good, "      allow_private: [127.0.0.0/8]\n"),
			warnings: []string{browsersOnly, "projects[0].web_push.allow_private: lets pages of any user make the server send to addresses that are not public; it is for tests."},
		},
	})
}
