-- The keys of a Web Push subscription, whose endpoint is the push token.

-- +goose Up
ALTER TABLE devices ADD COLUMN push_keys TEXT COLLATE "C" NOT NULL DEFAULT '';
