package apns_test

import (
	"testing"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/push/apns"
	"github.com/planetbell/planetbell/internal/sim"
)

// The strict fake takes a probe up to the token, which no device has, and says of a
// credential what is wrong.
func TestProbe(t *testing.T) {
	a := newApple(t, sim.APNsOptions{})
	client, err := apns.NewClient(a.cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, channel := range []bell.Channel{bell.APNsVoIP, bell.APNsAlert} {
		o, err := client.Probe(t.Context(), bundle, channel)
		if err != nil || o.Status != 400 || o.Reason != "BadDeviceToken" || !apns.Answered(o) {
			t.Errorf("%s: %v, %+v", channel, err, o)
		}
	}
	if _, err := client.Probe(t.Context(), bundle, bell.FCM); err == nil {
		t.Error("a channel that APNs does not have was probed")
	}
	a.fake.Script(func(sim.APNsRequest) *sim.Answer { return &sim.Answer{Status: 403, Reason: "InvalidProviderToken"} })
	if o, err := client.Probe(t.Context(), bundle, bell.APNsVoIP); err != nil || apns.Answered(o) || o.Reason != "InvalidProviderToken" {
		t.Errorf("%v, %+v", err, o)
	}
}
