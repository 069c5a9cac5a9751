"""What must hold of money that customers owe and pay."""

from shared.operations.audit.checks import Check

BILLED_ONCE = Check(
    "billed-once",
    "Every purchase, booking and request has exactly one invoice, or a draft of a customer nobody knows yet",
    """
    WITH asked AS (
        SELECT kind, id, bool_or(is_wanted) AS is_wanted FROM (
            SELECT 'purchase', said->>'purchase_id', NOT is_dead FROM heard
            WHERE type = 'kello.sales.purchase-recorded'
            UNION ALL
            SELECT 'booking', said->>'booking_id', NOT is_dead FROM heard
            WHERE type = 'kello.sales.booking-confirmed'
            UNION ALL
            SELECT 'command', said->>'invoice_id', NOT is_dead AND NOT EXISTS (
                SELECT FROM said WHERE said.cause = heard.id AND said.type = 'kello.billing.command-rejected'
            )
            FROM heard WHERE type = 'kello.billing.issue-invoice'
        ) AS bought (kind, id, is_wanted)
        WHERE id IS NOT NULL
        GROUP BY kind, id
    ), billed AS (
        SELECT cause_kind AS kind, cause_id::text AS id, count(*) AS invoices FROM invoice GROUP BY cause_kind, cause_id
    )
    SELECT kind || ' ' || id || ' has ' || coalesce(billed.invoices, 0) || ' invoices'
    FROM asked FULL JOIN billed USING (kind, id)
    WHERE (asked.is_wanted AND billed.invoices IS DISTINCT FROM 1)
        OR (asked.id IS NULL AND EXISTS (
            SELECT FROM whole WHERE topic = CASE kind WHEN 'command' THEN 'billing.commands' ELSE 'sales.events' END
        ))
    """,
)

INVOICES_TOLD_ONCE = Check(
    "invoices-told-once",
    "Every invoice that is issued was told once, as it is kept; and once more when it was paid",
    """
    WITH told AS (
        SELECT said->>'invoice_id' AS id,
            count(*) FILTER (WHERE type LIKE '%.invoice-issued') AS issued,
            count(*) FILTER (WHERE type LIKE '%.invoice-paid') AS paid,
            min(key) AS customer_id,
            min(said->>'number') AS number,
            min(concat_ws(' ', said->>'net', said->>'tax', said->>'total', said->>'currency')) FILTER
                (WHERE type LIKE '%.invoice-issued') AS amounts
        FROM said
        WHERE type IN (
            'kello.billing.invoice-issued', 'kello.billing.invoice-paid', 'kello.billing.invoice-drafted'
        )
        GROUP BY said->>'invoice_id'
    ), kept AS (
        SELECT id::text AS id, status, customer_id::text AS customer_id, printed,
            concat_ws(' ', net, tax, total, currency) AS amounts
        FROM invoice
    )
    SELECT 'invoice ' || id || ' is ' || coalesce(kept.status, 'not there') || ', told ' || coalesce(told.issued, 0)
        || ' times issued and ' || coalesce(told.paid, 0) || ' times paid'
    FROM kept FULL JOIN told USING (id)
    WHERE kept.status IS NULL OR told.issued IS NULL
        OR told.issued <> (kept.status <> 'draft')::integer
        OR told.paid <> (kept.status = 'paid')::integer
        OR kept.customer_id <> told.customer_id
        OR (kept.status <> 'draft' AND (kept.amounts, kept.printed) IS DISTINCT FROM (told.amounts, told.number))
    """,
)

LINES_SUM_UP = Check(
    "lines-sum-up",
    "Every invoice is the sum of its lines and their tax",
    """
    SELECT 'invoice ' || i.id FROM invoice AS i CROSS JOIN LATERAL (
        SELECT sum((l->>'net')::bigint) AS net, sum((l->>'tax')::bigint) AS tax, sum((l->>'gross')::bigint) AS gross
        FROM json_array_elements(i.lines::json) AS l
    ) AS line
    WHERE (i.net, i.tax, i.total) IS DISTINCT FROM (line.net, line.tax, line.gross) OR i.total <> i.net + i.tax
    """,
)

NUMBERS_GAPLESS = Check(
    "numbers-gapless",
    "Invoice numbers are gapless in every series",
    """
    SELECT 'series ' || legal_entity || '/' || year || '/' || lane FROM number_series AS s
    FULL JOIN (SELECT legal_entity, year, lane, number FROM invoice WHERE number IS NOT NULL) AS i
        USING (legal_entity, year, lane)
    GROUP BY legal_entity, year, lane, s.next_number
    HAVING count(i.number) IS DISTINCT FROM s.next_number - 1 OR min(i.number) <> 1
        OR max(i.number) <> s.next_number - 1 OR count(DISTINCT i.number) <> count(*)
    """,
)

SETTLED_OR_OWED = Check(
    "settled-or-owed",
    "Invoices = payments + credit used + outstanding, for every account",
    """
    WITH billed AS (
        SELECT account_id, sum(total) AS total, sum(paid) AS paid FROM invoice WHERE status <> 'draft'
        GROUP BY account_id
    ), allocated AS (
        SELECT e.account_id, sum(a.amount) AS amount,
            sum(a.amount) FILTER (WHERE a.payment_id IS NULL) AS from_credit
        FROM allocation AS a JOIN ledger_entry AS e ON e.id = a.entry_id GROUP BY e.account_id
    ), received AS (
        SELECT account_id, sum(credit) AS credit FROM payment WHERE state = 'received' GROUP BY account_id
    )
    SELECT 'account ' || account.id FROM account
    LEFT JOIN billed ON billed.account_id = account.id
    LEFT JOIN allocated ON allocated.account_id = account.id
    LEFT JOIN received ON received.account_id = account.id
    WHERE coalesce(billed.total, 0) <> coalesce(allocated.amount, 0) + account.outstanding
        OR coalesce(billed.paid, 0) <> coalesce(allocated.amount, 0)
        OR coalesce(received.credit, 0) <> coalesce(allocated.from_credit, 0) + account.credit
    """,
)

LEDGER_BALANCES = Check(
    "ledger-balances",
    "The ledger balances in every entry and currency, and says what the accounts say",
    """
    SELECT 'entry ' || entry_id FROM ledger_posting GROUP BY entry_id HAVING sum(amount) <> 0
    UNION ALL
    SELECT 'currency ' || e.currency FROM ledger_entry AS e JOIN ledger_posting AS p ON p.entry_id = e.id
    GROUP BY e.currency HAVING sum(p.amount) <> 0
    UNION ALL
    SELECT 'account ' || a.id FROM account AS a LEFT JOIN (
        SELECT e.account_id, sum(p.amount) FILTER (WHERE p.ledger_account = 'receivable') AS owed,
            -sum(p.amount) FILTER (WHERE p.ledger_account = 'customer_credit') AS credit
        FROM ledger_entry AS e JOIN ledger_posting AS p ON p.entry_id = e.id GROUP BY e.account_id
    ) AS booked ON booked.account_id = a.id
    WHERE (coalesce(booked.owed, 0), coalesce(booked.credit, 0)) IS DISTINCT FROM (a.outstanding, a.credit)
    """,
)

LEDGER_ONLY_GROWS = Check(
    "ledger-only-grows",
    "UPDATE and DELETE on the ledger are refused",
    """
    SELECT relation || ' can be changed' FROM (
        SELECT oid AS id, relname::text AS relation, relkind FROM pg_class
        WHERE oid IN ('ledger_entry'::regclass, 'ledger_posting'::regclass, 'allocation'::regclass)
    ) AS ledger
    WHERE has_table_privilege('billing', id, 'UPDATE, DELETE, TRUNCATE') OR (relkind = 'r' AND NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = id AND tgname = 'append_only' AND tgenabled IN ('O', 'A')
    ))
    """,
)

PAYMENTS_ADD_UP = Check(
    "payments-add-up",
    "Every payment received is its allocations and its credit, and was told once; one that failed, once, too",
    """
    WITH told AS (
        SELECT said->>'payment_id' AS id,
            count(*) FILTER (WHERE type LIKE '%.payment-received') AS received,
            count(*) FILTER (WHERE type LIKE '%.payment-failed') AS failed,
            min(said->>'amount') AS amount, max(said->>'amount') AS amount_last,
            min(said->>'credit') AS credit
        FROM said
        WHERE type IN (
            'kello.billing.payment-received', 'kello.billing.payment-failed', 'kello.billing.payment-unknown'
        )
        GROUP BY said->>'payment_id'
    ), kept AS (
        SELECT p.id::text AS id, p.state, p.amount, p.credit, coalesce(a.allocated, 0) AS allocated
        FROM payment AS p LEFT JOIN (
            SELECT payment_id, sum(amount) AS allocated FROM allocation GROUP BY payment_id
        ) AS a ON a.payment_id = p.id
    )
    SELECT 'payment ' || id || ' is ' || coalesce(kept.state, 'not there') || ', told ' || coalesce(told.received, 0)
        || ' times received and ' || coalesce(told.failed, 0) || ' times failed'
    FROM kept FULL JOIN told USING (id)
    WHERE kept.id IS NULL
        OR coalesce(told.received, 0) <> (kept.state = 'received')::integer
        OR coalesce(told.failed, 0) <> (kept.state = 'failed')::integer
        OR (told.id IS NOT NULL AND (told.amount, told.amount_last) <> (kept.amount::text, kept.amount::text))
        OR (kept.state = 'received' AND
            (kept.amount <> kept.credit + kept.allocated OR told.credit IS DISTINCT FROM kept.credit::text))
        OR (kept.state <> 'received' AND kept.allocated <> 0)
    """,
)

TRANSFERS_KEPT = Check(
    "transfers-kept",
    "Every transfer that was told of is a payment of that amount, and every such payment was told of",
    """
    WITH told AS (
        SELECT said->>'payment_id' AS id, bool_or(NOT is_dead AND rejected.cause IS NULL) AS is_wanted,
            min(said->>'amount') FILTER (WHERE NOT is_dead AND rejected.cause IS NULL) AS amount
        FROM heard LEFT JOIN (
            SELECT DISTINCT cause FROM said WHERE type = 'kello.billing.command-rejected'
        ) AS rejected ON rejected.cause = heard.id
        WHERE type = 'kello.billing.record-payment' AND said ? 'payment_id'
        GROUP BY said->>'payment_id'
    ), kept AS (
        SELECT id::text AS id, amount::text AS amount FROM payment WHERE method = 'transfer'
    )
    SELECT 'payment ' || id FROM told FULL JOIN kept USING (id)
    WHERE (told.is_wanted AND kept.amount IS DISTINCT FROM told.amount)
        OR (told.id IS NULL AND EXISTS (SELECT FROM whole WHERE topic = 'billing.commands'))
    """,
)

PAYMENTS_UNDER_WAY = Check(
    "payments-under-way",
    "Every payment whose outcome is open has the task that settles it, and no other has one",
    """
    SELECT 'payment ' || coalesce(p.id::text, t.key) || CASE
            WHEN t.key IS NULL THEN ' is ' || p.state || ' and nobody asks' ELSE ' is settled and has a task' END
    FROM (SELECT id, state FROM payment WHERE state IN ('pending', 'unknown')) AS p
    FULL JOIN (SELECT key FROM messaging.task WHERE kind = 'capture-payment') AS t ON t.key = p.id::text
    WHERE p.id IS NULL OR t.key IS NULL
    """,
)

BALANCES_TOLD = Check(
    "balances-told",
    "The balance last told of each account is the account's own",
    """
    WITH told AS (
        SELECT DISTINCT ON (said->>'account_id') said->>'account_id' AS id,
            concat_ws(' ', key, said->>'currency', said->>'outstanding', said->>'credit') AS balance
        FROM said WHERE type = 'kello.billing.account-balance-changed'
        ORDER BY said->>'account_id', version DESC
    ), kept AS (
        SELECT id::text AS id, concat_ws(' ', customer_id, currency, outstanding, credit) AS balance
        FROM account WHERE version > 1
    )
    SELECT 'account ' || id FROM told FULL JOIN kept USING (id) WHERE told.balance IS DISTINCT FROM kept.balance
    """,
)

AS_MANY_EVENTS = Check(
    "as-many-events",
    "Accounts, invoices and payments have as many events as their versions say",
    """
    WITH kept AS (
        SELECT 'account/' || id AS subject, version FROM account
        UNION ALL SELECT 'invoice/' || id, version FROM invoice
        UNION ALL SELECT 'payment/' || id, version FROM payment WHERE version > 0
    ), told AS (
        SELECT subject, count(*) AS version FROM said WHERE subject ~ '^(account|invoice|payment)/' GROUP BY subject
    )
    SELECT subject || ' has version ' || coalesce(kept.version, 0) || ' and ' || coalesce(told.version, 0) || ' events'
    FROM kept FULL JOIN told USING (subject) WHERE kept.version IS DISTINCT FROM told.version
    """,
)

PROFILES_COPIED = Check(
    "profiles-copied",
    "The copy of each customer is the profile last heard, and of one who was erased nothing is left",
    """
    WITH told AS (
        SELECT DISTINCT ON (key) key AS id, version, said->>'name' AS name, said->>'tax_id' AS tax_id,
            type = 'kello.customer.profile-erased' AS is_erased
        FROM heard WHERE topic = 'customer.profiles' AND NOT is_dead
        ORDER BY key, version DESC, is_erased DESC
    )
    SELECT 'customer ' || coalesce(told.id, c.id::text)
    FROM told FULL JOIN (SELECT * FROM customer WHERE source_version > 0) AS c ON c.id::text = told.id
    WHERE (told.id IS NOT NULL AND (
            (c.source_version, c.status) IS DISTINCT FROM
                (told.version, CASE WHEN told.is_erased THEN 'erased' ELSE 'known' END)
            OR (c.bill_to->>'name', c.bill_to->>'tax_id') IS DISTINCT FROM (told.name, told.tax_id)
        ))
        OR (told.id IS NULL AND c.status = 'known' AND NOT EXISTS (
            SELECT FROM record WHERE topic = 'customer.profiles' AND key = c.id::text
        ))
    """,
)

NOBODY_BY_NAME = Check(
    "nobody-by-name",
    "No customer's name stands in the reason of a dead letter",
    """
    SELECT DISTINCT place FROM phrase WHERE phrase IN (SELECT bill_to->>'name' FROM customer)
    """,
)

ALL_SETTLED = Check(
    "all-settled",
    "No payment's outcome is open",
    "SELECT 'payment ' || id || ' is still ' || state FROM payment WHERE state IN ('pending', 'unknown')",
    at_rest=True,
)

CHECKS = (
    BILLED_ONCE,
    INVOICES_TOLD_ONCE,
    LINES_SUM_UP,
    NUMBERS_GAPLESS,
    SETTLED_OR_OWED,
    LEDGER_BALANCES,
    LEDGER_ONLY_GROWS,
    PAYMENTS_ADD_UP,
    TRANSFERS_KEPT,
    PAYMENTS_UNDER_WAY,
    BALANCES_TOLD,
    AS_MANY_EVENTS,
    PROFILES_COPIED,
    NOBODY_BY_NAME,
    ALL_SETTLED,
)
