package httpapi

import (
	"log/slog"
	"net/http"
	"time"
)

const (
	// headerTime bounds how long a client may take to send its request line and
	// headers: a phone on a bad line needs one or two seconds.
	headerTime = 10 * time.Second
	// requestTime bounds headers and body together. net/http does not count the time
	// that a poll waits after its request was read.
	requestTime = 20 * time.Second
	// idleTime is how long an idle connection is kept: longer than the usual 60 s of
	// proxies, so that the proxy closes first and never sends into a closing one.
	idleTime = 90 * time.Second
	// headerRoom is for all headers beside a request line of full length.
	headerRoom = 32 << 10
)

// NewServer makes a server for the handler of [New] with the limits that belong to it:
// a client cannot hold a connection by being slow, and request lines up to 64 KiB come
// through. Longer ones are answered 414, or 431 by net/http itself when they pass 100
// KiB. There is no write time-out, because polls wait; each answer sets its own
// deadline. Serve it over TLS (HTTP/1.1 and HTTP/2), or plainly behind a proxy.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTime,
		ReadTimeout:       requestTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxRequestLine + headerRoom,
		Protocols:         protocols,
		// What net/http says on its own is about strangers' broken handshakes.
		ErrorLog: slog.NewLogLogger(log.With("component", "httpapi").Handler(), slog.LevelDebug),
	}
}
