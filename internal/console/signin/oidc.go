package signin

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

const (
	// visitTime is how long somebody may stay at the identity provider.
	visitTime = 10 * time.Minute
	// providerTime bounds one request to the identity provider.
	providerTime = 5 * time.Second
	// maxProviderAnswer bounds its answers, in bytes.
	maxProviderAnswer = 1 << 20
	maxVisit          = 4 << 10 // bytes of the cookie
)

// OIDC is an identity provider (OpenID Connect Core 1.0), and whom it may send. It is asked
// when somebody signs in, and not before: one that is away holds up nothing else.
type OIDC struct {
	Issuer       string
	ClientID     string
	ClientSecret planet.Secret
	RedirectURL  string // ends with /signin/oidc/callback
	Scopes       []string
	// RoleClaim is the claim that has the roles, a text or a list of texts: a name, or a path of
	// names with dots. Roles says which of its values is which role; the highest counts.
	RoleClaim   string
	Roles       map[string]bell.Role
	DefaultRole bell.Role // of who has none by RoleClaim; empty: they are refused
	// Domains and Emails are whose verified addresses are let in, in small letters. Both empty:
	// everybody's who has a role.
	Domains, Emails []string
	// Transport reaches the provider; http.DefaultTransport if nil.
	Transport http.RoundTripper
}

// provider is the identity provider, which is discovered when it is first needed.
type provider struct {
	OIDC
	turn  chan struct{}  // holds one while somebody discovers it
	found *oidc.Provider // nil: not discovered yet; guarded by turn
}

// stamp changes with whatever decides who somebody is.
func (p *provider) stamp() string {
	settings, err := json.Marshal([]any{p.Issuer, p.ClientID, p.RoleClaim, p.Roles, p.DefaultRole, p.Domains, p.Emails})
	if err != nil {
		return "" // texts and lists of them: this cannot be; nobody is let in
	}
	return stampOf("oidc", string(settings))
}

// context is the one that the libraries find their client in.
func (p *provider) context(ctx context.Context) context.Context {
	transport := p.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	client := &http.Client{
		Transport: bounded{transport}, Timeout: providerTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return oidc.ClientContext(ctx, client)
}

// discover finds out the provider's addresses (OpenID Connect Discovery 1.0), once.
func (p *provider) discover(ctx context.Context) (*oidc.Provider, error) {
	const away = "The identity provider does not answer; try again, or sign in another way."
	// Those who wait for a provider that hangs do not wait for each other's attempts.
	ctx, cancel := context.WithTimeout(ctx, providerTime)
	defer cancel()
	select {
	case p.turn <- struct{}{}: // kept for providerTime at most
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, bell.E(bell.Unavailable, away, ctx.Err())
	}
	if p.found != nil {
		return p.found, nil
	}
	// The provider keeps the context for fetching keys later.
	found, err := oidc.NewProvider(p.context(context.WithoutCancel(ctx)), p.Issuer)
	if err != nil {
		return nil, bell.E(bell.Unavailable, away, err)
	}
	p.found = found
	return found, nil
}

func (p *provider) oauth(found *oidc.Provider) *oauth2.Config {
	return &oauth2.Config{ClientID: p.ClientID, ClientSecret: p.ClientSecret.Reveal(), Endpoint: found.Endpoint(), RedirectURL: p.RedirectURL, Scopes: p.Scopes}
}

// visit is what the browser keeps while its person is at the identity provider. Only the
// browser that went there can come back with it.
type visit struct {
	State    string `json:"s"`
	Nonce    string `json:"n"`
	Verifier string `json:"v"` // of PKCE (RFC 7636)
	Next     string `json:"x"`
}

func (s *Service) visitCookie() string {
	if s.Secure {
		return secureCookie + "-oidc"
	}
	return plainCookie + "_oidc"
}

// Visit sends somebody to the identity provider (GET /signin/oidc).
func (s *Service) Visit(w http.ResponseWriter, r *http.Request) error {
	if s.oidc == nil {
		return bell.E(bell.NotFound, "No identity provider is configured (admin.oidc).", nil)
	}
	if err := s.allow(r, ""); err != nil {
		return err
	}
	found, err := s.oidc.discover(r.Context())
	if err != nil {
		return err
	}
	v := visit{
		State: token(), Nonce: token(), Verifier: oauth2.GenerateVerifier(),
		Next: LocalPath(r.URL.Query().Get("next")),
	}
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write a cookie: %w", err)
	}
	s.setCookie(w, s.visitCookie(), base64.RawURLEncoding.EncodeToString(text), visitTime)
	address := s.oidc.oauth(found).AuthCodeURL(v.State, oidc.Nonce(v.Nonce), oauth2.S256ChallengeOption(v.Verifier))
	http.Redirect(w, r, address, http.StatusSeeOther)
	return nil
}

// token is a random text that cannot be guessed.
func token() string { return base64.RawURLEncoding.EncodeToString([]byte(random(32).Reveal())) }

// Return takes somebody back from the identity provider (GET /signin/oidc/callback) and says who
// it is. A refusal is answered with the sign-in page, and returned.
func (s *Service) Return(w http.ResponseWriter, r *http.Request) (Principal, error) {
	if s.oidc == nil {
		return Principal{}, bell.E(bell.NotFound, "No identity provider is configured (admin.oidc).", nil)
	}
	v, ok := s.visitOf(r)
	s.setCookie(w, s.visitCookie(), "", 0)
	who, err := s.arrive(r, v, ok)
	if err == nil {
		err = s.sessions.begin(w, r, session{Name: who.Name, Via: ViaOIDC, Role: who.Role, Stamp: s.oidc.stamp()})
	}
	if err == nil {
		http.Redirect(w, r, v.Next, http.StatusSeeOther)
		return who, nil
	}
	switch bell.KindOf(err) {
	case bell.Unauthorized, bell.Forbidden:
		if shown := s.page(w, r, http.StatusForbidden, v.Next, sentenceOf(err)); shown != nil {
			return who, shown
		}
	}
	return who, err
}

func (s *Service) visitOf(r *http.Request) (v visit, ok bool) {
	c, err := r.Cookie(s.visitCookie())
	if err != nil || len(c.Value) > maxVisit {
		return visit{}, false
	}
	text, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil || json.Unmarshal(text, &v) != nil || v.State == "" || v.Nonce == "" || v.Verifier == "" {
		return visit{}, false
	}
	v.Next = LocalPath(v.Next)
	return v, true
}

// arrive checks what somebody comes back with. Why a token is refused is for the log.
func (s *Service) arrive(r *http.Request, v visit, visited bool) (Principal, error) {
	nobody := Principal{Via: ViaOIDC}
	q := r.URL.Query()
	state, code := q.Get("state"), q.Get("code")
	if !visited || subtle.ConstantTimeCompare([]byte(state), []byte(v.State)) != 1 {
		return nobody, bell.E(bell.Unauthorized, notBegunHere, nil)
	}
	if err := s.allow(r, ""); err != nil {
		return nobody, err
	}
	if code == "" {
		return nobody, bell.E(bell.Unauthorized, notSignedIn, fmt.Errorf("it says %q", bell.CleanName(q.Get("error"))))
	}
	claims, err := s.oidc.claims(r.Context(), code, v, s.Now)
	if err != nil {
		return nobody, err
	}
	return s.oidc.admit(claims)
}

// claims exchanges the code for an ID token, and checks that (OpenID Connect Core 1.0 section
// 3.1.3.7).
func (p *provider) claims(ctx context.Context, code string, v visit, now func() time.Time) (map[string]any, error) {
	refused := func(err error) error {
		return bell.E(bell.Unauthorized, notValid, err)
	}
	found, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	ctx = p.context(ctx)
	answer, err := p.oauth(found).Exchange(ctx, code, oauth2.VerifierOption(v.Verifier))
	if err != nil {
		return nil, refused(fmt.Errorf("exchange the code: %s", oauthReason(err)))
	}
	raw, ok := answer.Extra("id_token").(string)
	if !ok {
		return nil, refused(fmt.Errorf("there is no ID token"))
	}
	verified, err := found.Verifier(&oidc.Config{ClientID: p.ClientID, Now: now}).Verify(ctx, raw)
	if err != nil {
		return nil, refused(fmt.Errorf("check the ID token: %w", err))
	}
	if subtle.ConstantTimeCompare([]byte(verified.Nonce), []byte(v.Nonce)) != 1 {
		return nil, refused(fmt.Errorf("the ID token has another nonce"))
	}
	claims := map[string]any{}
	if err := verified.Claims(&claims); err != nil {
		return nil, refused(fmt.Errorf("read the ID token: %w", err))
	}
	return claims, nil
}

// oauthReason leaves out the provider's answer, which may hold anything.
func oauthReason(err error) string {
	if e, ok := err.(*oauth2.RetrieveError); ok { //nolint:errorlint // it is not wrapped
		status := 0
		if e.Response != nil {
			status = e.Response.StatusCode
		}
		return fmt.Sprintf("status %d, %q", status, bell.CleanName(e.ErrorCode))
	}
	return "no answer that could be used"
}

// admit decides whether, and as what, somebody is let in.
func (p *provider) admit(claims map[string]any) (Principal, error) {
	who := Principal{Via: ViaOIDC}
	subject, _ := claims["sub"].(string)
	email := verifiedEmail(claims)
	who.Name = bell.CleanName(email)
	if who.Name == "" {
		who.Name = bell.CleanName("sub:" + subject)
	}
	if len(p.Domains)+len(p.Emails) > 0 {
		_, domain, _ := strings.Cut(email, "@")
		if email == "" || !slices.Contains(p.Emails, email) && !slices.Contains(p.Domains, domain) {
			return who, bell.E(bell.Forbidden, notAllowed, nil)
		}
	}
	who.Role = p.DefaultRole
	for _, value := range textsAt(claims, p.RoleClaim) {
		if role := p.Roles[value]; role.Valid() && !who.Role.Covers(role) {
			who.Role = role
		}
	}
	if !who.Role.Valid() {
		return who, bell.E(bell.Forbidden, noRole, nil)
	}
	return who, nil
}

// verifiedEmail is empty unless the provider says that it has checked the address.
func verifiedEmail(claims map[string]any) string {
	email, _ := claims["email"].(string)
	verified := claims["email_verified"] == true || claims["email_verified"] == "true"
	if !verified || strings.Count(email, "@") != 1 || len(email) > bell.MaxText {
		return ""
	}
	return strings.ToLower(email)
}

// textsAt returns the texts of a claim: by its name, or by a path of names with dots.
func textsAt(claims map[string]any, path string) []string {
	if path == "" {
		return nil
	}
	value, ok := claims[path]
	if first, rest, nested := strings.Cut(path, "."); !ok && nested {
		if inner, isMap := claims[first].(map[string]any); isMap {
			return textsAt(inner, rest)
		}
	}
	switch v := value.(type) {
	case string:
		return []string{v}
	case []any:
		var texts []string
		for _, entry := range v {
			if text, isText := entry.(string); isText {
				texts = append(texts, text)
			}
		}
		return texts
	}
	return nil
}

// bounded lets no answer be larger than maxProviderAnswer.
type bounded struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	w, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	w.Body = http.MaxBytesReader(nil, w.Body, maxProviderAnswer)
	return w, nil
}
