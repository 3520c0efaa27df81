package sim

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/planetbell/planetbell/internal/sim/clients"
	"github.com/planetbell/planetbell/planet"
)

// receiptBody is the body of notification/ack.
type receiptBody struct {
	SID              string `json:"sid"`
	Channel          string `json:"channel"`    // in the words of notificationType
	ReceivedAt       int64  `json:"receivedAt"` // Unix milliseconds by the phone's clock
	Priority         string `json:"priority,omitempty"`
	OriginalPriority string `json:"originalPriority,omitempty"`
}

// acknowledge is what an app of one's own does with each call that it gets, and LINE's do
// not: it sends a receipt, each time, and reports whether it has had the call before. Then
// the call is not to ring once more.
func (p *Phone) acknowledge(r receiptBody) (again bool) {
	if !p.o.Acknowledges || r.SID == "" {
		return false
	}
	r.ReceivedAt = p.clock.Now().UnixMilli()
	p.mu.Lock()
	again = p.had[r.SID]
	p.had[r.SID] = true
	if again {
		p.stats.Repeats++
	}
	token := p.account.AppToken
	p.mu.Unlock()
	p.background(func() { p.sendReceipt(r, token) })
	return again
}

// sendReceipt is notification/ack.
func (p *Phone) sendReceipt(r receiptBody, token string) {
	body, _ := json.Marshal(r) // strings and a number always encode
	a, err := p.request(p.ctx, apiRequest{
		method: http.MethodPost, path: "notification/ack", body: body, token: token, limit: p.profile.timeout,
	})
	if err == nil {
		err = p.profile.decoder.UpdateToken(a) // the same empty answer
	}
	if err != nil {
		p.trouble("notification/ack", err)
		return
	}
	p.mu.Lock()
	p.stats.Acknowledged++
	p.mu.Unlock()
	p.event(Event{Kind: EventReceipt, SessionID: planet.SessionID(r.SID), Text: "acknowledged a call by " + r.Channel})
}

// pollPath is where the phone polls. One that acknowledges says so, and so gets a call
// again that it has lost. One that knows notices says so too.
func (p *Phone) pollPath() string {
	query := url.Values{}
	if p.o.Acknowledges {
		query.Set("ack", "1")
	}
	if p.o.Notices {
		query.Set("notices", "1")
	}
	if len(query) == 0 {
		return "notification/lp"
	}
	return "notification/lp?" + query.Encode()
}

// receiptOfPush is what the phone says of an APNs push.
func receiptOfPush(push APNsPush) receiptBody {
	return receiptBody{SID: clients.PushSession(push.Body), Channel: "apnsvoip"}
}

// receiptOfMessage is what the phone says of an FCM message. The fake never lowers a
// priority.
func receiptOfMessage(m FCMMessage) receiptBody {
	return receiptBody{SID: clients.DataSession(m.Data), Channel: "fcm", Priority: m.Priority, OriginalPriority: m.Priority}
}

// receiptOfPoll is what the phone says of a poll's answer.
func receiptOfPoll(a clients.Answer) receiptBody {
	return receiptBody{SID: clients.PollSession(a), Channel: "lp"}
}
