-- Why a call rang nothing, and whom and when users do not want to hear.

-- +goose Up
ALTER TABLE calls ADD COLUMN suppressed TEXT NOT NULL DEFAULT '';

CREATE TABLE blocked_users (
    environment     TEXT    NOT NULL,
    service_id      TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    blocked_service TEXT    NOT NULL,
    blocked_user    TEXT    NOT NULL,
    blocked_at      INTEGER NOT NULL,
    PRIMARY KEY (environment, service_id, user_id, blocked_service, blocked_user)
) STRICT, WITHOUT ROWID;

-- A row stands only for a user who has something set. "until_at" 0: no end. Quiet hours are
-- minutes of the day in the time zone; without a zone there are none.
CREATE TABLE do_not_disturb (
    environment TEXT    NOT NULL,
    service_id  TEXT    NOT NULL,
    user_id     TEXT    NOT NULL,
    is_on       INTEGER NOT NULL,
    until_at    INTEGER NOT NULL,
    quiet_from  INTEGER NOT NULL,
    quiet_to    INTEGER NOT NULL,
    quiet_zone  TEXT    NOT NULL,
    PRIMARY KEY (environment, service_id, user_id)
) STRICT, WITHOUT ROWID;
