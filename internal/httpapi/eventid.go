package httpapi

import (
	"slices"
	"strings"

	"github.com/planetbell/planetbell/planet"
)

// This file is the ID of a stream's events, which a client sends back as Last-Event-ID when it
// begins the next stream. It says all that the client needs to be asked: which calls it has. So any
// node, and any process after a restart, can read it, and nothing about streams is kept anywhere.
//
// It is no secret: the session IDs are in the events, too, and a client can only say of
// its own device's calls that it has them. To clients it is opaque.

const (
	eventIDMark = "1" // the version of this form
	maxEventIDs = 8
	maxEventID  = len(eventIDMark) + maxEventIDs*(1+64)
)

// eventID makes the ID. It is empty when the client has nothing that it need remember: then it
// sends none.
func eventID(known []planet.SessionID) string {
	if len(known) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(eventIDMark)
	for _, id := range known[max(0, len(known)-maxEventIDs):] {
		b.WriteByte('.')
		b.WriteString(string(id))
	}
	return b.String()
}

// parseEventID reads what a client has. What is not of eventID's making says nothing: then
// everything that still rings is sent again, which is better than to refuse the client.
func parseEventID(text string) []planet.SessionID {
	if len(text) > maxEventID {
		return nil
	}
	parts := strings.Split(text, ".")
	if len(parts) < 2 || len(parts) > 1+maxEventIDs || parts[0] != eventIDMark {
		return nil
	}
	ids := make([]planet.SessionID, 0, len(parts)-1)
	for _, part := range parts[1:] {
		id, err := planet.ParseSessionID(part)
		if err != nil || string(id) != part || slices.Contains(ids, id) {
			return nil
		}
		ids = append(ids, id)
	}
	return ids
}
