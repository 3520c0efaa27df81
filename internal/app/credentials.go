package app

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/push/apns"
	"github.com/planetbell/planetbell/internal/push/fcm"
	"github.com/planetbell/planetbell/internal/push/webpush"
	"github.com/planetbell/planetbell/planet"
)

// builder makes senders from credentials. A credential that cannot work stops the start;
// it never surfaces as a call that does not ring.
type builder struct {
	senders *senders
	roots   *x509.CertPool
	log     *slog.Logger
	apns    *apns.Metrics
	fcm     *fcm.Metrics
	web     *webpush.Metrics
	shared  map[string]*lease // apps of one team share a key's connections
	made    []*lease
}

// fresh returns a builder that shares nothing with what was made before.
func (b *builder) fresh() *builder {
	again := *b
	again.shared, again.made = map[string]*lease{}, nil
	return &again
}

func newSenders(cfg config.Config, log *slog.Logger, registry prometheus.Registerer) (*senders, error) {
	roots, err := ProviderRoots(cfg.CAFile)
	if err != nil {
		return nil, err
	}
	s := &senders{projects: map[string]projectSenders{}, log: log, reread: make(chan config.Config, 1), reloads: newReloads(registry)}
	b := &builder{
		senders: s, roots: roots, log: log, shared: map[string]*lease{},
		apns: apns.NewMetrics(registry), fcm: fcm.NewMetrics(registry), web: webpush.NewMetrics(registry),
	}
	for i := range cfg.Projects {
		p := &cfg.Projects[i]
		made, err := b.project(p)
		s.clients = b.made
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("project %s: %w", p.Name, err)
		}
		s.projects[p.Name] = made
	}
	return s, nil
}

// ProviderRoots are the authorities that providers' certificates may come from: the
// system's and those of an optional file. nil means the system's.
func ProviderRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s holds no certificate in PEM form", file)
	}
	return pool, nil
}

func (b *builder) project(p *config.Project) (projectSenders, error) {
	var made projectSenders
	for i := range p.APNs {
		app, err := b.apple(p, &p.APNs[i])
		if err != nil {
			return projectSenders{}, fmt.Errorf("apns[%d] (%s): %w", i, p.APNs[i].BundleID, err)
		}
		made.apps = append(made.apps, app)
	}
	for _, group := range appleGroups(b, p) {
		b.senders.watch(group)
	}
	if p.FCM.Enabled() {
		way, firebase, err := b.google(p)
		if err != nil {
			return projectSenders{}, err
		}
		b.senders.watch(&googleCredential{builder: b, project: *p, firebase: firebase})
		made.fcm = delivery.Route{Key: delivery.RouteKey{Credential: p.Name, Channel: bell.FCM}, Sender: way}
	}
	if p.WebPush.Enabled() {
		var err error
		if made.web, err = b.browsers(p); err != nil {
			return projectSenders{}, err
		}
		b.senders.watch(&vapidCredential{builder: b, project: *p})
	}
	return made, nil
}

// google makes the way to Android devices, and names the Firebase project.
func (b *builder) google(p *config.Project) (*relay, string, error) {
	client, err := fcm.NewClient(fcm.Config{
		Name: p.Name, ServiceAccount: p.FCM.ServiceAccount, BaseURL: p.FCM.BaseURL, PerSecond: p.FCM.MessagesPerSecond,
		RootCAs: b.roots, Log: b.log, Metrics: b.fcm,
	})
	if err != nil {
		return nil, "", fmt.Errorf("fcm: %w", err)
	}
	l := &lease{client: client}
	b.made = append(b.made, l)
	return &relay{mu: &b.senders.mu, sender: client, lease: l}, client.Project(), nil
}

// apple makes an app's senders. A certificate may be good for one channel only (a VoIP
// Services certificate is); one that is good for none is refused.
func (b *builder) apple(p *config.Project, c *config.APNs) (appleApp, error) {
	credential, err := AppleCredential(c)
	if err != nil {
		return appleApp{}, err
	}
	app := appleApp{
		bundleID: c.BundleID, appTypes: c.AppTypes, credential: p.Name + "/" + c.BundleID,
		senders: map[appleWay]delivery.Sender{},
	}
	var refused error
	for _, server := range c.Servers {
		client, l, err := b.appleClient(p, c, credential, server)
		if err != nil {
			return appleApp{}, err
		}
		for _, channel := range []bell.Channel{bell.APNsVoIP, bell.APNsAlert} {
			sender, err := client.Sender(c.BundleID, channel)
			if err != nil {
				refused = errors.Join(refused, err)
				continue
			}
			app.senders[appleWay{server, channel}] = &relay{mu: &b.senders.mu, sender: sender, lease: l}
		}
	}
	if len(app.senders) == 0 {
		return appleApp{}, refused
	}
	return app, nil
}

// AppleCredential reads the credential that a setting names, from its text or files. The error
// says what is wrong with it and holds no secret.
func AppleCredential(c *config.APNs) (apns.Credential, error) {
	switch {
	case c.Key != "":
		return apns.TokenCredential(c.TeamID, c.KeyID, c.Key)
	case c.P12File != "":
		data, err := os.ReadFile(c.P12File)
		if err != nil {
			return apns.Credential{}, fmt.Errorf("p12_file: %w", err)
		}
		return apns.P12Credential(data, c.P12Password)
	}
	certificate, err := os.ReadFile(c.CertificateFile)
	if err != nil {
		return apns.Credential{}, fmt.Errorf("certificate_file: %w", err)
	}
	key, err := os.ReadFile(c.CertificateKeyFile)
	if err != nil {
		return apns.Credential{}, fmt.Errorf("certificate_key_file: %w", err)
	}
	return apns.CertificateCredential(certificate, planet.Secret(key))
}

// appleClient returns the connections of a credential to a server. Two apps with one
// signing key share them: APNs counts provider tokens by connection, and sees rapid
// connecting as an attack.
func (b *builder) appleClient(p *config.Project, c *config.APNs, credential apns.Credential, server bell.APNsServer) (*apns.Client, *lease, error) {
	url := map[bell.APNsServer]string{bell.APNsProduction: c.ProductionURL, bell.APNsSandbox: c.SandboxURL}[server]
	key := fmt.Sprintf("%s %s %s %s %s %s", p.Name, c.TeamID, c.KeyID, server, url, c.VoIPExpiration)
	if l := b.shared[key]; l != nil && c.Key != "" {
		return l.client.(*apns.Client), l, nil
	}
	client, err := apns.NewClient(apns.Config{
		Name: appleName(p, c), Server: server, Credential: credential, BaseURL: url, RootCAs: b.roots,
		VoIPExpiration: c.VoIPExpiration, Log: b.log, Metrics: b.apns,
	})
	if err != nil {
		return nil, nil, err
	}
	l := &lease{client: client}
	b.made = append(b.made, l)
	b.shared[key] = l
	return client, l, nil
}

// appleName is what a credential is called in logs and metrics: by its key, or by the one
// app that it is for.
func appleName(p *config.Project, c *config.APNs) string {
	if c.Key != "" {
		return p.Name + "/" + c.KeyID
	}
	return p.Name + "/" + c.BundleID
}
