package apns

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/http2"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/push/pushtest"
	"github.com/planetbell/planetbell/internal/testlog"
)

func TestRedialSlowsDown(t *testing.T) {
	if redialWait(0) != 0 {
		t.Error("the first try waits")
	}
	for failures := 1; failures < 50; failures++ {
		most := redialWaits[min(failures, len(redialWaits)-1)]
		if wait := redialWait(failures); wait > most || wait < most*6/10 {
			t.Errorf("after %d failures the wait is %v, want up to %v", failures, wait, most)
		}
	}
}

// A pause is as long as it should be, but while a request waits for a connection it is
// short.
func TestAWaitingRequestShortensThePause(t *testing.T) {
	for _, c := range []struct {
		failures  int
		waits     bool
		from, to  time.Duration
		closed    bool
		redialled bool
	}{
		{0, true, 0, 0, false, true},
		{2, true, 700 * time.Millisecond, time.Second, false, true},
		{9, false, 7 * time.Second, 10 * time.Second, false, true},
		{9, true, 2 * time.Second, 2 * time.Second, false, true},
		{9, true, 0, 0, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p := &pool{ctx: ctx}
			if c.waits {
				p.waiting.Add(1)
			}
			if c.closed {
				cancel()
			}
			start := time.Now()
			if got := p.pause(&slot{failures: c.failures}); got != c.redialled {
				t.Errorf("%+v: dial = %v", c, got)
			}
			if took := time.Since(start); took < c.from || took > c.to {
				t.Errorf("%+v: it took %v", c, took)
			}
		})
	}
}

// TestServerThatHangsUp: connections that end right after the handshake are redialled
// ever more slowly, not in a loop.
func TestServerThatHangsUp(t *testing.T) {
	server := newFrameServer(t, func(*frameConn) {})
	client := newClient(t, frameTarget(t, server), func(cfg *Config) { cfg.Connections = 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	defer cancel()
	sender := newSender(t, client, bell.APNsVoIP)
	for ctx.Err() == nil {
		if o := sendCtx(ctx, sender, 1, false); o.Verdict != bell.RetryConnect && o.Verdict != bell.RetryNow {
			t.Fatalf("outcome %+v", o)
		}
	}
	if n := server.opened(); n > 3 {
		t.Errorf("%d connections in 0.7 s: that looks like an attack", n)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics := NewMetrics(registry)
	server := newFrameServer(t, func(c *frameConn) {
		c.streams(10)
		if stream := c.next(); stream != 0 {
			c.goAway(stream, http2.ErrCodeNo, `{"reason":"Shutdown"}`)
		}
	})
	now := time.Unix(1767225600, 0).Add(5 * time.Minute)
	client := newClient(t, frameTarget(t, server), func(cfg *Config) {
		cfg.Connections, cfg.Metrics, cfg.Clock = 1, metrics, func() time.Time { return now }
	})
	want(t, send(t, newSender(t, client, bell.APNsVoIP), 1, false), bell.RetryConnect, "goaway")
	if got := testutil.ToFloat64(metrics.goAway.WithLabelValues("test", "sandbox", "Shutdown")); got != 1 {
		t.Errorf("%v GOAWAYs are counted, want 1", got)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(families)
	testlog.Keep(t, "metrics", text)
	for _, name := range []string{"planetbell_provider_connections", "planetbell_provider_credential_age_seconds"} {
		if !strings.Contains(text, name) {
			t.Errorf("the metric %s is missing", name)
		}
	}
	client.Close()
	// A credential that is being replaced has two clients for a while.
	same := func(cfg *Config) { cfg.Connections, cfg.Metrics = 1, metrics }
	one, two := newClient(t, frameTarget(t, server), same), newClient(t, frameTarget(t, server), same)
	if _, err := registry.Gather(); err != nil {
		t.Errorf("two clients of one name: %v", err)
	}
	one.Close()
	two.Close()
	if n := testutil.CollectAndCount(metrics, "planetbell_provider_connections"); n != 0 {
		t.Errorf("a closed client still has %d connection metrics", n)
	}
}

func TestWarmFails(t *testing.T) {
	server := pushtest.NewServer(t, func(http.ResponseWriter, *http.Request) {})
	client := newClient(t, pushtest.Target{URL: server.URL, Timeout: patience, Log: testlog.New(t)}, nil) // system roots
	err := client.Warm(t.Context())
	if bell.KindOf(err) != bell.Unavailable || !strings.Contains(err.Error(), "TLS") {
		t.Errorf("warm: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	stalled := newClient(t, pushtest.Target{URL: "https://127.0.0.1:1", Timeout: patience, Log: testlog.New(t)}, nil)
	stalled.Close()
	if err := stalled.Warm(ctx); bell.KindOf(err) != bell.Unavailable {
		t.Errorf("warm after close: %v", err)
	}
}
