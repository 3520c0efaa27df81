package pages

import (
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/verdict"
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

// NewSaying is a verdict for people.
func NewSaying(w Words, c *bell.Call, v *verdict.Verdict) Saying {
	return Saying{Tone: verdictTone(c, v), Sentence: v.Sentence.In(w.Language), Why: why(w, c), Fix: v.Fix.In(w.Language)}
}

// why is what LINE Planet says of a call's end.
func why(w Words, c *bell.Call) string {
	if c.State != bell.CallEnded {
		return ""
	}
	e := c.Release.Explain(planet.OneToOneCalls)
	return e.What(w.Language) + w.T("space") + e.Who(w.Language)
}

// verdictTone is that of a call whose verdict is known: what people did themselves is no fault.
func verdictTone(c *bell.Call, v *verdict.Verdict) Tone {
	switch {
	case c.State == bell.CallRinging && (v.Rang || len(v.Devices) > 0):
		return Live
	case v.Rang && c.Outcome == planet.OutcomeCompleted:
		return Good
	case v.Rang:
		return callTone(c)
	case v.Hop == verdict.HopCallee || v.Hop == verdict.HopCaller:
		return Quiet
	}
	return Bad
}
