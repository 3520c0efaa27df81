package app

import (
	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/delivery"
)

// webPush is a project's way to browsers.
type webPush struct {
	key    string         // the public VAPID key; empty: no Web Push
	hosts  bell.PushHosts // the push services
	sender delivery.Sender
	name   string // of the credential
}

// route finds the way to a browser. Push services are routes of their own: one that is unwell
// delays no other.
func (w webPush) route(d *bell.Device) (delivery.Route, string) {
	if w.sender == nil {
		return delivery.Route{}, "no_web_push_key"
	}
	host, _, err := w.hosts.Find(d.PushToken)
	if err != nil { // the configuration has changed since it was registered
		return delivery.Route{}, "push_service_not_allowed"
	}
	return delivery.Route{
		Key:    delivery.RouteKey{Credential: w.name, Channel: bell.WebPush, Server: host.String()},
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
