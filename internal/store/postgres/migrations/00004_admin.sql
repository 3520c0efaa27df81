-- Who did what on the admin listener, and who is signed in there. A session's ID is the hash of
-- what its cookie holds; "seen_at" is when it was last used, give or take a minute.

-- +goose Up
CREATE TABLE audit (
    id      TEXT COLLATE "C" NOT NULL,
    at      BIGINT           NOT NULL,
    who     TEXT COLLATE "C" NOT NULL,
    role    TEXT COLLATE "C" NOT NULL,
    via     TEXT COLLATE "C" NOT NULL,
    remote  TEXT COLLATE "C" NOT NULL,
    action  TEXT COLLATE "C" NOT NULL,
    object  TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX audit_at ON audit (at, id);

CREATE TABLE admin_sessions (
    id         TEXT COLLATE "C" NOT NULL,
    data       TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT           NOT NULL,
    seen_at    BIGINT           NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX admin_sessions_expires ON admin_sessions (expires_at);
