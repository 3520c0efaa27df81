-- What providers said against a push token, and what a client calls its installation.

-- +goose Up
ALTER TABLE devices ADD COLUMN client_id             TEXT    NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN apns_server_confirmed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN strikes               INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN struck_at             INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN suspended_until       INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN suspended_for         TEXT    NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN forgotten_at          INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN forgotten_for         TEXT    NOT NULL DEFAULT '';
CREATE UNIQUE INDEX devices_client ON devices (client_id, user_id, service_id, environment) WHERE client_id <> '';
-- An operator's devices have no session and never make contact, so they are never pruned.
CREATE INDEX devices_seen ON devices (last_seen_at) WHERE session_id <> '';
