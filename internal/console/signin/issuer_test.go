package signin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/planetbell/planetbell/internal/testlog"
)

const (
	clientID = "bell"
	callback = "https://" + here + "/signin/oidc/callback"
)

var clientSecret = testlog.TextSecret("client-secret-of-the-tests")

// issuer is a pretend identity provider. It refuses what a real one refuses: a wrong client, a
// code that was used, another redirect address, a verifier that does not fit its challenge.
type issuer struct {
	*httptest.Server
	t   testing.TB
	key *ecdsa.PrivateKey

	mu     sync.Mutex
	grants map[string]url.Values // by code: what was asked for
	// change alters the ID token, and sign signs it if it is not the issuer's key that does.
	change func(claims jwt.MapClaims)
	sign   func(claims jwt.MapClaims) (string, error)
	down   bool
	asked  int // of the discovery
}

func newIssuer(t testing.TB) *issuer {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: key, grants: map[string]url.Values{}, change: func(jwt.MapClaims) {}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /keys", i.keys)
	mux.HandleFunc("POST /token", i.token)
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		i.t.Error(err)
	}
}

func (i *issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked++
	if i.down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	i.answer(w, http.StatusOK, map[string]any{
		"issuer": i.URL, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/keys",
		"id_token_signing_alg_values_supported": []string{"ES256"},
	})
}

func (i *issuer) keys(w http.ResponseWriter, _ *http.Request) {
	point, err := i.key.PublicKey.Bytes()
	if err != nil {
		i.t.Error(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	i.answer(w, http.StatusOK, map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig", "alg": "ES256", "x": encode(point[1:33]), "y": encode(point[33:]),
	}}})
}

// authorize is somebody's visit: it returns the address that they are sent back to.
func (i *issuer) authorize(location string) string {
	i.t.Helper()
	u, err := url.Parse(location)
	if err != nil {
		i.t.Fatal(err)
	}
	q := u.Query()
	if u.Path != "/authorize" || q.Get("client_id") != clientID || q.Get("response_type") != "code" || q.Get("redirect_uri") != callback ||
		q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) < 40 || len(q.Get("nonce")) < 40 || q.Get("scope") != "openid email" {
		i.t.Errorf("the identity provider is asked %s", location)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	code := token()
	i.grants[code] = q
	return "/signin/oidc/callback?" + url.Values{"code": {code}, "state": {q.Get("state")}}.Encode()
}

func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if err := r.ParseForm(); err != nil {
		i.t.Error(err)
	}
	grant := i.grants[r.PostForm.Get("code")]
	delete(i.grants, r.PostForm.Get("code"))
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	id, secret, _ := r.BasicAuth()
	switch {
	case id != clientID || secret != clientSecret:
		i.answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
	case grant == nil || r.PostForm.Get("grant_type") != "authorization_code" || r.PostForm.Get("redirect_uri") != grant.Get("redirect_uri") ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != grant.Get("code_challenge"):
		i.answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant", "error_description": testlog.TextSecret("told by the issuer")})
	default:
		claims := jwt.MapClaims{
			"iss": i.URL, "aud": clientID, "sub": "s-1", "nonce": grant.Get("nonce"), "iat": noon.Unix(), "exp": noon.Add(5 * time.Minute).Unix(),
			"email": "Ann@Example.com", "email_verified": true, "groups": []string{"staff", "ops"}, "realm": map[string]any{"roles": []string{"boss"}},
		}
		i.change(claims)
		sign := i.signed
		if i.sign != nil {
			sign = i.sign
		}
		text, err := sign(claims)
		if err != nil {
			i.t.Error(err)
		}
		i.answer(w, http.StatusOK, map[string]any{"access_token": testlog.TextSecret("access"), "token_type": "Bearer", "id_token": text})
	}
}

func (i *issuer) signed(claims jwt.MapClaims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	t.Header["kid"] = "k1"
	return t.SignedString(i.key)
}
