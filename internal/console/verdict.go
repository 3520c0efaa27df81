package console

import (
	"context"
	"net/http"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/internal/verdict"
	"github.com/planetbell/planetbell/planet"
)

// maxVerdicts bounds a page of verdicts: each is made of a call's whole record.
const maxVerdicts = 100

// CallVerdict is a call with why it rang, or did not.
type CallVerdict struct {
	Call    Call            `json:"call"`
	Verdict verdict.Verdict `json:"verdict"`
}

// VerdictList is a page of calls with their verdicts, newest first. Next is the "before" of
// the next page; it is empty on the last one.
type VerdictList struct {
	Verdicts []CallVerdict `json:"verdicts"`
	Next     string        `json:"next,omitempty"`
}

// showVerdict says why a call rang, or did not.
func (a *api) showVerdict(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, "environment")
	if err != nil {
		return err
	}
	environment, err := q.environment()
	if err != nil {
		return err
	}
	id, err := planet.ParseSessionID(r.PathValue("sid"))
	if err != nil {
		return invalid("sid: %s.", err)
	}
	found, err := a.callVerdict(r.Context(), environment, id)
	if err != nil {
		return missing(err, noSuchCall(id))
	}
	return writeJSON(w, http.StatusOK, found)
}

// noSuchCall says that nothing is on record of a session, and what to check.
func noSuchCall(id planet.SessionID) string {
	v := verdict.Missing(id)
	return v.Sentence.English + " " + v.Fix.English
}

// callVerdict reads a call and judges it.
func (a *api) callVerdict(ctx context.Context, environment planet.Environment, id planet.SessionID) (CallVerdict, error) {
	record, err := a.services.Calls.Show(ctx, environment, id)
	if err != nil {
		return CallVerdict{}, err
	}
	journal, err := a.services.Calls.JournalOf(ctx, id)
	if err != nil {
		return CallVerdict{}, err
	}
	return CallVerdict{Call: callView(&record.Call), Verdict: verdictOf(&record, journal, a.Now())}, nil
}

// verdictOf judges a record.
func verdictOf(record *call.Record, journal []bell.JournalEntry, now time.Time) verdict.Verdict {
	in := verdict.Input{Call: record.Call, Journal: journal, Agent: record.Agent, Now: now}
	for i := range record.Deliveries {
		d := &record.Deliveries[i]
		in.Deliveries = append(in.Deliveries, verdict.Delivery{Delivery: d.Delivery, Device: d.Device, Attempts: d.Attempts, Receipt: d.Receipt})
	}
	return verdict.Of(in)
}

// listVerdicts judges the newest calls that fit.
func (a *api) listVerdicts(w http.ResponseWriter, r *http.Request) error {
	q, err := parseCallQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	limit := min(q.limit, maxVerdicts)
	calls, err := a.services.Calls.List(r.Context(), q.filter, q.before, limit+1)
	if err != nil {
		return err
	}
	list := VerdictList{Verdicts: make([]CallVerdict, 0, limit)}
	if len(calls) > limit {
		calls = calls[:limit]
		list.Next = formatCursor(call.CursorOf(&calls[limit-1]))
	}
	for i := range calls {
		v, err := a.callVerdict(r.Context(), calls[i].Environment, calls[i].SessionID)
		if bell.KindOf(err) == bell.NotFound {
			continue // removed for its age a moment ago
		}
		if err != nil {
			return err
		}
		list.Verdicts = append(list.Verdicts, v)
	}
	return writeJSON(w, http.StatusOK, list)
}
