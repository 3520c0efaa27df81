package httpapi

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// event is what is known about a request when it is over. Handlers add to it; it is
// written once, as one log line. It never holds a path, a query, a header or a body:
// they carry callback secrets, app tokens and cc_param.
type event struct {
	id    string
	route string
	attrs []slog.Attr
	err   error
	alert string // what the operator should look into, though the request went well
	quiet bool   // ordinary and frequent: debug level
	gone  bool   // the client left before it had its answer

	start   time.Time
	traceID string           // of a sampled trace
	traced  func(status int) // ends its span; nil without one
}

type eventKey struct{}

func eventOf(r *http.Request) *event {
	if e, ok := r.Context().Value(eventKey{}).(*event); ok {
		return e
	}
	return &event{} // only in tests of single handlers
}

func (e *event) add(attrs ...slog.Attr) { e.attrs = append(e.attrs, attrs...) }

// warn raises the line to a warning. what is a fixed text.
func (e *event) warn(what string, attrs ...slog.Attr) {
	e.alert = what
	e.add(attrs...)
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += n
	return n, err
}

// observe is the outermost layer: request ID, panic recovery, metrics, one log line.
func (a *api) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		e := &event{id: a.requestID(r), route: unmatched, start: start}
		rec := &recorder{ResponseWriter: w}
		w.Header().Set("X-Request-Id", e.id)
		r = r.WithContext(context.WithValue(r.Context(), eventKey{}, e))
		defer func() {
			cut := false
			if p := recover(); p != nil {
				cut = a.panicked(rec, r, p)
			}
			a.finish(e, rec, r.Method, time.Since(start))
			if cut {
				panic(http.ErrAbortHandler) // net/http cuts the connection, and logs nothing
			}
		}()
		next.ServeHTTP(rec, r)
	})
}

// panicked answers for a handler that panicked and reports whether the connection has
// to be cut because part of an answer is out. The value may hold a secret, so only its
// type is logged, and its text when the Go runtime made it; the stack has no values.
func (a *api) panicked(rec *recorder, r *http.Request, value any) (cut bool) {
	e := eventOf(r)
	what := fmt.Sprintf("%T", value)
	if problem, ok := value.(runtime.Error); ok {
		what = problem.Error()
	}
	e.err = fmt.Errorf("panic: %s", what)
	if value == http.ErrAbortHandler {
		e.gone = true
		return true
	}
	a.metrics.panics.Inc()
	e.add(slog.String("stack", string(debug.Stack())))
	if rec.status != 0 {
		return true
	}
	a.fail(rec, r, e.err)
	return false
}

// statusGone stands in logs and metrics for a client that left, whatever was still sent.
const statusGone = 499

func (a *api) finish(e *event, rec *recorder, method string, took time.Duration) {
	status := rec.status
	if status == 0 || e.gone {
		status = statusGone
	}
	a.metrics.requests.WithLabelValues(e.route, strconv.Itoa(status)).Inc()
	e.observe(a.metrics.duration.WithLabelValues(e.route), took)
	if e.traced != nil {
		e.traced(status)
	}

	level := slog.LevelInfo
	switch {
	case e.quiet:
		level = slog.LevelDebug
	case status >= 500:
		level = slog.LevelError
	case e.alert != "":
		level = slog.LevelWarn
	}
	attrs := make([]slog.Attr, 0, 9+len(e.attrs))
	attrs = append(attrs,
		slog.String("request_id", e.id), slog.String("method", knownMethod(method)), slog.String("route", e.route),
		slog.Int("status", status), slog.Duration("took", took), slog.Int("bytes", rec.bytes),
	)
	if e.alert != "" {
		attrs = append(attrs, slog.String("warning", e.alert))
	}
	if e.err != nil {
		attrs = append(attrs, slog.String("error", e.err.Error()))
	}
	a.log.LogAttrs(context.Background(), level, "request", append(attrs, e.attrs...)...)
}

// knownMethod keeps a client's own words out of the log.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodOptions, http.MethodPut, http.MethodPatch, http.MethodDelete:
		return method
	}
	return "other"
}

// requestID takes over the ID of a trusted proxy, so that its log and ours can be laid
// side by side, or makes one.
func (a *api) requestID(r *http.Request) string {
	if id := r.Header.Get("X-Request-Id"); id != "" && len(id) <= 64 && a.trusts(peerAddress(r)) &&
		strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.") == "" {
		return id
	}
	return rand.Text()
}

const (
	// maxRequestLine: a Notify with 4 KB of app server data in both of its names,
	// percent-encoded, and a long param has 30 KB.
	maxRequestLine = 64 << 10
	// maxBody is the same for what comes by POST.
	maxBody = 64 << 10
)

// bounded refuses request lines and bodies that are too long. Lines so long that
// net/http's own limit is passed never come here; see [NewServer].
func (a *api) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := len(r.Method) + len(" ") + len(r.RequestURI) + len(" ") + len(r.Proto)
		if line > maxRequestLine {
			a.fail(w, r, bell.E(uriTooLong, fmt.Sprintf("The request line has %d bytes; at most %d are allowed.", line, maxRequestLine), nil))
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// tidy makes one slash of several in a row. Some clients join a base URL that ends in
// a slash to a path that begins with one; ServeMux would redirect them, and a
// redirected POST loses its body.
func tidy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "//") {
			url := *r.URL
			for strings.Contains(url.Path, "//") {
				url.Path = strings.ReplaceAll(url.Path, "//", "/")
			}
			url.RawPath = ""
			r = r.WithContext(r.Context()) // a copy: the caller's request is not ours to change
			r.URL = &url
		}
		next.ServeHTTP(w, r)
	})
}
