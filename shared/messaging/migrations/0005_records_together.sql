-- What a decision says under one key is one row of the outbox: [[value, headers], …] in msgpack.

ALTER TABLE messaging.outbox ADD COLUMN records bytea;

UPDATE messaging.outbox
SET records = '\x9192'::bytea  -- an array of one array of two
    || CASE WHEN value IS NULL THEN '\xc0'::bytea ELSE '\xc6'::bytea || int4send(length(value)) || value END || headers;

ALTER TABLE messaging.outbox
    ALTER COLUMN records SET NOT NULL, DROP COLUMN event_id, DROP COLUMN value, DROP COLUMN headers;
