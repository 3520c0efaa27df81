package console

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/console/signin"
)

const (
	// requestTime bounds the work for one request. Reads take milliseconds; a writer
	// that waits longer than this waits for a disk that is gone.
	requestTime = 10 * time.Second

	// Refusals beyond this are answered 429 and not logged, so that somebody who tries
	// tokens can neither fill the log nor learn faster. The right token always opens:
	// it is far too long to be guessed, and an operator must not be locked out by
	// somebody else's attempts.
	refusalRate  = rate.Limit(1) // per second
	refusalBurst = 10
)

// handler serves one route. What it returns is answered by problemOf.
type handler func(w http.ResponseWriter, r *http.Request) error

// event is what the one log line of a request says. It belongs to the goroutine of its
// request.
type event struct {
	attrs []slog.Attr
	err   error
	quiet bool
	who   signin.Principal // nobody, if it is not known

	refused    bool // who asks may not, whatever they ask for
	unrecorded bool // there is nothing for the audit log
}

type eventKey struct{}

// eventOf returns the request's event; what a test leaves out is thrown away.
func eventOf(ctx context.Context) *event {
	if e, ok := ctx.Value(eventKey{}).(*event); ok {
		return e
	}
	return &event{}
}

// note adds to the log line, and to the audit log of the request. Never note a secret.
func note(ctx context.Context, attrs ...slog.Attr) {
	e := eventOf(ctx)
	e.attrs = append(e.attrs, attrs...)
}

// guard is what every request passes: headers, the question whether a browser was
// tricked into sending it, and the log line.
func (c *console) guard(mux *http.ServeMux) http.Handler {
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		start := c.Now()
		e := &event{}
		r = r.WithContext(context.WithValue(r.Context(), eventKey{}, e))
		rec := &recorder{ResponseWriter: w}
		_, pattern := mux.Handler(r)
		defer func() { c.logRequest(r, rec, e, pattern, c.Now().Sub(start)) }()
		switch {
		case !c.hostAllowed(r.Host):
			c.fail(rec, r, bell.E(wrongHost, "The Host header names another server; use localhost, an IP address, or a name that the configuration gives this listener.", nil))
		case crossOrigin.Check(r) != nil:
			c.fail(rec, r, bell.E(bell.Forbidden, "Requests from other web sites are refused.", nil))
		case pattern == "":
			c.unrouted(mux, rec, r)
		default:
			mux.ServeHTTP(rec, r)
		}
	})
}

// secure sets headers under which a browser does nothing with an answer but show it.
func secure(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
}

// unrouted answers where there is no route, in the form of every other error.
func (c *console) unrouted(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	h, _ := mux.Handler(r)
	probe := &discard{header: http.Header{}}
	h.ServeHTTP(probe, r)
	if probe.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", probe.header.Get("Allow"))
		c.fail(w, r, bell.E(wrongMethod, "", nil))
		return
	}
	c.fail(w, r, bell.E(bell.NotFound, "There is nothing at this address; docs/admin-api.md lists what there is.", nil))
}

// serve answers the errors of a handler, and survives its panics.
func (c *console) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			if p := recover(); p != nil {
				c.panicked(w, r, p)
			}
		}()
		if err := h(w, r); err != nil {
			c.fail(w, r, err)
		}
	})
}

// panicked answers for a handler that panicked. When part of an answer is out, the
// connection is cut, or that part would look like the whole. The value may hold a secret, so
// only its type is logged, and its text when the Go runtime made it; the stack has no values.
func (c *console) panicked(w http.ResponseWriter, r *http.Request, value any) {
	if value == http.ErrAbortHandler { //nolint:errorlint // net/http panics with this very value
		panic(value)
	}
	what := fmt.Sprintf("%T", value)
	if problem, ok := value.(runtime.Error); ok {
		what = problem.Error()
	}
	c.log.Error("a handler panicked", "route", r.Pattern, "panic", what, "stack", string(debug.Stack()))
	c.fail(w, r, fmt.Errorf("panic in %s", r.Pattern))
	if rec, ok := w.(*recorder); ok && rec.status < http.StatusInternalServerError {
		panic(http.ErrAbortHandler)
	}
}

// fail answers an error and leaves it for the log line.
func (c *console) fail(w http.ResponseWriter, r *http.Request, err error) {
	eventOf(r.Context()).err = err
	if rec, ok := w.(*recorder); ok && rec.status != 0 {
		return // too late: the answer has begun
	}
	writeProblem(w, problemOf(r.Context(), err))
}

// bounded gives the handler a deadline.
func (c *console) bounded(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), requestTime)
		defer cancel()
		return h(w, r.WithContext(ctx))
	}
}

// openTo reports whether the request needs no token. The name it asks for, and what proxies
// add, are looked at too, so that a proxy on this machine does not open the API to its clients.
// One that adds nothing and asks for a loopback name cannot be told from a program here;
// the configuration refuses to be behind a proxy without credentials.
func (c *console) openTo(r *http.Request) bool {
	if !c.OpenOnLoopback || !c.signin.Empty() || c.Token != "" || proxied(r.Header) {
		return false
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	name := hostName(r.Host)
	addr, err := netip.ParseAddr(name)
	return isLocalhost(name) || (err == nil && addr.Unmap().IsLoopback())
}

// proxied reports whether a proxy has added to a request's header, whatever it is that it says.
func proxied(h http.Header) bool {
	for _, name := range []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-Ip", "Via"} {
		if _, there := h[name]; there {
			return true
		}
	}
	return false
}

func hostSet(names []string) map[string]bool {
	hosts := make(map[string]bool, len(names))
	for _, name := range names {
		hosts[strings.ToLower(name)] = true
	}
	return hosts
}

// hostAllowed is the defence against DNS rebinding: a web site that points its own name
// at this listener's address still sends that name. Addresses are harmless, since no
// name was resolved, and probes and scrapers use them.
func (c *console) hostAllowed(host string) bool {
	name := hostName(host)
	_, err := netip.ParseAddr(name)
	return err == nil || isLocalhost(name) || c.hosts[name]
}

// hostName is a Host header without its port, in lower case, IPv6 without brackets.
func hostName(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
}

// isLocalhost: no resolver asks the network for these names (RFC 6761 section 6.3).
func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// logRequest writes the one line of a request. It names the route and not the URL, which
// may hold user IDs.
func (c *console) logRequest(r *http.Request, rec *recorder, e *event, pattern string, took time.Duration) {
	if e.quiet {
		return
	}
	attrs := append([]slog.Attr{
		slog.String("route", pattern), slog.Int("status", rec.code()),
		slog.Duration("took", took), slog.Int64("bytes", rec.bytes), slog.String("remote", r.RemoteAddr),
	}, append(whoAttrs(e.who), e.attrs...)...)
	level := slog.LevelInfo
	switch {
	case e.err != nil && rec.code() >= http.StatusInternalServerError:
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", e.err.Error()))
	case e.err != nil:
		if refusedSomebody(rec.code()) {
			level = slog.LevelWarn
		}
		attrs = append(attrs, slog.String("problem", problemOf(r.Context(), e.err).Detail))
	case !strings.Contains(pattern, "/admin/"):
		level = slog.LevelDebug // probes and scrapers come every few seconds
	}
	c.log.LogAttrs(context.WithoutCancel(r.Context()), level, "admin request", attrs...)
}

// refusedSomebody tells who may not ask from a slip of the pen by who may.
func refusedSomebody(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusMisdirectedRequest, http.StatusTooManyRequests:
		return true
	}
	return false
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

// WriteHeader implements [http.ResponseWriter].
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements [http.ResponseWriter].
func (r *recorder) Write(p []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(p)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets [http.ResponseController] reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// discard learns what a handler would answer.
type discard struct {
	header http.Header
	status int
}

// Header implements [http.ResponseWriter].
func (d *discard) Header() http.Header { return d.header }

// WriteHeader implements [http.ResponseWriter].
func (d *discard) WriteHeader(status int) { d.status = status }

// Write implements [http.ResponseWriter].
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
