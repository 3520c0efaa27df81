package fcm_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/push/fcm"
	"github.com/planetbell/planetbell/internal/sim"
	"github.com/planetbell/planetbell/planet"
)

// The strict fake takes a probe up to the token, and delivers nothing.
func TestProbe(t *testing.T) {
	ca, err := sim.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	fake, err := sim.NewFCM(sim.FCMOptions{CA: ca, Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := fake.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = fake.Close() }()
	file, err := fake.ServiceAccountJSON()
	if err != nil {
		t.Fatal(err)
	}
	cfg := fcm.Config{
		Name: "test", ServiceAccount: planet.Secret(file), BaseURL: fake.URL(), RootCAs: ca.Pool(),
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil },
	}
	p, err := fcm.Probe(t.Context(), cfg)
	if err != nil || p.Project != fake.ProjectID() || p.Token.Verdict != bell.Accepted || p.Message.Status != 400 || !fcm.Answered(p.Message) {
		t.Errorf("%v, %+v", err, p)
	}
	if n := len(fake.Messages()); n != 0 {
		t.Errorf("%d messages were taken", n)
	}
	for _, status := range []int{429, 503} {
		if err := fake.TokenFaults().Add(sim.Fault{Kind: sim.FaultAnswer, Status: status, Count: 1}); err != nil {
			t.Fatal(err)
		}
		if p, err := fcm.Probe(t.Context(), cfg); err != nil || p.Token.Verdict == bell.Accepted || p.Token.Status != status {
			t.Errorf("a token server that answers %d: %v, %+v", status, err, p)
		}
	}
	cfg.Clock = func() time.Time { return time.Now().Add(-3 * time.Hour) }
	if p, err := fcm.Probe(t.Context(), cfg); err != nil || p.Token.Reason != "oauth_invalid_grant" || p.Token.Status != 400 || p.Message != (bell.Outcome{}) {
		t.Errorf("a wrong clock: %v, %+v", err, p)
	}
	if _, err := fcm.Probe(t.Context(), fcm.Config{ServiceAccount: "{}"}); err == nil {
		t.Error("no account, and no error")
	}
}
