package clients

import (
	"errors"
	"fmt"
)

// Browser is a page of one's own with a service worker: LINE's web app cannot be rung. It
// registers as the web app does, and besides gets calls by Web Push
// (docs/clients/own-clients.md).
type Browser struct{ Web }

// Name returns "browser".
func (Browser) Name() string { return "browser" }

// RegisterDevice reports everything but success.
func (Browser) RegisterDevice(a Answer) error {
	_, err := browserData(a)
	return err
}

// UpdateToken reports everything but success.
func (Browser) UpdateToken(a Answer) error {
	_, err := browserData(a)
	return err
}

// PushKey decodes web_push/key: the key for PushManager.subscribe.
func (Browser) PushKey(a Answer) (string, error) {
	data, err := browserData(a)
	if err != nil {
		return "", err
	}
	return data.str("publicKey")
}

// browserData reads the data of a success.
func browserData(a Answer) (object, error) {
	if !a.ok() {
		return nil, fmt.Errorf("%w with HTTP status %d", ErrRefused, a.Status)
	}
	env, err := parseObject(a.Body)
	if err != nil {
		return nil, fmt.Errorf("the answer %w", err)
	}
	if status, err := env.str("status"); err != nil || status != "success" {
		return nil, fmt.Errorf("%w inside HTTP %d", ErrRefused, a.Status)
	}
	return env.sub("data")
}

// BrowserPush reads the message of a push event: one JSON object of texts, as a service worker
// takes it with event.data.json(). A call needs what the worker shows and what the page gives
// to verifyCall.
func BrowserPush(message []byte) (Call, map[string]string, error) {
	fields, err := Texts(message)
	if err != nil {
		return Call{}, nil, fmt.Errorf("the message %w", err)
	}
	c := Call{
		CCParam: fields["cc_param"], CallType: fields["app_call_type"], Environment: fields["_env"],
		CallerUserID: fields["app_caller_uid"], CallerServiceID: fields["app_caller_sid"],
		CalleeUserID: fields["app_callee_uid"], CalleeServiceID: fields["app_callee_sid"],
	}
	for _, need := range []struct{ name, value string }{
		{"cc_param", c.CCParam},
		{"app_call_type", c.CallType},
		{"app_caller_uid", c.CallerUserID},
		{"app_callee_uid", c.CalleeUserID},
		{"app_callee_sid", c.CalleeServiceID},
	} {
		if need.value == "" {
			return Call{}, fields, fmt.Errorf("%w: %q is missing", errNoCall, need.name)
		}
	}
	return c, fields, nil
}

var errNoCall = errors.New("the message is no call")

// Poll reads a call as strictly as Apple's app does: a page of one's own needs the same fields.
func (Browser) Poll(a Answer) Poll { return Apple{}.Poll(a) }

// PollFailed returns what Apple's app does: it asks again.
func (Browser) PollFailed() Next { return Apple{}.PollFailed() }
