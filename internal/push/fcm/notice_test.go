package fcm_test

import (
	"testing"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/sim"
)

// A missed call wakes nobody and may wait for a day; an invitation wakes, and does not outlive
// what it invites to. Neither has a cc_param.
func TestNotices(t *testing.T) {
	fake, client := newGoogle(t, sim.FCMOptions{Strict: true}, nil)
	for purpose, want := range map[bell.Purpose]struct {
		priority string
		ttl      time.Duration
	}{
		bell.PurposeMissedCall: {"normal", 24 * time.Hour},
		bell.PurposeInvitation: {"high", 40 * time.Second},
	} {
		mustAccept(t, fake, ringOnce(t, client, func(r *bell.Ring) { r.Call.Purpose, r.Call.CCParam, r.Call.About = purpose, "", "s-1" }))
		messages := fake.Messages()
		m := messages[len(messages)-1]
		if m.Priority != want.priority || m.TTL == nil || *m.TTL > want.ttl || *m.TTL < want.ttl-10*time.Second {
			t.Errorf("%s: priority %s, ttl %v", purpose, m.Priority, m.TTL)
		}
		if _, ok := m.Data["cc_param"]; ok || m.Data["app_event"] != string(purpose) || m.Data["app_call_session_id"] != "s-1" {
			t.Errorf("%s: %v", purpose, m.Data)
		}
	}
}
