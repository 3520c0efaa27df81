package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/planetbell/planetbell/internal/sim/clients"
)

// Notice is something else than a call that a phone was told.
type Notice struct {
	At     time.Time
	Via    string            // apns, fcm, poll, webpush
	Fields map[string]string // as they came, without "aps"
	Title  string            // of an alert
}

// Notices returns the newest notices that a phone was told, oldest first. One that does not
// know notices has none.
func (p *Phone) Notices() []Notice { return p.notices.all() }

// AwaitNotices returns the notices once the phone was told at least n, or what there is with
// the context's error.
func (p *Phone) AwaitNotices(ctx context.Context, n int) ([]Notice, error) {
	return p.notices.wait(ctx, uint64(n))
}

// noticed takes a notice, unless it came before to a phone that acknowledges.
func (p *Phone) noticed(n Notice, r receiptBody) {
	if n.Fields["cc_param"] != "" {
		p.unusable(n.Via, errors.New("a notice has a cc_param; an app would ring for a call that is over"))
		return
	}
	if p.acknowledge(r) {
		return
	}
	n.At = p.clock.Now()
	p.notices.add(n)
	p.event(Event{Kind: EventNotice, Text: "was told of " + n.Fields["app_event"] + " by " + n.Via})
}

// onAlert takes a push for the alert token of an iPhone. The system shows it; the app would
// see it when it is tapped. A call has no business here: it comes as a VoIP push.
func (p *Phone) onAlert(push APNsPush) {
	p.background(func() {
		n, err := alertOf(push)
		if err != nil {
			p.unusable("apns", err)
			return
		}
		p.noticed(n, receiptBody{SID: n.Fields["app_session_id"], Channel: "apns"})
	})
}

// alertOf reads what the system shows.
func alertOf(push APNsPush) (Notice, error) {
	var payload struct {
		APS struct {
			Alert struct {
				Title string `json:"title"`
				Body  string `json:"body"`
			} `json:"alert"`
			Level string `json:"interruption-level"`
		} `json:"aps"`
	}
	if err := json.Unmarshal(push.Body, &payload); err != nil || payload.APS.Alert.Title == "" {
		return Notice{}, errors.New("an alert shows nothing: it has no title")
	}
	fields, err := clients.Texts(push.Body, "aps")
	if err != nil {
		return Notice{}, err
	}
	if push.PushType != "alert" || push.Header.Get("apns-collapse-id") == "" {
		return Notice{}, fmt.Errorf("an alert is sent as %q, with collapse ID %q", push.PushType, push.Header.Get("apns-collapse-id"))
	}
	if fields["app_event"] == missedCall && payload.APS.Level != "" {
		return Notice{}, fmt.Errorf("a missed call breaks through a Focus: it is %s", payload.APS.Level)
	}
	return Notice{Via: "apns", Fields: fields, Title: payload.APS.Alert.Title}, nil
}

// missedCall is the app_event that may wait.
const missedCall = "missed_call"

// isNotice reports whether the data of a message is one: LINE's Android app ignores it without
// a word, as everything that has no cc_param.
func isNotice(data map[string]string) bool { return data["app_event"] != "" && data["cc_param"] == "" }

// messageNotice takes a message that is no call.
func (p *Phone) messageNotice(m FCMMessage) {
	if !p.o.Notices {
		p.mu.Lock()
		p.stats.Ignored++
		p.mu.Unlock()
		return
	}
	p.noticed(Notice{Via: "fcm", Fields: m.Data}, receiptOfMessage(m))
}

// pollNotice takes the answer to a poll if it is a notice, and the phone knows what that is.
func (p *Phone) pollNotice(a clients.Answer) bool {
	if !p.o.Notices || a.Status != http.StatusOK {
		return false
	}
	fields, err := clients.PollTexts(a)
	if err != nil || !isNotice(fields) {
		return false
	}
	p.noticed(Notice{Via: "poll", Fields: fields}, receiptOfPoll(a))
	return true
}
