package main

import (
	"context"
	"net/http"
	"net/url"

	"github.com/planetbell/planetbell/internal/console"
)

// Events returns the page of events that query asks for.
func (c *adminClient) Events(ctx context.Context, query url.Values) (console.EventList, error) {
	list := console.EventList{Events: []console.Event{}}
	err := c.do(ctx, http.MethodGet, "/admin/v1/events?"+query.Encode(), nil, &list)
	return list, err
}

// Endpoints returns the endpoints and how they do.
func (c *adminClient) Endpoints(ctx context.Context) (console.EventEndpointList, error) {
	list := console.EventEndpointList{Endpoints: []console.EventEndpoint{}}
	err := c.do(ctx, http.MethodGet, "/admin/v1/events/endpoints", nil, &list)
	return list, err
}

// ReplayEvent tells one event again, to one endpoint or, when that is empty, to all.
func (c *adminClient) ReplayEvent(ctx context.Context, id, endpoint string) (console.Replayed, error) {
	path := "/admin/v1/events/" + url.PathEscape(id) + "/replay"
	if endpoint != "" {
		path += "?" + url.Values{"endpoint": {endpoint}}.Encode()
	}
	var answer console.Replayed
	err := c.do(ctx, http.MethodPost, path, nil, &answer)
	return answer, err
}

// ReplayDead tells an endpoint again what it did not take.
func (c *adminClient) ReplayDead(ctx context.Context, endpoint string) (console.Replayed, error) {
	var answer console.Replayed
	err := c.do(ctx, http.MethodPost, "/admin/v1/events/replay", console.EndpointRequest{Endpoint: endpoint}, &answer)
	return answer, err
}

// EnableEndpoint tells an endpoint again that is gone.
func (c *adminClient) EnableEndpoint(ctx context.Context, endpoint string) error {
	return c.do(ctx, http.MethodPost, "/admin/v1/events/enable", console.EndpointRequest{Endpoint: endpoint}, nil)
}

// TestEvent sends a test event.
func (c *adminClient) TestEvent(ctx context.Context, project string) (console.TestEvent, error) {
	var sent console.TestEvent
	err := c.do(ctx, http.MethodPost, "/admin/v1/events/test", console.TestEventRequest{Project: project}, &sent)
	return sent, err
}
