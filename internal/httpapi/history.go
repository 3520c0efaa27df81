package httpapi

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// Bounds of a page of GET /v2/calls.
const (
	defaultPage = 20
	maxPage     = 100
)

// maxCursor is longer than any cursor that we give out.
const maxCursor = 160

// pastCalls is the data of GET /v2/calls. Next is left out on the last page.
type pastCalls struct {
	Calls []pastCall `json:"calls"`
	Next  string     `json:"next,omitempty"`
}

// pastCall is a call as one of its sides may see it: nothing of the other side but who it
// is, and no app server data, which the app has from PlanetKit. Times are Unix milliseconds.
type pastCall struct {
	SessionID   planet.SessionID `json:"sid"`
	Direction   call.Direction   `json:"direction"`
	Peer        peer             `json:"peer"`
	Type        planet.CallType  `json:"type,omitempty"`
	State       bell.CallState   `json:"state"`
	Outcome     planet.Outcome   `json:"outcome,omitempty"`
	Missed      bool             `json:"missed"`
	CalledAt    int64            `json:"calledAt,omitempty"`
	StartedAt   int64            `json:"startedAt,omitempty"`
	EndedAt     int64            `json:"endedAt,omitempty"`
	DurationMS  int64            `json:"durationMs"`
	EndedBy     planet.Party     `json:"endedBy,omitempty"`
	Explanation string           `json:"explanation,omitempty"`
}

// peer is the other side of a call.
type peer struct {
	ServiceID string `json:"serviceId"`
	UserID    string `json:"userId"`
}

// listCalls shows a user's own calls: GET /v2/calls.
func (a *api) listCalls(w http.ResponseWriter, r *http.Request, id bell.Identity) error {
	if !a.histories.allow(id.Owner, a.config.Now()) {
		a.metrics.limited.WithLabelValues("history").Inc()
		return bell.E(bell.TooMany, "This user asks for the history of calls too often; wait a minute.", nil)
	}
	values := r.URL.Query()
	q, err := readHistoryQuery(values)
	if err != nil {
		return err
	}
	language, err := chooseLanguage(values, r.Header)
	if err != nil {
		return err
	}
	q.Owner, q.SessionID = id.Owner, id.SessionID
	ctx, cancel := context.WithTimeoutCause(r.Context(), a.config.NotifyCap, errTooSlow)
	defer cancel()
	page, err := a.services.History.History(ctx, q)
	if err != nil {
		return err
	}
	data := pastCalls{Calls: make([]pastCall, 0, len(page.Calls)), Next: formatCursor(page.Next)}
	for i := range page.Calls {
		data.Calls = append(data.Calls, pastCallView(&page.Calls[i], q, language))
	}
	w.Header().Set("Content-Language", string(language))
	a.succeed(w, r, data)
	return nil
}

func pastCallView(c *bell.Call, q call.HistoryQuery, language planet.Language) pastCall {
	view := pastCall{
		SessionID: c.SessionID, Direction: q.Direction, Type: c.Type, State: c.State, Outcome: c.Outcome,
		CalledAt: unixMilli(c.NotifiedAt), StartedAt: unixMilli(c.StartedAt), EndedAt: unixMilli(c.EndedAt),
		DurationMS: c.Duration.Milliseconds(),
	}
	if view.Direction == "" {
		view.Direction = call.Incoming
		if c.Caller == q.Owner.User { // also of a call to oneself
			view.Direction = call.Outgoing
		}
	}
	other := c.Caller
	if view.Direction == call.Outgoing {
		other = c.Callee
	}
	view.Peer = peer{other.ServiceID, other.UserID}
	view.Missed = view.Direction == call.Incoming && bell.Missed(c.Outcome) && c.Suppressed == bell.RingsAll
	switch c.State {
	case bell.CallEnded:
		why := c.Release.Explain(planet.OneToOneCalls)
		view.EndedBy, view.Explanation = why.EndedBy, why.What(language)
	case bell.CallLost:
		view.EndedBy, view.Explanation = planet.PartyUnknown, lostWords[language]
	}
	return view
}

// lostWords say that a call's end is not known.
var lostWords = map[planet.Language]string{
	planet.English:  "It is not known how the call ended.",
	planet.Japanese: "通話がどのように終了したかは不明です。",
}

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// readHistoryQuery reads what is asked for. Parameters that are not known are accepted, and
// of one that comes twice the first counts, as everywhere in this API.
func readHistoryQuery(values url.Values) (call.HistoryQuery, error) {
	q := call.HistoryQuery{Direction: call.Direction(values.Get("direction")), Limit: defaultPage}
	if q.Direction != "" && q.Direction != call.Incoming && q.Direction != call.Outgoing {
		return q, bell.E(bell.Invalid, "direction: must be in or out, or be left out.", nil)
	}
	if text := values.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > maxPage {
			return q, bell.E(bell.Invalid, "limit: must be a number from 1 to "+strconv.Itoa(maxPage)+".", nil)
		}
		q.Limit = n
	}
	if text := values.Get("since"); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms < 1 || ms > lastMoment {
			return q, bell.E(bell.Invalid, "since: must be a time in Unix milliseconds, a whole number.", nil)
		}
		q.Since = time.UnixMilli(ms)
	}
	if text := values.Get("outcome"); text != "" {
		if !slices.Contains(planet.Outcomes(), planet.Outcome(text)) {
			return q, bell.E(bell.Invalid, "outcome: must be completed, canceled, declined, busy, missed, push_failed or failed.", nil)
		}
		q.Outcomes = []planet.Outcome{planet.Outcome(text)}
	}
	if err := onlyMissed(values.Get("missed"), &q); err != nil {
		return q, err
	}
	var err error
	q.Before, err = parseCursor(values.Get("cursor"))
	return q, err
}

// onlyMissed keeps to the calls that the user missed, if that is asked for.
func onlyMissed(text string, q *call.HistoryQuery) error {
	switch {
	case text == "" || text == "0":
		return nil
	case text != "1":
		return bell.E(bell.Invalid, "missed: must be 1 or 0, or be left out.", nil)
	case q.Direction == call.Outgoing || q.Outcomes != nil:
		return bell.E(bell.Invalid, "missed: only incoming calls can be missed, whatever their outcome; leave direction=out and outcome out.", nil)
	}
	q.Direction, q.Outcomes, q.Wanted = call.Incoming, bell.MissedOutcomes(), true
	return nil
}

// A cursor is opaque to clients: the base64url form of Unix microseconds, a dot and the
// session ID of the last call on a page. Nobody gains by making one up: it is a place in the
// user's own calls.
func formatCursor(c call.Cursor) string {
	if c == (call.Cursor{}) {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.At.UnixMicro(), 10) + "." + string(c.SessionID)))
}

func parseCursor(text string) (call.Cursor, error) {
	if text == "" {
		return call.Cursor{}, nil
	}
	wrong := bell.E(bell.Invalid, `cursor: must be the "next" of an earlier answer.`, nil)
	if len(text) > maxCursor {
		return call.Cursor{}, wrong
	}
	plain, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return call.Cursor{}, wrong
	}
	at, id, _ := strings.Cut(string(plain), ".")
	us, err := strconv.ParseInt(at, 10, 64)
	if err != nil || us < 1 || us > lastMoment*1000 {
		return call.Cursor{}, wrong
	}
	sid, err := planet.ParseSessionID(id)
	if err != nil {
		return call.Cursor{}, wrong
	}
	return call.Cursor{At: time.UnixMicro(us).UTC(), SessionID: sid}, nil
}

// chooseLanguage returns the language of explanations: lang, else the one that
// Accept-Language likes best, else English.
func chooseLanguage(values url.Values, h http.Header) (planet.Language, error) {
	if text := values.Get("lang"); text != "" {
		language, err := planet.ParseLanguage(text)
		if err != nil {
			return "", bell.E(bell.Invalid, "lang: must be en or ja, or be left out.", nil)
		}
		return language, nil
	}
	return acceptedLanguage(strings.Join(h.Values("Accept-Language"), ",")), nil
}

// maxAcceptLanguage is how many entries of the header are looked at.
const maxAcceptLanguage = 32

// acceptedLanguage reads Accept-Language (RFC 9110, 12.5.4): "ja-JP,ja;q=0.9,en;q=0.8".
func acceptedLanguage(header string) planet.Language {
	best, most := planet.English, 0.0
	for n, entry := range strings.Split(header, ",") {
		if n == maxAcceptLanguage {
			break
		}
		tag, weight, _ := strings.Cut(strings.TrimSpace(entry), ";")
		primary, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(tag)), "-")
		language, err := planet.ParseLanguage(primary)
		if err != nil {
			continue
		}
		q := 1.0
		if _, number, ok := strings.Cut(strings.ToLower(weight), "q="); ok {
			if q, err = strconv.ParseFloat(strings.TrimSpace(number), 64); err != nil || !(q > 0 && q <= 1) {
				continue
			}
		}
		if q > most {
			best, most = language, q
		}
	}
	return best
}
