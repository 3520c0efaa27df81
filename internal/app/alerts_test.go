package app

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

var (
	counted  = regexp.MustCompile(`increase\((planetbell_[a-z_]+)(?:\{([^}]*)\})?\[`)
	selected = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
	fed      = regexp.MustCompile(`- series: '(planetbell_[a-z_]+)\{(.*)\}'`)
)

// begun are the metrics of a server with every sort of push that has done nothing yet.
func begun(t *testing.T) (*App, map[string]*dto.MetricFamily) {
	t.Helper()
	c := settings(t)
	withProviders(t, &c)
	c.Projects[0].WebPush = config.WebPush{VAPIDPrivateKey: bell.NewVAPIDKey(), VAPIDSubject: "mailto:ops@example.com", Hosts: []string{"fcm.googleapis.com", "*.push.apple.com"}}
	a, err := New(t.Context(), c, testlog.New(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, a) })
	gathered, err := a.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]*dto.MetricFamily{}
	for _, f := range gathered {
		families[f.GetName()] = f
	}
	return a, families
}

// labels are those of a selector or a series.
func labels(text string) map[string]string {
	found := map[string]string{}
	for _, l := range selected.FindAllStringSubmatch(text, -1) {
		found[l[1]] = l[2]
	}
	return found
}

// has reports whether there is a series with these labels, perhaps among others.
func has(f *dto.MetricFamily, want map[string]string) bool {
	return slices.ContainsFunc(f.GetMetric(), func(m *dto.Metric) bool {
		here := map[string]string{}
		for _, l := range m.GetLabel() {
			here[l.GetName()] = l.GetValue()
		}
		for name, value := range want {
			if there, ok := here[name]; !ok || there != value {
				return false
			}
		}
		return true
	})
}

// An alert on an increase sees none in a series that begins with its first event: whatever alerts
// count is there, at 0, before it happens for the first time.
func TestWhatAlertsCountIsThereBeforeItHappens(t *testing.T) {
	t.Parallel()
	a, families := begun(t)
	want := func(name string, labels map[string]string) {
		t.Helper()
		if !has(families[name], labels) {
			t.Errorf("there is no %s with %v before it happens", name, labels)
		}
	}
	rules := counted.FindAllStringSubmatch(read(t, "../../deploy/prometheus/planetbell.rules.yaml"), -1)
	if len(rules) < 10 {
		t.Fatalf("the alerts count %d things; that proves nothing", len(rules))
	}
	for _, r := range rules {
		want(r[1], labels(r[2]))
	}
	for _, kind := range []string{"notify", "call-event", "group-call-event", "agent-call-status"} {
		want("planetbell_callbacks_total", map[string]string{"kind": kind, "result": "failed"})
	}
	for _, d := range []bell.Device{
		{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction},
		{Channel: bell.APNsVoIP, APNsServer: bell.APNsSandbox},
		{Channel: bell.APNsAlert, APNsServer: bell.APNsProduction},
		{Channel: bell.FCM},
		{Channel: bell.WebPush, PushToken: planet.Secret("https://fcm.googleapis.com/fcm/send/" + testlog.TextSecret("one"))},
		{Channel: bell.WebPush, PushToken: planet.Secret("https://web.push.apple.com/" + testlog.TextSecret("two"))},
	} {
		d.Project = "main"
		route, reason := a.senders.Route(&d)
		if reason != "" {
			t.Errorf("%s: %s", d.Channel, reason)
		}
		for _, alarm := range []string{"page", "config"} {
			want("planetbell_push_alarms_total", map[string]string{"credential": route.Key.Credential, "channel": string(route.Key.Channel), "server": route.Key.Server, "alarm": alarm})
		}
		want("planetbell_call_to_received_seconds", map[string]string{"channel": string(d.Channel)})
	}
	for _, w := range a.senders.watched {
		for _, result := range []string{"replaced", "failed"} {
			want("planetbell_credential_reloads_total", map[string]string{"credential": w.Name(), "result": result})
		}
	}
	if n := len(a.senders.watched); n != 3 {
		t.Errorf("%d credentials are watched, want 3", n)
	}
}

// The tests of the alerts feed them series as the program has them: with the same labels.
func TestAlertsAreTestedWithWhatTheProgramEmits(t *testing.T) {
	t.Parallel()
	_, families := begun(t)
	compared := 0
	for _, series := range fed.FindAllStringSubmatch(read(t, "../../deploy/prometheus/planetbell.rules.test.yaml"), -1) {
		name, got := series[1], labels(series[2])
		f := families[name]
		for _, suffix := range []string{"_bucket", "_count"} {
			if f == nil && strings.HasSuffix(name, suffix) {
				f = families[strings.TrimSuffix(name, suffix)]
			}
		}
		if len(f.GetMetric()) == 0 {
			continue // it begins with what it is of, or is of a part that this server does not have
		}
		compared++
		want := map[string]bool{"instance": true, "le": strings.HasSuffix(name, "_bucket")} // they come with the scrape
		for _, l := range f.GetMetric()[0].GetLabel() {
			want[l.GetName()] = true
		}
		maps.DeleteFunc(want, func(_ string, there bool) bool { return !there })
		if here, there := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(here, there) {
			t.Errorf("%s has the labels %v in the tests of the alerts, and %v in the program", name, here, there)
		}
	}
	if compared < 40 {
		t.Errorf("%d series were compared; that proves little", compared)
	}
}
