package account

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

func part(t testing.TB, token planet.Secret, i int) []byte {
	t.Helper()
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[i])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sign(text, key string) []byte {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// forge makes a token by hand, signed with key.
func forge(t *testing.T, header string, claims map[string]any, key string) planet.Secret {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return planet.Secret(text + "." + base64.RawURLEncoding.EncodeToString(sign(text, key)))
}

const header = `{"alg":"HS256","typ":"JWT"}`

// A forger who even has the key must still say everything that a token says: so each
// check is seen alone.
func TestForgedTokensAreRefused(t *testing.T) {
	o := newOffice(t)
	good := o.signUp(t, wish(o.acme, "bob"))
	key := string(o.tokens.key)
	with := func(name string, value any) map[string]any {
		claims := maps.Clone(claimsOf(t, good))
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
		return claims
	}
	if _, err := o.Authenticate(t.Context(), forge(t, header, with("prj", "acme"), key)); err != nil {
		t.Fatalf("the forger's good token is refused: %v", err)
	}
	text := good.Reveal()
	tests := map[string]planet.Secret{
		"nothing":                   "",
		"garbage":                   "garbage",
		"two parts":                 planet.Secret(text[:strings.LastIndex(text, ".")]),
		"no signature":              planet.Secret(text[:strings.LastIndex(text, ".")+1]),
		"four parts":                good + ".x",
		"a space":                   good + " ",
		"padding":                   good + "=",
		"too long":                  good + planet.Secret(strings.Repeat("A", maxAppToken)),
		"other claims":              planet.Secret(text[:strings.Index(text, ".")] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"uid":"alice"}`)) + text[strings.LastIndex(text, "."):]),
		"alg none":                  forge(t, `{"alg":"none","typ":"JWT"}`, with("x", 1), key),
		"alg none, unsigned":        planet.Secret(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(text, ".")[1] + "."),
		"alg HS512":                 forge(t, `{"alg":"HS512","typ":"JWT"}`, with("x", 1), key),
		"alg RS256":                 forge(t, `{"alg":"RS256","typ":"JWT"}`, with("x", 1), key),
		"no alg":                    forge(t, `{"typ":"JWT"}`, with("x", 1), key),
		"the configured key itself": forge(t, header, with("x", 1), signingKey.Reveal()),
		"the API secret":            forge(t, header, with("x", 1), o.acme.APISecret.Reveal()),
		"an empty key":              forge(t, header, with("x", 1), ""),
		"no expiry":                 forge(t, header, with("exp", nil), key),
		"expiry zero":               forge(t, header, with("exp", 0), key),
		"expiry in the past":        forge(t, header, with("exp", 1), key),
		"expiry as text":            forge(t, header, with("exp", "4102444800"), key),
		"another issuer":            forge(t, header, with("iss", "key-acme"), key),
		"no issuer":                 forge(t, header, with("iss", nil), key),
		"another audience":          forge(t, header, with("aud", "planetbell"), key),
		"several audiences":         forge(t, header, with("aud", []string{tokenAudience}), key),
		"no audience":               forge(t, header, with("aud", nil), key),
		"no session":                forge(t, header, with("jti", nil), key),
		"no user":                   forge(t, header, with("uid", nil), key),
		"no service":                forge(t, header, with("svc", nil), key),
		"another service":           forge(t, header, with("svc", "svc-shared"), key),
		"another environment":       forge(t, header, with("env", "real"), key),
		"another project":           forge(t, header, with("prj", "shared"), key),
		"no project":                forge(t, header, with("prj", nil), key),
	}
	for name, token := range tests {
		t.Run(name, func(t *testing.T) {
			id, err := o.Authenticate(t.Context(), token)
			if bell.KindOf(err) != bell.Unauthorized || id != (bell.Identity{}) {
				t.Fatalf("identity %+v, error %v", id, err)
			}
			checkNoSecret(t, err)
		})
	}
}

func TestAppTokenEndsWithItsSecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		token := o.signUp(t, wish(o.acme, "bob"))
		<-time.After(time.Hour - 1)
		o.authenticate(t, token)
		<-time.After(1)
		if _, err := o.Authenticate(t.Context(), token); bell.KindOf(err) != bell.Unauthorized {
			t.Errorf("after its end: %v", err)
		}
	})
}

// Nodes whose clocks differ take each other's tokens.
func TestTokenOfAClockThatIsAhead(t *testing.T) {
	o := newOffice(t)
	ahead := newAppTokens(signingKey, time.Now)
	session := bell.Session{
		ID: "s1", Project: "acme", IssuedAt: time.Now().Add(5 * time.Minute), ExpiresAt: time.Now().Add(time.Hour),
		Owner: bell.Owner{Environment: planet.Evaluation, User: planet.UserRef{ServiceID: "svc-acme", UserID: "bob"}},
	}
	token, err := ahead.sign(session)
	if err != nil {
		t.Fatal(err)
	}
	if id := o.authenticate(t, token); id.SessionID != "s1" {
		t.Errorf("identity %+v", id)
	}
}

func FuzzVerify(f *testing.F) {
	tokens := newAppTokens(signingKey, func() time.Time { return time.Unix(1_700_000_000, 0) })
	session := bell.Session{
		ID: "s1", Project: "acme", IssuedAt: time.Unix(1_700_000_000, 0), ExpiresAt: time.Unix(1_700_003_600, 0),
		Owner: bell.Owner{Environment: planet.Real, User: planet.UserRef{ServiceID: "svc", UserID: "bob"}},
	}
	good, err := tokens.sign(session)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good.Reveal(), "", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", strings.Repeat(".", 5000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := tokens.verify(planet.Secret(text))
		switch {
		case strings.NewReplacer("\r", "", "\n", "").Replace(text) == good.Reveal() && strings.HasPrefix(good.Reveal(), text[:strings.LastIndex(text, ".")]):
			// encoding/base64 skips line breaks in the signature, which gains nobody anything.
			if err != nil || got.ID != "s1" {
				t.Fatalf("the good token: %v", err)
			}
		case err == nil:
			t.Fatalf("a forged token opened session %q", got.ID)
		case len(text) > 20 && strings.Contains(err.Error(), text):
			t.Fatal("the error repeats the token")
		}
	})
}

// What this process vouches for has a user ID that is registered already, and nothing else has.
func TestVouchedForRegistersAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		o.store.devices[o.authenticate(t, o.signUp(t, wish(o.acme, "bob"))).SessionID] = true
		in := wish(o.acme, "bob")
		if _, err := o.SignUp(t.Context(), in); bell.KindOf(err) != bell.Taken {
			t.Fatalf("without: error %v", err)
		}
		token, err := o.Vouch(o.acme, "bob")
		if err != nil {
			t.Fatal(err)
		}
		identity := o.authenticate(t, token)
		in.Current = &identity
		if _, err := o.SignUp(t.Context(), in); err != nil {
			t.Errorf("with: error %v", err)
		}
		if _, err := o.Vouch(o.acme, "no user"); bell.KindOf(err) != bell.Invalid {
			t.Errorf("for nobody: error %v", err)
		}
		<-time.After(time.Minute)
		if _, err := o.Authenticate(t.Context(), token); bell.KindOf(err) != bell.Unauthorized {
			t.Errorf("a minute later: error %v", err)
		}
	})
}
