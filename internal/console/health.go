package console

import (
	"context"
	"net/http"
	"runtime"
	"time"

	"github.com/planetbell/planetbell/internal/bell"
)

// readyTime bounds the readiness check: probes give up after a second or two.
const readyTime = time.Second

// livez says that the process serves requests at all.
func (c *console) livez(w http.ResponseWriter, _ *http.Request) error {
	return writeText(w, "ok\n")
}

// readyz says whether calls can be taken now; if not, what is missing. Either way it says who
// answers, to whoever asks with a nonce.
func (c *console) readyz(w http.ResponseWriter, r *http.Request) error {
	c.AnswerNonce(w, r)
	ctx, cancel := context.WithTimeout(r.Context(), readyTime)
	defer cancel()
	if sentence := c.Ready(ctx); sentence != "" {
		return bell.E(bell.Unavailable, sentence, nil)
	}
	if c.Node != "" {
		return writeText(w, "ready: "+c.Node+"\n")
	}
	return writeText(w, "ready\n")
}

func writeText(w http.ResponseWriter, text string) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(text)) // the prober has gone; there is nobody to tell
	return nil
}

// info says what is running, and since when.
func (c *console) info(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, Info{
		Version: c.Version, Go: runtime.Version(),
		StartedAt: c.started.UTC(), UptimeSeconds: int64(c.Now().Sub(c.started) / time.Second),
		Goroutines: runtime.NumGoroutine(),
	})
}
