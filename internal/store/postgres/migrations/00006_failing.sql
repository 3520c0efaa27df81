-- The operator's page of what fails now looks along this. It holds only what failed, so calls
-- that ring pay nothing for it.

-- +goose Up
CREATE INDEX deliveries_failed ON deliveries (created_at) WHERE state IN ('failed', 'expired');
