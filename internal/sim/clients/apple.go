package clients

import (
	"fmt"
	"net/http"
)

// Apple is the iOS and macOS demo app (Swift, URLSession, Codable). Codable refuses an
// answer in which any declared field has another type than declared.
type Apple struct{}

// Name returns "apple".
func (Apple) Name() string { return "apple" }

// Register needs 2xx, a decodable envelope and data.accessToken, a JWT that passes the
// app's own Codable structs.
func (Apple) Register(a Answer) (Registration, error) {
	if a.Status == http.StatusConflict {
		return Registration{}, ErrTaken
	}
	env, err := appleEnvelope(a)
	if err != nil {
		return Registration{}, err
	}
	data, err := env.sub("data")
	if err != nil {
		return Registration{}, err
	}
	token, err := data.str("accessToken")
	if err != nil {
		return Registration{}, err
	}
	return appleJWT(token)
}

// RegisterDevice needs 2xx and a decodable envelope.
func (Apple) RegisterDevice(a Answer) error {
	_, err := appleEnvelope(a)
	return err
}

// UpdateToken needs 2xx and a decodable envelope. The app only logs a failure.
func (Apple) UpdateToken(a Answer) error {
	_, err := appleEnvelope(a)
	return err
}

// Issue needs data.gwAccessToken; on failure the call is not started.
func (Apple) Issue(a Answer) (Gateway, error) {
	env, err := appleEnvelope(a)
	if err != nil {
		return Gateway{}, err
	}
	data, err := env.sub("data")
	if err != nil {
		return Gateway{}, err
	}
	var g Gateway
	if g.Token, err = data.str("gwAccessToken"); err != nil {
		return Gateway{}, err
	}
	if g.UserID, err = data.optStr("userId"); err != nil {
		return Gateway{}, err
	}
	if g.ServiceID, err = data.optStr("serviceId"); err != nil {
		return Gateway{}, err
	}
	return g, nil
}

// Poll takes 503 as "no call, ask again at once" and waits [Pause] after everything
// else that has no call.
func (Apple) Poll(a Answer) Poll {
	if a.Status == http.StatusServiceUnavailable {
		return Poll{Next: PollNow}
	}
	env, err := appleEnvelope(a)
	if err != nil {
		return Poll{Next: PollLater, Err: err}
	}
	data, err := env.sub("data")
	if err != nil {
		return Poll{Next: PollLater, Err: err}
	}
	c := new(Call)
	if err := readStrings(data.str, c.appleRequired()); err != nil {
		return Poll{Next: PollLater, Err: err}
	}
	optional := map[string]*string{"app_app_svr_data": &c.AppServerData, "app_stid": &c.STID}
	if err := readStrings(data.optStr, optional); err != nil {
		return Poll{Next: PollLater, Err: err}
	}
	return Poll{Call: c, Next: StopForCall}
}

// PollFailed returns [PollLater].
func (Apple) PollFailed() Next { return PollLater }

// AppleVoIP decodes a VoIP push as the app's PushKit delegate does. When it fails, the
// app returns without reporting a call to CallKit, and iOS kills it.
func AppleVoIP(payload []byte) (Call, error) {
	o, err := parseObject(payload)
	if err != nil {
		return Call{}, fmt.Errorf("the push payload %w", err)
	}
	var c Call
	required := map[string]*string{"cc_param": &c.CCParam, "app_caller_sid": &c.CallerServiceID}
	if err := readStrings(o.str, required); err != nil {
		return Call{}, fmt.Errorf("the push payload's %w; iOS kills the app", err)
	}
	// The app casts the others with "as? String": another type is like absence.
	for key, to := range map[string]*string{
		"app_caller_uid": &c.CallerUserID, "app_callee_uid": &c.CalleeUserID,
		"app_callee_sid": &c.CalleeServiceID, "app_call_type": &c.CallType, "_env": &c.Environment,
	} {
		*to, _ = o.optStr(key)
	}
	return c, nil
}

// appleRequired lists the fields that the app's poll struct declares as non-optional.
func (c *Call) appleRequired() map[string]*string {
	return map[string]*string{
		"app_call_type": &c.CallType, "app_callee_uid": &c.CalleeUserID, "app_caller_uid": &c.CallerUserID,
		"app_callee_sid": &c.CalleeServiceID, "app_caller_sid": &c.CallerServiceID,
		"_env": &c.Environment, "cc_param": &c.CCParam,
	}
}

// readStrings reads every key with read.
func readStrings(read func(string) (string, error), into map[string]*string) error {
	for key, to := range into {
		s, err := read(key)
		if err != nil {
			return err
		}
		*to = s
	}
	return nil
}

// appleEnvelope decodes the envelope of a 2xx answer: "status" String and "timestamp"
// Int64 required, "code" absent, null or a number, "message" absent, null or a String.
func appleEnvelope(a Answer) (object, error) {
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
	if _, err := env.integer("timestamp"); err != nil {
		return nil, err
	}
	if env.has("code") {
		if _, err := env.integer("code"); err != nil {
			return nil, err
		}
	}
	if _, err := env.optStr("message"); err != nil {
		return nil, err
	}
	if status != "success" {
		return nil, fmt.Errorf("%w with status %q inside HTTP %d", ErrRefused, status, a.Status)
	}
	return env, nil
}

// appleJWT decodes the app token with the app's Codable structs.
func appleJWT(token string) (Registration, error) {
	parts, err := threeParts(token)
	if err != nil {
		return Registration{}, err
	}
	header, err := jwtPart("header", parts[0])
	if err != nil {
		return Registration{}, err
	}
	for _, key := range []string{"alg", "typ"} {
		if _, err := header.str(key); err != nil {
			return Registration{}, fmt.Errorf("the app token's header: %w", err)
		}
	}
	claims, err := jwtPart("payload", parts[1])
	if err != nil {
		return Registration{}, err
	}
	for _, key := range []string{"sub", "iss", "jti", "uid", "name", "aud"} {
		if _, err := claims.optStr(key); err != nil {
			return Registration{}, fmt.Errorf("the app token's %w", err)
		}
	}
	for _, key := range []string{"iat", "nbf"} {
		if !claims.has(key) {
			continue
		}
		if _, err := claims.integer(key); err != nil {
			return Registration{}, fmt.Errorf("the app token's %w", err)
		}
	}
	exp, err := expiry(claims)
	if err != nil {
		return Registration{}, err
	}
	return Registration{AppToken: token, Expires: exp}, nil
}
