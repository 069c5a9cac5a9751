"""What must hold of customers, and of what care keeps of everybody else's data."""

from shared.operations.audit.checks import Check

PROFILES_PUBLISHED = Check(
    "profiles-published",
    "The profile last published of each customer is the customer",
    """
    WITH told AS (
        SELECT DISTINCT ON (key) key AS id, version, said FROM said
        WHERE topic = 'customer.profiles' ORDER BY key, version DESC
    ), profile AS (
        SELECT id, version, said->>'name' AS name, said->>'locale' AS locale, said->>'status' AS status,
            said->'preferred_channels' AS preferred, pg_temp.addresses(said->'contact_points') AS addresses,
            (SELECT jsonb_agg(tag ORDER BY tag) FROM jsonb_array_elements_text(said->'tags') AS tag) AS tags
        FROM told
    ), kept AS (
        SELECT c.id::text AS id, c.version, c.name, c.locale, c.status, c.preferred_channels AS preferred,
            pg_temp.addresses(p.points) AS addresses, t.tags
        FROM customer AS c LEFT JOIN (
            SELECT customer_id, jsonb_agg(to_jsonb(contact_point)) AS points
            FROM contact_point WHERE removed_at IS NULL GROUP BY customer_id
        ) AS p ON p.customer_id = c.id LEFT JOIN (
            SELECT customer_id, jsonb_agg(tag ORDER BY tag) AS tags
            FROM customer_tag WHERE untagged_at IS NULL GROUP BY customer_id
        ) AS t ON t.customer_id = c.id
    )
    SELECT 'customer ' || id FROM profile AS p FULL JOIN kept AS k USING (id)
    WHERE (p.version, p.name, p.locale, p.status, p.preferred, p.addresses, p.tags)
        IS DISTINCT FROM (k.version, k.name, k.locale, k.status, k.preferred, k.addresses, k.tags)
    """,
)

AS_MANY_EVENTS = Check(
    "as-many-events",
    "Customers, tickets, points and segments have as many events as their versions say",
    """
    WITH kept AS (
        SELECT 'customer/' || id AS subject, version FROM customer
        UNION ALL SELECT 'ticket/' || id, version FROM ticket
        UNION ALL SELECT 'loyalty/' || customer_id, version FROM loyalty_account
        UNION ALL SELECT 'segment/' || customer_id || '/' || segment, version FROM segment_membership
        UNION ALL SELECT 'note/' || id, 1 FROM note
        UNION ALL SELECT 'interaction/' || id, 1 FROM interaction
        UNION ALL SELECT 'feedback/' || id, 1 FROM feedback
    ), told AS (
        SELECT subject, count(*) AS version FROM said
        WHERE topic = 'customer.events' AND subject NOT LIKE 'command/%' GROUP BY subject
    )
    SELECT subject || ' has version ' || coalesce(kept.version, 0) || ' and ' || coalesce(told.version, 0) || ' events'
    FROM kept FULL JOIN told USING (subject) WHERE kept.version IS DISTINCT FROM told.version
    """,
)

BALANCES_COPIED = Check(
    "balances-copied",
    "The balances that care shows are what billing said last",
    """
    WITH told AS (
        SELECT DISTINCT ON (said->>'account_id') said->>'account_id' AS id,
            version, concat_ws(' ', key, said->>'currency', said->>'outstanding', said->>'credit') AS balance
        FROM heard WHERE type = 'kello.billing.account-balance-changed' AND NOT is_dead
        ORDER BY said->>'account_id', version DESC
    ), kept AS (
        SELECT account_id::text AS id, source_version AS version,
            concat_ws(' ', customer_id, currency, outstanding, credit) AS balance
        FROM account_balance
    )
    SELECT 'account ' || id FROM told FULL JOIN kept USING (id)
    WHERE (told.id IS NOT NULL AND (told.version, told.balance) IS DISTINCT FROM (kept.version, kept.balance))
        OR (told.id IS NULL AND EXISTS (SELECT FROM whole WHERE topic = 'billing.events'))
    """,
)

HISTORIES_COPIED = Check(
    "histories-copied",
    "Each timeline holds every purchase, booking, invoice, payment and message that was heard of, and nothing else",
    """
    WITH told AS (
        SELECT kind, key AS party_id, coalesce(
                said->>'notification_id', said->>'payment_id', said->>'invoice_id', said->>'purchase_id',
                said->>'booking_id'
            ) AS reference,
            max(version) FILTER (WHERE NOT is_dead) AS version
        FROM heard JOIN (VALUES
            ('kello.sales.purchase-recorded', 'purchase'), ('kello.sales.booking-confirmed', 'booking'),
            ('kello.billing.invoice-issued', 'invoice-issued'), ('kello.billing.invoice-paid', 'invoice-paid'),
            ('kello.billing.payment-received', 'payment-received'),
            ('kello.billing.payment-failed', 'payment-failed'),
            ('kello.notify.notification-sent', 'notification'),
            ('kello.notify.notification-failed', 'notification'),
            ('kello.notify.notification-suppressed', 'notification'),
            ('kello.notify.notification-unknown', 'notification')
        ) AS entry (type, kind) USING (type)
        GROUP BY 1, 2, 3
    ), kept AS (
        SELECT kind, party_id::text AS party_id, reference::text AS reference, source_version AS version, source
        FROM timeline
    )
    SELECT kind || ' ' || reference || ' of ' || party_id FROM told FULL JOIN kept USING (kind, party_id, reference)
    WHERE (told.version IS NOT NULL AND kept.version IS DISTINCT FROM told.version)
        OR (told.reference IS NULL AND kept.source IN (SELECT topic FROM whole))
    """,
)

SALARIES_COPIED = Check(
    "salaries-copied",
    "What care sees of salaries is what payroll said last",
    """
    WITH told AS (
        SELECT DISTINCT ON (said->>'payslip_id') said->>'payslip_id' AS id, version, concat_ws(
                ' ', said->>'net', CASE type
                    WHEN 'kello.payroll.payslip-calculated' THEN 'calculated'
                    WHEN 'kello.payroll.salary-paid' THEN 'paid'
                    WHEN 'kello.payroll.salary-payment-failed' THEN 'failed' ELSE 'unknown' END,
                said->>'payment_reference'
            ) AS salary
        FROM heard
        WHERE topic = 'payroll.events' AND NOT is_dead
        ORDER BY said->>'payslip_id', version DESC
    ), kept AS (
        SELECT payslip_id::text AS id, source_version AS version,
            concat_ws(' ', net, status, payment_reference) AS salary
        FROM salary_payment
    )
    SELECT 'payslip ' || id FROM told FULL JOIN kept USING (id)
    WHERE (told.id IS NOT NULL AND (told.version, told.salary) IS DISTINCT FROM (kept.version, kept.salary))
        OR (told.id IS NULL AND EXISTS (SELECT FROM whole WHERE topic = 'payroll.events'))
    """,
)

TICKETS_FOR_SALARIES = Check(
    "tickets-for-salaries",
    "Each salary that failed has a ticket that heard of it, and of one that was paid none is open",
    """
    SELECT 'payslip ' || s.payslip_id || ' is ' || s.status || ' and its ticket is ' || coalesce(t.status, 'not there')
    FROM salary_payment AS s LEFT JOIN ticket AS t ON t.payslip_id = s.payslip_id
    WHERE (s.status = 'failed' AND (t.id IS NULL OR t.payslip_version <> s.source_version))
        OR (s.status = 'paid' AND t.status <> 'closed' AND t.payslip_version < s.source_version)
    """,
)

POINTS_ADD_UP = Check(
    "points-add-up",
    "Loyalty points are the sum of their history, and every entry of it is of a payment that was heard of",
    """
    SELECT 'points of ' || a.customer_id FROM loyalty_account AS a
    LEFT JOIN loyalty_entry AS e ON e.customer_id = a.customer_id AND e.version IS NOT NULL
    GROUP BY a.customer_id HAVING a.points <> coalesce(sum(e.points), 0) OR a.version <> count(e.version)
    UNION ALL
    SELECT 'points for payment ' || e.payment_id FROM loyalty_entry AS e
    WHERE EXISTS (SELECT FROM whole WHERE topic = 'billing.events') AND NOT EXISTS (
        SELECT FROM heard WHERE type = 'kello.billing.payment-received' AND said->>'payment_id' = e.payment_id::text
    )
    """,
)

PAID_TOTALS = Check(
    "paid-totals",
    "What a customer has paid is the sum of the payments that were heard of",
    """
    WITH told AS (
        SELECT key AS customer_id, said->>'currency' AS currency,
            sum((said->>'amount')::numeric) AS most, sum((said->>'amount')::numeric) FILTER (WHERE NOT is_dead) AS least
        FROM (
            SELECT DISTINCT ON (said->>'payment_id') key, said, is_dead FROM heard
            WHERE type = 'kello.billing.payment-received' ORDER BY said->>'payment_id', is_dead
        ) AS payment
        GROUP BY key, said->>'currency'
    ), kept AS (
        SELECT customer_id::text AS customer_id, currency, amount FROM paid_total
    )
    SELECT 'paid by ' || customer_id || ' in ' || currency FROM told FULL JOIN kept USING (customer_id, currency)
    WHERE (told.customer_id IS NOT NULL AND coalesce(kept.amount, 0) NOT BETWEEN coalesce(told.least, 0) AND told.most)
        OR (told.customer_id IS NULL AND EXISTS (SELECT FROM whole WHERE topic = 'billing.events'))
    """,
)

NOBODY_BY_NAME = Check(
    "nobody-by-name",
    "No customer's name stands in the reason of a dead letter",
    "SELECT DISTINCT place FROM phrase WHERE phrase IN (SELECT name FROM customer)",
)

SALARIES_SETTLED = Check(
    "salaries-settled",
    "Each salary that failed has an open ticket, and none that was paid",
    """
    SELECT 'payslip ' || s.payslip_id FROM salary_payment AS s LEFT JOIN ticket AS t ON t.payslip_id = s.payslip_id
    WHERE (s.status = 'failed' AND t.status IS DISTINCT FROM 'open')
        OR (s.status = 'paid' AND t.status IN ('open', 'resolved'))
    """,
    at_rest=True,
)

CHECKS = (
    PROFILES_PUBLISHED,
    AS_MANY_EVENTS,
    BALANCES_COPIED,
    HISTORIES_COPIED,
    SALARIES_COPIED,
    TICKETS_FOR_SALARIES,
    POINTS_ADD_UP,
    PAID_TOTALS,
    NOBODY_BY_NAME,
    SALARIES_SETTLED,
)
