package sim

import (
	"context"
	"errors"
	"net/http"

	"github.com/planetbell/planetbell/internal/sim/clients"
)

// subscribe is what a page does before it can be rung: it asks the app server for its key, and
// the browser for a subscription. The earlier subscription ends, as it does in a browser.
func (p *Phone) subscribe(ctx context.Context, token string) error {
	a, err := p.request(ctx, apiRequest{
		method: http.MethodGet, path: "web_push/key", token: token, limit: p.profile.timeout,
	})
	if err != nil {
		return err
	}
	key, err := clients.Browser{}.PushKey(a)
	if err != nil {
		return err
	}
	s, err := p.o.WebPush.SubscribeAs(p.o.PushProfile, key, p.onWebPush)
	if err != nil {
		return err
	}
	p.mu.Lock()
	old := p.subscription.ID
	p.subscription, p.token = s, s.JSON.Reveal()
	p.mu.Unlock()
	if old != "" {
		p.o.WebPush.Unsubscribe(old)
	}
	return nil
}

// Subscription returns the subscription of a browser at the fake push service; its ID is empty
// before Start, and of other phones.
func (p *Phone) Subscription() WebPushSubscription {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.subscription
}

// onWebPush takes a push from the push service: it wakes the service worker.
func (p *Phone) onWebPush(m WebPushMessage) {
	p.background(func() {
		call, fields, err := clients.BrowserPush([]byte(m.Data.Reveal()))
		if isNotice(fields) {
			p.pushNotice(fields)
			return
		}
		if err != nil {
			p.unusable("webpush", err)
			return
		}
		if call.CalleeUserID != p.o.User.UserID || call.CalleeServiceID != p.o.User.ServiceID {
			p.unusable("webpush", errors.New("the call is for somebody else"))
			return
		}
		if p.acknowledge(receiptOfWebPush(fields)) {
			return
		}
		p.ring(p.ctx, call, "webpush")
	})
}

// pushNotice takes a push that is no call. A worker that does not know it shows nothing, and
// the browser shows a message of its own.
func (p *Phone) pushNotice(fields map[string]string) {
	if !p.o.Notices {
		p.mu.Lock()
		p.stats.Ignored++
		p.mu.Unlock()
		return
	}
	p.noticed(Notice{Via: "webpush", Fields: fields}, receiptOfWebPush(fields))
}

// receiptOfWebPush is what the worker says of a push.
func receiptOfWebPush(fields map[string]string) receiptBody {
	return receiptBody{SID: clients.DataSession(fields), Channel: "webpush"}
}
