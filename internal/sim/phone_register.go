package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/planet"
)

// Start registers with the app's own request sequence, and begins to poll if the app
// polls. An error is a registration that the app would show as failed.
func (p *Phone) Start(ctx context.Context) error {
	a, err := p.post(ctx, "register_user", p.registerUser(), "")
	if err != nil {
		return p.failed("register_user", err)
	}
	reg, err := p.profile.decoder.Register(a)
	if err != nil {
		return p.failed("register_user", err)
	}
	if err := p.sendDevice(ctx, reg.AppToken); err != nil && p.profile.deviceMust {
		return p.failed("register_device", err)
	}
	if p.kind == Browser {
		if err := p.subscribe(ctx, reg.AppToken); err != nil {
			return p.failed("web_push/key", err)
		}
	}
	if p.profile.tokenMust {
		if err := p.sendToken(ctx, reg.AppToken); err != nil {
			return p.failed("update_notification_token", err)
		}
	}
	p.mu.Lock()
	p.account = reg
	p.mu.Unlock()
	if p.kind.apple() {
		p.tokenInBackground(reg.AppToken)
	}
	p.event(Event{Kind: EventRegistered, Text: "registered as " + p.profile.appType})
	p.startPolling()
	return nil
}

// Restart is a restart of the app with the account that it saved: no register_user, and
// the old app token.
func (p *Phone) Restart(ctx context.Context) error {
	p.StopPolling()
	token := p.AppToken().Reveal()
	if token == "" {
		return errors.New("the phone has no saved account")
	}
	switch {
	case p.kind.apple():
		p.tokenInBackground(token)
	case p.kind == Browser: // a page asks for its subscription whenever it loads
		if err := p.tellToken(ctx); err != nil {
			return err
		}
	case p.kind == Windows, p.kind == Web:
		if err := p.sendDevice(ctx, token); err != nil && p.profile.deviceMust {
			return p.failed("register_device", err)
		}
	}
	p.startPolling()
	return nil
}

// ReplaceToken gives the phone a new push token and tells the app server, as the apps
// do when the push service changes it. The old one is gone.
func (p *Phone) ReplaceToken(ctx context.Context) error {
	if p.kind == Browser { // as after pushsubscriptionchange
		if err := p.subscribe(ctx, p.AppToken().Reveal()); err != nil {
			return p.failed("web_push/key", err)
		}
		return p.tellToken(ctx)
	}
	old := p.Token().Reveal()
	fresh := p.newToken()
	p.mu.Lock()
	p.token = fresh
	p.mu.Unlock()
	switch p.kind {
	case IOS:
		p.o.APNs.Unregister(old, p.Topic(), p.clock.Now())
	case Android:
		p.o.FCM.Unregister(old)
	}
	return p.tellToken(ctx)
}

// tellToken tells the app server of the push token.
func (p *Phone) tellToken(ctx context.Context) error {
	if err := p.sendToken(ctx, p.AppToken().Reveal()); err != nil {
		return p.failed("update_notification_token", err)
	}
	return nil
}

// AccessToken asks for a PlanetKit access token, as the app does before it calls. A
// Windows phone forgets its account when that fails.
func (p *Phone) AccessToken(ctx context.Context) (planet.Secret, error) {
	a, err := p.request(ctx, apiRequest{
		method: http.MethodGet, path: "access_token/issue", token: p.AppToken().Reveal(), limit: p.profile.timeout,
	})
	var g clients.Gateway
	if err == nil {
		g, err = p.profile.decoder.Issue(a)
	}
	if err != nil && p.kind == Windows {
		p.wipe()
	}
	if err != nil {
		return "", p.failed("access_token/issue", err)
	}
	return planet.Secret(g.Token), nil
}

// Dial calls somebody as the app does: it asks the app server for an access token, and
// shows it to Planet Cloud. The request's caller and token are the phone's.
func (p *Phone) Dial(ctx context.Context, r CallRequest) (*Call, error) {
	if p.o.Cloud == nil {
		return nil, errors.New("the phone has no cloud to call through")
	}
	token, err := p.AccessToken(ctx)
	if err != nil {
		return nil, err
	}
	r.Caller, r.AccessToken = p.o.User, token
	return p.o.Cloud.Place(r)
}

// wipe makes the app forget its account.
func (p *Phone) wipe() {
	p.StopPolling()
	p.mu.Lock()
	p.account = clients.Registration{}
	p.mu.Unlock()
}

// sendDevice is register_device.
func (p *Phone) sendDevice(ctx context.Context, token string) error {
	a, err := p.post(ctx, "register_device", p.registerDevice(), token)
	if err != nil {
		return err
	}
	return p.profile.decoder.RegisterDevice(a)
}

// sendToken is update_notification_token; apps that never send it succeed.
func (p *Phone) sendToken(ctx context.Context, token string) error {
	if p.profile.notifyType == "" {
		return nil
	}
	a, err := p.post(ctx, "update_notification_token", p.updateToken(), token)
	if err != nil {
		return err
	}
	return p.profile.decoder.UpdateToken(a)
}

// tokenInBackground sends the token as the Apple app does: beside everything else, and
// a failure is only logged.
func (p *Phone) tokenInBackground(token string) {
	p.background(func() {
		if err := p.sendToken(p.ctx, token); err != nil {
			p.trouble("update_notification_token", err)
		}
	})
}

// failed records and returns a failure of a step.
func (p *Phone) failed(step string, err error) error {
	p.trouble(step, err)
	return fmt.Errorf("%s of %s phone %q: %w", step, p.kind, p.o.Name, err)
}

// post sends a JSON request.
func (p *Phone) post(ctx context.Context, path string, fields []field, token string) (clients.Answer, error) {
	var b bytes.Buffer
	for i, f := range fields {
		name, _ := json.Marshal(f.name) // strings always encode
		value, _ := json.Marshal(f.value)
		b.WriteByte("{,"[min(i, 1)])
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return p.request(ctx, apiRequest{
		method: http.MethodPost, path: path, body: b.Bytes(), token: token, limit: p.profile.timeout,
	})
}

// maxAnswer is how much of an answer is read; the apps' answers are below 8 KiB.
const maxAnswer = 1 << 20

// apiRequest is a request to the app server.
type apiRequest struct {
	method, path string
	body         []byte
	token        string        // app token; "" sends none
	limit        time.Duration // how long the app waits
}

// request sends one request with the app's headers. Errors do not name the URL.
func (p *Phone) request(ctx context.Context, q apiRequest) (clients.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, q.limit)
	defer cancel()
	if err := p.preflight(ctx, q); err != nil {
		return clients.Answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, q.method, p.url(q.path), bytes.NewReader(q.body))
	if err != nil {
		return clients.Answer{}, errors.New("the base URL is malformed")
	}
	if p.profile.accept != "" {
		req.Header.Set("Accept", p.profile.accept)
	}
	if q.method == http.MethodPost {
		req.Header.Set("Content-Type", p.profile.contentType)
	}
	if q.token != "" {
		req.Header.Set("Authorization", "Bearer "+q.token)
	}
	if p.o.Origin != "" {
		req.Header.Set("Origin", p.o.Origin)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return clients.Answer{}, errors.New(withoutURL(err))
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return clients.Answer{}, errors.New(withoutURL(err))
	}
	if err := p.allowedOrigin(resp.Header); err != nil {
		return clients.Answer{}, err
	}
	return clients.Answer{Status: resp.StatusCode, Header: resp.Header, Body: b}, nil
}

func (p *Phone) url(path string) string { return strings.TrimSuffix(p.o.BaseURL, "/") + "/v2/" + path }

// preflight asks for leave to cross origins, as a browser does before a request with
// these headers.
func (p *Phone) preflight(ctx context.Context, q apiRequest) error {
	if p.o.Origin == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, p.url(q.path), http.NoBody)
	if err != nil {
		return errors.New("the base URL is malformed")
	}
	wanted := []string{"content-type"}
	if q.token != "" {
		wanted = append(wanted, "authorization")
	}
	req.Header.Set("Origin", p.o.Origin)
	req.Header.Set("Access-Control-Request-Method", q.method)
	req.Header.Set("Access-Control-Request-Headers", strings.Join(wanted, ","))
	resp, err := p.client.Do(req)
	if err != nil {
		return errors.New(withoutURL(err))
	}
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("CORS: the preflight was answered %d", resp.StatusCode)
	}
	if err := p.allowedOrigin(resp.Header); err != nil {
		return err
	}
	// GET and POST are safelisted methods and need no permission; these headers do.
	allowed := strings.ToLower(resp.Header.Get("Access-Control-Allow-Headers"))
	for _, name := range wanted {
		if !strings.Contains(allowed, name) {
			return fmt.Errorf("CORS: the server does not allow the header %s", name)
		}
	}
	return nil
}

// allowedOrigin checks that the page may read the answer.
func (p *Phone) allowedOrigin(h http.Header) error {
	if got := h.Get("Access-Control-Allow-Origin"); p.o.Origin != "" && got != "*" && got != p.o.Origin {
		return fmt.Errorf("CORS: the answer does not allow the origin %s", p.o.Origin)
	}
	return nil
}
