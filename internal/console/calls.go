package console

import (
	"context"
	"net/http"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

func (a *api) listCalls(w http.ResponseWriter, r *http.Request) error {
	q, err := parseCallQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	// One more than asked for tells whether there is another page.
	calls, err := a.services.Calls.List(r.Context(), q.filter, q.before, q.limit+1)
	if err != nil {
		return err
	}
	list := CallList{Calls: make([]Call, 0, q.limit)}
	if len(calls) > q.limit {
		calls = calls[:q.limit]
		list.Next = formatCursor(call.CursorOf(&calls[q.limit-1]))
	}
	for i := range calls {
		list.Calls = append(list.Calls, callView(&calls[i]))
	}
	return writeJSON(w, http.StatusOK, list)
}

func (a *api) showCall(w http.ResponseWriter, r *http.Request) error {
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
	record, err := a.services.Calls.Show(r.Context(), environment, id)
	if err != nil {
		return missing(err, "There is no call with this session ID.")
	}
	journal, err := a.services.Calls.JournalOf(r.Context(), id)
	if err != nil {
		return err
	}
	story := storyView(&record, journal, a.Now())
	judged := verdictOf(&record, journal, a.Now())
	story.Verdict = &judged
	if story.Notices, err = a.notices(r.Context(), &record.Call); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, story)
}

// maxNotices bounds how many notices of one call are shown; a call has one.
const maxNotices = 10

// notices are those about a call.
func (a *api) notices(ctx context.Context, about *bell.Call) ([]Notice, error) {
	if about.SessionID == "" || about.Purpose != bell.PurposeCall {
		return nil, nil
	}
	list, err := a.services.Calls.List(ctx, call.Filter{Environment: about.Environment, About: about.SessionID}, call.Cursor{}, maxNotices)
	if err != nil {
		return nil, err
	}
	notices := make([]Notice, 0, len(list))
	for i := range list {
		record, err := a.services.Calls.Show(ctx, list[i].Environment, list[i].SessionID)
		if err != nil {
			return nil, err
		}
		n := &record.Call
		view := Notice{
			SID: n.SessionID, Purpose: n.Purpose, To: User{n.Callee.ServiceID, n.Callee.UserID}, CallerName: n.CallerName,
			CreatedAt: utc(n.NotifiedAt), Deadline: utc(n.Deadline), Deliveries: make([]Delivery, 0, len(record.Deliveries)),
		}
		for j := range record.Deliveries {
			view.Deliveries = append(view.Deliveries, deliveryView(&record.Deliveries[j], a.Now()))
		}
		notices = append(notices, view)
	}
	return notices, nil
}

func storyView(record *call.Record, journal []bell.JournalEntry, now time.Time) CallStory {
	story := CallStory{
		Call: callView(&record.Call), Release: releaseView(&record.Call.Release),
		Deliveries: make([]Delivery, 0, len(record.Deliveries)),
		Journal:    make([]JournalEntry, 0, len(journal)),
	}
	if record.Call.State == bell.CallEnded {
		story.Release.Explanation = explanationView(&record.Call.Release)
	}
	if a := record.Agent; !a.ReceivedAt.IsZero() {
		story.Agent = &Agent{
			ReceivedAt: utc(a.ReceivedAt), AgentType: a.AgentType, MediaSourceType: a.MediaSourceType,
			Result: "failed", FailReason: a.FailReason,
		}
		if a.Success {
			story.Agent.Result = "success"
		}
	}
	for i := range record.Deliveries {
		story.Deliveries = append(story.Deliveries, deliveryView(&record.Deliveries[i], now))
	}
	for i := range journal {
		// The same session ID may exist in both environments.
		if journal[i].Environment == record.Call.Environment {
			story.Journal = append(story.Journal, journalView(&journal[i]))
		}
	}
	return story
}

func callView(c *bell.Call) Call {
	view := Call{
		Environment: c.Environment, SID: c.SessionID, Project: c.Project,
		Caller: User{c.Caller.ServiceID, c.Caller.UserID}, Callee: User{c.Callee.ServiceID, c.Callee.UserID},
		Type: typeName(c.Type), State: c.State, Outcome: c.Outcome, Suppressed: c.Suppressed,
		NotifiedAt: utc(c.NotifiedAt), Deadline: utc(c.Deadline),
		StartedAt: utc(c.StartedAt), EndedAt: utc(c.EndedAt), DurationMS: c.Duration.Milliseconds(),
		CallerName: c.CallerName, Purpose: c.Purpose, About: c.About,
	}
	if c.State == bell.CallEnded {
		why := sentences(c.Release.Explain(planet.OneToOneCalls).What)
		view.Why = &why
	}
	return view
}

func typeName(t planet.CallType) string {
	switch t {
	case planet.AudioCall:
		return "audio"
	case planet.VideoCall:
		return "video"
	}
	return string(t)
}

func deliveryView(d *call.DeliveryRecord, now time.Time) Delivery {
	view := Delivery{
		ID: d.Delivery.ID, DeviceID: d.Delivery.DeviceID, Channel: d.Delivery.Channel,
		State: d.Delivery.State, Reason: d.Delivery.Reason,
		CreatedAt: utc(d.Delivery.CreatedAt), UpdatedAt: utc(d.Delivery.UpdatedAt), Deadline: utc(d.Delivery.Deadline),
		Attempts: make([]Attempt, 0, len(d.Attempts)),
	}
	if d.Device.Project != "" { // of a device that is gone only the ID is left
		device := deviceView(&d.Device, now)
		view.Device = &device
	}
	for i := range d.Attempts {
		view.Attempts = append(view.Attempts, attemptView(&d.Attempts[i]))
	}
	if r := d.Receipt; !r.At.IsZero() {
		view.Receipt = &Receipt{
			ReceivedAt: utc(r.At), DeviceReceivedAt: utc(r.ReceivedAt), Channel: r.Channel,
			Priority: r.Priority, OriginalPriority: r.OriginalPriority, Problem: r.Problem,
		}
	}
	return view
}

func attemptView(a *bell.Attempt) Attempt {
	o := a.Outcome
	return Attempt{
		Number: a.Number, StartedAt: utc(a.StartedAt), TookMS: float64(a.Took.Microseconds()) / 1000, Server: a.Server,
		Verdict: o.Verdict, Reason: o.Reason, Status: o.Status, Detail: o.Detail,
		TokenAction: o.Token, Alarm: o.Alarm, RetryAfterMS: o.RetryAfter.Milliseconds(),
		DeadSince: utc(o.DeadSince), ProviderID: o.ProviderID,
	}
}

// journalView leaves cc_param out even if it should have come this far.
func journalView(e *bell.JournalEntry) JournalEntry {
	view := JournalEntry{ReceivedAt: utc(e.ReceivedAt), Project: e.Project, Kind: e.Kind, Params: make([]Param, 0, len(e.Params))}
	for _, p := range e.Params {
		if p.Name != "param" && p.Name != "cc_param" {
			view.Params = append(view.Params, Param(p))
		}
	}
	return view
}
