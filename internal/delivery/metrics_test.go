package delivery

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
)

// dump writes all metrics as a scrape would see them.
func (b *bench) dump(t *testing.T) string {
	t.Helper()
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

func TestReasonsInMetricsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		odd := []string{strings.Repeat("x", 65), "not \xff UTF-8"}
		for i := range 2 * maxReasons {
			reason := fmt.Sprintf("Reason%d", i)
			if i < len(odd) {
				reason = odd[i]
			}
			device := fmt.Sprintf("d%d", i)
			b.on(device, func(context.Context, *bell.Ring, Try) bell.Outcome {
				return bell.Outcome{Verdict: bell.Rejected, Reason: reason}
			})
			b.begin(t, b.rings(i, bell.APNsVoIP, device))
			synctest.Wait()
		}
		b.begin(t, b.rings(1000, bell.FCM, "well"))
		synctest.Wait()
		for label, want := range map[string]float64{"other": maxReasons + 1, "Reason2": 1, "Reason101": 1, "Reason102": 0, odd[0]: 0} {
			if got := b.metric(t, "planetbell_push_attempts_total", label); got != want {
				t.Errorf("attempts with %q = %v, want %v", label, got, want)
			}
		}
		b.finish(t)
	})
}

func TestAttemptNumbersInMetricsAreBounded(t *testing.T) {
	b := newBench(t, nil)
	for number := 1; number <= 9; number++ {
		b.Metrics.route(RouteKey{Credential: "acme", Channel: bell.FCM}).attempted(bell.Attempt{Number: number, Outcome: answer(bell.RetryNow)}, time.Time{}, "")
	}
	for label, want := range map[string]float64{"1": 1, "2": 1, "3": 1, "4+": 6, "4": 0} {
		if got := b.metric(t, "planetbell_push_attempts_total", label); got != want {
			t.Errorf("attempt %s = %v, want %v", label, got, want)
		}
	}
	if got := b.metric(t, "planetbell_push_latency_seconds", "acme", "fcm"); got != 9 {
		t.Errorf("latencies = %v, want 9", got)
	}
	if got := b.metric(t, "planetbell_call_to_accept_seconds"); got != 0 {
		t.Errorf("times to accept without an acceptance = %v", got)
	}
}

// What alerts count of a route is there before anything goes over it: a series that begins with its
// first event has no increase.
func TestWhatAlertsCountBeginsAtZero(t *testing.T) {
	b := newBench(t, nil)
	b.Metrics.Expect(RouteKey{Credential: "acme/app", Channel: bell.APNsVoIP, Server: "production"})
	b.Metrics.route(RouteKey{Credential: "acme", Channel: bell.FCM})
	b.Metrics.route(RouteKey{Credential: "acme", Channel: bell.LongPoll})
	page := b.dump(t)
	for _, want := range []string{
		`planetbell_push_alarms_total{alarm="page",channel="apns_voip",credential="acme/app",server="production"} 0`,
		`planetbell_push_alarms_total{alarm="config",channel="apns_voip",credential="acme/app",server="production"} 0`,
		`planetbell_push_alarms_total{alarm="page",channel="fcm",credential="acme",server=""} 0`,
		`planetbell_call_to_received_seconds_count{channel="apns_voip"} 0`,
		`planetbell_call_to_received_seconds_count{channel="fcm"} 0`,
		`planetbell_call_to_received_seconds_count{channel="longpoll"} 0`,
		`planetbell_deliveries_dropped_total{cause="full"} 0`,
	} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	if n := strings.Count(page, "\nplanetbell_push_alarms_total{"); n != 4 {
		t.Errorf("%d series of alarms for two routes to providers, want 2 for each", n)
	}
}

func TestNoSecretInLogsAndMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil)
		end := b.run(t, true)
		b.on("a", script(bell.RetryConnect, bell.Rejected))
		b.on("b", hang())
		rings := b.rings(1, bell.APNsVoIP, "a", "b", "c")
		b.begin(t, rings)
		pass(20 * time.Second)
		synctest.Wait()
		b.store.breakDown(errDisk)
		b.begin(t, b.rings(2, bell.FCM, "d"))
		b.Taken(b.rings(3, bell.LongPoll, "e")[0], time.Now())
		synctest.Wait()
		b.store.breakDown(nil)
		end()
		b.finish(t)
		logs, metrics := b.logs.String(), b.dump(t)
		testlog.Keep(t, "metrics", metrics)
		for _, canary := range []string{testlog.Hex, testlog.Text} {
			if strings.Contains(logs, canary) {
				t.Errorf("the log holds a secret: %s", logs)
			}
			if strings.Contains(metrics, canary) {
				t.Errorf("the metrics hold a secret: %s", metrics)
			}
		}
		for _, want := range []string{rings[0].Device.PushToken.Fingerprint(), `"verdict":"rejected"`, `"sid":"call-1"`, `"level":"WARN"`} {
			if !strings.Contains(logs, want) {
				t.Errorf("the log lacks %s", want)
			}
		}
	})
}

func TestMetricsNeedNoRegistry(t *testing.T) {
	e := New(Config{})
	if e.MaxInFlight != DefaultMaxInFlight || e.MaxPerRoute != DefaultMaxPerRoute || e.Config.Lease != DefaultLease {
		t.Errorf("defaults: %+v", e.Config)
	}
	if r := e.Random(); r < 0 || r >= 1 || e.Now().IsZero() {
		t.Errorf("random %v, now %v", r, e.Now())
	}
	e.Metrics.inFlight(1)
	e.Stop(context.Background())
}
