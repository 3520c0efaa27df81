-- Who did what on the admin listener, and who is signed in there. A session's ID is the hash of
-- what its cookie holds; "seen_at" is when it was last used, give or take a minute.

-- +goose Up
CREATE TABLE audit (
    id      TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    who     TEXT    NOT NULL,
    role    TEXT    NOT NULL,
    via     TEXT    NOT NULL,
    remote  TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    object  TEXT    NOT NULL,
    outcome TEXT    NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_at ON audit (at, id);

CREATE TABLE admin_sessions (
    id         TEXT    NOT NULL,
    data       TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    seen_at    INTEGER NOT NULL,
    PRIMARY KEY (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX admin_sessions_expires ON admin_sessions (expires_at);
