package webpush

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// opened verifies an Authorization header as a push service does, without the JWT library, and
// returns the token's claims.
func opened(t *testing.T, authorization string) map[string]any {
	t.Helper()
	parameters, ok := strings.CutPrefix(authorization, "vapid ")
	if !ok {
		t.Fatalf("scheme of %.10q", authorization)
	}
	values := map[string]string{}
	for p := range strings.SplitSeq(parameters, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		values[name] = value
	}
	parts := strings.Split(values["t"], ".")
	point := decoded(t, values["k"])
	if len(parts) != 3 || len(point) != 65 {
		t.Fatalf("a token of %d parts, a key of %d bytes", len(parts), len(point))
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatal(err)
	}
	signature := decoded(t, parts[2])
	if len(signature) != 64 {
		t.Fatalf("a signature of %d bytes", len(signature))
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(public, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		t.Error("the signature is wrong")
	}
	var header map[string]any
	if err := json.Unmarshal(decoded(t, parts[0]), &header); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]any{"typ": "JWT", "alg": "ES256"}, header); diff != "" {
		t.Error(diff)
	}
	var claims map[string]any
	if err := json.Unmarshal(decoded(t, parts[1]), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func newTestTokens(t *testing.T) *tokens { return newTokens(testKey(t), subject) }

func (t *tokens) must(test *testing.T, origin string, now time.Time) string {
	test.Helper()
	header, err := t.authorization(origin, now)
	if err != nil {
		test.Fatal(err)
	}
	return header
}

// TestVAPIDToken is RFC 8292 sections 2 and 3.
func TestVAPIDToken(t *testing.T) {
	header := newTestTokens(t).must(t, "https://push.example.com", noon)
	want := map[string]any{"aud": "https://push.example.com", "sub": subject, "exp": float64(noon.Add(12 * time.Hour).Unix())}
	if diff := cmp.Diff(want, opened(t, header)); diff != "" {
		t.Error(diff)
	}
}

// A token is made when there is none, after half of its life, and when the clock was set back
// so far that it would be valid for too long.
func TestTokensAreKept(t *testing.T) {
	for name, test := range map[string]struct {
		origin string
		later  time.Duration
		same   bool
	}{
		"at once":                 {"https://a.example.com", 0, true},
		"just before its renewal": {"https://a.example.com", renewAfter - time.Second, true},
		"at its renewal":          {"https://a.example.com", renewAfter, false},
		"the clock a little back": {"https://a.example.com", -clockSlack + time.Second, true},
		"the clock far back":      {"https://a.example.com", -13 * time.Hour, false},
		"another push service":    {"https://b.example.com", 0, false},
		"another port of it":      {"https://a.example.com:8443", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			tokens := newTestTokens(t)
			first := tokens.must(t, "https://a.example.com", noon)
			now := noon.Add(test.later)
			next := tokens.must(t, test.origin, now)
			if (first == next) != test.same {
				t.Errorf("the same: %v, want %v", first == next, test.same)
			}
			valid := time.Unix(int64(opened(t, next)["exp"].(float64)), 0).Sub(now)
			if valid < renewAfter || valid >= 24*time.Hour {
				t.Errorf("valid for %v", valid)
			}
		})
	}
}

// TestATokenIsMadeOnce, however many need it at the same moment.
func TestATokenIsMadeOnce(t *testing.T) {
	tokens := newTestTokens(t)
	var mu sync.Mutex
	seen := map[string]bool{}
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			header, err := tokens.authorization("https://push.example.com", noon)
			mu.Lock()
			defer mu.Unlock()
			seen[header] = err == nil
		})
	}
	group.Wait()
	if len(seen) != 1 {
		t.Errorf("%d tokens", len(seen))
	}
}

// TestTokensAreBounded: one allowed domain can have hosts without end.
func TestTokensAreBounded(t *testing.T) {
	tokens := newTestTokens(t)
	for i := range maxOrigins + 5 {
		tokens.must(t, fmt.Sprintf("https://h%d.example.com", i), noon.Add(time.Duration(i)*time.Millisecond))
	}
	if n := len(tokens.made); n != maxOrigins {
		t.Errorf("%d are kept", n)
	}
	if _, ok := tokens.made["https://h4.example.com"]; ok {
		t.Error("the oldest was kept")
	}
	if age := tokens.age(noon.Add(time.Hour)); age > time.Hour || age < time.Hour-time.Second {
		t.Errorf("age %v", age)
	}
	if age := newTestTokens(t).age(noon); age != 0 {
		t.Errorf("age %v of none", age)
	}
}
