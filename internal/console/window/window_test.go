package window

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestAWindowForgetsWhatWasBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		accept := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: acceptSeconds, Buckets: []float64{.01, .1, 1}}, []string{"channel"})
		request := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: requestSeconds, Buckets: []float64{.01, .1, 1}}, []string{"route"})
		tried := prometheus.NewCounterVec(prometheus.CounterOpts{Name: attemptsTotal},
			[]string{"credential", "channel", "server", "verdict", "reason", "attempt"})
		open := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: circuitOpen}, []string{"credential", "channel", "server"})
		expiry := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: certExpiry}, []string{"credential", "server"})
		registry.MustRegister(accept, request, tried, open, expiry)
		open.WithLabelValues("main", "fcm", "").Set(0)
		expiry.WithLabelValues("main", "production").Set(3600)
		for range 100 {
			accept.WithLabelValues("fcm").Observe(0.5) // before the window
		}
		w := New(registry, nil)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		synctest.Wait()
		start := time.Now()

		for range 10 {
			accept.WithLabelValues("fcm").Observe(0.005)
			request.WithLabelValues("GET /cb/{secret}/notify").Observe(0.002)
			request.WithLabelValues("GET /v2/notification/lp").Observe(0.9)
		}
		tried.WithLabelValues("main", "fcm", "", "accepted", "", "1").Add(8)
		tried.WithLabelValues("main", "fcm", "", "retry_backoff", "UNAVAILABLE", "1").Add(2)
		open.WithLabelValues("main", "fcm", "").Set(1)
		<-time.After(Every + time.Second)
		look := w.Look()
		if !look.Since.Equal(start) || len(look.Channels) != 1 || len(look.Routes) != 1 {
			t.Fatalf("looked at %+v", look)
		}
		if q := look.Channels[0].Accept; q.Count != 10 || q.P50 != 5*time.Millisecond || q.P95 > 10*time.Millisecond || q.Over {
			t.Errorf("to accept: %+v", q)
		}
		if q := look.Answer; q.Count != 10 || q.P95 > 10*time.Millisecond {
			t.Errorf("the answer: %+v", q)
		}
		r := look.Routes[0]
		if r.Attempts != 10 || r.Failed != 2 || !r.Open || r.Last.Reason != "UNAVAILABLE" || r.Last.At.IsZero() {
			t.Errorf("the route: %+v", r)
		}
		if len(look.Expiring) != 1 || look.Expiring[0].Left != time.Hour {
			t.Errorf("what expires: %+v", look.Expiring)
		}

		<-time.After(Span + time.Minute)
		look = w.Look()
		if q := look.Channels[0].Accept; q.Count != 0 || look.Routes[0].Failed != 0 || look.Routes[0].Last.Reason != "UNAVAILABLE" {
			t.Errorf("eleven minutes later: %+v", look)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// However often somebody looks, the window reaches back for its whole span, and is bounded.
func TestLookingDoesNotShortenAWindow(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 5 * time.Second, 7 * time.Second, Every, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := New(prometheus.NewRegistry(), nil)
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error)
			go func() { done <- w.Run(ctx) }()
			defer func() {
				stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}()
			synctest.Wait()
			start := time.Now()
			ticker := time.NewTicker(every)
			defer ticker.Stop()
			for time.Since(start) < 3*Span {
				<-ticker.C
				since := w.Look().Since
				if age, lived := time.Since(since), time.Since(start); age > Span+Every || age < min(lived, Span) {
					t.Fatalf("looking every %s, after %s the window reaches back %s", every, lived, age)
				}
			}
			w.mu.Lock()
			if n := len(w.samples); n > 2*int(Span/Every)+3 {
				t.Errorf("looking every %s keeps %d samples", every, n)
			}
			w.mu.Unlock()
		})
	}
}

// What was before a time in which nothing was measured, as on a machine that slept, is forgotten.
func TestAWindowAfterAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New(prometheus.NewRegistry(), nil)
		w.Look()
		<-time.After(time.Hour)
		if since := w.Look().Since; !since.Equal(time.Now()) || len(w.samples) != 1 {
			t.Errorf("an hour later the window begins at %s, with %d samples", since, len(w.samples))
		}
	})
}

func TestWhatIsBeyondTheLastBound(t *testing.T) {
	h := histogram{bounds: []float64{1, 2}, counts: []uint64{10, 10}, count: 20}
	if q := h.since(histogram{}); !q.Over || q.P95 != 2*time.Second || q.P50 != time.Second {
		t.Errorf("%+v", q)
	}
}
