-- What tells later why a phone did not ring, and cannot be looked up then: what was true when a
-- call came in (JSON, bounded; empty if nothing was special), which of Apple's servers an
-- attempt went to, when a delivery was taken over from a process that had stopped, since when
-- a device sends receipts, and what its app said it could not do.

-- +goose Up
ALTER TABLE calls ADD COLUMN circumstances TEXT NOT NULL DEFAULT '';
ALTER TABLE deliveries ADD COLUMN continued_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempts ADD COLUMN server TEXT NOT NULL DEFAULT '';
ALTER TABLE devices ADD COLUMN acknowledges_since INTEGER NOT NULL DEFAULT 0;
ALTER TABLE receipts ADD COLUMN problem TEXT NOT NULL DEFAULT '';
