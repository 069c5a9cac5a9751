-- The temporary tables of an audit, in the session of one service's database.

-- Every record that the service reads or writes, dead letters aside, as far as Kafka was read; and its outbox.
CREATE TEMPORARY TABLE record (
    topic text NOT NULL,
    partition integer NOT NULL,         -- -1: the outbox
    at bigint NOT NULL,                 -- the offset; in the outbox, its place in the order
    sequence bigint,                    -- the outbox row that it was
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,                 -- without its version
    subject text NOT NULL,
    version bigint,
    key text NOT NULL,
    cause text NOT NULL,
    said jsonb NOT NULL,
    digest bigint NOT NULL              -- of key and value
);

-- The service's dead letters: where each lies, and the record that it was made of.
CREATE TEMPORARY TABLE letter (
    letter_partition integer NOT NULL,
    letter_at bigint NOT NULL,
    letter_id text NOT NULL,
    sequence bigint,
    topic text NOT NULL,
    partition integer NOT NULL,
    at bigint NOT NULL,
    kind text NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    digest bigint NOT NULL
);

-- What was replayed in place of a letter's record, where somebody had mended it.
CREATE TEMPORARY TABLE mended (LIKE record);

-- Dead letters with what became of them. `is_heard`: it was replayed, and what was replayed is still known.
CREATE TEMPORARY VIEW put_aside AS
SELECT letter.*, e.outcome, coalesce(e.outcome = 'replayed' AND (e.edit_number IS NULL OR EXISTS (
        SELECT FROM mended AS m WHERE (m.topic, m.partition, m.at) = (letter.topic, letter.partition, letter.at)
    )), false) AS is_heard
FROM letter LEFT JOIN messaging.dead_letter_end AS e USING (letter_id);

-- What Kafka says of the partitions of these topics.
CREATE TEMPORARY TABLE log (
    topic text NOT NULL,
    partition integer NOT NULL,
    begins bigint NOT NULL,
    read_to bigint NOT NULL,            -- before the snapshot
    ends bigint NOT NULL,               -- after it
    committed bigint,                   -- by the service's group, before the snapshot
    is_read boolean NOT NULL            -- consumed by the service; otherwise written
);

-- The topics that the service publishes to, dead letters aside.
CREATE TEMPORARY TABLE own (topic text NOT NULL);

-- Topics that hold everything that was ever published to them: what is not there was never said.
CREATE TEMPORARY TABLE whole (topic text NOT NULL);

-- What answers a command of the service.
CREATE TEMPORARY TABLE answer (command text NOT NULL, answer text NOT NULL);

-- What the service decides upon, once for each event: below its offsets, in the order of each partition.
CREATE TEMPORARY TABLE heard (
    topic text NOT NULL,
    source text NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    version bigint,
    key text NOT NULL,
    said jsonb NOT NULL,
    is_dead boolean NOT NULL            -- put aside; or replayed after an edit that was forgotten since
);

-- What the service has published or committed to publish, once for each event.
CREATE TEMPORARY TABLE said (
    topic text NOT NULL,
    partition integer NOT NULL,
    at bigint NOT NULL,
    id text NOT NULL,
    type text NOT NULL,
    subject text NOT NULL,
    version bigint,
    key text NOT NULL,
    cause text NOT NULL,
    said jsonb NOT NULL
);

-- Two to five words in a row, as they stand in the reasons of dead letters: a name would be among them.
CREATE TEMPORARY VIEW phrase AS
WITH reason AS (
    SELECT reason, min(topic || '/' || partition || '/' || at) AS place FROM letter GROUP BY reason
), word AS (
    SELECT place, reason, n, word FROM reason
    CROSS JOIN LATERAL regexp_split_to_table(reason, '[[:space:]]+') WITH ORDINALITY AS t (word, n)
)
SELECT a.place, btrim(string_agg(b.word, ' ' ORDER BY b.n), '.,;:!?()[]"''') AS phrase
FROM word AS a CROSS JOIN generate_series(1, 4) AS more (words)
JOIN word AS b ON b.reason = a.reason AND b.n BETWEEN a.n AND a.n + more.words
GROUP BY a.place, a.reason, a.n, more.words;

-- Where somebody can be reached, in a fixed order: [[channel, value, purpose], …] of [{"channel": …}, …].
CREATE FUNCTION pg_temp.addresses(points jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_agg(jsonb_build_array(p->'channel', p->'value', p->'purpose') ORDER BY p->>'channel', p->>'value')
    FROM jsonb_array_elements(points) AS p
$$;
