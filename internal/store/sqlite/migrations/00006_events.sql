-- What is still to be told to the customer's own systems. "id" is the webhook's, "seq" the
-- order within a subject. Rows are written in the transaction of what they tell.
-- A telling is one event for one endpoint. Of one subject, only the oldest that is open is
-- 'waiting' ("due" says for what time, or for the end of its lease); those 'behind' it wait
-- for its end, and cost nothing to whoever looks for work.

-- +goose Up
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT    NOT NULL UNIQUE,
    type    TEXT    NOT NULL,
    project TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    data    TEXT    NOT NULL,
    spread  INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX events_new ON events (seq) WHERE spread = 0;

CREATE TABLE tellings (
    seq         INTEGER NOT NULL,
    endpoint    TEXT    NOT NULL,
    subject     TEXT    NOT NULL,
    state       TEXT    NOT NULL,
    attempts    INTEGER NOT NULL,
    due         INTEGER NOT NULL,
    lease_owner TEXT    NOT NULL,
    since       INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    status      INTEGER NOT NULL,
    PRIMARY KEY (seq, endpoint)
) STRICT, WITHOUT ROWID;
CREATE INDEX tellings_due ON tellings (endpoint, due, seq) WHERE state = 'waiting';
CREATE INDEX tellings_subject ON tellings (endpoint, subject, seq) WHERE state IN ('waiting', 'behind');
CREATE INDEX tellings_open ON tellings (since, seq, endpoint, state) WHERE state IN ('waiting', 'behind');
CREATE INDEX tellings_leased ON tellings (lease_owner) WHERE lease_owner <> '';
CREATE INDEX tellings_final ON tellings (state, updated_at, seq, endpoint) WHERE state IN ('told', 'dead');

-- Endpoints that said that they are gone. "print" stands for the settings that they had then.
CREATE TABLE gone_endpoints (
    endpoint TEXT    NOT NULL PRIMARY KEY,
    print    TEXT    NOT NULL,
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
