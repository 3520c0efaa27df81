-- Group calls: runs of rooms, and who is or was in them. "heard_at" and "seen_at" are our
-- clock's, all other times LINE Planet's.

-- +goose Up
CREATE TABLE room_runs (
    id             INTEGER PRIMARY KEY,
    environment    TEXT    NOT NULL,
    session_id     TEXT    NOT NULL,
    service_id     TEXT    NOT NULL,
    room_id        TEXT    NOT NULL,
    project        TEXT    NOT NULL,
    heard_at       INTEGER NOT NULL,
    seen_at        INTEGER NOT NULL,
    state          TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    ended_at       INTEGER NOT NULL,
    host_service   TEXT    NOT NULL,
    host_user      TEXT    NOT NULL,
    setup_at       INTEGER NOT NULL,
    started_at     INTEGER NOT NULL,
    online         INTEGER NOT NULL,
    present        INTEGER NOT NULL,
    participants   INTEGER NOT NULL,
    crowded        INTEGER NOT NULL,
    first_event_at INTEGER NOT NULL,
    last_event_at  INTEGER NOT NULL,
    online_at      INTEGER NOT NULL,
    online_rank    INTEGER NOT NULL,
    end_event_at   INTEGER NOT NULL,
    silent_at      INTEGER NOT NULL,
    invite_by      INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX room_runs_session ON room_runs (session_id, environment);
CREATE INDEX room_runs_heard ON room_runs (heard_at, session_id);
CREATE INDEX room_runs_room ON room_runs (room_id, service_id, heard_at, session_id);
-- These two hold only rooms that are in use, and change only when that does: an event in the
-- middle of a run touches no index.
CREATE INDEX room_runs_open ON room_runs (heard_at, session_id) WHERE state = 'open';
CREATE INDEX room_runs_invite ON room_runs (invite_by) WHERE invite_by > 0;

-- "heard_at" is the run's, for the history of a user.
CREATE TABLE room_participants (
    run_id           INTEGER NOT NULL,
    user_id          TEXT    NOT NULL,
    service_id       TEXT    NOT NULL,
    heard_at         INTEGER NOT NULL,
    state            TEXT    NOT NULL,
    first_joined_at  INTEGER NOT NULL,
    joined_at        INTEGER NOT NULL,
    seen_in_at       INTEGER NOT NULL,
    left_at          INTEGER NOT NULL,
    timed_out        INTEGER NOT NULL,
    billing_seconds  INTEGER,
    rel_terminate    INTEGER,
    rel_disconnect   INTEGER,
    rel_call_end     INTEGER,
    rel_releaser_type INTEGER,
    rel_releaser     TEXT    NOT NULL,
    rel_code         INTEGER,
    rel_code_name    TEXT    NOT NULL,
    rel_user_code    TEXT    NOT NULL,
    media            TEXT    NOT NULL,
    media_at         INTEGER NOT NULL,
    ue_type          TEXT    NOT NULL,
    ue_type_at       INTEGER NOT NULL,
    display_name     TEXT    NOT NULL,
    display_name_at  INTEGER NOT NULL,
    PRIMARY KEY (run_id, user_id, service_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX room_participants_user ON room_participants (user_id, heard_at);

-- The newest invitation of a user to a run, or to a room that was not open (session_id '').
CREATE TABLE room_invitations (
    environment  TEXT    NOT NULL,
    session_id   TEXT    NOT NULL,
    service_id   TEXT    NOT NULL,
    room_id      TEXT    NOT NULL,
    user_service TEXT    NOT NULL,
    user_id      TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    deadline     INTEGER NOT NULL,
    PRIMARY KEY (session_id, environment, service_id, room_id, user_id, user_service)
) STRICT;
CREATE INDEX room_invitations_deadline ON room_invitations (deadline);
