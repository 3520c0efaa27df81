package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/planetbell/planetbell/internal/console"
	"github.com/planetbell/planetbell/planet"
)

const (
	// adminTimeout is how long a command waits for the server: longer than the server
	// itself works on a request, so that its own sentence arrives.
	adminTimeout = 15 * time.Second
	// maxAdminAnswer bounds an answer, in bytes. A page of 500 devices has about 300 KB.
	maxAdminAnswer = 16 << 20
)

// adminClient talks to the admin API of a running server.
type adminClient struct {
	base        string        // without a slash at its end
	token       planet.Secret // empty: none is sent
	tokenSource string        // where the token came from, for people
	http        *http.Client
}

// newAdminClient makes a client for the server at base. roots may be nil: then the
// system's certificates are trusted.
func newAdminClient(base string, token planet.Secret, tokenSource string, roots *x509.CertPool) (*adminClient, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.RawQuery != "" {
		return nil, errors.New("--admin-url: want the address of the admin listener, such as http://127.0.0.1:8081")
	}
	return &adminClient{
		base: strings.TrimRight(base, "/"), token: token, tokenSource: tokenSource,
		http: &http.Client{
			Timeout: adminTimeout,
			// No proxy: it would read the admin token. No redirects, for the same reason.
			Transport: &http.Transport{
				TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
				DisableKeepAlives: true, // a command makes one to five requests
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Projects returns the configured projects.
func (c *adminClient) Projects(ctx context.Context) ([]console.Project, error) {
	var list console.ProjectList
	err := c.do(ctx, http.MethodGet, "/admin/v1/projects", nil, &list)
	return list.Projects, err
}

// Devices returns the page of devices that query asks for.
func (c *adminClient) Devices(ctx context.Context, query url.Values) (console.DeviceList, error) {
	list := console.DeviceList{Devices: []console.Device{}}
	err := c.do(ctx, http.MethodGet, "/admin/v1/devices?"+query.Encode(), nil, &list)
	return list, err
}

// AddDevice adds a device.
func (c *adminClient) AddDevice(ctx context.Context, n console.NewDevice) (console.Device, error) {
	var d console.Device
	err := c.do(ctx, http.MethodPost, "/admin/v1/devices", n, &d)
	return d, err
}

// RemoveDevice forgets a device.
func (c *adminClient) RemoveDevice(ctx context.Context, id string) error {
	return c.do(ctx, http.MethodDelete, "/admin/v1/devices/"+url.PathEscape(id), nil, nil)
}

// Calls returns the page of calls that query asks for.
func (c *adminClient) Calls(ctx context.Context, query url.Values) (console.CallList, error) {
	list := console.CallList{Calls: []console.Call{}}
	err := c.do(ctx, http.MethodGet, "/admin/v1/calls?"+query.Encode(), nil, &list)
	return list, err
}

// Call returns all about one call.
func (c *adminClient) Call(ctx context.Context, sid string, query url.Values) (console.CallStory, error) {
	var story console.CallStory
	err := c.do(ctx, http.MethodGet, "/admin/v1/calls/"+url.PathEscape(sid)+"?"+query.Encode(), nil, &story)
	return story, err
}

// Verdict returns why a call rang, or did not.
func (c *adminClient) Verdict(ctx context.Context, sid string, query url.Values) (console.CallVerdict, error) {
	var v console.CallVerdict
	err := c.do(ctx, http.MethodGet, "/admin/v1/calls/"+url.PathEscape(sid)+"/verdict?"+query.Encode(), nil, &v)
	return v, err
}

// Verdicts returns the page of verdicts that query asks for.
func (c *adminClient) Verdicts(ctx context.Context, query url.Values) (console.VerdictList, error) {
	list := console.VerdictList{Verdicts: []console.CallVerdict{}}
	err := c.do(ctx, http.MethodGet, "/admin/v1/verdicts?"+query.Encode(), nil, &list)
	return list, err
}

// Rooms returns the page of runs of rooms that query asks for.
func (c *adminClient) Rooms(ctx context.Context, query url.Values) (console.RoomRunList, error) {
	list := console.RoomRunList{Runs: []console.RoomRun{}}
	err := c.do(ctx, http.MethodGet, "/admin/v1/rooms?"+query.Encode(), nil, &list)
	return list, err
}

// RoomRuns returns the page of runs of one room that query asks for.
func (c *adminClient) RoomRuns(ctx context.Context, service, room string, query url.Values) (console.RoomRunList, error) {
	list := console.RoomRunList{Runs: []console.RoomRun{}}
	err := c.do(ctx, http.MethodGet, "/admin/v1/rooms/"+url.PathEscape(service)+"/"+url.PathEscape(room)+"?"+query.Encode(), nil, &list)
	return list, err
}

// RoomRun returns a run, by its service, room and session ID, and a page of its participants.
func (c *adminClient) RoomRun(ctx context.Context, which [3]string, query url.Values) (console.RoomRunStory, error) {
	var story console.RoomRunStory
	err := c.do(ctx, http.MethodGet, "/admin/v1/rooms/"+url.PathEscape(which[0])+"/"+url.PathEscape(which[1])+
		"/runs/"+url.PathEscape(which[2])+"?"+query.Encode(), nil, &story)
	return story, err
}

// MintAccessToken issues a PlanetKit access token.
func (c *adminClient) MintAccessToken(ctx context.Context, in console.AccessTokenRequest) (console.AccessToken, error) {
	var token console.AccessToken
	err := c.do(ctx, http.MethodPost, "/admin/v1/access_tokens", in, &token)
	return token, err
}

// do sends one request and decodes the answer. Its errors are sentences for people.
func (c *adminClient) do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode the request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return fmt.Errorf("%s cannot be asked; check the address", c.base)
	}
	r.Header.Set("Accept", "application/json")
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token.Reveal())
	}
	w, err := c.http.Do(r)
	if err != nil {
		return c.unreachable(ctx, err)
	}
	defer w.Body.Close()
	return c.decode(w, out)
}

// unreachable says why there was no answer. The original error is taken apart, because
// it repeats the whole URL.
func (c *adminClient) unreachable(ctx context.Context, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var timeout net.Error
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("planetbell is not answering on %s: start it with planetbell serve", c.base)
	case errors.As(err, &name):
		return fmt.Errorf("there is no host named %s: check --admin-url", name.Name)
	case errors.As(err, &certificate):
		return fmt.Errorf("the certificate of %s is not trusted (%w); name its authority with --admin-ca-file", c.base, certificate.Err)
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("planetbell did not answer on %s within %s: look at its log", c.base, adminTimeout)
	}
	return fmt.Errorf("planetbell is not answering on %s: %w", c.base, err)
}

// decode reads an answer, good or bad.
func (c *adminClient) decode(w *http.Response, out any) error {
	body, err := io.ReadAll(io.LimitReader(w.Body, maxAdminAnswer))
	if err != nil {
		return fmt.Errorf("the answer of %s broke off: %w", c.base, err)
	}
	kind, _, _ := mime.ParseMediaType(w.Header.Get("Content-Type"))
	switch {
	case kind == "application/problem+json":
		return c.problem(w.StatusCode, body)
	case w.StatusCode == http.StatusNoContent && out == nil:
		return nil
	case w.StatusCode/100 == 2 && kind == "application/json" && out != nil:
		if err := json.Unmarshal(body, out); err == nil {
			return nil
		}
	}
	return fmt.Errorf("what answers on %s is not planetbell's admin listener (status %d): check --admin-url and admin.address", c.base, w.StatusCode)
}

// problem turns the server's refusal into an error.
func (c *adminClient) problem(status int, body []byte) error {
	var p console.Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Detail == "" {
		return fmt.Errorf("%s refused with status %d", c.base, status)
	}
	detail := clean(p.Detail)
	if status == http.StatusUnauthorized {
		if c.token == "" {
			return fmt.Errorf("%s wants an admin token: set PLANETBELL_ADMIN_TOKEN or give --admin-token-file. It says: %s", c.base, detail)
		}
		return fmt.Errorf("%s does not take the admin token from %s. It says: %s", c.base, c.tokenSource, detail)
	}
	return &refusal{status: status, detail: detail}
}

// refusal is the server's own sentence.
type refusal struct {
	status int
	detail string
}

// Error returns the sentence.
func (r *refusal) Error() string { return r.detail }

// readSecretFile reads a secret from a file, or from in when the name is "-". Space
// around it is not part of it.
func readSecretFile(name string, in io.Reader) (planet.Secret, error) {
	const most = 64 << 10 // bytes; no secret of ours is longer than 4 KiB
	where := name
	if name == "-" {
		where = "standard input"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, most+1))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", where, err)
	}
	if len(text) > most {
		return "", fmt.Errorf("%s is longer than %d bytes; it should hold the secret and nothing else", where, most)
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		return "", fmt.Errorf("%s is empty; it should hold the secret and nothing else", where)
	}
	return planet.Secret(secret), nil
}
