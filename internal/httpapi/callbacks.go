package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// What became of a callback; the "result" of its metric.
const (
	resultRung      = "rung"
	resultMemory    = "rung_from_memory" // the database is in trouble; the call is recorded later
	resultRepeated  = "repeated"
	resultNoDevice  = "no_device" // the callee has none, or none that can be reached
	resultKept      = "kept"      // on disk, or in memory while the database is in trouble
	resultDryRun    = "dry_run"   // the Console's test button
	resultMalformed = "malformed" // Notify: refused; an event: answered 200 and dropped
	resultForeign   = "foreign_service"
	resultSource    = "source_refused"
	resultFailed    = "failed"

	resultSuppressed = "suppressed" // a rule, or the customer's policy, keeps the call from ringing
)

// kindNotify is the kind of callback that says that a call comes in.
const kindNotify = "notify"

// taker takes one callback of a project. Its error becomes the answer.
type taker func(ctx context.Context, r *http.Request, project *bell.Project) (result string, err error)

var errTooSlow = errors.New("the request took longer than it may")

// callback is the way in for all callbacks.
//
// The secret comes first: whoever does not know it learns nothing, not even that the
// source was wrong. LINE Planet signs nothing and sends no credential, so the secret
// path and the list of sources are all there is (docs/line-planet.md 3.7).
func (a *api) callback(kind string, take taker) handler {
	a.metrics.expect(kind)
	return func(w http.ResponseWriter, r *http.Request) error {
		project, ok := a.services.Projects.ByCallbackSecret(planet.Secret(r.PathValue("secret")))
		if !ok {
			return a.miss(r)
		}
		eventOf(r).add(slog.String("project", project.Name))
		a.whoWeAre(w, r)
		result, err := a.admit(w, r)
		if result == "" {
			// Once it is here it is carried out, also when Planet Cloud hangs up
			// meanwhile: a half-closed connection looks the same, and a repeat finds
			// the call known.
			ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(r.Context()), a.config.NotifyCap, errTooSlow)
			defer cancel()
			result, err = take(ctx, r, project)
			if err != nil && ctx.Err() != nil && bell.KindOf(err) == "" {
				err = bell.E(bell.Unavailable, "The callback could not be recorded in time.", err)
			}
		}
		eventOf(r).add(slog.String("result", result))
		a.metrics.callbacks.WithLabelValues(kind, result).Inc()
		if err != nil {
			return err
		}
		a.succeed(w, r, empty)
		return nil
	}
}

// The headers by which whoever knows a callback URL, or reaches the admin listener, asks which
// server it leads to.
const (
	NonceHeader    = "Planetbell-Nonce"
	IdentityHeader = "Planetbell-Identity"
)

// whoWeAre answers a nonce. Planet Cloud sends none.
func (a *api) whoWeAre(w http.ResponseWriter, r *http.Request) {
	AnswerNonce(w, r, a.config.Identity)
}

// AnswerNonce answers a request's nonce of 16 to 64 bytes, if it has one, in the header of the
// answer. identity nil answers nobody.
func AnswerNonce(w http.ResponseWriter, r *http.Request, identity func(nonce string) string) {
	nonce := r.Header.Get(NonceHeader)
	if identity != nil && len(nonce) >= 16 && len(nonce) <= 64 {
		w.Header().Set(IdentityHeader, identity(nonce))
	}
}

// admit decides about a callback before it is read. An empty result says: read it.
func (a *api) admit(w http.ResponseWriter, r *http.Request) (result string, err error) {
	if source := a.clientAddress(r); len(a.config.CallbackSources) > 0 && !contains(a.config.CallbackSources, source) {
		eventOf(r).warn("a callback came from an address that is not one of the callback sources", slog.String("source", source.String()))
		return resultSource, bell.E(bell.Forbidden, "This address may not send callbacks; the operator has to add it to the callback sources.", nil)
	}
	switch r.Method {
	case http.MethodGet, http.MethodPost:
		return "", nil
	case http.MethodHead:
		return resultDryRun, nil
	}
	const allow = "GET, HEAD, POST"
	w.Header().Set("Allow", allow)
	return resultMalformed, bell.E(methodNotAllowed, "Use "+allow+" here.", nil)
}

// parameters reads a callback's parameters: from the body of a POST, and else, or when
// that is empty, from the query.
func parameters(r *http.Request) (url.Values, error) {
	if r.Method == http.MethodPost {
		body, err := readBody(r)
		if err != nil {
			return nil, err
		}
		if len(body) > 0 {
			return planet.ParseBody(r.Header.Get("Content-Type"), body)
		}
	}
	return planet.ParseQuery(r.URL.RawQuery)
}

// notify takes a Notify: a call comes in.
func (a *api) notify(ctx context.Context, r *http.Request, project *bell.Project) (string, error) {
	n, err := parsed(r, planet.ParseNotify)
	switch {
	case errors.Is(err, planet.ErrNoParameters):
		return resultDryRun, nil
	case err != nil:
		return resultMalformed, refusal(err)
	}
	e := eventOf(r)
	e.add(slog.String("sid", string(n.SessionID)))
	a.trace(r, kindNotify, project, n.SessionID)
	if inside, ok := n.CCParam.EmbeddedSessionID(); ok && inside != n.SessionID {
		// Suspicious, but the format of param is not ours to rely on: ring all the same.
		a.metrics.sidMismatch.Inc()
		e.warn("param names another session than sid", slog.String("param_sid", string(inside)))
	}
	if _, ok := a.services.Projects.Reaching(project.Environment, n.Callee.ServiceID); !ok {
		// Not the same as an unknown callee, who gets 200 so that nothing is revealed:
		// no user of that service can ever be rung here, so the URL is registered for
		// the wrong key. A refusal ends the call at once and shows the operator why
		// (docs/line-planet.md 3.7; a foreign caller is all right, 11 no. 36).
		e.warn("the callee's service is not one of this server's")
		return resultForeign, bell.E(bell.Invalid, "to_service_id is not a service of this server in this environment; check which API key this callback URL is registered for.", nil)
	}
	rung, err := a.services.Calls.Ring(ctx, project, n)
	if err != nil {
		return resultFailed, err
	}
	e.add(slog.Int("devices", rung.Devices))
	if rung.Skipped > 0 {
		e.warn("the callee has more devices than may ring; those seen longest ago do not", slog.Int("skipped", rung.Skipped))
	}
	switch {
	case rung.Repeated:
		return resultRepeated, nil
	case rung.Suppressed != bell.RingsAll:
		e.add(slog.String("why", string(rung.Suppressed)))
		return resultSuppressed, nil
	case rung.Devices > 0 && rung.FromMemory:
		return resultMemory, nil
	case rung.Devices > 0:
		return resultRung, nil
	case project.UnknownCallee404:
		return resultNoDevice, bell.E(bell.NotFound, "The callee has no device that can ring.", nil)
	}
	return resultNoDevice, nil
}

// callEvent takes a Call Event: a 1-to-1 call is over.
func (a *api) callEvent(ctx context.Context, r *http.Request, project *bell.Project) (string, error) {
	event, err := parsed(r, planet.ParseCallEvent)
	if err != nil {
		return unreadable(r, err)
	}
	eventOf(r).add(slog.String("sid", string(event.SessionID)))
	a.trace(r, call.KindCallEvent, project, event.SessionID)
	return kept(a.services.Calls.End(ctx, project, event))
}

// agentCallStatus takes an Agent Call Status: whether a call that was asked for
// through the Server API could be set up.
func (a *api) agentCallStatus(ctx context.Context, r *http.Request, project *bell.Project) (string, error) {
	status, err := parsed(r, planet.ParseAgentCallStatus)
	if err != nil {
		return unreadable(r, err)
	}
	eventOf(r).add(slog.String("sid", string(status.SessionID)))
	return kept(a.services.Calls.Journal(ctx, project, call.JournalItem{
		Kind: call.KindAgentCallStatus, SessionID: status.SessionID, DedupKey: status.DedupKey(), Params: status.Raw,
		Agent: &bell.AgentStatus{
			AgentType: status.AgentType, MediaSourceType: status.MediaSourceType,
			Success: status.Success, FailReason: status.FailReason,
		},
	}))
}

func kept(err error) (string, error) {
	if err != nil {
		return resultFailed, err
	}
	return resultKept, nil
}

func parsed[T any](r *http.Request, parse func(url.Values) (T, error)) (T, error) {
	values, err := parameters(r)
	if err != nil {
		var zero T
		return zero, err
	}
	return parse(values)
}

// unreadable deals with an event that cannot be read. It is answered 200: the
// Console's test button sends few parameters or none, and a refused event can end the
// call that it is about (docs/line-planet.md 3.6). Only a body too large is refused, because
// its end was not even read.
func unreadable(r *http.Request, err error) (string, error) {
	if errors.Is(err, planet.ErrNoParameters) {
		return resultDryRun, nil
	}
	problem := refusal(err)
	if !errors.Is(problem, bell.Invalid) {
		return resultMalformed, problem
	}
	eventOf(r).warn("an event could not be read and was dropped", slog.String("problem", problem.Error()))
	return resultMalformed, nil
}

// refusal makes a sentence of a parser's error. The parsers put no values into it, but
// they name the parameter, and what stands before the first "=" of a broken query need
// not be a name: it is shown only if it looks like one of LINE Planet's.
func refusal(err error) error {
	var p *planet.ParameterError
	if !errors.As(err, &p) {
		return err // of readBody
	}
	shown := *p
	if len(shown.Parameter) > 20 || strings.Trim(shown.Parameter, "abcdefghijklmnopqrstuvwxyzT_") != "" {
		shown.Parameter, shown.Problem = "", "has a parameter that "+shown.Problem
	}
	text := shown.Error()
	return bell.E(bell.Invalid, fmt.Sprintf("%s%s.", strings.ToUpper(text[:1]), strings.TrimSuffix(text[1:], ".")), nil)
}
