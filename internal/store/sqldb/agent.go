package sqldb

import (
	"fmt"

	"github.com/planetbell/planetbell/internal/bell"
	"github.com/planetbell/planetbell/internal/call"
	"github.com/planetbell/planetbell/planet"
)

// agentRow is an Agent Call Status, ready to be inserted; nil if there is none.
type agentRow []any

func newAgentRow(e *bell.JournalEntry) agentRow {
	a := e.Agent
	if a == nil {
		return nil
	}
	return agentRow{
		string(e.Environment), string(e.SessionID), Micros(e.ReceivedAt), e.Project,
		a.AgentType, a.MediaSourceType, a.Success, a.FailReason,
	}
}

// insert keeps the newest status of a call. One that says the same again changes nothing.
func (r agentRow) insert(l Tx) error {
	if r == nil {
		return nil
	}
	if _, err := l.Exec(insertAgent, r...); err != nil {
		return fmt.Errorf("keep the status of an agent call: %w", err)
	}
	return nil
}

const insertAgent = `INSERT INTO agent_calls
		(environment, session_id, received_at, project, agent_type, media_source, success, fail_reason)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session_id, environment) DO UPDATE SET
		received_at = excluded.received_at, project = excluded.project, agent_type = excluded.agent_type,
		media_source = excluded.media_source, success = excluded.success, fail_reason = excluded.fail_reason
		WHERE excluded.received_at >= agent_calls.received_at
		AND (excluded.success <> agent_calls.success OR excluded.fail_reason <> agent_calls.fail_reason)`

// AgentStatement is what keeps the Agent Call Status of an entry, which must have one. To run
// it twice changes nothing.
func AgentStatement(e *bell.JournalEntry) (query string, args []any) {
	return insertAgent, newAgentRow(e)
}

// readAgent adds the Agent Call Status to a record. known says that the call is recorded; if
// it is not, the status alone makes a record, without a state.
func readAgent(l Tx, record *call.Record, environment planet.Environment, id planet.SessionID, known bool) (found bool, err error) {
	c, a := &record.Call, &record.Agent
	if known {
		environment = c.Environment
	}
	where := Conditions{}
	where.add(`session_id = ?`, string(id))
	where.addText(`environment = ?`, string(environment))
	var e bell.Call
	found, err = l.One(`SELECT environment, session_id, received_at, project, agent_type, media_source, success, fail_reason
		FROM agent_calls `+where.clause()+` ORDER BY received_at DESC LIMIT 1`,
		Into([]any{&e.Environment, &e.SessionID, At{&a.ReceivedAt}, &a.Project, &a.AgentType, &a.MediaSourceType, &a.Success, &a.FailReason}),
		where.args...)
	if err != nil {
		return false, fmt.Errorf("read the status of agent call %s: %w", id, err)
	}
	if found && !known {
		c.Environment, c.SessionID, c.Project = e.Environment, e.SessionID, a.Project
	}
	return found, nil
}
