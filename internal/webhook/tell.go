package webhook

import (
	"context"
	"time"
)

// tell tries once to tell an event, and records what came of it.
func (w *Worker) tell(ctx context.Context, l *line, t Telling) {
	began := w.Now()
	a := w.try(ctx, l, &t)
	now := w.Now()
	r := Result{
		Seq: t.Seq, Endpoint: l.id, Owner: w.Owner, State: Waiting, Attempts: t.Attempts, Due: now, Now: now,
		Reason: a.reason, Status: a.status,
	}
	switch {
	case a.ok():
		r.State, r.Attempts = Told, t.Attempts+1
	case a.reason == reasonStopped:
		r.Reason, r.Status = t.Reason, t.Status // given back as it was
	case a.reason == reasonData:
		r.State, r.Attempts = Dead, t.Attempts+1
	case a.reason == reasonGone && l.Fallback == "":
		r.Attempts++ // it waits until the endpoint is enabled
	default:
		r.Attempts++
		pause, again := next(r.Attempts)
		r.Due = now.Add(max(pause, a.wait))
		if !again {
			r.State = Dead
		}
	}
	if !w.record(ctx, r, began.Add(leaseTime)) {
		return
	}
	switch r.State {
	case Told:
		w.Metrics.tookEvent(l.id, now.Sub(t.Event.At))
	case Dead:
		w.Metrics.dead.WithLabelValues("tries").Inc()
		l.deaths.Do(func() {
			w.Log.Error("an event was given up after its last try; see planetbell event list --state dead, and replay it when the endpoint takes events again",
				"endpoint", l.id, "host", l.Host(), "event", t.Event.ID, "type", t.Event.Type, "attempts", r.Attempts, "reason", r.Reason, "status", r.Status)
		})
	}
}

// try posts the event to the endpoint, or where else it has to go.
func (w *Worker) try(ctx context.Context, l *line, t *Telling) (a answer) {
	body, err := bodyOf(&t.Event)
	if err != nil {
		return answer{reason: reasonData}
	}
	id := messageID(t.Event.ID)
	parent := ""
	if w.Traceparent != nil {
		parent = w.Traceparent(t.Event.Subject)
	}
	route, probe := l.gate.route(l.Endpoint, t.Attempts, w.Now())
	for _, to := range route {
		a = w.poster.post(ctx, l.Endpoint, to, message{id, parent, body})
		if a.reason == reasonStopped {
			return a
		}
		if to == l.Fallback {
			w.Metrics.tried(l.id, "fallback_url", a)
		} else {
			w.Metrics.tried(l.id, "url", a)
			w.learn(ctx, l, a, probe)
		}
		if a.ok() {
			return a
		}
	}
	return a
}

// learn notes how the endpoint's own URL does, and tells when that changes.
func (w *Worker) learn(ctx context.Context, l *line, a answer, probe bool) {
	if a.reason == reasonGone {
		w.disable(ctx, l)
		return
	}
	switch fell, rose := l.gate.learn(a, probe, w.Now()); {
	case fell:
		w.Log.Warn("an endpoint does not take events; they wait and are tried again, for three days. Look at the receiver",
			"endpoint", l.id, "host", l.Host(), "reason", a.reason, "status", a.status)
	case rose:
		w.Log.Info("an endpoint takes events again", "endpoint", l.id, "host", l.Host())
	}
}

// disable stops telling an endpoint that says that it is gone.
func (w *Worker) disable(ctx context.Context, l *line) {
	if !l.gate.mark() {
		return
	}
	defer l.gate.marked()
	w.Log.Error("an endpoint answered 410 Gone and is told nothing more; change its url, or say that it is back: planetbell event enable "+l.id,
		"endpoint", l.id, "host", l.Host())
	err := w.store(ctx, func(ctx context.Context) error { return w.Store.MarkGone(ctx, l.id, l.print(), w.Now()) })
	w.note(err) // if it was not recorded, the endpoint is asked again after a restart
}

// record is asked again while the lease lasts: what is not recorded is told twice.
func (w *Worker) record(ctx context.Context, r Result, until time.Time) (held bool) {
	for {
		err := w.store(context.WithoutCancel(ctx), func(ctx context.Context) (err error) {
			held, err = w.Store.RecordTelling(ctx, r)
			return err
		})
		w.note(err)
		if err == nil {
			return held
		}
		if ctx.Err() != nil || !w.Now().Add(time.Second).Before(until) {
			return false
		}
		pause := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}
