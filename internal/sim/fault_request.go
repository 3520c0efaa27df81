package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"time"
)

// statusFault is what a kind of fault answers.
type statusFault struct {
	status int
	words  map[provider]string // APNs' reason, FCM's errorCode, OAuth's error, the Server API's reason
}

var statusFaults = map[FaultKind]statusFault{
	FaultServerError: {http.StatusInternalServerError, map[provider]string{
		providerAPNs: "InternalServerError", providerFCM: "INTERNAL", providerOAuth: "internal_failure", providerServerAPI: "INTERNAL_SERVER_ERROR",
	}},
	FaultUnavailable: {http.StatusServiceUnavailable, map[provider]string{
		providerAPNs: "ServiceUnavailable", providerFCM: "UNAVAILABLE", providerOAuth: "temporarily_unavailable", providerServerAPI: "SERVICE_UNAVAILABLE",
	}},
	FaultTooMany: {http.StatusTooManyRequests, map[provider]string{
		providerAPNs: "TooManyRequests", providerFCM: "QUOTA_EXCEEDED", providerOAuth: "rate_limit_exceeded", providerServerAPI: "TOO_MANY_REQUEST",
	}},
	FaultShutdown: {http.StatusServiceUnavailable, map[provider]string{providerAPNs: "Shutdown"}},
	FaultRedirect: {http.StatusTemporaryRedirect, nil},
	FaultRevoked:  {http.StatusBadRequest, map[provider]string{providerOAuth: "invalid_grant"}},
}

// strike draws what a fault makes of a request; nil is nothing. It does not return when
// the request ends before its body was read.
func (f *Faults) strike(r *http.Request, s stream) *Answer {
	hit := f.pick()
	if hit == nil {
		return nil
	}
	a := f.answer(hit.Fault, s)
	if a.breaks == nil || hit.Deliver || hit.Kind == FaultGoAwayAnswer || hit.Kind == FaultShutdown {
		return a
	}
	if f.clock.Wait(r.Context(), a.Delay) == nil {
		a.breaks()
	}
	panic(http.ErrAbortHandler)
}

// answer says what a fault does to the request of a stream.
func (f *Faults) answer(x Fault, s stream) *Answer {
	a := x.Answer
	a.Header = maps.Clone(a.Header)
	a.Delay, a.Deliver = cmp.Or(x.Delay, a.Delay), x.Deliver || a.Deliver
	status, known := statusFaults[x.Kind]
	if known {
		a.Status, a.Reason = status.status, status.words[f.provider]
	}
	switch x.Kind {
	case FaultDrip:
		a.Delay, a.drip = 0, cmp.Or(x.Delay, 100*time.Millisecond)
	case FaultHang:
		a.Hang = true
	case FaultUnauthorized:
		a.Status, a.Reason = http.StatusUnauthorized, "UNAUTHENTICATED"
		if f.provider == providerAPNs {
			a.Status, a.Reason = http.StatusForbidden, "ExpiredProviderToken"
		}
		if f.provider == providerWebPush {
			a.Status, a.Reason = http.StatusForbidden, ""
		}
	case FaultRedirect:
		a.Header = http.Header{"Location": {redirected}}
	case FaultHTML:
		page := HTMLAnswer(cmp.Or(x.Status, http.StatusBadGateway))
		a.Status, a.Body, a.ContentType = page.Status, page.Body, page.ContentType
	case FaultShortToken:
		a.expires = cmp.Or(x.ExpiresIn, 5*time.Second)
	default:
		a.breaks = s.broken(x)
	}
	if x.Kind != FaultHTML {
		a.Status = cmp.Or(x.Status, a.Status)
	}
	if a.breaks == nil {
		a.Reason = cmp.Or(x.Reason, a.Reason)
	}
	if x.RetryDate > 0 {
		x.RetryAfter = f.clock.Now().Add(x.RetryDate).UTC().Format(http.TimeFormat)
	}
	if x.RetryAfter != "" {
		if a.Header == nil {
			a.Header = http.Header{}
		}
		a.Header.Set("Retry-After", x.RetryAfter)
	}
	return &a
}

// broken returns what a fault does to a stream or its connection, or nil.
func (s stream) broken(x Fault) func() {
	switch x.Kind {
	case FaultGoAwayRefuse:
		return func() { s.goAwayRefuse(x.Reason) }
	case FaultGoAwayAnswer:
		return func() { s.goAway(x.Reason, nil) }
	case FaultShutdown:
		return func() { s.goAway("Shutdown", nil) }
	case FaultGoAwayClose:
		return func() { s.goAway(x.Reason, s.w.finish); panic(http.ErrAbortHandler) }
	case FaultRefusedStream:
		return func() { s.reset(codeRefused) }
	case FaultStreamError:
		return func() { s.reset(codeInternal) }
	case FaultReset:
		return func() { s.w.reset(); panic(http.ErrAbortHandler) }
	case FaultClose:
		return func() { s.w.inject(nil, s.w.finish); panic(http.ErrAbortHandler) }
	}
	return nil
}

// goAway announces the end of the connection, covering what has had an effect and this
// request, and then does what comes next. HTTP/1.1 has no such frame.
func (s stream) goAway(reason string, then func()) {
	if s.id == 0 {
		s.w.inject(nil, then)
		return
	}
	s.commit()
	last := s.w.streams.away()
	s.w.inject(newFrame(frameGoAway, 0, []uint32{last, 0}, debugData(reason)), then)
}

// goAwayRefuse announces the end of the connection for a request that has had no effect.
// When a later one has had, the last stream cannot be below ours, which is refused then.
func (s stream) goAwayRefuse(reason string) {
	if s.id == 0 {
		s.w.inject(nil, s.w.finish)
		panic(http.ErrAbortHandler)
	}
	last := s.w.streams.away()
	s.w.inject(newFrame(frameGoAway, 0, []uint32{last, 0}, debugData(reason)), nil)
	s.reset(codeRefused) // is not sent when the GOAWAY says it
}

// debugData is how APNs writes the reason of a GOAWAY.
func debugData(reason string) string {
	if reason == "" {
		return ""
	}
	b, _ := json.Marshal(map[string]string{"reason": reason}) // text always encodes
	return string(b)
}

// dripper sends a body byte by byte.
type dripper struct {
	http.ResponseWriter
	ctx   context.Context
	clock Clock
	each  time.Duration
}

// dripping returns a writer that drips if the answer does, and what ends it. a may be nil.
func (a *Answer) dripping(w http.ResponseWriter, r *http.Request, clock Clock) (http.ResponseWriter, func()) {
	if a == nil || a.drip == 0 {
		return w, func() {}
	}
	d := &dripper{ResponseWriter: w, ctx: r.Context(), clock: clock, each: a.drip}
	return d, func() { _ = clock.Wait(d.ctx, d.each) } // the end of the body drips too
}

// Unwrap is for [http.ResponseController].
func (d *dripper) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// WriteHeader sends the headers at once.
func (d *dripper) WriteHeader(status int) {
	d.ResponseWriter.WriteHeader(status)
	_ = http.NewResponseController(d.ResponseWriter).Flush()
}

// Write sends a byte, and a byte, and a byte.
func (d *dripper) Write(p []byte) (int, error) {
	for i := range p {
		if err := d.clock.Wait(d.ctx, d.each); err != nil {
			return i, err
		}
		if _, err := d.ResponseWriter.Write(p[i : i+1]); err != nil {
			return i, err
		}
		_ = http.NewResponseController(d.ResponseWriter).Flush()
	}
	return len(p), nil
}
