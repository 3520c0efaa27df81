-- Several nodes on one database; see internal/cluster. A node is a process: "owner" is what it
-- is called in leases, and all its times are this server's. "device_changes" tells nodes that
-- remember devices whose devices were changed.

-- +goose Up
CREATE TABLE nodes (
    owner      TEXT COLLATE "C" NOT NULL,
    host       TEXT COLLATE "C" NOT NULL,
    version    TEXT COLLATE "C" NOT NULL,
    started_at BIGINT           NOT NULL,
    seen_at    BIGINT           NOT NULL,
    PRIMARY KEY (owner)
);

CREATE TABLE device_changes (
    id          BIGINT           NOT NULL GENERATED ALWAYS AS IDENTITY,
    environment TEXT COLLATE "C" NOT NULL,
    service_id  TEXT COLLATE "C" NOT NULL,
    user_id     TEXT COLLATE "C" NOT NULL,
    at          BIGINT           NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX device_changes_at ON device_changes (at, id);

-- +goose StatementBegin
CREATE FUNCTION note_device_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    now BIGINT := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    was devices;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        was := OLD; -- what changes with every contact is not told
        was.last_seen_at := NEW.last_seen_at;
        was.expires_at := NEW.expires_at;
        IF was IS NOT DISTINCT FROM NEW THEN
            RETURN NULL;
        END IF;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO device_changes (environment, service_id, user_id, at) VALUES (NEW.environment, NEW.service_id, NEW.user_id, now);
    END IF;
    IF TG_OP = 'DELETE' OR TG_OP = 'UPDATE'
        AND (OLD.environment, OLD.service_id, OLD.user_id) IS DISTINCT FROM (NEW.environment, NEW.service_id, NEW.user_id) THEN
        INSERT INTO device_changes (environment, service_id, user_id, at) VALUES (OLD.environment, OLD.service_id, OLD.user_id, now);
    END IF;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER devices_change AFTER INSERT OR UPDATE OR DELETE ON devices
    FOR EACH ROW EXECUTE FUNCTION note_device_change();

-- The first two hold only what lies in mailboxes and belongs to no node.
CREATE INDEX deliveries_letters ON deliveries (updated_at, id) WHERE channel = 'longpoll' AND state = 'pending' AND lease_owner = '';
CREATE INDEX deliveries_mailbox ON deliveries (device_id) WHERE channel = 'longpoll' AND state = 'pending' AND lease_owner = '';
CREATE INDEX deliveries_owner ON deliveries (lease_owner) WHERE state IN ('pending', 'sending') AND lease_owner <> '';
