package console

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/planetbell/planetbell/internal/audit"
	"github.com/planetbell/planetbell/internal/bell"
)

// AuditEntry is one line of the record of who did what.
type AuditEntry struct {
	ID      string        `json:"id"`
	At      time.Time     `json:"at"`
	Who     string        `json:"who,omitempty"`
	Role    bell.Role     `json:"role,omitempty"`
	Via     string        `json:"via,omitempty"`
	Remote  string        `json:"remote,omitempty"`
	Action  string        `json:"action"`
	Object  string        `json:"object,omitempty"`
	Outcome audit.Outcome `json:"outcome"`
}

// AuditList is a page of the audit log, newest first.
type AuditList struct {
	Entries []AuditEntry `json:"entries"`
	Next    string       `json:"next,omitempty"`
}

func (a *api) listAudit(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r.URL.RawQuery, "who", "action", "outcome", "since", "until", "before", "limit")
	if err != nil {
		return err
	}
	limit, err := q.limit()
	if err != nil {
		return err
	}
	filter, before, err := auditQuery(q)
	if err != nil {
		return err
	}
	entries, err := a.services.Audit.AuditLog(r.Context(), filter, before, limit+1)
	if err != nil {
		return err
	}
	list := AuditList{Entries: make([]AuditEntry, 0, limit)}
	if len(entries) > limit {
		entries = entries[:limit]
		last := entries[limit-1]
		list.Next = strconv.FormatInt(last.At.UnixMicro(), 10) + "-" + last.ID
	}
	for _, e := range entries {
		list.Entries = append(list.Entries, AuditEntry{
			ID: e.ID, At: utc(e.At), Who: e.Who, Role: e.Role, Via: e.Via, Remote: e.Remote, Action: e.Action, Object: e.Object, Outcome: e.Outcome,
		})
	}
	return writeJSON(w, http.StatusOK, list)
}

// A place in the audit log is written as Unix microseconds, a hyphen and the entry's ID. Clients
// take it as it is.
func parseAuditCursor(text string) (audit.Cursor, error) {
	if text == "" {
		return audit.Cursor{}, nil
	}
	at, id, found := strings.Cut(text, "-")
	micros, err := strconv.ParseInt(at, 10, 64)
	if !found || err != nil || micros < 1 || !deviceID(id) {
		return audit.Cursor{}, invalid(`before: want the "next" of an earlier answer.`)
	}
	return audit.Cursor{At: time.UnixMicro(micros).UTC(), ID: id}, nil
}

// auditQuery reads what is asked of the audit log.
func auditQuery(q query) (filter audit.Filter, before audit.Cursor, err error) {
	filter = audit.Filter{Who: q.text("who"), Action: q.text("action"), Outcome: audit.Outcome(q.text("outcome"))}
	if filter.Outcome != "" && !slices.Contains(audit.Outcomes(), filter.Outcome) {
		return filter, before, invalid("outcome: want done, refused or failed.")
	}
	if filter.Since, err = q.time("since"); err != nil {
		return filter, before, err
	}
	if filter.Until, err = q.time("until"); err != nil {
		return filter, before, err
	}
	before, err = parseAuditCursor(q.text("before"))
	return filter, before, err
}
