package sim

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCAServerCertificate(t *testing.T) {
	ca := testCA(t)
	c, err := ca.Server()
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "::1", "localhost"} {
		if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: ca.Pool()}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{DNSName: "api.push.apple.com", Roots: ca.Pool()}); err == nil {
		t.Error("valid for another host")
	}
	other, err := NewCA()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: other.Pool()}); err == nil {
		t.Error("another authority vouches for it")
	}
	if err := ca.WriteFile(filepath.Join(t.TempDir(), "no", "such", "folder")); err == nil {
		t.Error("written into a folder that is not there")
	}
}

func TestCertificatePEM(t *testing.T) {
	c, err := testCA(t).Push("a", "a.voip")
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := CertificatePEM(c)
	if err != nil {
		t.Fatal(err)
	}
	back, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(back.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	topics, ok := topicsOf(leaf)
	if diff := cmp.Diff([]string{"a", "a.voip"}, topics); diff != "" || !ok {
		t.Error(diff)
	}
	if !leaf.Extensions[len(leaf.Extensions)-1].Id.Equal(asn1.ObjectIdentifier{1, 2, 840, 113635, 100, 6, 3, 6}) {
		t.Errorf("extensions %v", leaf.Extensions)
	}
	if _, ok := topicsOf(testCA(t).cert); ok {
		t.Error("the authority lists topics")
	}
	if _, _, err := CertificatePEM(tls.Certificate{PrivateKey: 1}); err == nil {
		t.Error("a number is a key")
	}
}

func TestManualClock(t *testing.T) {
	c := NewManualClock(testNow)
	ctx := testContext(t)
	done := make(chan error)
	go func() { done <- c.Wait(ctx, time.Minute) }()
	if err := c.AwaitWaiters(ctx, 1, time.Minute); err != nil {
		t.Fatal(err)
	}
	c.Advance(time.Minute - 1)
	select {
	case <-done:
		t.Fatal("the wait ended early")
	default:
	}
	c.Advance(1)
	if err := <-done; err != nil || !c.Now().Equal(testNow.Add(time.Minute)) {
		t.Errorf("%v at %v", err, c.Now())
	}
	cancelled, cancel := context.WithCancel(ctx)
	go func() { done <- c.Wait(cancelled, time.Hour) }()
	if err := c.AwaitWaiters(ctx, 1, time.Hour); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || len(c.waits) != 0 {
		t.Errorf("%v, %d waits left", err, len(c.waits))
	}
	if err := c.AwaitWaiters(cancelled, 1, time.Hour); err == nil {
		t.Error("waited for nobody")
	}
	if err := c.Wait(ctx, 0); err != nil {
		t.Error(err)
	}
}

func TestSystemClock(t *testing.T) {
	c := orSystem(nil)
	if err := c.Wait(t.Context(), time.Nanosecond); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, d := range []time.Duration{0, time.Hour} {
		if err := c.Wait(ctx, d); !errors.Is(err, context.Canceled) {
			t.Errorf("%v: %v", d, err)
		}
	}
}

func TestRing(t *testing.T) {
	r := newRing[int](3)
	for i := range 5 {
		r.add(i)
		if got := r.all(); got[len(got)-1] != i || len(got) > 3 {
			t.Errorf("after %d: %v", i, got)
		}
	}
	if diff := cmp.Diff([]int{2, 3, 4}, r.all()); diff != "" || r.count() != 5 {
		t.Error(diff, r.count())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got, err := r.wait(ctx, 6); !errors.Is(err, context.Canceled) || len(got) != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestHubLosesForSlowWatchersOnly(t *testing.T) {
	h := newHub(10)
	ctx, cancel := context.WithCancel(t.Context())
	ch := h.watch(ctx)
	for range watcherBuffer + 5 {
		h.publish(Event{Kind: EventPlaced})
	}
	h.mu.Lock()
	dropped := h.dropped
	h.mu.Unlock()
	if dropped != 5 || len(ch) != watcherBuffer || h.recent.count() != watcherBuffer+5 {
		t.Errorf("dropped %d, waiting %d", dropped, len(ch))
	}
	cancel()
	n := 0
	for range ch { // ends, because the channel is closed
		n++
	}
	if n != watcherBuffer {
		t.Errorf("%d events", n)
	}
	var wg sync.WaitGroup
	wg.Go(func() { h.publish(Event{}) })
	wg.Wait()
}

func TestPlansCanBeFollowed(t *testing.T) {
	for _, kind := range PlanKinds() {
		p := Plan{Kind: kind}
		if err := p.check(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
	var zero Plan
	if err := zero.check(); err != nil || zero.Kind != PlanUnanswered {
		t.Errorf("%q, %v", zero.Kind, err)
	}
	for _, p := range []Plan{{Kind: "x"}, {Talk: -1}, {Duplicates: -1}, {Duplicates: 1001}} {
		if p.check() == nil {
			t.Errorf("%+v is accepted", p)
		}
	}
}

func TestTokenCacheIsBounded(t *testing.T) {
	c := newTokenCache()
	for i := range tokenCacheCap + 1 {
		c.keep(string(rune(i)), &providerToken{})
	}
	if len(c.m) > tokenCacheCap || c.find(string(rune(tokenCacheCap))) == nil {
		t.Errorf("%d tokens", len(c.m))
	}
}
