package config

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
)

const (
	phc      = "$argon2id$v=19$m=65536,t=3,p=4$cmVwbGFjZS1tZS1wbGVhc2U$cmVwbGFjZS1tZS13aXRoLWFkbWluLWhhc2g"
	otherPHC = "$argon2id$v=19$m=19456,t=2,p=1$cmVwbGFjZS1tZS1wbGVhc2U$cmVwbGFjZS1tZS13aXRoLWFkbWluLWhhc2g"
)

// admin is a rule about the section admin, which valid() has already.
func admin(name, section string, errors ...string) rule {
	token := testlog.TextSecret("admin-token-0001")
	return rule{name: name, replace: []string{"admin: {token: " + token + "}\n", "admin:\n  token: " + token + "\n" + section}, errors: errors}
}

func TestAdminUsers(t *testing.T) {
	checkAll(t, []rule{
		admin("good", "  users:\n    - {name: ann@example.com, password_hash: \""+phc+"\", role: operator}\n    - {name: Bob_1.x-y, password_hash: \""+otherPHC+"\"}\n"),
		admin(
			"wrong", "  users:\n    - {name: ann, password_hash: \""+strings.Replace(phc, "m=65536,t=3", "m=4096,t=3", 1)+"\", role: root}\n"+
				"    - {name: ann, password_hash: \""+phc+"\"}\n    - {name: \"a b\", password_hash: \""+phc+"\"}\n    - {role: admin}\n    - {name: eve, password_hash: \""+testlog.TextSecret("password")+"\"}\n",
			"admin.users[0].password_hash: is too weak (m=4096,t=3): want m=19456,t=2 or m=47104,t=1 at least; make one with `planetbell admin hash-password`.",
			`admin.users[0].role: "root", want viewer, operator or admin.`,
			`admin.users[1].name: "ann" is also the name of admin.users[0]; give each user a name of their own.`,
			`admin.users[2].name: "a b", want 1 to 64 letters, digits, dots, hyphens, underscores and @.`,
			"admin.users[2].password_hash: is the same as admin.users[1].password_hash; even one password has another hash each time.",
			"admin.users[3].name: is missing; it stands in the audit log.",
			"admin.users[3].password_hash: is missing; make one with `planetbell admin hash-password`.",
			"admin.users[4].password_hash: is not an Argon2id hash such as $argon2id$v=19$m=65536,t=3,p=4$<salt>$<hash>; make one with `planetbell admin hash-password`.",
		),
	})
}

func TestAdminTokens(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	checkAll(t, []rule{
		admin("good", "  tokens:\n    - {name: ci, token_sha256: \""+sum+"\", role: operator}\n    - {name: eye, token: "+testlog.TextSecret("token-of-the-eye")+"}\n"),
		admin(
			"wrong", "  tokens:\n    - {name: ci, token_sha256: \""+sum[2:]+"\"}\n    - {name: ci, token: short}\n    - {name: admin.token, token: "+testlog.TextSecret("token-of-the-eye")+", token_sha256: \""+sum+"\"}\n    - {}\n"+
				"    - {name: d, token_sha256: \""+sum+"\"}\n    - {name: e, token_sha256: \""+strings.ToUpper(sum)+"\"}\n",
			"admin.tokens[0].token_sha256: 62 characters, want 64 hexadecimal; `planetbell admin token` prints a token and its hash.",
			`admin.tokens[1].name: "ci" is also the name of admin.tokens[0]; give each token a name of its own.`,
			"admin.tokens[1].token: 5 characters, want at least 16.",
			"admin.tokens[2].name: admin.token is the name of that setting's token; choose another.",
			"admin.tokens[2].token_sha256: is set, and token too; keep one of them.",
			"admin.tokens[3].name: is missing; it stands in the audit log.",
			"admin.tokens[3].token: is missing, and token_sha256 too; make one with `planetbell admin token`.",
			"admin.tokens[5].token: is the same token as admin.tokens[4]; give each entry its own.",
		),
	})
}

func TestAdminOIDC(t *testing.T) {
	const good = "  oidc:\n    issuer: https://login.example.com\n    client_id: bell\n    redirect_url: https://admin.example.com/signin/oidc/callback\n"
	checkAll(t, []rule{
		admin("by claim", good+"    role_claim: groups\n    roles: {admin: [ops], viewer: [staff]}\n"),
		admin("by domain", good+"    default_role: viewer\n    allowed_domains: [example.com]\n    allowed_emails: [ann@example.net]\n"),
		admin("nobody", good, "admin.oidc.default_role: is none, and there is no role_claim: nobody could sign in."),
		admin("everybody", good+"    default_role: viewer\n", "admin.oidc.default_role: would let everybody in whom the identity provider knows; name allowed_domains or allowed_emails, or use role_claim."),
		admin("claim without roles", good+"    role_claim: groups\n", `admin.oidc.roles: is empty; say which values of "groups" are which role.`),
		admin("roles without claim", good+"    roles: {admin: [ops, ops]}\n", "admin.oidc.role_claim: is missing; say in which claim the values of roles are found.", `admin.oidc.roles: "ops" stands there twice; give it one role.`),
		admin("no issuer", "  oidc: {client_id: bell}\n", "admin.oidc.issuer: is missing; name the identity provider's address, or remove admin.oidc."),
		admin(
			"wrong", "  oidc:\n    issuer: http://login.example.com\n    redirect_url: http://admin.example.com/signin/oidc/callback\n    scopes: [email]\n    default_role: viewer\n"+
				"    allowed_domains: [\"@example.com\"]\n    allowed_emails: [ann]\n",
			`admin.oidc.allowed_domains: entry 0: "@example.com", want what follows the @, in small letters, such as example.com.`,
			`admin.oidc.allowed_emails: entry 0: "ann", want an e-mail address in small letters.`,
			"admin.oidc.client_id: is missing; it is what the identity provider calls this server.",
			"admin.oidc.issuer: want https; plain http is for a fake on the same machine.",
			"admin.oidc.redirect_url: want https; plain http is for this machine only.",
			"admin.oidc.scopes: does not have openid, without which there is no ID token.",
		),
		admin("another path", strings.Replace(good, "oidc/callback", "callback", 1)+"    default_role: viewer\n    allowed_domains: [example.com]\n",
			"admin.oidc.redirect_url: want the admin listener's address with the path /signin/oidc/callback, such as https://admin.example.com/signin/oidc/callback."),
		admin("sessions", "  session_idle: 2h\n  session_lifetime: 1h\n", "admin.session_idle: 2h, want at most admin.session_lifetime (1h)."),
	})
}

// Any credential closes the listener, and lets it be on the network.
func TestAdminOnTheNetwork(t *testing.T) {
	for name, a := range map[string]Admin{
		"token":  {Token: "x"},
		"users":  {Users: []AdminUser{{Name: "ann"}}},
		"tokens": {Tokens: []AdminToken{{Name: "ci"}}},
		"oidc":   {OIDC: AdminOIDC{Issuer: "https://login.example.com"}},
	} {
		if a.Open() {
			t.Errorf("with %s everybody is let in", name)
		}
	}
	if a := (Admin{}); !a.Open() {
		t.Error("without credentials nobody is let in")
	}
}

func TestAdminTokenSum(t *testing.T) {
	want := sha256.Sum256([]byte("0123456789abcdef"))
	for _, token := range []AdminToken{{Token: "0123456789abcdef"}, {TokenSHA256: "9f9f5111f7b27a781f1f1ddde5ebc2dd2b796bfc7365c9c28b548e564176929f"}} {
		if token.Sum() != want {
			t.Errorf("the sum is %x, want %x", token.Sum(), want)
		}
	}
	if (&AdminToken{Role: bell.Admin}).Sum() != [sha256.Size]byte{} {
		t.Error("no token has a sum")
	}
}

// Every credential can come from the environment or a file.
func TestAdminFromTheEnvironment(t *testing.T) {
	dir := at(t, valid())
	write(t, "hash", phc+"\n")
	loaded := mustLoad(t, Options{Environ: []string{
		"PLANETBELL_ADMIN_USERS_0_NAME=ann", "PLANETBELL_ADMIN_USERS_0_PASSWORD_HASH_FILE=" + dir + "/hash", "PLANETBELL_ADMIN_USERS_0_ROLE=admin",
		"PLANETBELL_ADMIN_TOKENS_0_NAME=ci", "PLANETBELL_ADMIN_TOKENS_0_TOKEN=" + testlog.TextSecret("token-of-the-ci"),
		"PLANETBELL_ADMIN_OIDC_ISSUER=https://login.example.com", "PLANETBELL_ADMIN_OIDC_CLIENT_ID=bell", "PLANETBELL_ADMIN_OIDC_ROLE_CLAIM=groups",
		"PLANETBELL_ADMIN_OIDC_REDIRECT_URL=https://admin.example.com/signin/oidc/callback", "PLANETBELL_ADMIN_OIDC_ROLES_ADMIN=ops,root",
	}})
	a := loaded.Config.Admin
	if a.Users[0].PasswordHash != phc || a.Users[0].Role != bell.Admin || a.Tokens[0].Sum() == [sha256.Size]byte{} || len(a.OIDC.Roles.Admin) != 2 {
		t.Errorf("%+v", a.OIDC)
	}
}
