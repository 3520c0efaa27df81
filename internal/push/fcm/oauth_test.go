package fcm

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/testlog"
)

// bank gives out access tokens, or what it is told to.
type bank struct {
	mu      sync.Mutex
	life    time.Duration
	failure *fetchError
	takes   time.Duration
	fetched []time.Time
}

func (b *bank) fetch(ctx context.Context) (accessToken, *fetchError) {
	b.mu.Lock()
	b.fetched = append(b.fetched, time.Now())
	n, failure, takes, life := len(b.fetched), b.failure, b.takes, b.life
	b.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return accessToken{}, &fetchError{reason: reasonTokenUnavailable}
	}
	if failure != nil {
		return accessToken{}, failure
	}
	now := time.Now()
	return accessToken{text: fmt.Sprintf("%s-%d", testlog.TextSecret("token"), n), fetchedAt: now, expiresAt: now.Add(life)}, nil
}

func (b *bank) fail(f *fetchError) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failure = f
}

func (b *bank) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.fetched)
}

// run starts the renewal for a test.
func (b *bank) run(t *testing.T) *accessTokens {
	t.Helper()
	tokens := newAccessTokens(b.fetch, testlog.New(t))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { tokens.run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return tokens
}

func mustToken(t *testing.T, tokens *accessTokens) string {
	t.Helper()
	text, failure := tokens.Current(t.Context())
	if failure != nil {
		t.Fatalf("no access token: %v", failure)
	}
	return text
}

func TestRenewalInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{life: time.Hour, takes: 5 * time.Second}
		tokens := b.run(t)
		first := mustToken(t, tokens)
		for range 24 * 60 { // for a day, every minute: never a wait
			before := time.Now()
			mustToken(t, tokens)
			if waited := time.Since(before); waited != 0 {
				t.Fatalf("a call waited %v for a token", waited)
			}
			<-time.After(time.Minute)
		}
		if n := b.count(); n < 24 || n > 32 {
			t.Errorf("%d tokens in a day, want one in 47 minutes", n)
		}
		if mustToken(t, tokens) == first {
			t.Error("the token was never renewed")
		}
		if age := tokens.Age(); age <= 0 || age > 50*time.Minute {
			t.Errorf("age %v", age)
		}
	})
}

func TestOldTokenServesWhileRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{life: time.Hour}
		tokens := b.run(t)
		first := mustToken(t, tokens)
		b.fail(&fetchError{reason: reasonTokenUnavailable})
		<-time.After(59 * time.Minute)
		if mustToken(t, tokens) != first {
			t.Error("the old token was given up while it was valid")
		}
		<-time.After(2 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, failure := tokens.Current(ctx); failure == nil || failure.reason != reasonTokenUnavailable {
			t.Errorf("an expired token: %v", failure)
		}
		b.fail(nil)
		if second := mustToken(t, tokens); second == first {
			t.Error("the token is the expired one")
		}
		if n := b.count(); n > 110 { // 13 minutes, most of them at 10 s
			t.Errorf("%d tries in 15 minutes", n)
		}
	})
}

// TestOneFetchForAll: a hundred senders at the start, at the renewal, and after the token's
// end share one fetch; at the renewal none of them waits for it.
func TestOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{life: time.Hour, takes: 5 * time.Second}
		tokens := b.run(t)
		all := func() (waited time.Duration, seen map[string]int) {
			var mu sync.Mutex
			seen = map[string]int{}
			start := time.Now()
			var wg sync.WaitGroup
			for range 100 {
				wg.Go(func() {
					token := mustToken(t, tokens)
					mu.Lock()
					defer mu.Unlock()
					seen[token]++
					waited = max(waited, time.Since(start))
				})
			}
			wg.Wait()
			return waited, seen
		}
		if waited, seen := all(); waited != 5*time.Second || len(seen) != 1 || b.count() != 1 {
			t.Errorf("at the start: %v, %d tokens, %d fetches", waited, len(seen), b.count())
		}
		renewal := time.Duration(renewAt*float64(time.Hour)) + time.Second
		<-time.After(renewal)
		if waited, seen := all(); waited != 0 || len(seen) != 1 || b.count() != 2 {
			t.Errorf("at the renewal: %v, %d tokens, %d fetches", waited, len(seen), b.count())
		}
		<-time.After(10 * time.Second)
		b.fail(&fetchError{reason: reasonTokenUnavailable})
		<-time.After(2 * time.Hour)
		b.fail(nil)
		synctest.Wait()
		before := b.count()
		if _, seen := all(); len(seen) != 1 || b.count() > before+1 {
			t.Errorf("after the end: %d tokens, %d fetches", len(seen), b.count()-before)
		}
	})
}

func TestPermanentFailureIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{failure: &fetchError{reason: reasonInvalidGrant, permanent: true}}
		tokens := b.run(t)
		synctest.Wait()
		before := time.Now()
		_, failure := tokens.Current(t.Context())
		if failure == nil || failure.reason != reasonInvalidGrant || time.Since(before) != 0 || failure.Error() != reasonInvalidGrant {
			t.Errorf("failure %v after %v", failure, time.Since(before))
		}
		<-time.After(time.Hour)
		if n := b.count(); n < 60 || n > 90 {
			t.Errorf("%d tries in an hour, want about one a minute", n)
		}
	})
}

func TestTokenServerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{takes: time.Hour}
		tokens := b.run(t)
		if tokens.Age() != 0 {
			t.Error("there is no token yet, but it has an age")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, failure := tokens.Current(ctx); failure == nil || failure.reason != reasonTokenLate {
			t.Errorf("failure %v", failure)
		}
	})
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bank{life: time.Hour, takes: time.Second}
		tokens := b.run(t)
		first := mustToken(t, tokens)
		for range 100 {
			tokens.Refused(first)
		}
		second := mustToken(t, tokens)
		if second == first || b.count() != 2 {
			t.Fatalf("%d tokens were fetched, want 2", b.count())
		}
		tokens.Refused(first) // late
		tokens.Refused(second)
		if mustToken(t, tokens) != second {
			t.Error("a second token was thrown away a second after the first")
		}
		<-time.After(forceAtMost)
		tokens.Refused(second)
		if mustToken(t, tokens) == second {
			t.Error("a refused token was kept for good")
		}
	})
}

func TestGranted(t *testing.T) {
	started := time.Now()
	for name, c := range map[string]struct {
		status    int
		body      string
		life      time.Duration
		reason    string
		permanent bool
	}{
		"token":           {200, `{"access_token":"ya29.x","expires_in":3600,"token_type":"Bearer"}`, time.Hour, "", false},
		"fraction":        {200, `{"access_token":"ya29.x","expires_in":1.5}`, 1500 * time.Millisecond, "", false},
		"no life":         {200, `{"access_token":"ya29.x"}`, unsaidLife, "", false},
		"absurd life":     {200, `{"access_token":"ya29.x","expires_in":1e300}`, unsaidLife, "", false},
		"no token":        {200, `{}`, 0, reasonTokenUnavailable, false},
		"token with line": {200, `{"access_token":"a\nb"}`, 0, reasonTokenUnavailable, false},
		"HTML":            {200, `<html>`, 0, reasonTokenUnavailable, false},
		"grant":           {400, `{"error":"invalid_grant","error_description":"Invalid JWT"}`, 0, reasonInvalidGrant, true},
		"client":          {401, `{"error":"invalid_client"}`, 0, reasonTokenRefused, true},
		"forbidden":       {403, `<html>`, 0, reasonTokenRefused, true},
		"throttled":       {429, `{}`, 0, reasonTokenUnavailable, false},
		"unwell":          {503, `{"error":"invalid_grant"}`, 0, reasonTokenUnavailable, false},
	} {
		token, failure := granted(c.status, []byte(c.body), started)
		switch {
		case c.reason == "" && (failure != nil || token.text != "ya29.x" || token.expiresAt.Sub(started) != c.life):
			t.Errorf("%s: token with life %v, failure %v", name, token.expiresAt.Sub(started), failure)
		case c.reason != "" && (failure == nil || failure.reason != c.reason || failure.permanent != c.permanent || token.text != ""):
			t.Errorf("%s: failure %+v", name, failure)
		}
	}
}

// TestReasonsHaveRules: a reason without a row would be an empty outcome.
func TestReasonsHaveRules(t *testing.T) {
	for _, reason := range []string{
		reasonTimeout, reasonCancelled, reasonDial, reasonDNS, reasonProxy, reasonTLS, reasonBusy, reasonGoAway, reasonRefused, reasonReset, reasonLost,
		reasonClosed, reasonTokenLate, reasonTokenUnavailable, reasonInvalidGrant, reasonTokenRefused,
	} {
		if o := unanswered(reason); o.Verdict == "" || o.Token == "" || len(o.Detail) > 200 || !strings.HasSuffix(o.Detail, ".") {
			t.Errorf("%s: %+v", reason, o)
		}
	}
	if len(transportRules) != 16 {
		t.Errorf("%d rules; name the new reason above", len(transportRules))
	}
}
