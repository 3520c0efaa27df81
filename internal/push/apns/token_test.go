package apns

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// claimsOf verifies a provider token with nothing of ours and returns its "iat".
func claimsOf(t *testing.T, token string, key *ecdsa.PublicKey) time.Time {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("the token has %d parts", len(parts))
	}
	decode := func(i int) []byte {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatalf("part %d of the token: %v", i, err)
		}
		return b
	}
	var header, claims map[string]any
	if err := json.Unmarshal(decode(0), &header); err != nil || header["alg"] != "ES256" || header["kid"] != "KEY1234567" {
		t.Errorf("header %s (%v)", decode(0), err)
	}
	if err := json.Unmarshal(decode(1), &claims); err != nil || claims["iss"] != "TEAM123456" || len(claims) != 2 {
		t.Errorf("claims %s (%v)", decode(1), err)
	}
	signature := decode(2)
	if len(signature) != 64 {
		t.Fatalf("the signature has %d bytes, want 64", len(signature))
	}
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if !ecdsa.Verify(key, digest[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])) {
		t.Error("the signature does not verify")
	}
	iat, ok := claims["iat"].(float64)
	if !ok {
		t.Fatalf("iat is %T", claims["iat"])
	}
	return time.Unix(int64(iat), 0)
}

func mustToken(t *testing.T, tokens *tokens) string {
	t.Helper()
	token, err := tokens.Current()
	if err != nil {
		t.Fatalf("provider token: %v", err)
	}
	return token
}

// at moves the clock of a bubble into a window of the wall clock.
func at(intoWindow time.Duration) {
	now := time.Now()
	start := time.Unix(now.Unix()-now.Unix()%int64(tokenWindow/time.Second), 0)
	wait := start.Add(tokenWindow + intoWindow).Sub(now)
	<-time.After(wait)
}

// TestTokenRotation walks through three hours from every minute of a window and holds
// APNs' rules against every token: younger than an hour, and none sooner than 20
// minutes after the last.
func TestTokenRotation(t *testing.T) {
	credential := tokenCredential(t)
	for minute := range 40 {
		synctest.Test(t, func(t *testing.T) {
			at(time.Duration(minute) * time.Minute)
			tokens := newTokens(credential, time.Now)
			last, since := mustToken(t, tokens), time.Now()
			var inStep bool
			for range 180 {
				<-time.After(time.Minute)
				token := mustToken(t, tokens)
				iat := claimsOf(t, token, &credential.key.PublicKey)
				if age := time.Since(iat); age < 0 || age > 51*time.Minute {
					t.Fatalf("started at minute %d: a token of age %v is sent", minute, age)
				}
				if token != last {
					if used := time.Since(since); used <= tokenFloor {
						t.Fatalf("started at minute %d: a new token after %v", minute, used)
					}
					last, since = token, time.Now()
				}
				inStep = iat.Unix()%int64(tokenWindow/time.Second) == 0
			}
			if !inStep {
				t.Errorf("started at minute %d: not in step with the other nodes after three hours", minute)
			}
		})
	}
}

func TestNodesSendTheSameToken(t *testing.T) {
	credential := tokenCredential(t)
	synctest.Test(t, func(t *testing.T) {
		at(3 * time.Minute)
		one := mustToken(t, newTokens(credential, time.Now))
		<-time.After(20 * time.Minute)
		if other := mustToken(t, newTokens(credential, time.Now)); other != one {
			t.Error("two nodes in one window made different tokens")
		}
	})
}

func TestOneTokenForAllGoroutines(t *testing.T) {
	tokens := newTokens(tokenCredential(t), time.Now)
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			token := mustToken(t, tokens)
			mu.Lock()
			defer mu.Unlock()
			seen[token] = true
		})
	}
	wg.Wait()
	if len(seen) != 1 {
		t.Errorf("%d different tokens", len(seen))
	}
}

// TestExpiredToken: a storm of 403 mints once, and never within the floor.
func TestExpiredToken(t *testing.T) {
	credential := tokenCredential(t)
	synctest.Test(t, func(t *testing.T) {
		at(time.Minute)
		tokens := newTokens(credential, time.Now)
		if tokens.Age() != 0 {
			t.Error("there is no token yet, but it has an age")
		}
		first := mustToken(t, tokens)
		if another, _ := tokens.Renew(first); another || mustToken(t, tokens) != first {
			t.Fatal("a new token within the floor")
		}
		<-time.After(tokenFloor + time.Second)
		for range 100 {
			if another, early := tokens.Renew(first); !another || early {
				t.Fatal("no other token, although the floor has passed, or it is called early")
			}
		}
		second := mustToken(t, tokens)
		if another, _ := tokens.Renew(second); second == first || another {
			t.Error("the token was not replaced, or replaced twice")
		}
		if age := time.Since(claimsOf(t, second, &credential.key.PublicKey)); age > time.Second {
			t.Errorf("the new token is %v old", age)
		}
	})
}

func TestTokenTooNew(t *testing.T) {
	credential := tokenCredential(t)
	synctest.Test(t, func(t *testing.T) {
		at(0)
		tokens := newTokens(credential, time.Now)
		first := mustToken(t, tokens)
		if tokens.Return(first) {
			t.Error("went back to a token that never was")
		}
		<-time.After(tokenWindow)
		second := mustToken(t, tokens)
		if second == first {
			t.Fatal("no new token in a new window")
		}
		if !tokens.Return(second) || mustToken(t, tokens) != first {
			t.Fatal("did not go back to the token before")
		}
		if !tokens.Return(second) {
			t.Error("a late complaint about the same token is not answered with yes")
		}
		<-time.After(tokenFallback - tokenWindow - time.Second)
		if mustToken(t, tokens) != first {
			t.Error("the token before was not kept while it was young enough")
		}
		<-time.After(2 * time.Second)
		if mustToken(t, tokens) == first {
			t.Error("the token before was kept too long")
		}
	})
	synctest.Test(t, func(t *testing.T) {
		at(0)
		tokens := newTokens(credential, time.Now)
		mustToken(t, tokens)
		<-time.After(tokenFallback + time.Minute)
		if tokens.Return(mustToken(t, tokens)) {
			t.Error("went back to a token that is too old")
		}
	})
}
