"""What must hold of every service's messages, whatever they say: answered once, published once, in order, put aside
rightly, done."""

from shared.operations.audit.checks import Check

ANSWERED_ONCE = Check(
    "answered-once",
    "Every command has exactly one answer",
    """
    WITH asked AS (
        SELECT id, min(type) AS type, sum(least) AS least, sum(most) AS most FROM (
            SELECT id, type, 1, 1 FROM heard WHERE NOT is_dead AND type IN (SELECT command FROM answer)
            UNION ALL -- what cannot be read is answered, too; so is what is dropped, and what is replayed is heard
            SELECT id, type, rejected, rejected + CASE WHEN outcome = 'replayed' AND NOT is_heard THEN 1 ELSE 0 END
            FROM put_aside CROSS JOIN LATERAL (SELECT CASE
                WHEN kind = 'poison' AND code NOT IN ('id-taken', 'unknown-type', 'wrong-topic') THEN 1
                WHEN kind = 'bug' AND outcome = 'dropped' THEN 1 ELSE 0 END
            ) AS answered (rejected)
            WHERE type IN (SELECT command FROM answer)
        ) AS record (id, type, least, most)
        GROUP BY id
    ), told AS (
        SELECT asked.id, count(*) AS times
        FROM asked JOIN said ON said.cause = asked.id
        JOIN answer ON answer.command = asked.type AND answer.answer = said.type
        GROUP BY asked.id
    )
    SELECT asked.type || ' ' || asked.id || ': ' || coalesce(told.times, 0) || ' answers'
    FROM asked LEFT JOIN told USING (id)
    WHERE coalesce(told.times, 0) NOT BETWEEN asked.least AND asked.most
    """,
)

SAID_ONCE = Check(
    "said-once",
    "What is published twice says the same twice: one event, one id",
    """
    SELECT min(record.topic) || ': ' || record.id || ' says something else than before'
    FROM record JOIN own USING (topic)
    GROUP BY record.source, record.id
    HAVING count(DISTINCT (record.topic, record.digest)) > 1
    """,
)

FROM_A_COMMITTED_ROW = Check(
    "from-a-committed-row",
    "Every record on a service's topics came from a committed row of its outbox",
    """
    WITH published AS (
        SELECT record.topic, record.partition, record.at, record.id, record.sequence,
            record.source = 'kello/' || current_setting('kello.service') AS is_ours
        FROM record JOIN own USING (topic)
        UNION ALL
        SELECT current_setting('kello.service') || '.dead-letters', letter_partition, letter_at, letter_id, sequence,
            letter_id <> ''
        FROM letter
    ), known AS (
        SELECT published.*, log.read_to, p.acknowledged_id, p.acknowledged_offset,
            published.partition = -1 OR published.at <= p.acknowledged_offset AS is_committed
        FROM published
        LEFT JOIN log USING (topic, partition)
        LEFT JOIN messaging.relay_position AS p USING (topic, partition)
    )
    SELECT topic || '/' || partition || '/' || at || ': ' || CASE
            WHEN NOT is_ours OR sequence IS NULL THEN 'was published by somebody else'
            WHEN is_committed THEN id || ' is ahead of its outbox' ELSE id || ' is of no row' END
    FROM known
    WHERE partition >= 0 AND (
        NOT is_ours OR sequence IS NULL OR (is_committed AND sequence > acknowledged_id)
        OR (is_committed IS NOT TRUE AND at < read_to AND NOT EXISTS (
            SELECT FROM known AS committed WHERE committed.id = known.id AND committed.is_committed
        ))
    )
    """,
)

VERSIONS_IN_ORDER = Check(
    "versions-in-order",
    "The versions of every subject run from 1 on, in the order of its topic",
    """
    SELECT topic || '/' || partition || '/' || at || ': ' || subject || ' has version '
        || coalesce(version::text, 'none') || ' and should have ' || n
    FROM (
        SELECT topic, partition, at, subject, version,
            row_number() OVER (PARTITION BY subject ORDER BY partition = -1, partition, at) AS n
        FROM said
        WHERE topic LIKE '%.events' AND type NOT LIKE '%.command-accepted' AND type NOT LIKE '%.command-rejected'
    ) AS numbered
    WHERE version IS DISTINCT FROM n
    """,
)

PUT_ASIDE_RIGHTLY = Check(
    "put-aside-rightly",
    "A dead letter is the record as it came, whole, with its reason, and there is one for it",
    """
    WITH placed AS (
        SELECT topic || '/' || partition || '/' || at AS place, * FROM letter
    )
    SELECT place || ' was put aside under ' || count(DISTINCT letter_id) || ' ids' FROM placed
    GROUP BY place HAVING count(DISTINCT letter_id) > 1
    UNION ALL
    SELECT DISTINCT l.place || ' is not what came in' FROM placed AS l JOIN record AS r USING (topic, partition, at)
    WHERE r.digest <> l.digest
    UNION ALL
    SELECT DISTINCT l.place || ' was put aside before it was read' FROM placed AS l
    LEFT JOIN messaging.consumer_offset AS o
        ON o.topic = l.topic AND o.partition = l.partition AND o.consumer_group = current_setting('kello.service')
    WHERE o.next_offset IS NULL OR l.at >= o.next_offset
    UNION ALL
    SELECT DISTINCT l.place || ' has no reason' FROM placed AS l WHERE reason = '' OR kind = '' OR code = ''
    """,
)

OFFSETS_WITHIN_THE_LOG = Check(
    "offsets-within-the-log",
    "No offset lies beyond its topic, and none is committed to Kafka before it had its effect",
    """
    SELECT o.topic || '/' || o.partition || ' holds ' || o.next_offset || ' of ' || coalesce(log.ends, 0)
    FROM messaging.consumer_offset AS o LEFT JOIN log USING (topic, partition)
    WHERE o.consumer_group = current_setting('kello.service') AND o.next_offset > coalesce(log.ends, 0)
        AND o.topic IN (SELECT topic FROM log) -- others were read by an older version of the service
    UNION ALL
    SELECT log.topic || '/' || log.partition || ' committed ' || log.committed || ' and holds '
        || coalesce(o.next_offset::text, 'nothing')
    FROM log LEFT JOIN messaging.consumer_offset AS o
        ON o.topic = log.topic AND o.partition = log.partition AND o.consumer_group = current_setting('kello.service')
    WHERE log.committed > coalesce(o.next_offset, 0)
    """,
)

NOTHING_STUCK = Check(
    "nothing-stuck",
    "No row of the outbox waits for an operator",
    """
    SELECT topic || ', outbox row ' || id || ': ' || reason FROM messaging.outbox_blocked
    """,
)

NOBODY_IS_NAMED = Check(
    "nobody-is-named",
    "Nobody's mail address or phone number stands in the reason of a dead letter",
    r"""
    SELECT DISTINCT topic || '/' || partition || '/' || at FROM letter
    WHERE reason ~ '[\w.+-]+@[\w-]+\.\w' OR reason ~ '\+[0-9]{7,15}'
    """,
)

NOTHING_LEFT = Check(
    "nothing-left",
    "Outboxes are empty, and every task is done",
    """
    SELECT topic || ', outbox row ' || id || ' is to be published' FROM messaging.outbox
    UNION ALL
    SELECT kind || ' ' || key || ' is ' || state FROM messaging.task
    WHERE state <> 'waiting' OR due_at <= messaging.kello_now() + interval '1 hour'
    """,
    at_rest=True,
)

OFFSETS_AT_THE_ENDS = Check(
    "offsets-at-the-ends",
    "The offsets in the database, and those committed to Kafka, are the ends of the topics",
    """
    SELECT log.topic || '/' || log.partition || ' holds ' || coalesce(o.next_offset, 0) || ', committed '
        || coalesce(log.committed, 0) || ' of ' || log.ends
    FROM log LEFT JOIN messaging.consumer_offset AS o
        ON o.topic = log.topic AND o.partition = log.partition AND o.consumer_group = current_setting('kello.service')
    WHERE log.is_read AND log.ends > 0
        AND (o.next_offset IS DISTINCT FROM log.ends OR log.committed IS DISTINCT FROM log.ends)
    """,
    at_rest=True,
)

CHECKS = (
    ANSWERED_ONCE,
    SAID_ONCE,
    FROM_A_COMMITTED_ROW,
    VERSIONS_IN_ORDER,
    PUT_ASIDE_RIGHTLY,
    OFFSETS_WITHIN_THE_LOG,
    NOTHING_STUCK,
    NOBODY_IS_NAMED,
    NOTHING_LEFT,
    OFFSETS_AT_THE_ENDS,
)
