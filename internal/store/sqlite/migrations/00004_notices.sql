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

-- +goose Down
DROP INDEX devices_alert;
ALTER TABLE devices DROP COLUMN notices;
ALTER TABLE devices DROP COLUMN alert_token;
DELETE FROM attempts WHERE delivery_id IN (SELECT d.id FROM deliveries d JOIN calls c ON c.id = d.call_id WHERE c.purpose <> '');
DELETE FROM receipts WHERE delivery_id IN (SELECT d.id FROM deliveries d JOIN calls c ON c.id = d.call_id WHERE c.purpose <> '');
DELETE FROM deliveries WHERE call_id IN (SELECT id FROM calls WHERE purpose <> '');
DELETE FROM calls WHERE purpose <> '';
DROP INDEX calls_missed;
DROP INDEX calls_ringing;
DROP INDEX calls_about;
ALTER TABLE calls DROP COLUMN missed_at;
ALTER TABLE calls DROP COLUMN app_fields;
ALTER TABLE calls DROP COLUMN caller_name;
ALTER TABLE calls DROP COLUMN room_id;
ALTER TABLE calls DROP COLUMN room_service;
ALTER TABLE calls DROP COLUMN about_at;
ALTER TABLE calls DROP COLUMN about;
ALTER TABLE calls DROP COLUMN purpose;
