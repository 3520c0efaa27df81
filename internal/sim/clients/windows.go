package clients

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Windows is the Windows demo app (C++/WinRT). It never reads the body of an error.
type Windows struct{}

// Name returns "windows".
func (Windows) Name() string { return "windows" }

// Register needs data.accessToken, a JWT with "exp".
func (Windows) Register(a Answer) (Registration, error) {
	if a.Status == http.StatusConflict {
		return Registration{}, ErrTaken
	}
	data, err := windowsData(a)
	if err != nil {
		return Registration{}, err
	}
	token, err := data.str("accessToken")
	if err != nil {
		return Registration{}, err
	}
	return windowsJWT(token)
}

// RegisterDevice needs a success. The app also sends it at a restart, with the old token.
func (Windows) RegisterDevice(a Answer) error {
	_, err := windowsEnvelope(a)
	return err
}

// UpdateToken needs a success: the app sends it before every start of polling, and does
// not poll after a failure.
func (Windows) UpdateToken(a Answer) error {
	_, err := windowsEnvelope(a)
	return err
}

// Issue needs data.gwAccessToken. Any failure wraps [ErrWiped].
func (Windows) Issue(a Answer) (Gateway, error) {
	data, err := windowsData(a)
	if err != nil {
		return Gateway{}, fmt.Errorf("%w, because: %w", ErrWiped, err)
	}
	token, err := data.str("gwAccessToken")
	if err != nil {
		return Gateway{}, fmt.Errorf("%w, because: %w", ErrWiped, err)
	}
	return Gateway{Token: token}, nil
}

// Poll sleeps [Pause] after 503, stops at other errors, and spins on a 2xx that it
// cannot use.
func (Windows) Poll(a Answer) Poll {
	switch {
	case a.Status == http.StatusServiceUnavailable:
		return Poll{Next: PollLater}
	case !a.ok():
		return Poll{Next: Stop, Err: fmt.Errorf("%w with HTTP status %d", ErrRefused, a.Status)}
	}
	data, err := windowsData(a)
	if err != nil {
		return Poll{Next: Spin, Err: err}
	}
	c := new(Call)
	required := map[string]*string{
		"app_caller_uid": &c.CallerUserID, "cc_param": &c.CCParam, "app_call_type": &c.CallType,
	}
	if err := readStrings(data.str, required); err != nil {
		return Poll{Next: Spin, Err: err}
	}
	return Poll{Call: c, Next: StopForCall}
}

// PollFailed returns [Stop].
func (Windows) PollFailed() Next { return Stop }

// windowsEnvelope decodes a 2xx answer whose status must be "success".
func windowsEnvelope(a Answer) (object, error) {
	if !a.ok() {
		return nil, fmt.Errorf("%w with HTTP status %d", ErrRefused, a.Status)
	}
	env, err := parseObject(a.Body)
	if err != nil {
		return nil, fmt.Errorf("the answer %w", err)
	}
	status, err := env.str("status")
	if err != nil {
		return nil, err
	}
	if status != "success" {
		return nil, fmt.Errorf("%w with status %q inside HTTP %d", ErrRefused, status, a.Status)
	}
	return env, nil
}

// windowsData returns "data" of a successful answer.
func windowsData(a Answer) (object, error) {
	env, err := windowsEnvelope(a)
	if err != nil {
		return nil, err
	}
	return env.sub("data")
}

// windowsJWT splits at the first and the last dot and decodes what is between.
func windowsJWT(token string) (Registration, error) {
	first, last := strings.Index(token, "."), strings.LastIndex(token, ".")
	if first < 0 || first == last {
		return Registration{}, errors.New("the app token has fewer than two dots")
	}
	claims, err := asciiPart("payload", token[first+1:last])
	if err != nil {
		return Registration{}, err
	}
	exp, err := expiry(claims)
	if err != nil {
		return Registration{}, err
	}
	return Registration{AppToken: token, Expires: exp}, nil
}
