package pages

import (
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// CallRow is a call in a list.
type CallRow struct {
	SID         planet.SessionID
	Environment planet.Environment
	Project     string
	At          time.Time
	Ago         string
	Caller      planet.UserRef
	Callee      planet.UserRef
	CalleeHref  string
	CallerHref  string
	Type        string
	State       string
	Outcome     string // what came of it, or its state
	Tone        Tone
	Talked      string
	Why         string
	Href        string
}

// NewCallRow makes the row of a call.
func NewCallRow(w Words, c *bell.Call, now time.Time) CallRow {
	row := CallRow{
		SID: c.SessionID, Environment: c.Environment, Project: c.Project, At: call.CursorOf(c).At,
		Caller: c.Caller, Callee: c.Callee, CallerHref: userHref(c.Environment, c.Caller), CalleeHref: userHref(c.Environment, c.Callee),
		Type: w.Word("type", typeName(c.Type)), State: w.Word("state", c.State),
		Outcome: w.Word("state", c.State), Tone: callTone(c),
		Href: "/calls/" + string(c.SessionID) + "?environment=" + string(c.Environment),
	}
	row.Ago = w.Ago(now, row.At)
	if c.State == bell.CallEnded {
		row.Outcome = w.Word("outcome", c.Outcome)
		row.Why = c.Release.Explain(planet.OneToOneCalls).What(w.Language)
	}
	if c.Suppressed != bell.RingsAll {
		row.Why = w.Word("suppressed", c.Suppressed)
	}
	if c.Duration > 0 {
		row.Talked = w.Length(c.Duration)
	}
	return row
}

// Calls is the page that lists calls.
type Calls struct {
	Live   []CallRow // that ring now; only on the first page of a list without filters
	Rows   []CallRow
	Form   CallForm
	Next   string // address of the next page; empty on the last one
	Wrong  string // what is wrong with the filters, in words; then there are no rows
	Filter bool   // something is filtered
}

// CallForm is what was searched for.
type CallForm struct {
	User, SID, Since, Until    string
	Projects, States, Outcomes []Choice
}

// Choice is an entry of a select.
type Choice struct {
	Value, Label string
	Chosen       bool
}

// Choices makes a select's entries, the first of which chooses nothing.
func Choices[T ~string](w Words, kind string, values []T, chosen string) []Choice {
	list := []Choice{{Label: w.T("any"), Chosen: chosen == ""}}
	for _, v := range values {
		list = append(list, Choice{string(v), w.Word(kind, v), string(v) == chosen})
	}
	return list
}

// SayingOf tells of a call by what LINE Planet says of its end.
func SayingOf(w Words, c *bell.Call, deliveries int) Saying {
	s := Saying{Tone: callTone(c)}
	switch {
	case c.State == bell.CallRinging:
		s.Sentence = w.T("say.ringing", c.Callee.UserID)
	case c.State == bell.CallLost:
		s.Sentence, s.Fix = w.T("say.lost"), w.T("say.lost_fix")
	case c.State == bell.CallEnded:
		why := c.Release.Explain(planet.OneToOneCalls)
		s.Sentence, s.Why, s.Fix = why.What(w.Language), why.Who(w.Language), why.Advice(w.Language)
	default:
		s.Sentence = w.Word("state", c.State)
	}
	if deliveries == 0 && !c.NotifiedAt.IsZero() && c.Suppressed == bell.RingsAll && c.State != bell.CallNotice {
		s.Tone, s.Fix = Bad, w.T("say.no_device_fix")
		s.Sentence = w.T("say.no_device", c.Callee.UserID)
	}
	return s
}
