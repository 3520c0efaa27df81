package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/mailbox"
	"github.com/planetbell/planetbell/internal/testlog"
)

// named is a sender that is told apart by its name.
type named string

func (named) Send(context.Context, *bell.Ring, delivery.Try) bell.Outcome { return bell.Outcome{} }

// entry is an apns entry of the configuration: its senders are named after it.
func entry(name, bundle string, types []string, ways ...appleWay) appleApp {
	a := appleApp{bundleID: bundle, appTypes: types, credential: name, senders: map[appleWay]delivery.Sender{}}
	for _, w := range ways {
		a.senders[w] = named(name)
	}
	return a
}

var (
	productionVoIP  = appleWay{bell.APNsProduction, bell.APNsVoIP}
	productionAlert = appleWay{bell.APNsProduction, bell.APNsAlert}
	sandboxVoIP     = appleWay{bell.APNsSandbox, bell.APNsVoIP}
)

func TestRouteToAppleDevices(t *testing.T) {
	t.Parallel()
	one := []appleApp{entry("only", "com.one", nil, productionVoIP)}
	apps := []appleApp{
		entry("phone", "com.phone", []string{"IOS"}, productionVoIP, sandboxVoIP),
		entry("mac", "com.mac", []string{"DESKTOPMAC"}, productionVoIP),
	}
	keys := []appleApp{ // keys made since February 2025 are valid for one server only
		entry("production key", "com.one", nil, productionVoIP, productionAlert),
		entry("sandbox key", "com.one", nil, sandboxVoIP),
	}
	certificates := []appleApp{
		entry("alert certificate", "com.one", nil, productionAlert),
		entry("voip certificate", "com.one", nil, productionVoIP),
	}
	exception := []appleApp{
		entry("rule", "com.one", nil, productionVoIP),
		entry("exception", "com.one", []string{"BETA"}, productionVoIP),
	}
	for _, c := range []struct {
		what   string
		apps   []appleApp
		device bell.Device
		want   string // credential, or reason
	}{
		{"no app at all", nil, bell.Device{Channel: bell.APNsVoIP}, "no_apns_credential"},
		{"the only app", one, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction}, "only"},
		{"the only app, another name", one, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction, AppID: "com.two"}, "only"},
		{"no credential for the server", one, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsSandbox}, "no_apns_voip_credential_for_sandbox"},
		{"no credential for the channel", one, bell.Device{Channel: bell.APNsAlert, APNsServer: bell.APNsProduction}, "no_apns_alert_credential_for_production"},
		{"by bundle ID", apps, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction, AppID: "com.mac", AppType: "IOS"}, "mac"},
		{"by app type", apps, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction, AppType: "DESKTOPMAC"}, "mac"},
		{"an app type of none", apps, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction, AppType: "WATCH"}, "no_apns_credential"},
		{"a named app of none", apps, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction, AppID: "com.two", AppType: "IOS"}, "no_apns_credential"},
		{"the named app has no such server", apps, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsSandbox, AppID: "com.mac"}, "no_apns_voip_credential_for_sandbox"},
		{"the production key", keys, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction, AppID: "com.one"}, "production key"},
		{"the sandbox key", keys, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsSandbox, AppID: "com.one"}, "sandbox key"},
		{"the sandbox key, unnamed", keys, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsSandbox}, "sandbox key"},
		{"the VoIP certificate", certificates, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction}, "voip certificate"},
		{"the alert certificate", certificates, bell.Device{Channel: bell.APNsAlert, APNsServer: bell.APNsProduction, AppID: "com.one"}, "alert certificate"},
		{"the rule", exception, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction, AppType: "IOS"}, "rule"},
		{"the exception", exception, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction, AppType: "BETA"}, "exception"},
		{"the exception of a named app", exception, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction, AppType: "BETA", AppID: "com.one"}, "exception"},
		{"the rule of a named app", exception, bell.Device{Channel: bell.APNsVoIP, APNsServer: bell.APNsProduction, AppType: "IOS", AppID: "com.one"}, "rule"},
	} {
		s := &senders{projects: map[string]projectSenders{"p": {apps: c.apps}}}
		c.device.Project = "p"
		route, reason := s.Route(&c.device)
		if reason != "" {
			if reason != c.want || route.Sender != nil {
				t.Errorf("%s: refused with %q, want %q", c.what, reason, c.want)
			}
			continue
		}
		if route.Sender != named(c.want) || route.Key.Credential != c.want ||
			route.Key.Server != string(c.device.APNsServer) || route.Key.Channel != c.device.Channel {
			t.Errorf("%s: the route is %+v, want %q", c.what, route.Key, c.want)
		}
	}
}

func TestRouteToOtherDevices(t *testing.T) {
	t.Parallel()
	box := mailbox.New(mailbox.Config{})
	s := &senders{mailbox: box, projects: map[string]projectSenders{
		"with":    {fcm: delivery.Route{Key: delivery.RouteKey{Credential: "with", Channel: bell.FCM}, Sender: named("fcm")}},
		"without": {},
	}}
	for _, c := range []struct {
		device bell.Device
		sender delivery.Sender
		reason string
	}{
		{bell.Device{Project: "with", Channel: bell.FCM}, named("fcm"), ""},
		{bell.Device{Project: "without", Channel: bell.FCM}, nil, "no_fcm_credential"},
		{bell.Device{Project: "with", Channel: bell.LongPoll}, box, ""},
		{bell.Device{Project: "removed", Channel: bell.LongPoll}, box, ""},
		{bell.Device{Project: "removed", Channel: bell.FCM}, nil, "project_not_configured"},
		{bell.Device{Project: "with"}, nil, "no_channel"},
	} {
		route, reason := s.Route(&c.device)
		if route.Sender != c.sender || reason != c.reason {
			t.Errorf("%s by %q: %v, %q; want %v, %q", c.device.Project, c.device.Channel, route.Sender, reason, c.sender, c.reason)
		}
	}
}

func TestChannelsOfAProject(t *testing.T) {
	t.Parallel()
	s := &senders{projects: map[string]projectSenders{
		"all": {
			apps: []appleApp{entry("a", "com.a", nil, productionAlert), entry("b", "com.b", nil, sandboxVoIP)},
			fcm:  delivery.Route{Sender: named("fcm")},
		},
		"voip": {apps: []appleApp{entry("a", "com.a", nil, productionVoIP)}},
	}}
	for name, want := range map[string][]bell.Channel{
		"all":     {bell.LongPoll, bell.APNsVoIP, bell.APNsAlert, bell.FCM},
		"voip":    {bell.LongPoll, bell.APNsVoIP},
		"nothing": {bell.LongPoll},
	} {
		if got := s.Channels(&bell.Project{Name: name}); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// provider is a client whose provider is not reached, at once or never.
type provider struct {
	hangs  bool
	closed int
}

func (p *provider) Warm(ctx context.Context) error {
	if p.hangs {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return errors.New("refused")
}

func (p *provider) Close() { p.closed++ }

// A provider that hangs at the start keeps nothing waiting for long, and one that
// refuses is told in the log only.
func TestWarm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		down, hanging := &provider{}, &provider{hangs: true}
		s := &senders{clients: []*lease{{client: down}, {client: hanging}}, log: testlog.New(t)}
		start := time.Now()
		s.Warm(t.Context())
		if took := time.Since(start); took != warmTimeout {
			t.Errorf("warming took %v, want %v", took, warmTimeout)
		}
		s.Close()
		if down.closed != 1 || hanging.closed != 1 {
			t.Errorf("closed %d and %d times, want once each", down.closed, hanging.closed)
		}
	})
}

func TestDistance(t *testing.T) {
	t.Parallel()
	d := &bell.Device{AppType: "IOS"}
	var got []string
	for _, types := range [][]string{{"IOS"}, nil, {"WATCH"}} {
		got = append(got, strings.Repeat("*", entry("a", "b", types).distance(d)))
	}
	if want := []string{"", "*", "**"}; !slices.Equal(got, want) {
		t.Errorf("distances %q, want %q", got, want)
	}
}
