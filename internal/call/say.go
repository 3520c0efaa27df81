package call

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/planet"
)

// maxWord bounds a word of LINE Planet's that goes into the log as it came.
const maxWord = 64

// sayEnded writes the one line of a call that ended. It names no user. What only the process
// knows that took the Notify is left out elsewhere: ring_ms and devices. Both times together
// are those from the Notify to the Call Event, by this server's clock.
func (s *Service) sayEnded(c *bell.Call, now time.Time) {
	known, before := s.lately.say(callKey{c.Environment, c.SessionID})
	if before {
		return // a repeat
	}
	attrs := append(make([]slog.Attr, 0, 10), slog.String("sid", string(c.SessionID)), slog.String("project", c.Project),
		slog.String("outcome", string(c.Outcome)), slog.String("ended_by", word(bell.EndedBy(&c.Release))))
	if release := releaseWords(&c.Release); release != "" {
		attrs = append(attrs, slog.String("release", release))
	}
	if !known.first.IsZero() {
		ring := max(0, now.Sub(known.first)-c.Duration)
		attrs = append(attrs, slog.Int64("ring_ms", ring.Milliseconds()), slog.Int("devices", known.devices))
	}
	attrs = append(attrs, slog.Int64("talk_ms", c.Duration.Milliseconds()))
	s.log.LogAttrs(context.Background(), slog.LevelInfo, "call ended", attrs...)
}

// sayLost writes the one line of a call whose Call Event never came.
func (s *Service) sayLost(c *bell.Call) {
	s.log.Info("call lost", "sid", c.SessionID, "project", c.Project, "age_ms", s.now().Sub(c.NotifiedAt).Milliseconds())
}

// releaseWords is LINE Planet's most telling number for the end, such as
// "disconnect_reason 1203 NOANSWER"; empty when there is none. Names come from our own tables
// only.
func releaseWords(r *planet.Release) string {
	reasons := bell.ReleaseReasons(r)
	if len(reasons) == 0 {
		return ""
	}
	first := reasons[0]
	words := first.Family + " " + strconv.Itoa(first.Code)
	if first.Meaning != "" {
		words += " " + first.Name
	}
	return words
}

// word is w if it is one: what LINE Planet says in a field of its own, without anything that
// somebody else may have put there.
func word(w string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.", r)
	}
	if len(w) > maxWord || strings.ContainsFunc(w, func(r rune) bool { return !plain(r) }) {
		return "other"
	}
	return w
}
