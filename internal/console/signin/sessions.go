package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/planetbell/planetbell/internal/bell"
)

const (
	// The name __Host- makes browsers refuse a cookie that another host, or plain HTTP, has
	// set (RFC 6265bis section 4.1.3.2).
	secureCookie = "__Host-planetbell"
	plainCookie  = "planetbell_session"

	// touchEvery is how exactly idle sessions are known: a session in use is written once in
	// this time, and not with every request.
	touchEvery = time.Minute
	maxCookie  = 64 // characters of a session's token; scs makes 43
)

// session is what is kept of one.
type session struct {
	Name  string
	Via   Via
	Role  bell.Role // what the identity provider said; else the configuration says it
	Stamp string    // of the setting it began with
}

// sessions keeps them by way of scs, which makes their tokens and hashes them for the store.
// Nothing is written but when a session begins, ends, or was not seen for a minute: a request
// that comes late must not bring one back that has ended.
type sessions struct {
	service *Service
	manager *scs.SessionManager
	cookie  string
}

func newSessions(s *Service) *sessions {
	// scs.New would start a goroutine, of a store that is then not used, and cannot be stopped
	// safely. What it sets beside these is for its middleware and cookies, which are not used.
	m := &scs.SessionManager{Store: rows{s}, Codec: codec{}, Lifetime: s.Lifetime, HashTokenInStore: true}
	cookie := plainCookie
	if s.Secure {
		cookie = secureCookie
	}
	return &sessions{service: s, manager: m, cookie: cookie}
}

// who returns whose session a request has; nobody if it has none.
func (s *sessions) who(r *http.Request) (Principal, error) {
	if s == nil {
		return Principal{}, nil
	}
	ctx, err := s.load(r)
	if err != nil {
		return Principal{}, err
	}
	return s.service.current(s.read(ctx)), nil
}

// load makes a context with the request's session, or with a new one.
func (s *sessions) load(r *http.Request) (context.Context, error) {
	token := ""
	if c, err := r.Cookie(s.cookie); err == nil && len(c.Value) <= maxCookie {
		token = c.Value
	}
	ctx, err := s.manager.Load(r.Context(), token)
	if err != nil {
		return nil, fmt.Errorf("look up a session: %w", err)
	}
	return ctx, nil
}

func (s *sessions) read(ctx context.Context) session {
	text := func(key string) string { return s.manager.GetString(ctx, key) }
	return session{Name: text("name"), Via: Via(text("via")), Role: bell.Role(text("role")), Stamp: text("stamp")}
}

// begin makes a session with a token of its own, whatever the browser had before, and sets its
// cookie.
func (s *sessions) begin(w http.ResponseWriter, r *http.Request, of session) error {
	if s == nil {
		return bell.E(bell.Unavailable, "There is nothing here that keeps sessions.", nil)
	}
	ctx, err := s.load(r)
	if err != nil {
		return err
	}
	if err := s.manager.Clear(ctx); err != nil {
		return fmt.Errorf("begin a session: %w", err)
	}
	if err := s.manager.RenewToken(ctx); err != nil { // ends the one before
		return fmt.Errorf("begin a session: %w", err)
	}
	for key, value := range map[string]string{"name": of.Name, "via": string(of.Via), "role": string(of.Role), "stamp": of.Stamp} {
		s.manager.Put(ctx, key, value)
	}
	token, _, err := s.manager.Commit(ctx)
	if err != nil {
		return fmt.Errorf("begin a session: %w", err)
	}
	s.service.setCookie(w, s.cookie, token, s.service.Lifetime)
	return nil
}

// end ends the request's session, if it has one.
func (s *sessions) end(w http.ResponseWriter, r *http.Request) error {
	if s == nil {
		return nil
	}
	ctx, err := s.load(r)
	if err != nil {
		return err
	}
	if err := s.manager.Destroy(ctx); err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	s.service.setCookie(w, s.cookie, "", 0)
	return nil
}

// setCookie sets a cookie for this listener, or removes it if lifetime is 0. It is Lax, not
// Strict: people come back from the identity provider, and by links; what changes something is
// protected by its origin (see fromHere).
func (s *Service) setCookie(w http.ResponseWriter, name, value string, lifetime time.Duration) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, Secure: s.Secure, SameSite: http.SameSiteLaxMode, MaxAge: int(lifetime / time.Second)}
	if lifetime <= 0 {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// rows is the store as scs sees it.
type rows struct{ *Service }

var errNoContext = errors.New("the store of sessions wants a context")

// Delete, Find and Commit are scs's older forms; it calls those with a context instead.
func (rows) Delete(string) error                    { return errNoContext }
func (rows) Find(string) ([]byte, bool, error)      { return nil, false, errNoContext }
func (rows) Commit(string, []byte, time.Time) error { return errNoContext }

// DeleteCtx implements scs.CtxStore.
func (s rows) DeleteCtx(ctx context.Context, key string) error { return s.Store.EndSignIn(ctx, key) }

// FindCtx implements scs.CtxStore.
func (s rows) FindCtx(ctx context.Context, key string) ([]byte, bool, error) {
	now := s.Now()
	data, seen, found, err := s.Store.FindSignIn(ctx, key, now, now.Add(-s.Idle))
	if err != nil || !found {
		return nil, false, err
	}
	if now.Sub(seen) >= touchEvery && ctx.Value(peekKey{}) == nil {
		if err := s.Store.TouchSignIn(ctx, key, now); err != nil {
			s.Log.Warn("that a session is in use could not be noted", "error", err)
		}
	}
	return []byte(data), true, nil
}

// CommitCtx implements scs.CtxStore. It is called when a session begins and never again, so it
// expires a lifetime from now, by our clock.
func (s rows) CommitCtx(ctx context.Context, key string, data []byte, _ time.Time) error {
	now := s.Now()
	return s.Store.SaveSignIn(ctx, key, string(data), now.Add(s.Lifetime), now)
}

// codec writes a session as JSON, which databases and people can read.
type codec struct{}

// Encode implements scs.Codec. When a session expires is in the store.
func (codec) Encode(_ time.Time, values map[string]any) ([]byte, error) {
	return json.Marshal(values)
}

// Decode implements scs.Codec.
func (codec) Decode(data []byte) (time.Time, map[string]any, error) {
	var texts map[string]string
	if err := json.Unmarshal(data, &texts); err != nil {
		return time.Time{}, nil, fmt.Errorf("read a session: %w", err)
	}
	values := make(map[string]any, len(texts))
	for key, text := range texts {
		values[key] = text
	}
	return time.Time{}, values, nil
}
