package app

import (
	"crypto/sha256"
	"fmt"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/config"
	"github.com/planetbell/planetbell/internal/delivery"
	"github.com/planetbell/planetbell/internal/egress"
	"github.com/planetbell/planetbell/internal/push/webpush"
)

// webPush is a project's way to browsers.
type webPush struct {
	key        string         // the public VAPID key; empty: no Web Push
	hosts      bell.PushHosts // the push services
	sender     *relay         // nil: no Web Push
	credential string
}

// route finds the way to a browser. Each push service is a route of its own: one that is unwell
// delays no other.
func (w webPush) route(d *bell.Device) (delivery.Route, string) {
	if w.sender == nil {
		return delivery.Route{}, "no_vapid_key"
	}
	service, _, err := w.hosts.Find(d.PushToken)
	if err != nil { // the configuration has changed since it was registered
		return delivery.Route{}, "push_service_not_allowed"
	}
	return delivery.Route{
		Key:    delivery.RouteKey{Credential: w.credential, Channel: bell.WebPush, Server: service.String()},
		Sender: w.sender,
	}, ""
}

// WebPushKey implements httpapi.WebPush.
func (s *senders) WebPushKey(id bell.Identity) (string, error) {
	if key := s.project(id.Project.Name).web.key; key != "" {
		return key, nil
	}
	return "", bell.E(bell.NotFound, "This project has no Web Push: the operator has set no web_push.vapid_private_key.", nil)
}

// browsers makes the way to browsers.
func (b *builder) browsers(p *config.Project) (webPush, error) {
	key, err := bell.ParseVAPIDKey(p.WebPush.VAPIDPrivateKey)
	if err != nil {
		return webPush{}, bell.E(bell.Invalid, "web_push: vapid_private_key "+err.Error(), nil)
	}
	client, err := webpush.NewClient(webpush.Config{
		Name: p.Name, Key: key, Subject: p.WebPush.VAPIDSubject, Hosts: p.WebPush.Endpoints(),
		Egress: egress.Policy{Private: p.WebPush.AllowPrivate}, RootCAs: b.roots, Log: b.log, Metrics: b.web,
	})
	if err != nil {
		return webPush{}, fmt.Errorf("web_push: %w", err)
	}
	l := &lease{client: client}
	b.made = append(b.made, l)
	return webPush{
		key: client.Key(), hosts: p.WebPush.Endpoints(), credential: p.Name,
		sender: &relay{mu: &b.senders.mu, sender: client, lease: l},
	}, nil
}

// vapidCredential is a project's VAPID key and subject.
type vapidCredential struct {
	builder *builder
	project config.Project
}

// Name implements credential.
func (v *vapidCredential) Name() string { return v.project.Name + "/web_push" }

// Adopt implements credential.
func (v *vapidCredential) Adopt(cfg *config.Config) {
	if p := projectOf(cfg, v.project.Name); p != nil && p.WebPush.Enabled() {
		from, to := p.WebPush, &v.project.WebPush
		to.VAPIDPrivateKey, to.VAPIDPrivateKeyFile, to.VAPIDSubject = from.VAPIDPrivateKey, from.VAPIDPrivateKeyFile, from.VAPIDSubject
	}
}

// Read implements credential.
func (v *vapidCredential) Read() (fingerprint, error) {
	h := sha256.New()
	if err := readSecret(h, v.project.WebPush.VAPIDPrivateKeyFile, &v.project.WebPush.VAPIDPrivateKey); err != nil {
		return fingerprint{}, fmt.Errorf("vapid_private_key_file: %w", err)
	}
	part(h, v.project.WebPush.VAPIDSubject)
	return fingerprint(h.Sum(nil)), nil
}

// Build implements credential. Another key is taken: pages are told it from then on, and those
// that look subscribe anew. Until they do, their push services refuse them.
func (v *vapidCredential) Build() (*replacement, error) {
	b := v.builder.fresh()
	next, err := b.browsers(&v.project)
	if err != nil {
		return nil, err
	}
	r := &replacement{clients: b.made}
	before := b.senders.project(v.project.Name).web
	if before.key != next.key {
		b.log.Warn("the VAPID key is another one: browsers that subscribed for the old key ring no more until their page subscribes anew",
			"project", v.project.Name)
	}
	held := before.sender
	r.replaces(b.senders, held)
	r.take = func(projects map[string]projectSenders) {
		held.sender, held.lease = next.sender.sender, next.sender.lease
		p := projects[v.project.Name]
		p.web.key = next.key
		projects[v.project.Name] = p
	}
	return r, nil
}
