package console

import (
	"log/slog"
	"net/http"
	"time"
)

const (
	// headerTime and bodyTime bound how long a request may take to arrive.
	headerTime = 10 * time.Second
	bodyTime   = 30 * time.Second
	// idleTime is how long an idle connection is kept.
	idleTime = 2 * time.Minute
	// answerTime bounds a request's work and how long its answer is read: pages have up to some
	// hundred kilobytes.
	answerTime = time.Minute
)

// NewServer makes a server for the handler of [New] with the limits that belong to it: a client
// cannot hold a connection by being slow, neither in asking nor in reading. What takes longer sets
// its own limits: pages that follow a call, and profiles, of which net/http/pprof takes care.
func NewServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTime, ReadTimeout: bodyTime, WriteTimeout: answerTime, IdleTimeout: idleTime,
		ErrorLog: slog.NewLogLogger(log.With("component", "console").Handler(), slog.LevelDebug),
	}
}
