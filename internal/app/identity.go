package app

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"

	"github.com/planetbell/planetbell/planet"
)

// Identity is what a server answers to a nonce on its callback URLs and at /readyz: only a process with the
// same signing key of app tokens can. "planetbell doctor" asks for it, to know whether a
// public address leads to, or a port is held by, the server that its configuration is of.
//
// The key is not used itself but one that is made of it, so that no nonce can be made
// that has an app token signed.
func Identity(signingKey planet.Secret, nonce string) string {
	derived := hmac.New(sha256.New, []byte(signingKey.Reveal()))
	derived.Write([]byte("planetbell: who a server is"))
	mac := hmac.New(sha256.New, derived.Sum(nil))
	mac.Write([]byte(nonce))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func (a *App) identity(nonce string) string { return Identity(a.cfg.AppTokens.SigningKey, nonce) }
