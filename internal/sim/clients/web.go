package clients

import (
	"fmt"
	"net/http"
)

// Web is the web demo app (JavaScript, axios). It only makes group calls: it registers
// and asks for access tokens, and has no way to receive a call.
type Web struct{}

// Name returns "web".
func (Web) Name() string { return "web" }

// Register reads the body whatever the HTTP status is. A taken ID is "status" error
// with "code" strictly equal to the string "409".
func (Web) Register(a Answer) (Registration, error) {
	env, err := parseObject(a.Body)
	if err != nil {
		return Registration{}, fmt.Errorf("the answer %w", err)
	}
	switch status, _ := env.optStr("status"); {
	case status == "success":
	case status == "error" && string(env["code"]) == `"409"`:
		return Registration{}, ErrTaken
	default:
		return Registration{}, fmt.Errorf("%w with status %q, code %s", ErrRefused, status, env["code"])
	}
	data, err := env.sub("data")
	if err != nil {
		return Registration{}, err
	}
	token, err := data.str("accessToken")
	if err != nil {
		return Registration{}, err
	}
	return webJWT(token)
}

// RegisterDevice reports a refusal; the app ignores it.
func (Web) RegisterDevice(a Answer) error {
	if !a.ok() {
		return fmt.Errorf("%w with HTTP status %d", ErrRefused, a.Status)
	}
	return nil
}

// UpdateToken returns [ErrNotUsed].
func (Web) UpdateToken(Answer) error { return ErrNotUsed }

// Issue takes 401 as "registration has expired".
func (Web) Issue(a Answer) (Gateway, error) {
	if a.Status == http.StatusUnauthorized {
		return Gateway{}, ErrExpired
	}
	if !a.ok() {
		return Gateway{}, fmt.Errorf("%w with HTTP status %d", ErrRefused, a.Status)
	}
	env, err := parseObject(a.Body)
	if err != nil {
		return Gateway{}, fmt.Errorf("the answer %w", err)
	}
	if status, err := env.str("status"); err != nil || status != "success" {
		return Gateway{}, fmt.Errorf("%w inside HTTP %d; the app has a null token", ErrRefused, a.Status)
	}
	data, err := env.sub("data")
	if err != nil {
		return Gateway{}, err
	}
	token, err := data.str("gwAccessToken")
	return Gateway{Token: token}, err
}

// Poll returns [ErrNotUsed].
func (Web) Poll(Answer) Poll { return Poll{Next: Stop, Err: ErrNotUsed} }

// PollFailed returns [Stop].
func (Web) PollFailed() Next { return Stop }

// webJWT decodes the payload with atob and JSON.parse.
func webJWT(token string) (Registration, error) {
	parts, err := threeParts(token)
	if err != nil {
		return Registration{}, err
	}
	claims, err := asciiPart("payload", parts[1])
	if err != nil {
		return Registration{}, err
	}
	exp, err := expiry(claims)
	if err != nil {
		return Registration{}, err
	}
	return Registration{AppToken: token, Expires: exp}, nil
}
