-- What Planet Cloud said about calls that were asked for through the Server API. It may come
-- before the call's Notify, so it stands beside the calls and not in them: a row here must not
-- make a Notify look like a repeat.

-- +goose Up
CREATE TABLE agent_calls (
    environment  TEXT    NOT NULL,
    session_id   TEXT    NOT NULL,
    received_at  INTEGER NOT NULL,
    project      TEXT    NOT NULL,
    agent_type   TEXT    NOT NULL,
    media_source TEXT    NOT NULL,
    success      INTEGER NOT NULL,
    fail_reason  TEXT    NOT NULL,
    PRIMARY KEY (session_id, environment)
) STRICT, WITHOUT ROWID;
CREATE INDEX agent_calls_received ON agent_calls (received_at);
