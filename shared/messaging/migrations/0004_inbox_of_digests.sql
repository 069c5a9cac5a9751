-- The inbox keeps a digest of each identity instead of its texts: a quarter of the bytes, and a key that is compared at
-- once.

CREATE FUNCTION messaging.inbox_digest(consumer_group text, source text, id text) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$SELECT encode(substr(sha256(convert_to(concat_ws(E'\n', consumer_group, source, id), 'UTF8')), 1, 16), 'hex')::uuid$$;

CREATE TEMPORARY TABLE inbox_before ON COMMIT DROP AS
SELECT turn, messaging.inbox_digest(consumer_group, source, id) AS digest, value_hash FROM messaging.inbox;
DROP TABLE messaging.inbox;

CREATE TABLE messaging.inbox (
    turn smallint NOT NULL CHECK (turn IN (0, 1)),
    digest uuid NOT NULL,
    value_hash bigint NOT NULL,
    PRIMARY KEY (turn, digest)
) PARTITION BY LIST (turn);
CREATE TABLE messaging.inbox_0 PARTITION OF messaging.inbox FOR VALUES IN (0);
CREATE TABLE messaging.inbox_1 PARTITION OF messaging.inbox FOR VALUES IN (1);

INSERT INTO messaging.inbox (turn, digest, value_hash) SELECT turn, digest, value_hash FROM inbox_before;
