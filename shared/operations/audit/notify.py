"""What must hold of what people are told."""

from shared.operations.audit.checks import Check

DECIDED_ONCE = Check(
    "decided-once",
    "Every cause led to exactly one decision, and no decision is without a cause",
    """
    WITH cause AS (
        SELECT source, id, NOT is_dead AND NOT EXISTS (
            SELECT FROM said WHERE said.cause = heard.id AND said.type = 'kello.notify.command-rejected'
        ) AS is_wanted, topic
        FROM heard
        WHERE type IN (
            'kello.billing.invoice-issued', 'kello.billing.payment-received', 'kello.billing.payment-failed',
            'kello.payroll.salary-paid', 'kello.payroll.salary-payment-failed', 'kello.customer.ticket-opened',
            'kello.customer.ticket-resolved', 'kello.customer.ticket-closed',
            'kello.notify.request-notification'
        )
    ), asked AS ( -- the same request may come again under another event id
        SELECT DISTINCT said->>'notification_id' AS id FROM heard WHERE type = 'kello.notify.request-notification'
    ), decided AS (
        SELECT cause_source AS source, cause_id AS id, count(*) AS times,
            bool_and(cause_type = 'kello.notify.request-notification') AS is_request
        FROM notification GROUP BY cause_source, cause_id
    )
    SELECT source || ' ' || id || ' led to ' || coalesce(decided.times, 0) || ' decisions'
    FROM cause FULL JOIN decided USING (source, id)
    WHERE (cause.is_wanted AND cause.topic <> 'notify.commands' AND decided.times IS DISTINCT FROM 1)
        OR decided.times > 1
        OR (cause.id IS NULL AND (NOT decided.is_request OR EXISTS (
            SELECT FROM whole WHERE topic = 'notify.commands'
        )))
    UNION ALL
    SELECT 'request ' || (said->>'notification_id') || ' led to no decision' FROM heard
    WHERE type = 'kello.notify.request-notification' AND NOT is_dead AND NOT EXISTS (
        SELECT FROM said WHERE said.cause = heard.id AND said.type = 'kello.notify.command-rejected'
    ) AND NOT EXISTS (SELECT FROM notification WHERE id::text = heard.said->>'notification_id')
    """,
)

ENDED_ONCE = Check(
    "ended-once",
    "What was decided was told once: sent, suppressed or failed, and nothing while it is open",
    """
    WITH told AS (
        SELECT said->>'notification_id' AS id,
            count(*) FILTER (WHERE type = 'kello.notify.notification-sent') AS sent,
            count(*) FILTER (WHERE type = 'kello.notify.notification-suppressed') AS suppressed,
            count(*) FILTER (WHERE type = 'kello.notify.notification-failed') AS failed,
            min(said->>'message_id') AS message_id
        FROM said WHERE subject LIKE 'notification/%' GROUP BY said->>'notification_id'
    )
    SELECT 'notification ' || coalesce(n.id::text, told.id) || ' is ' || coalesce(n.state, 'not there') || ', told '
        || coalesce(told.sent, 0) || ' sent, ' || coalesce(told.suppressed, 0) || ' suppressed, '
        || coalesce(told.failed, 0) || ' failed'
    FROM notification AS n FULL JOIN told ON told.id = n.id::text
    WHERE n.id IS NULL
        OR coalesce(told.sent, 0) <> (n.state = 'sent')::integer
        OR coalesce(told.suppressed, 0) <> (n.state = 'suppressed')::integer
        OR coalesce(told.failed, 0) <> (n.state = 'failed')::integer
        OR (n.state = 'sent' AND n.message_id IS DISTINCT FROM told.message_id)
    """,
)

MESSAGES_DISTINCT = Check(
    "messages-distinct",
    "No message was told twice: each one that was sent has an id of its own",
    """
    SELECT 'message ' || message_id || ' of ' || count(*) || ' notifications'
    FROM notification WHERE state = 'sent' GROUP BY channel, message_id HAVING count(*) > 1
    """,
)

UNDER_WAY = Check(
    "under-way",
    "Every notification that is open has the task that settles it, and no other has one",
    """
    SELECT 'notification ' || coalesce(n.id::text, t.id) || CASE
            WHEN t.id IS NULL THEN ' is ' || n.state || ' and nobody asks' ELSE ' is settled and has a task' END
    FROM (SELECT id, state FROM notification WHERE state IN ('deferred', 'sending', 'unknown')) AS n
    FULL JOIN (
        SELECT DISTINCT split_part(key, '.', 1) AS id FROM messaging.task
        WHERE kind IN ('send-email', 'send-sms', 'recipient-unknown')
    ) AS t ON t.id = n.id::text
    WHERE t.id IS NULL OR (n.id IS NULL AND NOT EXISTS (
        SELECT FROM notification AS forgotten WHERE forgotten.id::text = t.id AND forgotten.reason = 'erased'
    ))
    """,
)

DECISIONS_RECORDED = Check(
    "decisions-recorded",
    "Every notification has its whole decision record: as many steps as it counts, in order",
    """
    SELECT 'notification ' || n.id FROM notification AS n LEFT JOIN (
        SELECT notification_id, count(*) AS steps, max(n) AS last FROM step GROUP BY notification_id
    ) AS s ON s.notification_id = n.id
    WHERE n.steps <> coalesce(s.steps, 0) OR n.steps <> coalesce(s.last, 0)
    UNION ALL
    SELECT 'step of nothing ' || notification_id FROM step
    WHERE NOT EXISTS (SELECT FROM notification AS n WHERE n.id = step.notification_id)
    """,
)

AS_MANY_EVENTS = Check(
    "as-many-events",
    "Notifications have as many events as their versions say",
    """
    WITH told AS (
        SELECT subject, count(*) AS version FROM said WHERE subject LIKE 'notification/%' GROUP BY subject
    ), kept AS (
        SELECT 'notification/' || id AS subject, version FROM notification WHERE version > 0
    )
    SELECT subject || ' has version ' || coalesce(kept.version, 0) || ' and ' || coalesce(told.version, 0) || ' events'
    FROM kept FULL JOIN told USING (subject) WHERE kept.version IS DISTINCT FROM told.version
    """,
)

RECIPIENTS_COPIED = Check(
    "recipients-copied",
    "The copy of each recipient is what was last heard of the person, and of one who was erased nothing is left",
    """
    WITH told AS (
        SELECT DISTINCT ON (key) key AS id, version, said, topic = 'hr.events' AS is_employee,
            type = 'kello.customer.profile-erased' AS is_erased
        FROM heard
        WHERE topic IN ('customer.profiles', 'hr.events') AND NOT is_dead
        ORDER BY key, version DESC, is_erased DESC
    ), profile AS (
        SELECT id, said->>'name' AS name, said->>'locale' AS locale, said->'preferred_channels' AS preferred,
            pg_temp.addresses(said->'contact_points') AS addresses
        FROM told WHERE NOT is_employee AND NOT is_erased
    ), kept AS (
        SELECT id::text AS id, status, source_version, name, locale, preferred,
            pg_temp.addresses(addresses) AS addresses,
            addresses = '[]' AND name = '' AND consents = '{}' AND bounces = '[]' AS is_empty
        FROM recipient
    )
    SELECT 'recipient ' || id FROM told LEFT JOIN kept USING (id) LEFT JOIN profile USING (id)
    WHERE kept.source_version IS DISTINCT FROM told.version
        OR (told.is_erased AND (kept.status <> 'erased' OR NOT kept.is_empty))
        OR (profile.id IS NOT NULL AND (
            (kept.name, kept.locale, kept.preferred, kept.addresses) IS DISTINCT FROM
                (profile.name, profile.locale, profile.preferred, profile.addresses)
        ))
    UNION ALL
    SELECT 'recipient ' || r.id FROM recipient AS r
    WHERE r.source_version > 0 AND r.status <> 'erased' AND NOT EXISTS (SELECT FROM record WHERE key = r.id::text)
        AND (r.kind = 'customer' OR EXISTS (SELECT FROM whole WHERE topic = 'hr.events'))
    """,
)

FORGOTTEN = Check(
    "forgotten",
    "Of somebody who was erased no text is kept, and of what is settled no personal data",
    """
    SELECT 'letter ' || l.notification_id FROM public.letter AS l JOIN recipient AS r ON r.id = l.recipient_id
    WHERE r.status = 'erased'
    UNION ALL
    SELECT 'notification ' || id FROM notification
    WHERE state IN ('sent', 'suppressed', 'failed') AND tried <> '[]'
    """,
)

NOBODY_BY_NAME = Check(
    "nobody-by-name",
    "No recipient's name stands in the reason of a dead letter",
    "SELECT DISTINCT place FROM phrase WHERE phrase IN (SELECT name FROM recipient WHERE name <> '')",
)

ALL_SETTLED = Check(
    "all-settled",
    "No notification is under way",
    "SELECT 'notification ' || id || ' is still ' || state FROM notification WHERE state IN ('sending', 'unknown')",
    at_rest=True,
)

CHECKS = (
    DECIDED_ONCE,
    ENDED_ONCE,
    MESSAGES_DISTINCT,
    UNDER_WAY,
    DECISIONS_RECORDED,
    AS_MANY_EVENTS,
    RECIPIENTS_COPIED,
    FORGOTTEN,
    NOBODY_BY_NAME,
    ALL_SETTLED,
)
