package canary

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/planetbell/planetbell/planet"
)

var (
	errTimeout = errors.New("nothing came within the canary's timeout")
	// errChanged never says how: cc_param is a secret, also this one.
	errChanged = errors.New("the device got another cc_param than Notify had: something on the way to the callback URL, or from here to devices, changes it")
)

// pause is between two polls that were answered otherwise than with a call.
const pause = time.Second

// ready signs the callee up if it is not, and says that it polls, as an app does at its start.
func (c *caller) ready(ctx context.Context) *failure {
	for {
		fresh := c.token == ""
		if fresh {
			if problem := c.signUp(ctx); problem != nil {
				return problem
			}
		}
		a, err := c.api.post(ctx, "/v2/update_notification_token", c.token, map[string]any{
			"appType": "MONITOR", "appVer": "1", "notificationType": "lp", "notificationToken": "",
		})
		switch {
		case err != nil:
			return &failure{hopToken, err}
		case a.status == http.StatusUnauthorized && !fresh:
			c.token = "" // it has expired: sign up once more
		case a.status != http.StatusOK:
			return &failure{hopToken, a.refused()}
		default:
			return nil
		}
	}
}

func (c *caller) signUp(ctx context.Context) *failure {
	var known planet.Secret
	if c.Known != nil {
		var err error
		if known, err = c.Known(); err != nil {
			return &failure{hopSignUp, err}
		}
	}
	a, err := c.api.post(ctx, "/v2/register_user", known, map[string]any{
		"userId": c.Callee.UserID, "serviceId": c.Callee.ServiceID, "apiKey": c.ClientKey.Reveal(), "displayName": "canary", "region": "canary",
	})
	switch {
	case err != nil:
		return &failure{hopSignUp, err}
	case a.status != http.StatusOK:
		return &failure{hopSignUp, a.refused()}
	case a.text("accessToken") == "":
		return failed(hopSignUp, "the answer has no app token")
	}
	c.token = planet.Secret(a.text("accessToken"))
	return nil
}

// notify sends what Planet Cloud sends (docs/line-planet.md 3.1).
func (c *caller) notify(ctx context.Context, one *call) *failure {
	q := c.parties(one)
	q.Set("param", one.param.Reveal())
	a, err := c.callbacks.get(ctx, "/notify?"+q.Encode(), "")
	switch {
	case err != nil:
		return &failure{hopNotify, err}
	case a.status != http.StatusOK:
		return &failure{hopNotify, a.refused()}
	}
	return nil
}

func (c *caller) parties(one *call) url.Values {
	return url.Values{
		"sid": {string(one.id)}, "type": {"A"},
		"from_service_id": {c.Caller.ServiceID}, "from_user_id": {c.Caller.UserID},
		"to_service_id": {c.Callee.ServiceID}, "to_user_id": {c.Callee.UserID},
	}
}

// poll asks until the call comes. What an earlier call left in the mailbox is acknowledged.
func (c *caller) poll(ctx context.Context, one *call, got chan<- time.Time) *failure {
	for {
		a, err := c.api.get(ctx, "/v2/notification/lp?ack=1", c.token)
		switch {
		case err != nil:
			return &failure{hopPoll, err}
		case a.status == http.StatusOK && a.text("app_session_id") == string(one.id):
			got <- time.Now()
			if a.text("cc_param") != one.param.Reveal() {
				return &failure{hopCCParam, errChanged}
			}
			return nil
		case a.status == http.StatusOK:
			if old := a.text("app_session_id"); old != "" {
				_, _ = c.api.post(ctx, "/v2/notification/ack", c.token, map[string]any{"sid": old, "channel": "lp"})
			}
		case a.status != http.StatusServiceUnavailable: // which says that no call came
			return &failure{hopPoll, a.refused()}
		}
		select {
		case <-ctx.Done():
			return &failure{hopPoll, context.Cause(ctx)}
		case <-time.After(pause):
		}
	}
}

func (c *caller) receipt(ctx context.Context, one *call) *failure {
	a, err := c.api.post(ctx, "/v2/notification/ack", c.token, map[string]any{
		"sid": string(one.id), "channel": "lp", "receivedAt": time.Now().UnixMilli(),
	})
	switch {
	case err != nil:
		return &failure{hopReceipt, err}
	case a.status != http.StatusOK:
		return &failure{hopReceipt, a.refused()}
	}
	return nil
}

// end sends the Call Event (docs/line-planet.md 3.2): of a call that was answered for a second,
// or of one that failed.
func (c *caller) end(ctx context.Context, one *call, rang bool) *failure {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), eventTime, errTimeout)
	defer cancel()
	now := time.Now()
	q := c.parties(one)
	q.Set("setup_time", strconv.FormatInt(one.began.Unix(), 10))
	q.Set("end_time", strconv.FormatInt(now.Unix(), 10))
	if rang {
		q.Set("start_time", strconv.FormatInt(now.Unix()-1, 10))
		q.Set("duration", "1")
	}
	a, err := c.callbacks.get(ctx, "/call-event?"+q.Encode(), "")
	switch {
	case err != nil:
		return &failure{hopCallEvent, err}
	case a.status != http.StatusOK:
		return &failure{hopCallEvent, a.refused()}
	}
	return nil
}
