-- The operator's page of what fails now looks along this. It holds only what failed, so calls
-- that ring pay nothing for it. A large database may have it already: see "Rolling upgrade" in
-- docs/operations.md.

-- +goose Up
CREATE INDEX IF NOT EXISTS deliveries_failed ON deliveries (created_at) WHERE state IN ('failed', 'expired');
