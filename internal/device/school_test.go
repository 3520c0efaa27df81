package device

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/testlog"
	"github.com/planetbell/planetbell/planet"
)

// The answers that say something about a push token, as the senders classify them.
var (
	accepted     = bell.Outcome{Verdict: bell.Accepted, Status: 200, Token: bell.TokenKeep}
	unregistered = bell.Outcome{Verdict: bell.Rejected, Reason: "Unregistered", Status: 410, Token: bell.TokenDrop, Alarm: bell.AlarmCount}
	badDevice    = bell.Outcome{Verdict: bell.RetryOtherHost, Reason: "BadDeviceToken", Status: 400, Token: bell.TokenCheck, Alarm: bell.AlarmCount}
	notForTopic  = bell.Outcome{Verdict: bell.Rejected, Reason: "DeviceTokenNotForTopic", Status: 400, Token: bell.TokenCheck, Alarm: bell.AlarmConfig}
	gone         = bell.Outcome{Verdict: bell.Rejected, Reason: "UNREGISTERED", Status: 404, Token: bell.TokenDrop, Alarm: bell.AlarmCount}
	mismatch     = bell.Outcome{Verdict: bell.Rejected, Reason: "SENDER_ID_MISMATCH", Status: 403, Token: bell.TokenCheck, Alarm: bell.AlarmConfig}
	noToken      = bell.Outcome{Verdict: bell.Rejected, Reason: "INVALID_ARGUMENT", Status: 400, Token: bell.TokenCheck, Alarm: bell.AlarmCount}
)

// school is a Service that learns, with what it says.
type school struct {
	*Service
	store    *fakeStore
	registry *prometheus.Registry
	t        *testing.T
	mu       sync.Mutex
	log      bytes.Buffer
}

func newSchool(t *testing.T) *school {
	t.Helper()
	s := &school{store: &fakeStore{devices: map[string]bell.Device{}}, registry: prometheus.NewRegistry(), t: t}
	log := slog.New(slog.NewJSONHandler(io.MultiWriter(s, testlog.Writer(t)), nil))
	s.Service = New(Config{Store: s.store, Log: log, Metrics: NewMetrics(s.registry)})
	return s
}

func (s *school) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(p)
}

// said counts the log's lines with a text.
func (s *school) said(text string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if strings.Contains(s.log.String(), testlog.Hex) || strings.Contains(s.log.String(), testlog.Text) {
		s.t.Error("the log shows a push token")
	}
	return strings.Count(s.log.String(), text)
}

// metrics returns all series that are not 0.
func (s *school) metrics() map[string]float64 {
	s.t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		var text strings.Builder
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			s.t.Fatal(err)
		}
		testlog.Keep(s.t, "metrics", text.String())
		for _, m := range f.GetMetric() {
			labels := []string{}
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			found[strings.TrimSuffix(strings.TrimPrefix(f.GetName(), "planetbell_"), "_total")+" "+strings.Join(labels, " ")] = m.GetCounter().GetValue()
		}
	}
	return found
}

// with stores a device that was registered a day ago and returns it.
func (s *school) with(change func(*bell.Device)) bell.Device {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	n := len(s.store.devices)
	d := bell.Device{
		ID: bell.NewID(), Owner: identity("", "bob").Owner, Project: "acme", SessionID: bell.NewID(),
		Channel: bell.APNsVoIP, PushToken: planet.Secret(testlog.HexSecret(100+n, 64)), APNsServer: bell.APNsProduction,
		RegisteredAt: time.Now().Add(-24 * time.Hour), LastSeenAt: time.Now().Add(-24 * time.Hour),
	}
	change(&d)
	s.store.devices[d.ID] = d
	return d
}

func sure(d *bell.Device)     { d.APNsServerConfirmed = true }
func guessing(d *bell.Device) { d.APNsServerGuessed = true }
func explicit(*bell.Device)   {}

func android(d *bell.Device) {
	d.Channel, d.PushToken, d.APNsServer = bell.FCM, planet.Secret(testlog.TextSecret(d.ID)), ""
}

// teach lets the service learn what a device's attempt came to, at the row's own server.
func (s *school) teach(id string, o bell.Outcome) { s.lesson(s.row(id), o, false) }

// teachOther is teach for the second attempt of a delivery, at the other APNs server.
func (s *school) teachOther(id string, o bell.Outcome) {
	d := s.row(id)
	d.APNsServer = map[bell.APNsServer]bell.APNsServer{bell.APNsProduction: bell.APNsSandbox, bell.APNsSandbox: bell.APNsProduction}[d.APNsServer]
	s.lesson(d, o, true)
}

func (s *school) lesson(d bell.Device, o bell.Outcome, other bool) {
	s.Learn(s.t.Context(), bell.Lesson{Device: d, Credential: "acme/key", Outcome: o, OtherTried: other, At: time.Now()})
}

func (s *school) row(id string) bell.Device {
	s.t.Helper()
	d, err := s.store.Device(s.t.Context(), id)
	if err != nil {
		s.t.Fatalf("device: %v", err)
	}
	return d
}

// healthy gives a route so many accepted pushes that refusals are the tokens' fault.
func (s *school) healthy(change func(*bell.Device), pushes int) {
	d := s.with(change)
	for range pushes {
		s.teach(d.ID, accepted)
	}
}

// is compares what is known about a device's token.
func (s *school) is(id string, change func(*bell.Device), was bell.Device) {
	s.t.Helper()
	change(&was)
	if diff := cmp.Diff(was, s.row(id)); diff != "" {
		s.t.Errorf("the device (-want +got):\n%s", diff)
	}
}

func unchanged(*bell.Device) {}

func forgottenFor(reason string) func(*bell.Device) {
	return func(d *bell.Device) {
		acquit(d)
		d.PushToken, d.APNsServerConfirmed, d.ForgottenAt, d.ForgottenFor = "", false, time.Now(), reason
	}
}
