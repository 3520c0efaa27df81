-- One index finds repeats and the callbacks of a session. The session comes first and the
-- keys of its events grow with LINE Planet's time, so that a commit writes one page for each
-- session and not one for each event. An entry without a key is never a repeat: NULL is not
-- the same as another NULL.

-- +goose Up
DROP INDEX journal_dedup;
DROP INDEX journal_session;
CREATE UNIQUE INDEX journal_session ON journal (session_id, nullif(dedup_key, ''), kind, project);
