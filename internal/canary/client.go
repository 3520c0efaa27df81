package canary

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/planetbell/planetbell/planet"
)

// maxAnswer bounds what is read of an answer, in bytes. A call has at most some 10 KB.
const maxAnswer = 64 << 10

// client asks one server. Its errors never have the address, which may hold a secret.
type client struct {
	base      string
	transport http.RoundTripper
}

// answer is what came back.
type answer struct {
	status int
	data   map[string]json.RawMessage // of the envelope; nil without one
}

// text returns a field of the answer's data; empty when it is no text.
func (a answer) text(name string) string {
	var s string
	if json.Unmarshal(a.data[name], &s) != nil {
		return ""
	}
	return s
}

func (a answer) refused() error { return fmt.Errorf("answered with status %d", a.status) }

func (c client) get(ctx context.Context, path string, token planet.Secret) (answer, error) {
	return c.do(ctx, http.MethodGet, path, token, nil)
}

func (c client) post(ctx context.Context, path string, token planet.Secret, body map[string]any) (answer, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return answer{}, errors.New("the request cannot be written")
	}
	return c.do(ctx, http.MethodPost, path, token, bytes.NewReader(text))
}

func (c client) do(ctx context.Context, method, path string, token planet.Secret, body io.Reader) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return answer{}, errors.New("the address cannot be used")
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
	}
	resp, err := c.transport.RoundTrip(r)
	if err != nil {
		return answer{}, withoutURL(ctx, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return answer{}, withoutURL(ctx, err)
	}
	a := answer{status: resp.StatusCode}
	var envelope struct {
		Data map[string]json.RawMessage `json:"data"`
	}
	if json.Unmarshal(text, &envelope) == nil {
		a.data = envelope.Data
	}
	return a, nil
}

// withoutURL returns why a request failed. A context that ended says it better than the error.
func withoutURL(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
