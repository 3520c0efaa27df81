-- What is still to be told to the customer's own systems. "id" is the webhook's, "seq" the
-- order within a subject. Rows are written in the transaction of what they tell.

-- +goose Up
CREATE TABLE events (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    id      TEXT    NOT NULL UNIQUE,
    type    TEXT    NOT NULL,
    project TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    data    TEXT    NOT NULL
) STRICT;

-- +goose Down
DROP TABLE events;
