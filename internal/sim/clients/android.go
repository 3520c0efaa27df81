package clients

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Android is the Android demo app (Kotlin, Retrofit with Gson). Gson takes numbers
// where strings are declared, and leaves absent fields null.
type Android struct{}

// Name returns "android".
func (Android) Name() string { return "android" }

// Register needs data.accessToken, a JWT with "exp".
func (Android) Register(a Answer) (Registration, error) {
	if a.Status == http.StatusConflict {
		return Registration{}, ErrTaken
	}
	token, err := androidField(a, "accessToken")
	if err != nil {
		return Registration{}, err
	}
	parts, err := threeParts(token)
	if err != nil {
		return Registration{}, err
	}
	if _, err := jwtPart("header", parts[0]); err != nil {
		return Registration{}, err
	}
	claims, err := jwtPart("payload", parts[1])
	if err != nil {
		return Registration{}, err
	}
	exp, err := expiry(claims)
	if err != nil {
		return Registration{}, err
	}
	return Registration{AppToken: token, Expires: exp}, nil
}

// RegisterDevice needs a success: before it and UpdateToken have succeeded, the app
// saves nothing.
func (Android) RegisterDevice(a Answer) error {
	_, _, err := androidEnvelope(a)
	return err
}

// UpdateToken needs a success, see RegisterDevice.
func (Android) UpdateToken(a Answer) error {
	_, _, err := androidEnvelope(a)
	return err
}

// Issue needs data.gwAccessToken; otherwise the call is not started.
func (Android) Issue(a Answer) (Gateway, error) {
	token, err := androidField(a, "gwAccessToken")
	return Gateway{Token: token}, err
}

// Poll takes 503, as HTTP status or as code inside 2xx, as "no call, ask again at once".
func (Android) Poll(a Answer) Poll {
	if a.Status == http.StatusServiceUnavailable {
		return Poll{Next: PollNow}
	}
	env, code, err := androidEnvelope(a)
	if code == http.StatusServiceUnavailable {
		return Poll{Next: PollNow}
	}
	if err != nil {
		return Poll{Next: PollLater, Err: err}
	}
	data, err := env.sub("data")
	if err != nil {
		return Poll{Next: PollLater, Err: err}
	}
	cc, err := data.looseStr("cc_param")
	if err != nil {
		return Poll{Next: PollLater, Err: err}
	}
	if cc == "" {
		return Poll{Next: PollLater, Err: errors.New(`"cc_param" is missing or empty`)}
	}
	return Poll{Call: &Call{CCParam: cc}, Next: PollNow}
}

// PollFailed returns [PollLater].
func (Android) PollFailed() Next { return PollLater }

// AndroidData decodes the data of an FCM message as the app's messaging service does.
// Without cc_param it silently ignores the message.
func AndroidData(data map[string]string) (Call, error) {
	c := Call{
		CCParam: data["cc_param"], CallType: data["app_call_type"], Environment: data["_env"],
		CallerUserID: data["app_caller_uid"], CallerServiceID: data["app_caller_sid"],
		CalleeUserID: data["app_callee_uid"], CalleeServiceID: data["app_callee_sid"],
	}
	if c.CCParam == "" {
		return Call{}, errors.New(`the message's "cc_param" is missing; the app ignores the message`)
	}
	return c, nil
}

// androidField reads a string under data. The app does nothing at all when it is null.
func androidField(a Answer, key string) (string, error) {
	env, _, err := androidEnvelope(a)
	if err != nil {
		return "", err
	}
	data, err := env.sub("data")
	if err != nil {
		return "", err
	}
	s, err := data.looseStr(key)
	if err != nil {
		return "", err
	}
	if s == "" {
		return "", fmt.Errorf("%q is missing or empty", key)
	}
	return s, nil
}

// androidEnvelope decodes a 2xx answer. A missing "status" counts as success; any other
// than "success" needs a numeric "code", without one the app throws. The code is
// returned also with an error, because Poll branches on it.
func androidEnvelope(a Answer) (env object, code int, err error) {
	if !a.ok() {
		return nil, 0, fmt.Errorf("%w with HTTP status %d", ErrRefused, a.Status)
	}
	env, err = parseObject(a.Body)
	if err != nil {
		return nil, 0, fmt.Errorf("the answer %w", err)
	}
	for _, key := range []string{"status", "message", "timestamp"} {
		if _, err := env.looseStr(key); err != nil {
			return nil, 0, err
		}
	}
	if env.has("code") {
		// Gson reads an Int also from a string of digits.
		if code, err = strconv.Atoi(strings.Trim(string(env["code"]), `"`)); err != nil {
			return nil, 0, errors.New(`"code" is not an integer`)
		}
	}
	status, err := env.looseStr("status")
	if err != nil {
		return nil, 0, err
	}
	if status == "" || status == "success" {
		return env, code, nil
	}
	if !env.has("code") {
		return nil, 0, fmt.Errorf("status %q comes without a code; the app throws", status)
	}
	return nil, code, fmt.Errorf("%w with status %q, code %d", ErrRefused, status, code)
}
