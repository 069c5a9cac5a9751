"""What could go wrong in a service's database, behind everybody's back, and which check of the audit must name it.

Each takes a row of its own, so that all of them stand in a database at once; each returns the word that is to be named.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Break: TypeAlias = tuple[str, str]
"""The name of a check, and what breaks its promise: statements, of which the last returns something."""

BILLING: Sequence[Break] = (
    (
        "billed-once",
        """
        DELETE FROM invoice WHERE id = (SELECT id FROM invoice WHERE status = 'issued' ORDER BY id LIMIT 1)
        RETURNING cause_id
        """,
    ),
    (
        "invoices-told-once",
        """
        UPDATE invoice SET printed = 'another'
        WHERE id = (SELECT id FROM invoice WHERE status = 'paid' ORDER BY id LIMIT 1) RETURNING id
        """,
    ),
    (
        "lines-sum-up",
        """
        UPDATE invoice SET net = net + 1, total = total + 1
        WHERE id = (SELECT id FROM invoice WHERE status = 'issued' ORDER BY id DESC LIMIT 1) RETURNING id
        """,
    ),
    (
        "numbers-gapless",
        "UPDATE number_series SET next_number = next_number + 1 RETURNING legal_entity || '/' || year || '/' || lane",
    ),
    (
        "settled-or-owed",
        "UPDATE account SET credit = credit + 1 WHERE id = (SELECT id FROM account ORDER BY id LIMIT 1) RETURNING id",
    ),
    (
        "balances-told",
        """
        UPDATE account SET currency = 'XXX' WHERE id = (SELECT id FROM account ORDER BY id OFFSET 1 LIMIT 1)
        RETURNING id
        """,
    ),
    (
        "ledger-balances",
        """
        ALTER TABLE ledger_entry DROP CONSTRAINT ledger_entry_balances;
        UPDATE ledger_entry SET revenue = revenue + 1
        WHERE id = (SELECT id FROM ledger_entry WHERE kind = 'invoice' ORDER BY id LIMIT 1) RETURNING 'entry ' || id
        """,
    ),
    ("ledger-only-grows", "ALTER TABLE allocation DISABLE TRIGGER append_only"),
    (
        "payments-add-up",
        """
        UPDATE payment SET amount = amount + 1
        WHERE id = (SELECT id FROM payment WHERE state = 'received' ORDER BY id LIMIT 1) RETURNING id
        """,
    ),
    (
        "transfers-kept",
        """
        UPDATE payment SET method = 'transfer'
        WHERE id = (SELECT id FROM payment WHERE method = 'gateway' AND state = 'failed' LIMIT 1) RETURNING id
        """,
    ),
    (
        "payments-under-way",
        """
        INSERT INTO messaging.task (kind, key, root, payload, due_at, cause_source, cause_id, correlation_id)
        VALUES ('capture-payment', 'nobodys', 'x', '', 'infinity', 'x', 'x', 'x') RETURNING key
        """,
    ),
    (
        "all-settled",
        """
        UPDATE payment SET state = 'pending', received_on = NULL
        WHERE id = (SELECT id FROM payment WHERE state = 'received' ORDER BY id DESC LIMIT 1) RETURNING id
        """,
    ),
    (
        "as-many-events",
        """
        UPDATE invoice SET version = version + 1
        WHERE id = (SELECT id FROM invoice WHERE status = 'paid' ORDER BY id DESC LIMIT 1)
        RETURNING 'invoice/' || id
        """,
    ),
    (
        "profiles-copied",
        """
        UPDATE customer SET bill_to = jsonb_set(bill_to, '{name}', '"Nobody"')
        WHERE id = (SELECT id FROM customer WHERE status = 'known' ORDER BY id LIMIT 1) RETURNING id
        """,
    ),
)

CUSTOMER: Sequence[Break] = (
    (
        "profiles-published",
        "UPDATE customer SET name = 'Nobody' WHERE id = (SELECT id FROM customer ORDER BY id LIMIT 1) RETURNING id",
    ),
    (
        "as-many-events",
        """
        UPDATE ticket SET version = version + 1 WHERE id = (SELECT id FROM ticket ORDER BY id LIMIT 1)
        RETURNING 'ticket/' || id
        """,
    ),
    (
        "balances-copied",
        """
        UPDATE account_balance SET credit = credit + 1
        WHERE account_id = (SELECT account_id FROM account_balance ORDER BY account_id LIMIT 1) RETURNING account_id
        """,
    ),
    (
        "histories-copied",
        """
        DELETE FROM timeline WHERE id = (SELECT id FROM timeline WHERE kind = 'purchase' ORDER BY id LIMIT 1)
        RETURNING reference
        """,
    ),
    (
        "salaries-copied",
        """
        UPDATE salary_payment SET net = net + 1
        WHERE payslip_id = (SELECT payslip_id FROM salary_payment ORDER BY payslip_id LIMIT 1) RETURNING payslip_id
        """,
    ),
    (
        "tickets-for-salaries",
        """
        UPDATE ticket SET payslip_version = 77
        WHERE payslip_id = (SELECT payslip_id FROM salary_payment WHERE status = 'failed' LIMIT 1)
        RETURNING payslip_id
        """,
    ),
    (
        "salaries-settled",
        """
        UPDATE ticket SET status = 'closed'
        WHERE payslip_id = (SELECT payslip_id FROM salary_payment WHERE status = 'failed' LIMIT 1)
        RETURNING payslip_id
        """,
    ),
    (
        "points-add-up",
        """
        UPDATE loyalty_account SET points = points + 1
        WHERE customer_id = (SELECT customer_id FROM loyalty_account ORDER BY customer_id LIMIT 1)
        RETURNING customer_id
        """,
    ),
    (
        "paid-totals",
        """
        UPDATE paid_total SET amount = amount + 1
        WHERE customer_id = (SELECT customer_id FROM paid_total ORDER BY customer_id LIMIT 1) RETURNING customer_id
        """,
    ),
)

NOTIFY: Sequence[Break] = (
    (
        "decided-once",
        """
        DELETE FROM notification
        WHERE id = (SELECT id FROM notification WHERE template = 'invoice-issued' ORDER BY id DESC LIMIT 1)
        RETURNING cause_id
        """,
    ),
    (
        "ended-once",
        """
        UPDATE notification SET state = 'failed', reason = 'x'
        WHERE id = (SELECT id FROM notification WHERE state = 'sent' ORDER BY id OFFSET 1 LIMIT 1) RETURNING id
        """,
    ),
    (
        "messages-distinct",
        """
        UPDATE notification AS n SET message_id = another.message_id, channel = another.channel
        FROM (SELECT message_id, channel FROM notification WHERE state = 'sent' ORDER BY id OFFSET 2 LIMIT 1) AS another
        WHERE n.id = (SELECT id FROM notification WHERE state = 'sent' ORDER BY id OFFSET 3 LIMIT 1)
        RETURNING n.message_id
        """,
    ),
    (
        "under-way",
        """
        INSERT INTO messaging.task (kind, key, root, payload, due_at, cause_source, cause_id, correlation_id)
        VALUES ('send-email', 'nobodys.1', 'x', '', 'infinity', 'x', 'x', 'x') RETURNING 'nobodys'
        """,
    ),
    (
        "decisions-recorded",
        """
        DELETE FROM step WHERE notification_id =
        (SELECT id FROM notification WHERE state = 'sent' ORDER BY id OFFSET 4 LIMIT 1) RETURNING notification_id
        """,
    ),
    (
        "as-many-events",
        """
        UPDATE notification SET version = version + 1
        WHERE id = (SELECT id FROM notification WHERE state = 'sent' ORDER BY id OFFSET 5 LIMIT 1)
        RETURNING 'notification/' || id
        """,
    ),
    (
        "recipients-copied",
        """
        UPDATE recipient SET addresses = '[]'
        WHERE id = (SELECT id FROM recipient WHERE kind = 'customer' AND addresses <> '[]' ORDER BY id LIMIT 1)
        RETURNING id
        """,
    ),
    (
        "forgotten",
        """
        UPDATE recipient SET status = 'erased' WHERE id = (SELECT recipient_id FROM letter LIMIT 1)
        RETURNING (SELECT notification_id FROM letter WHERE recipient_id = recipient.id LIMIT 1)
        """,
    ),
    (
        "all-settled",
        """
        UPDATE notification SET state = 'sending'
        WHERE id = (SELECT id FROM notification WHERE state = 'sent' ORDER BY id OFFSET 6 LIMIT 1) RETURNING id
        """,
    ),
)

PAYROLL: Sequence[Break] = (
    (
        "gross-is-divided",
        """
        UPDATE payslip SET gross = gross + 1, net = net + 1 WHERE id = (SELECT id FROM payslip ORDER BY id LIMIT 1)
        RETURNING id
        """,
    ),
    (
        "salaries-told-once",
        """
        UPDATE payslip SET payment_reference = 'another'
        WHERE id = (SELECT id FROM payslip WHERE state = 'paid' ORDER BY id DESC LIMIT 1) RETURNING id
        """,
    ),
    (
        "salaries-under-way",
        """
        INSERT INTO messaging.task (kind, key, root, payload, due_at, cause_source, cause_id, correlation_id)
        VALUES ('pay-salary', 'nobodys/1', 'x', '', 'infinity', 'x', 'x', 'x') RETURNING key
        """,
    ),
    (
        "runs-add-up",
        """
        UPDATE payroll_run SET approved_by = NULL WHERE id = (SELECT id FROM payroll_run ORDER BY id LIMIT 1)
        RETURNING id
        """,
    ),
    (
        "books-balance",
        """
        UPDATE ledger_posting SET amount = amount + 1
        WHERE entry_id = (SELECT entry_id FROM ledger_posting ORDER BY entry_id LIMIT 1)
        AND account = (SELECT account FROM ledger_posting ORDER BY entry_id LIMIT 1) RETURNING entry_id
        """,
    ),
    ("books-only-grow", "GRANT UPDATE ON report TO payroll"),
    (
        "reports-told",
        """
        UPDATE report SET content = 'x', sha256 = encode(sha256('x'), 'hex')
        WHERE id = (SELECT id FROM report LIMIT 1) RETURNING id
        """,
    ),
    (
        "as-many-events",
        """
        UPDATE payslip SET version = version + 1 WHERE id = (SELECT id FROM payslip ORDER BY id OFFSET 1 LIMIT 1)
        RETURNING 'payslip/' || id
        """,
    ),
    (
        "staff-copied",
        "DELETE FROM absence WHERE absence_id = (SELECT absence_id FROM absence LIMIT 1) RETURNING employee_id",
    ),
    (
        "deducted-once",
        """
        UPDATE advance SET deducted = deducted + 1 WHERE advance_id = (SELECT advance_id FROM advance LIMIT 1)
        RETURNING advance_id
        """,
    ),
    (
        "all-settled",
        """
        UPDATE payslip SET state = 'unknown', payment_reference = NULL, paid_on = NULL
        WHERE id = (SELECT id FROM payslip WHERE state = 'paid' ORDER BY id OFFSET 2 LIMIT 1) RETURNING id
        """,
    ),
)

BREAKS: Mapping[str, Sequence[Break]] = {
    "billing": BILLING,
    "customer": CUSTOMER,
    "notify": NOTIFY,
    "payroll": PAYROLL,
}

NAMED = {"ledger-only-grows": "allocation", "books-only-grow": "report"}
"""What is to be named where a statement returns nothing."""
