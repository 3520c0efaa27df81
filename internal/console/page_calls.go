package console

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/console/pages"
	"github.com/planetbell/planetbell/internal/verdict"
	"github.com/planetbell/planetbell/planet"
)

const (
	callsPerPage = 50
	callsLive    = 20 // of those that ring now, at the top of the list
)

// pageCalls lists calls.
func (s *site) pageCalls(w http.ResponseWriter, r *http.Request) error {
	f := s.frame(r, "calls", words(r).T("nav.calls"))
	values := r.URL.Query()
	if sid := strings.TrimSpace(values.Get("sid")); sid != "" {
		if id, err := planet.ParseSessionID(sid); err == nil {
			http.Redirect(w, r, "/calls/"+url.PathEscape(string(id)), http.StatusSeeOther)
			return nil
		}
	}
	body := pages.Calls{Form: s.callForm(f.Words, values)}
	filter, before, err := pageCallFilter(f.Words, r)
	if err != nil {
		body.Wrong = problemOf(r.Context(), err).Detail
		return s.show(w, r, drawing{http.StatusBadRequest, "calls", f, body})
	}
	body.Filter = filter != (call.Filter{})
	// One more than shown tells whether there is another page.
	calls, err := s.services.Calls.List(r.Context(), filter, before, callsPerPage+1)
	if err != nil {
		return err
	}
	if len(calls) > callsPerPage {
		calls = calls[:callsPerPage]
		next := maps.Clone(f.Query)
		next.Set("before", formatCursor(call.CursorOf(&calls[callsPerPage-1])))
		body.Next = "/calls?" + next.Encode()
	}
	for i := range calls {
		body.Rows = append(body.Rows, pages.NewCallRow(f.Words, &calls[i], f.Now))
	}
	if !body.Filter && before == (call.Cursor{}) {
		if body.Live, err = s.liveCalls(r.Context(), f.Words); err != nil {
			return err
		}
	}
	return s.show(w, r, drawing{page: "calls", frame: f, body: body})
}

// liveCalls are those that ring now, the newest first.
func (s *site) liveCalls(ctx context.Context, w pages.Words) ([]pages.CallRow, error) {
	now := s.Now()
	calls, err := s.services.Calls.List(ctx, call.Filter{State: bell.CallRinging}, call.Cursor{}, callsLive)
	if err != nil {
		return nil, err
	}
	var rows []pages.CallRow
	for i := range calls {
		rows = append(rows, pages.NewCallRow(w, &calls[i], now))
	}
	return rows, nil
}

func (s *site) callForm(w pages.Words, values url.Values) pages.CallForm {
	var projects []string
	for _, p := range s.services.Projects.All() {
		projects = append(projects, p.Name)
	}
	return pages.CallForm{
		User: values.Get("user_id"), SID: values.Get("sid"), Since: values.Get("since"), Until: values.Get("until"),
		Projects: pages.Choices(w, "", projects, values.Get("project")),
		States:   pages.Choices(w, "state", CallStates(), values.Get("state")),
		Outcomes: pages.Choices(w, "outcome", planet.Outcomes(), values.Get("outcome")),
	}
}

// pageCallFilter reads what is searched for: what GET /admin/v1/calls takes, and times as
// people write them.
func pageCallFilter(w pages.Words, r *http.Request) (call.Filter, call.Cursor, error) {
	values := r.URL.Query()
	if values.Get("sid") != "" {
		return call.Filter{}, call.Cursor{}, bell.E(bell.Invalid, w.T("wrong.sid"), nil)
	}
	for _, name := range []string{"since", "until"} {
		text := strings.TrimSpace(values.Get(name))
		if text == "" {
			continue
		}
		at, ok := readTime(text)
		if !ok {
			return call.Filter{}, call.Cursor{}, bell.E(bell.Invalid, w.T("wrong.time"), nil)
		}
		values.Set(name, at.Format(time.RFC3339))
	}
	values.Del("lang")
	for name := range values {
		if values.Get(name) == "" {
			values.Del(name)
		}
	}
	q, err := parseCallQuery(values.Encode())
	return q.filter, q.before, err
}

// readTime reads a time as people write it, in UTC.
func readTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.UTC(), true
		}
	}
	return time.Time{}, false
}

// callKey names a call.
type callKey struct {
	environment planet.Environment
	id          planet.SessionID
}

func callOf(r *http.Request) (callKey, error) {
	q, err := pageQuery(r, "environment")
	if err != nil {
		return callKey{}, err
	}
	environment, err := q.environment()
	if err != nil {
		return callKey{}, err
	}
	id, err := planet.ParseSessionID(r.PathValue("sid"))
	if err != nil {
		return callKey{}, invalid("%s", words(r).T("wrong.sid"))
	}
	return callKey{environment, id}, nil
}

// pageCall shows all about one call.
func (s *site) pageCall(w http.ResponseWriter, r *http.Request) error {
	key, err := callOf(r)
	if err != nil {
		return err
	}
	told, err := s.told(r.Context(), key)
	if err != nil {
		return missing(err, noSuchCallIn(words(r), key.id))
	}
	story := s.story(words(r), told)
	f := s.frame(r, "calls", story.Call.Caller.UserID+" → "+story.Call.Callee.UserID)
	return s.show(w, r, drawing{page: "call", frame: f, body: story})
}

// noSuchCallIn is noSuchCall in one language.
func noSuchCallIn(w pages.Words, id planet.SessionID) string {
	v := verdict.Missing(id)
	return v.Sentence.In(w.Language) + w.T("space") + v.Fix.In(w.Language)
}

// told is all that is known of a call, in no language.
func (s *site) told(ctx context.Context, key callKey) (*pages.StoryOf, error) {
	record, err := s.services.Calls.Show(ctx, key.environment, key.id)
	if err != nil {
		return nil, err
	}
	told := &pages.StoryOf{Record: record, Now: s.Now()}
	journal, err := s.services.Calls.JournalOf(ctx, key.id)
	if err != nil {
		return nil, err
	}
	for i := range journal { // the same session ID may exist in both environments
		if journal[i].Environment == record.Call.Environment {
			told.Journal = append(told.Journal, journal[i])
		}
	}
	about := &record.Call
	if about.SessionID == "" || about.Purpose != bell.PurposeCall {
		return told, nil
	}
	notices, err := s.services.Calls.List(ctx, call.Filter{Environment: about.Environment, About: about.SessionID}, call.Cursor{}, maxNotices)
	if err != nil {
		return nil, err
	}
	for i := range notices {
		notice, err := s.services.Calls.Show(ctx, notices[i].Environment, notices[i].SessionID)
		if err != nil {
			return nil, err
		}
		told.Notices = append(told.Notices, notice)
	}
	return told, nil
}

// story tells of a call in a language, as of now.
func (s *site) story(w pages.Words, told *pages.StoryOf) pages.Story {
	of := *told
	of.Now = s.Now()
	of.Verdict = verdictOf(&of.Record, of.Journal, of.Now)
	return pages.NewStory(w, of)
}
