-- +goose Up
-- A receipt is a device's word that it has a call: one for a delivery, the first that came.
-- "at" is our clock's, "device_at" the device's own (0 when it did not say), "channel" is how
-- the call came, as the device says.
CREATE TABLE receipts (
    delivery_id       TEXT    NOT NULL PRIMARY KEY,
    at                INTEGER NOT NULL,
    device_at         INTEGER NOT NULL,
    channel           TEXT    NOT NULL,
    priority          TEXT    NOT NULL,
    original_priority TEXT    NOT NULL
) STRICT, WITHOUT ROWID;
