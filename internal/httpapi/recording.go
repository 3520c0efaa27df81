package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// maxRecording is how much of a recording callback is kept; the known form, of 2020,
// has about 2 KB.
const maxRecording = 16 << 10

// recordingRoute is the receiver of recording callbacks, or nothing at all: it is off
// unless configured, because today's form is not public.
func (a *api) recordingRoute() handler {
	if !a.config.Recording {
		return a.unknownPath
	}
	return a.callback(call.KindRecording, a.recording)
}

// recording keeps the body as it came. A session can have several, so the body itself
// tells repeats from others.
func (a *api) recording(ctx context.Context, r *http.Request, project *bell.Project) (string, error) {
	body, err := readBody(r)
	if err != nil {
		return resultMalformed, err
	}
	if len(body) == 0 {
		return resultDryRun, nil
	}
	var known struct {
		SessionID string `json:"sid"`
	}
	_ = json.Unmarshal(body, &known) // whatever it is, it is kept
	sid, err := planet.ParseSessionID(known.SessionID)
	if err != nil {
		eventOf(r).warn("a recording callback names no session")
	} else {
		eventOf(r).add(slog.String("sid", string(sid)))
	}
	sum := sha256.Sum256(body)
	return kept(a.services.Calls.Journal(ctx, project, call.JournalItem{
		Kind: call.KindRecording, SessionID: sid, DedupKey: "recording/" + hex.EncodeToString(sum[:16]),
		Params: []planet.RawParam{{Name: "body", Value: keptText(body)}},
	}))
}

// keptText makes text that every database can take.
func keptText(body []byte) string {
	text := strings.ToValidUTF8(string(body[:min(len(body), maxRecording)]), "\uFFFD")
	return strings.ReplaceAll(text, "\x00", "\uFFFD")
}
