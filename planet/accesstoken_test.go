package planet

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/planetbell/planetbell/internal/testlog"
)

// The test vector: byte for byte what Planet Cloud accepts.
const (
	vectorSecret = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	vectorToken  = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9." +
		"eyJzdWIiOiJteS1zZXJ2aWNlIiwidWlkIjoiMjA0OCIsImlzcyI6InRlc3QtYXBpLWtleSIsImlhdCI6MTYxNzYzNjUzMH0." +
		"moTk9c6XdkYmnogsZUcGE4RzTBQV_eteb3NEsLER2v0"
	// The signature with the secret wrongly decoded from hexadecimal.
	vectorWrongSignature = "Y-qCRoMOC6MEo_d0qm4P5NFXrnBGDeUlY32RKcsbK3U"
)

func vectorIssuer() AccessTokenIssuer {
	return AccessTokenIssuer{ServiceID: "my-service", APIKey: "test-api-key", APISecret: vectorSecret}
}

func TestIssueIsByteExact(t *testing.T) {
	got, err := vectorIssuer().Issue("2048", time.Unix(1617636530, 999_999_999))
	if err != nil {
		t.Fatal(err)
	}
	if got.Reveal() != vectorToken {
		t.Errorf("got  %s\nwant %s", got.Reveal(), vectorToken)
	}
}

func TestIssueDoesNotDecodeTheSecret(t *testing.T) {
	token, err := vectorIssuer().Issue("2048", time.Unix(1617636530, 0))
	if err != nil {
		t.Fatal(err)
	}
	dot := strings.LastIndexByte(token.Reveal(), '.')
	signed, signature := token.Reveal()[:dot], token.Reveal()[dot+1:]
	if signature == vectorWrongSignature {
		t.Error("the secret was decoded from hexadecimal; it is the key as text")
	}
	// That the wrong signature is the one of that mistake, and not any text.
	key, err := hex.DecodeString(vectorSecret)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(signed))
	if got := base64.RawURLEncoding.EncodeToString(mac.Sum(nil)); got != vectorWrongSignature {
		t.Errorf("the mistake gives %s", got)
	}
}

func TestIssueSubtractsSkew(t *testing.T) {
	issuer := vectorIssuer()
	issuer.Skew = 2 * time.Second
	got, err := issuer.Issue("2048", time.Unix(1617636532, 0))
	if err != nil {
		t.Fatal(err)
	}
	if got.Reveal() != vectorToken {
		t.Errorf("got %s", got.Reveal())
	}
}

// An ordinary JWT library must read the token, and find these four claims only.
func TestIssueProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[0-9a-f]{64}`).Draw(t, "secret")
		issuer := AccessTokenIssuer{
			ServiceID: rapid.StringMatching(`[a-zA-Z0-9.\-]{1,64}`).Draw(t, "service"),
			APIKey:    rapid.StringMatching(`[A-Za-z0-9\-_]{1,160}`).Draw(t, "key"),
			APISecret: Secret(secret),
		}
		user := rapid.StringMatching(`[a-zA-Z0-9\-_]{1,64}`).Draw(t, "user")
		at := rapid.Int64Range(1, 253402300799).Draw(t, "at")
		token, err := issuer.Issue(user, time.Unix(at, 0))
		if err != nil {
			t.Fatal(err)
		}
		claims := jwt.MapClaims{}
		parser := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithJSONNumber(), jwt.WithoutClaimsValidation())
		parsed, err := parser.ParseWithClaims(token.Reveal(), claims, func(*jwt.Token) (any, error) { return []byte(secret), nil })
		if err != nil {
			t.Fatal(err)
		}
		want := jwt.MapClaims{"sub": issuer.ServiceID, "uid": user, "iss": issuer.APIKey, "iat": json.Number(strconv.FormatInt(at, 10))}
		if diff := cmp.Diff(want, claims); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(map[string]any{"typ": "JWT", "alg": "HS256"}, parsed.Header); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestIssueRefuses(t *testing.T) {
	secret := Secret(testlog.HexSecret(1, 64))
	at := time.Unix(1617636530, 0)
	for _, c := range []struct {
		name    string
		change  func(*AccessTokenIssuer)
		user    string
		at      time.Time
		problem string
	}{
		{"service ID", func(i *AccessTokenIssuer) { i.ServiceID = "my_service" }, "u", at, "the service ID has a forbidden"},
		{"no service ID", func(i *AccessTokenIssuer) { i.ServiceID = "" }, "u", at, "the service ID is empty"},
		{"API key", func(i *AccessTokenIssuer) { i.APIKey = "a b" }, "u", at, "the API key has a forbidden"},
		{"no secret", func(i *AccessTokenIssuer) { i.APISecret = "" }, "u", at, "the API secret is empty"},
		{"secret with a line break", func(i *AccessTokenIssuer) { i.APISecret = secret + "\n" }, "u", at, "copy it again"},
		{"long secret", func(i *AccessTokenIssuer) { i.APISecret = Secret(strings.Repeat(string(secret), 20)) }, "u", at, "1280 bytes"},
		{"negative skew", func(i *AccessTokenIssuer) { i.Skew = -time.Second }, "u", at, "the skew is -1s"},
		{"large skew", func(i *AccessTokenIssuer) { i.Skew = time.Hour }, "u", at, "it can be 0 to 1m0s"},
		{"user ID", func(*AccessTokenIssuer) {}, "a.b", at, "the user ID has a forbidden"},
		{"no user ID", func(*AccessTokenIssuer) {}, "", at, "the user ID is empty"},
		{"no time", func(*AccessTokenIssuer) {}, "u", time.Time{}, "the time of issue is not set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			issuer := AccessTokenIssuer{ServiceID: "my-service", APIKey: testlog.TextSecret("key"), APISecret: secret}
			c.change(&issuer)
			got, err := issuer.Issue(c.user, c.at)
			wantProblem(t, err, c.problem)
			if got != "" {
				t.Error("there is a token nonetheless")
			}
			testlog.Keep(t, "error", err.Error())
			if strings.Contains(err.Error(), testlog.Hex) || strings.Contains(err.Error(), testlog.Text) {
				t.Error("the error holds a secret")
			}
		})
	}
}

func TestValidateIssuer(t *testing.T) {
	if err := vectorIssuer().Validate(); err != nil {
		t.Error(err)
	}
	if err := (AccessTokenIssuer{}).Validate(); err == nil {
		t.Error("an empty issuer is valid")
	}
}
