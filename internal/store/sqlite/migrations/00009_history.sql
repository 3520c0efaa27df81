-- What lists of calls and the sweep of old records look for. The index of outcomes holds
-- ended calls only, so that a ring does not write to it.

-- +goose Up
CREATE INDEX calls_outcome ON calls (outcome, at, session_id) WHERE outcome <> '';
CREATE INDEX journal_received ON journal (received_at);
