-- Times are microseconds since 1970; 0 stands for "none". Tables are STRICT, so that a
-- value of a wrong type is refused and not kept. Foreign keys are not declared: rows that
-- belong together are written in one transaction by one writer, and the checks would cost
-- two look-ups for every delivery.

-- +goose Up
CREATE TABLE users (
    environment   TEXT    NOT NULL,
    service_id    TEXT    NOT NULL,
    user_id       TEXT    NOT NULL,
    display_name  TEXT    NOT NULL,
    region        TEXT    NOT NULL,
    registered_at INTEGER NOT NULL,
    PRIMARY KEY (environment, service_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    id          TEXT    NOT NULL PRIMARY KEY,
    environment TEXT    NOT NULL,
    service_id  TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    project     TEXT    NOT NULL,
    issued_at   INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    revoked_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_owner ON sessions (environment, service_id, user_id, expires_at);

CREATE TABLE devices (
    id                  TEXT    NOT NULL PRIMARY KEY,
    environment         TEXT    NOT NULL,
    service_id          TEXT    NOT NULL,
    user_id             TEXT    NOT NULL,
    project             TEXT    NOT NULL,
    session_id          TEXT    NOT NULL,
    app_type            TEXT    NOT NULL,
    app_version         TEXT    NOT NULL,
    app_id              TEXT    NOT NULL,
    channel             TEXT    NOT NULL,
    push_token          TEXT    NOT NULL,
    apns_server         TEXT    NOT NULL,
    apns_server_guessed INTEGER NOT NULL,
    registered_at       INTEGER NOT NULL,
    last_seen_at        INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX devices_owner ON devices (environment, service_id, user_id);
CREATE UNIQUE INDEX devices_session ON devices (session_id) WHERE session_id <> '';
CREATE UNIQUE INDEX devices_token ON devices (push_token, channel, service_id, environment) WHERE push_token <> '';

-- A call's place in lists ("at") is the time of its Notify, or of its end when only its
-- Call Event is known. "raw" holds Notify's parameters without cc_param.
CREATE TABLE calls (
    id                INTEGER PRIMARY KEY,
    environment       TEXT    NOT NULL,
    session_id        TEXT    NOT NULL,
    at                INTEGER NOT NULL,
    project           TEXT    NOT NULL,
    label             TEXT    NOT NULL,
    caller_service    TEXT    NOT NULL,
    caller_user       TEXT    NOT NULL,
    callee_service    TEXT    NOT NULL,
    callee_user       TEXT    NOT NULL,
    type              TEXT    NOT NULL,
    app_server_data   TEXT    NOT NULL,
    stid              TEXT    NOT NULL,
    state             TEXT    NOT NULL,
    outcome           TEXT    NOT NULL DEFAULT '',
    notified_at       INTEGER NOT NULL DEFAULT 0,
    deadline          INTEGER NOT NULL DEFAULT 0,
    started_at        INTEGER NOT NULL DEFAULT 0,
    ended_at          INTEGER NOT NULL DEFAULT 0,
    duration_us       INTEGER NOT NULL DEFAULT 0,
    rel_terminate     INTEGER,
    rel_disconnect    INTEGER,
    rel_call_end      INTEGER,
    rel_releaser_type INTEGER,
    rel_releaser      TEXT    NOT NULL DEFAULT '',
    rel_code          INTEGER,
    rel_code_name     TEXT    NOT NULL DEFAULT '',
    rel_user_code     TEXT    NOT NULL DEFAULT '',
    raw               TEXT    NOT NULL DEFAULT '',
    cc_param          TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX calls_session ON calls (session_id, environment);
CREATE INDEX calls_at ON calls (at, session_id);
CREATE INDEX calls_caller ON calls (caller_user, at);
CREATE INDEX calls_callee ON calls (callee_user, at);
CREATE INDEX calls_secret ON calls (deadline) WHERE cc_param <> '';

CREATE TABLE deliveries (
    id          TEXT    NOT NULL PRIMARY KEY,
    call_id     INTEGER NOT NULL,
    device_id   TEXT    NOT NULL,
    channel     TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    deadline    INTEGER NOT NULL,
    lease_owner TEXT    NOT NULL,
    lease_until INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_call ON deliveries (call_id);
-- These two hold only what may still ring, so they stay small and cheap.
CREATE INDEX deliveries_deadline ON deliveries (deadline) WHERE state IN ('pending', 'sending');
CREATE INDEX deliveries_lease ON deliveries (lease_until) WHERE state IN ('pending', 'sending');

-- The start time is part of the key because two processes may both count an attempt as
-- the third; neither record may be lost.
CREATE TABLE attempts (
    delivery_id    TEXT    NOT NULL,
    number         INTEGER NOT NULL,
    started_at     INTEGER NOT NULL,
    took_us        INTEGER NOT NULL,
    verdict        TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    status         INTEGER NOT NULL,
    token          TEXT    NOT NULL,
    alarm          TEXT    NOT NULL,
    retry_after_us INTEGER NOT NULL,
    dead_since     INTEGER NOT NULL,
    provider_id    TEXT    NOT NULL,
    detail         TEXT    NOT NULL,
    PRIMARY KEY (delivery_id, number, started_at)
) STRICT, WITHOUT ROWID;

CREATE TABLE journal (
    id          INTEGER PRIMARY KEY,
    received_at INTEGER NOT NULL,
    project     TEXT    NOT NULL,
    environment TEXT    NOT NULL,
    kind        TEXT    NOT NULL,
    session_id  TEXT    NOT NULL,
    dedup_key   TEXT    NOT NULL,
    params      TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX journal_dedup ON journal (dedup_key, kind, project) WHERE dedup_key <> '';
CREATE INDEX journal_session ON journal (session_id, received_at);
