-- The kit's own tables, in every service's database: schema `messaging`.

CREATE SCHEMA messaging;

-- The business clock: PostgreSQL's, plus one offset that tests move. Leases never use it.
CREATE TABLE messaging.clock (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    shift interval NOT NULL DEFAULT '0'
);
INSERT INTO messaging.clock DEFAULT VALUES;

CREATE FUNCTION messaging.kello_now() RETURNS timestamptz LANGUAGE sql STABLE AS
    'SELECT transaction_timestamp() + shift FROM messaging.clock';

-- How far each partition has had its effect, and who may go on. `owner` is the fence: fresh at every claim.
CREATE TABLE messaging.consumer_offset (
    consumer_group text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    owner uuid NOT NULL,
    next_offset bigint NOT NULL CHECK (next_offset >= 0),
    last_timestamp bigint,              -- milliseconds, of the record at next_offset - 1; null before the first
    dead_run integer NOT NULL DEFAULT 0, -- dead letters in a row, up to next_offset
    PRIMARY KEY (consumer_group, topic, partition)
) WITH (fillfactor = 50);

-- A consumer group that takes nothing in until an operator resumes it.
CREATE TABLE messaging.consumer_pause (
    consumer_group text PRIMARY KEY,
    reason text NOT NULL,
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What was seen, by a digest of (group, source, id); two tables in turn, the older one is truncated.
CREATE TABLE messaging.inbox (
    turn smallint NOT NULL CHECK (turn IN (0, 1)),
    digest uuid NOT NULL,
    value_hash bigint NOT NULL,
    PRIMARY KEY (turn, digest)
) PARTITION BY LIST (turn);
CREATE TABLE messaging.inbox_0 PARTITION OF messaging.inbox FOR VALUES IN (0);
CREATE TABLE messaging.inbox_1 PARTITION OF messaging.inbox FOR VALUES IN (1);

-- Whether an event was taken in: SELECT FROM messaging.inbox WHERE digest = messaging.inbox_digest('billing', 'shop', '42')
CREATE FUNCTION messaging.inbox_digest(consumer_group text, source text, id text) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$SELECT encode(substr(sha256(convert_to(concat_ws(E'\n', consumer_group, source, id), 'UTF8')), 1, 16), 'hex')::uuid$$;

CREATE TABLE messaging.inbox_turn (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    turn smallint NOT NULL DEFAULT 0 CHECK (turn IN (0, 1)),
    since timestamptz NOT NULL DEFAULT clock_timestamp()
);
INSERT INTO messaging.inbox_turn DEFAULT VALUES;

-- What is to be published: deleted once Kafka has acknowledged it, so an empty table means all is out.
CREATE TABLE messaging.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    topic text NOT NULL,
    key bytea,
    created_at timestamptz NOT NULL DEFAULT transaction_timestamp(),
    records bytea NOT NULL              -- what is published under the key, in msgpack: [[value, [[name, value or nil], …]], …]
);

-- A row that Kafka will never take. Its key waits behind it until an operator decides; other keys go on.
CREATE TABLE messaging.outbox_blocked (
    id bigint PRIMARY KEY REFERENCES messaging.outbox (id) ON DELETE CASCADE,
    topic text NOT NULL,
    key bytea,
    reason text NOT NULL,
    blocked_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The highest offset that Kafka acknowledged to this database, by partition of the topics that it publishes to.
CREATE TABLE messaging.relay_position (
    topic text NOT NULL,
    partition integer NOT NULL,
    acknowledged_offset bigint NOT NULL,
    acknowledged_id bigint NOT NULL,     -- the highest outbox id among them
    PRIMARY KEY (topic, partition)
);

-- Side effects and timers. A row is gone when its outcome is saved.
CREATE TABLE messaging.task (
    kind text NOT NULL,
    key text NOT NULL,
    root text NOT NULL,
    payload bytea NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'started', 'unknown', 'asking')),
    due_at timestamptz NOT NULL,        -- business time while waiting; real time once unknown
    attempts integer NOT NULL DEFAULT 0,
    reconciliations integer NOT NULL DEFAULT 0,
    lease uuid,
    lease_until timestamptz,            -- real time
    last_reason text,
    cause_source text NOT NULL,
    cause_id text NOT NULL,
    correlation_id text NOT NULL,
    traceparent text,
    created_at timestamptz NOT NULL DEFAULT transaction_timestamp(),
    PRIMARY KEY (kind, key),
    CHECK ((state IN ('started', 'asking')) = (lease IS NOT NULL)),
    CHECK ((lease IS NULL) = (lease_until IS NULL))
);
CREATE INDEX task_due ON messaging.task (kind, due_at) WHERE state IN ('waiting', 'unknown');
CREATE INDEX task_leased ON messaging.task (lease_until) WHERE state IN ('started', 'asking');

-- What operators did about dead letters. The letters themselves are on Kafka.

-- The end of a letter, written in the transaction of its replay: nobody replays it twice.
CREATE TABLE messaging.dead_letter_end (
    letter_id text PRIMARY KEY,
    outcome text NOT NULL CHECK (outcome IN ('replayed', 'dropped')),
    ended_by text NOT NULL,
    ended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    edit_number integer,                -- which edit was replayed; null: the letter as it came
    reason text                         -- why it was dropped
);

-- A letter mended by hand; the highest number is what a replay takes instead of what came.
CREATE TABLE messaging.dead_letter_edit (
    letter_id text NOT NULL,
    number integer NOT NULL CHECK (number >= 1),
    edited_by text NOT NULL,
    edited_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sha256 text NOT NULL,               -- of the value
    key bytea,                          -- key, value and headers may be personal: they are forgotten after 30 days
    value bytea,
    headers bytea,                      -- msgpack: [[name, value or nil], …]; null once forgotten
    PRIMARY KEY (letter_id, number)
);
