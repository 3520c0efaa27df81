package sim

import (
	"cmp"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Rules of the token endpoint: docs/push-providers.md 2.2 and 6.2.
const (
	grantJWT       = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	scopeMessaging = "https://www.googleapis.com/auth/firebase.messaging"
	maxAssertion   = 3900 * time.Second // Google says an hour and allows a little more
	clockWindow    = 5 * time.Minute
	maxAccess      = 1000 // access tokens kept
)

// serveToken answers POST /token.
func (f *FCM) serveToken(w http.ResponseWriter, r *http.Request) {
	st := streamOf(r)
	surplus, leave := st.enter()
	if surplus {
		st.reset(codeRefused)
	}
	defer leave()
	s := f.tokenFaults.strike(r, st)
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	err := r.ParseForm()
	st.commit()
	req := TokenRequest{Assertion: r.PostForm.Get("assertion"), Number: f.tokenRequests.Add(1)}
	f.mu.Lock()
	script := f.scriptToken
	f.mu.Unlock()
	if s == nil && script != nil {
		s = script(req)
	}
	w, end := s.dripping(w, r, f.clock)
	defer end()
	life := f.o.TokenLife
	if s != nil {
		if f.scripted(w, r, s) {
			return
		}
		life = cmp.Or(s.expires, life)
	}
	if err == nil {
		err = f.checkGrant(r.PostForm)
	}
	if err != nil {
		f.refuseGrant(w, http.StatusBadRequest, "invalid_grant", "Invalid JWT: "+err.Error())
		return
	}
	token := "ya29." + randomHex(32)
	f.mu.Lock()
	now := f.clock.Now()
	if len(f.access) >= maxAccess {
		clear(f.access)
	}
	f.access[token] = now.Add(life)
	f.mu.Unlock()
	writeJSON(w, http.StatusOK, map[string]any{
		"access_token": token, "expires_in": int(life / time.Second), "token_type": "Bearer",
	})
}

// scripted follows a script; false means that the fake answers itself.
func (f *FCM) scripted(w http.ResponseWriter, r *http.Request, s *Answer) bool {
	if f.clock.Wait(r.Context(), s.Delay) != nil || s.fault(w, r) {
		return true
	}
	if s.Status == 0 {
		return false
	}
	f.refuseGrant(w, s.Status, s.Reason, "scripted")
	return true
}

func (f *FCM) refuseGrant(w http.ResponseWriter, status int, code, description string) {
	f.reject(&fcmError{status: status, code: code, message: description})
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
}

// checkGrant verifies the assertion.
func (f *FCM) checkGrant(form url.Values) error {
	if form.Get("grant_type") != grantJWT {
		return errors.New("grant_type is not jwt-bearer")
	}
	parts := strings.Split(form.Get("assertion"), ".")
	if len(parts) != 3 {
		return errors.New("the assertion does not have three parts")
	}
	var header struct{ Alg, Kid string }
	var claims struct {
		Iss, Aud, Scope string
		Iat, Exp        int64
	}
	if err := decodeJWTPart(parts[0], &header); err != nil {
		return errors.New("the header " + err.Error())
	}
	if err := decodeJWTPart(parts[1], &claims); err != nil {
		return errors.New("the payload " + err.Error())
	}
	f.mu.Lock()
	revoked := f.revoked
	f.mu.Unlock()
	if header.Alg != "RS256" {
		return errors.New("alg is not RS256")
	}
	if header.Kid != "" && header.Kid != f.keyID || revoked {
		return errors.New("the key is unknown or revoked")
	}
	sig, err := base64.RawURLEncoding.DecodeString(parts[2])
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err != nil || rsa.VerifyPKCS1v15(&f.key.PublicKey, crypto.SHA256, sum[:], sig) != nil {
		return errors.New("the signature does not fit the key")
	}
	return f.checkClaims(claims.Iss, claims.Aud, claims.Scope, time.Unix(claims.Iat, 0), time.Unix(claims.Exp, 0))
}

// checkClaims checks what the assertion says.
func (f *FCM) checkClaims(iss, aud, scope string, iat, exp time.Time) error {
	now := f.clock.Now()
	switch {
	case iss != f.clientEmail():
		return errors.New("iss is not the service account")
	case aud != f.tokenURL():
		return errors.New("aud is not this token endpoint")
	case !slices.Contains(strings.Fields(scope), scopeMessaging):
		return errors.New("scope does not contain firebase.messaging")
	case exp.Sub(iat) > maxAssertion || !exp.After(iat):
		return errors.New("exp is not at most an hour after iat")
	case iat.After(now.Add(clockWindow)) || exp.Before(now.Add(-clockWindow)):
		return errors.New("the token must be short-lived and in a reasonable timeframe; check the clock")
	}
	return nil
}
