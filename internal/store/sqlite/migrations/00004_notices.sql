-- Notices: what devices are told beside a call. A notice is a row of calls with a purpose, and
-- what it is about; its deliveries are as a call's. "missed_at" marks a call of which the
-- callee has still to be told that it was missed: it is when its Call Event came.

-- +goose Up
ALTER TABLE calls ADD COLUMN purpose      TEXT    NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN about        TEXT    NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN about_at     INTEGER NOT NULL DEFAULT 0;
ALTER TABLE calls ADD COLUMN room_service TEXT    NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN room_id      TEXT    NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN caller_name  TEXT    NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN app_fields   TEXT    NOT NULL DEFAULT '';
ALTER TABLE calls ADD COLUMN missed_at    INTEGER NOT NULL DEFAULT 0;
ALTER TABLE devices ADD COLUMN alert_token TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN notices INTEGER NOT NULL DEFAULT 0;
CREATE INDEX devices_alert ON devices (alert_token) WHERE alert_token <> '';
-- All three hold little: notices only, calls that ring now, calls whose callee is being told.
CREATE INDEX calls_about ON calls (about, at) WHERE about <> '';
CREATE INDEX calls_ringing ON calls (notified_at) WHERE state = 'ringing';
CREATE INDEX calls_missed ON calls (missed_at) WHERE missed_at <> 0;
