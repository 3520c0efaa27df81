//go:build !race

package app

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
)

// No metric has a label that grows with users, devices, calls or addresses: after 100,000 users
// signed up there are as many series as after the first 1,000. One of four is called: it is the users that are many.
func TestMetricsStayAsManyWith100000Users(t *testing.T) {
	c := settings(t)
	c.Limits.SignUpsPerMinute = 1_000_000
	a, err := New(t.Context(), c, testlog.New(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	const few, many = 1_000, 100_000
	const words = 5 // what happens for the first time may bring another word of a fixed set
	useAs(t, a, 0, few)
	before := series(t, a)
	useAs(t, a, few, many)
	after := series(t, a)
	t.Logf("%d series after %d users, %d after %d", total(before), few, total(after), many)
	for name, n := range after {
		if n > before[name]+words {
			t.Errorf("%s has %d series after %d users, and had %d after %d", name, n, many, before[name], few)
		}
	}
}

// useAs signs users up, each from an address of its own, and calls some.
func useAs(t *testing.T, a *App, from, to int64) {
	t.Helper()
	project := &a.cfg.Projects[0]
	send := func(r *http.Request, n int64, want int) {
		r.RemoteAddr = fmt.Sprintf("10.%d.%d.%d:4242", n>>16&255, n>>8&255, n&255)
		w := httptest.NewRecorder()
		a.public.Handler.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("user %d: %s was answered %d, want %d", n, r.URL.Path, w.Code, want)
		}
	}
	next := atomic.Int64{}
	next.Store(from)
	var work sync.WaitGroup
	for range 128 {
		work.Go(func() {
			for n := next.Add(1) - 1; n < to && !t.Failed(); n = next.Add(1) - 1 {
				body := fmt.Sprintf(`{"userId":"user%d","serviceId":"service","apiKey":%q,"displayName":"User %d","region":"JP"}`, n, project.ClientKey.Reveal(), n)
				signUp := httptest.NewRequest(http.MethodPost, "/v2/register_user", strings.NewReader(body))
				signUp.Header.Set("Content-Type", "application/json")
				send(signUp, n, http.StatusOK)
				if n%4 != 0 {
					continue
				}
				notify := fmt.Sprintf("/cb/%s/notify?sid=%s&from_service_id=service&from_user_id=user%d&to_service_id=service&to_user_id=user%d&type=A&param=abc", project.CallbackSecret.Reveal(), bell.NewID(), n+1, n)
				send(httptest.NewRequest(http.MethodGet, notify, nil), n, http.StatusOK)
			}
		})
	}
	work.Wait()
}

// series counts the series of each metric.
func series(t *testing.T, a *App) map[string]int {
	t.Helper()
	families, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, f := range families {
		count[f.GetName()] = len(f.Metric)
	}
	return count
}

func total(count map[string]int) (sum int) {
	for _, n := range count {
		sum += n
	}
	return sum
}
