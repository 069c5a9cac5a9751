"""What must hold of salaries."""

from shared.operations.audit.checks import Check

GROSS_IS_DIVIDED = Check(
    "gross-is-divided",
    "Gross = net + withholdings + deductions, on every payslip and in every run, by components and as told",
    """
    WITH parts AS (
        SELECT payslip_id, coalesce(sum(amount) FILTER (WHERE kind = 'earning'), 0) AS gross,
            coalesce(sum(amount) FILTER (WHERE kind = 'withholding'), 0) AS withholdings,
            coalesce(sum(amount) FILTER (WHERE kind = 'deduction'), 0) AS deductions
        FROM payslip_component GROUP BY payslip_id
    ), told AS (
        SELECT type, said->>'payslip_id' AS payslip_id, said->>'run_id' AS run_id,
            concat_ws(' ', said->>'gross', said->>'withholdings', said->>'deductions', said->>'net') AS amounts
        FROM said WHERE type IN ('kello.payroll.payslip-calculated', 'kello.payroll.run-calculated')
    )
    SELECT 'payslip ' || s.id FROM payslip AS s
    LEFT JOIN parts AS p ON p.payslip_id = s.id
    LEFT JOIN told AS t ON t.payslip_id = s.id::text AND t.type = 'kello.payroll.payslip-calculated'
    WHERE s.gross <> s.net + s.withholdings + s.deductions
        OR (s.gross, s.withholdings, s.deductions) IS DISTINCT FROM
            (coalesce(p.gross, 0), coalesce(p.withholdings, 0), coalesce(p.deductions, 0))
        OR t.amounts IS DISTINCT FROM concat_ws(' ', s.gross, s.withholdings, s.deductions, s.net)
    UNION ALL
    SELECT 'run ' || r.id FROM payroll_run AS r
    LEFT JOIN (
        SELECT run_id, count(*) AS slips, sum(gross) AS gross, sum(withholdings) AS withholdings,
            sum(deductions) AS deductions, sum(net) AS net
        FROM payslip GROUP BY run_id
    ) AS s ON s.run_id = r.id
    LEFT JOIN told AS t ON t.run_id = r.id::text AND t.type = 'kello.payroll.run-calculated'
    WHERE r.gross <> r.net + r.withholdings + r.deductions
        OR (r.employees, r.gross, r.withholdings, r.deductions, r.net) IS DISTINCT FROM (
            coalesce(s.slips, 0), coalesce(s.gross, 0), coalesce(s.withholdings, 0), coalesce(s.deductions, 0),
            coalesce(s.net, 0)
        )
        OR (r.state = 'calculating') <> (t.amounts IS NULL)
        OR t.amounts <> concat_ws(' ', r.gross, r.withholdings, r.deductions, r.net)
    """,
)

SALARIES_TOLD_ONCE = Check(
    "salaries-told-once",
    "Every salary that is paid was told once, with its amount, and no other one ever",
    """
    WITH told AS (
        SELECT said->>'payslip_id' AS id, count(*) FILTER (WHERE type = 'kello.payroll.salary-paid') AS paid,
            count(*) FILTER (WHERE type = 'kello.payroll.payslip-calculated') AS calculated,
            min(said->>'net') AS net, max(said->>'net') AS net_last,
            min(said->>'payment_reference') AS reference
        FROM said WHERE subject LIKE 'payslip/%' GROUP BY said->>'payslip_id'
    ), kept AS (
        SELECT id::text AS id, state, net::text AS net, payment_reference FROM payslip
    )
    SELECT 'payslip ' || id || ' is ' || coalesce(kept.state, 'not there') || ', told ' || coalesce(told.paid, 0)
        || ' times paid'
    FROM kept FULL JOIN told USING (id)
    WHERE kept.id IS NULL OR told.calculated IS DISTINCT FROM 1
        OR told.paid <> (kept.state = 'paid')::integer
        OR told.reference IS DISTINCT FROM kept.payment_reference
        OR (told.net, told.net_last) <> (kept.net, kept.net)
    """,
)

SALARIES_UNDER_WAY = Check(
    "salaries-under-way",
    "Every salary whose payment is open has the task that settles it, and no other has one",
    """
    SELECT 'payslip ' || coalesce(s.key, t.key) || CASE
            WHEN t.key IS NULL THEN ' is ' || s.state || ' and nobody asks' ELSE ' is settled and has a task' END
    FROM (SELECT id || '/' || attempt AS key, state FROM payslip WHERE state IN ('paying', 'unknown')) AS s
    FULL JOIN (SELECT key FROM messaging.task WHERE kind = 'pay-salary') AS t USING (key)
    WHERE s.key IS NULL OR t.key IS NULL
    """,
)

RUNS_ADD_UP = Check(
    "runs-add-up",
    "A run's net = what was paid + what failed + what is open, by somebody else's word; what is completed is reported",
    """
    SELECT 'run ' || r.id FROM payroll_run AS r LEFT JOIN (
        SELECT run_id, count(*) FILTER (WHERE state = 'nothing_due') AS nothing_due,
            count(*) FILTER (WHERE state = 'paid') AS paid, count(*) FILTER (WHERE state = 'failed') AS failed,
            coalesce(sum(net) FILTER (WHERE state = 'paid'), 0) AS paid_amount,
            coalesce(sum(net) FILTER (WHERE state = 'failed'), 0) AS failed_amount,
            coalesce(sum(net) FILTER (WHERE state NOT IN ('paid', 'failed')), 0) AS open_amount
        FROM payslip GROUP BY run_id
    ) AS s ON s.run_id = r.id
    WHERE r.approved_by = r.started_by
        OR (r.nothing_due, r.paid, r.failed, r.paid_amount, r.failed_amount) IS DISTINCT FROM (
            coalesce(s.nothing_due, 0), coalesce(s.paid, 0), coalesce(s.failed, 0), coalesce(s.paid_amount, 0),
            coalesce(s.failed_amount, 0)
        )
        OR r.net <> r.paid_amount + r.failed_amount + coalesce(s.open_amount, 0)
        OR (r.state = 'completed') <> (r.approved_by IS NOT NULL AND r.nothing_due + r.paid + r.failed = r.employees)
        OR (r.state = 'completed' AND NOT EXISTS (SELECT FROM report WHERE run_id = r.id AND rows = r.employees)
            AND NOT EXISTS (
                SELECT FROM messaging.task WHERE kind = 'generate-report' AND key = r.id || '/' || r.version
            ))
    """,
)

BOOKS_BALANCE = Check(
    "books-balance",
    "The books balance in every entry and currency, and the bank has paid what the payslips say",
    """
    SELECT 'entry ' || e.id FROM ledger_entry AS e LEFT JOIN ledger_posting AS p ON p.entry_id = e.id
    GROUP BY e.id HAVING coalesce(sum(p.amount), 1) <> 0
    UNION ALL
    SELECT 'currency ' || e.currency FROM ledger_entry AS e JOIN ledger_posting AS p ON p.entry_id = e.id
    GROUP BY e.currency HAVING sum(p.amount) <> 0
    UNION ALL
    SELECT 'run ' || r.id FROM payroll_run AS r LEFT JOIN (
        SELECT e.run_id, -sum(p.amount) FILTER (WHERE p.account = 'bank') AS paid,
            sum(p.amount) FILTER (WHERE p.account = 'wages_expense') AS gross
        FROM ledger_entry AS e JOIN ledger_posting AS p ON p.entry_id = e.id GROUP BY e.run_id
    ) AS b ON b.run_id = r.id
    WHERE coalesce(b.gross, 0) <> CASE WHEN r.approved_by IS NULL THEN 0 ELSE r.gross END
        OR coalesce(b.paid, 0) > r.paid_amount
        OR (r.state = 'completed' AND coalesce(b.paid, 0) <> r.paid_amount AND NOT EXISTS (
            SELECT FROM messaging.task WHERE kind = 'generate-report' AND key = r.id || '/' || r.version
        ))
    """,
)

BOOKS_ONLY_GROW = Check(
    "books-only-grow",
    "UPDATE and DELETE on the books and the reports are refused",
    """
    SELECT 'table ' || t.name || ' can be changed'
    FROM unnest('{ledger_entry,ledger_posting,report,payslip_component}'::text[]) AS t (name)
    WHERE NOT EXISTS (
        SELECT FROM pg_trigger WHERE tgrelid = t.name::regclass AND tgname = 'append_only' AND tgenabled IN ('O', 'A')
    ) OR has_table_privilege('payroll', t.name, 'UPDATE, DELETE')
    """,
)

REPORTS_TOLD = Check(
    "reports-told",
    "Every report is stored as it was told, to the byte",
    """
    WITH told AS (
        SELECT said->>'report_id' AS id, said->>'sha256' AS sha256 FROM said
        WHERE type = 'kello.payroll.report-generated'
    ), kept AS (
        SELECT id::text AS id, encode(sha256(content), 'hex') AS sha256 FROM report
    )
    SELECT 'report ' || id FROM told FULL JOIN kept USING (id) WHERE told.sha256 IS DISTINCT FROM kept.sha256
    """,
)

AS_MANY_EVENTS = Check(
    "as-many-events",
    "Runs and payslips have as many events as their versions say",
    """
    WITH kept AS (
        SELECT 'run/' || id AS subject, version FROM payroll_run
        UNION ALL SELECT 'payslip/' || id, version FROM payslip
    ), told AS (
        SELECT subject, count(*) FILTER (WHERE type <> 'kello.payroll.report-generated') AS version FROM said
        WHERE subject ~ '^(run|payslip)/' GROUP BY subject
    )
    SELECT subject || ' has version ' || coalesce(kept.version, 0) || ' and ' || coalesce(told.version, 0) || ' events'
    FROM kept FULL JOIN told USING (subject) WHERE kept.version IS DISTINCT FROM told.version
    """,
)

STAFF_COPIED = Check(
    "staff-copied",
    "Payroll knows of the staff exactly what HR said",
    """
    WITH told AS (
        SELECT f.name, said->>'employee_id' AS employee_id, version, is_dead, coalesce(
            said->>'absence_id', said->>'overtime_id', said->>'advance_id', version::text
        ) AS id
        FROM heard JOIN (VALUES
            ('employment', 'kello.hr.employee-hired'), ('employment', 'kello.hr.employee-terminated'),
            ('salary', 'kello.hr.employee-hired'), ('salary', 'kello.hr.salary-changed'),
            ('absence', 'kello.hr.absence-recorded'), ('overtime', 'kello.hr.overtime-recorded'),
            ('advance', 'kello.hr.advance-granted')
        ) AS f (name, type) USING (type)
    ), kept AS ( -- overtime that was paid does not change any more
        SELECT 'employment' AS name, employee_id::text, source_version AS version, source_version::text AS id,
            false AS is_final FROM employment
        UNION ALL SELECT 'salary', employee_id::text, source_version, source_version::text, false FROM salary
        UNION ALL SELECT 'absence', employee_id::text, source_version, absence_id::text, false FROM absence
        UNION ALL SELECT 'overtime', employee_id::text, source_version, overtime_id::text, payslip_id IS NOT NULL
            FROM overtime
        UNION ALL SELECT 'advance', employee_id::text, source_version, advance_id::text, false FROM advance
    )
    SELECT told.name || ' of ' || told.employee_id || ', version ' || told.version || ' is not there' FROM told
    WHERE NOT is_dead AND NOT EXISTS (
        SELECT FROM kept WHERE (kept.name, kept.employee_id, kept.id) = (told.name, told.employee_id, told.id)
            AND (kept.version >= told.version OR kept.is_final)
    )
    UNION ALL
    SELECT kept.name || ' of ' || kept.employee_id || ', version ' || kept.version || ' was never said' FROM kept
    WHERE EXISTS (SELECT FROM whole WHERE topic = 'hr.events') AND NOT EXISTS (
        SELECT FROM told WHERE (told.name, told.employee_id, told.id, told.version)
            = (kept.name, kept.employee_id, kept.id, kept.version)
    )
    UNION ALL
    SELECT 'employee ' || h.id || ' is of version ' || coalesce(e.source_version::text, 'none') || ', HR said '
        || h.version
    FROM (
        SELECT key AS id, max(version) AS version FROM heard WHERE topic = 'hr.events' AND NOT is_dead GROUP BY key
    ) AS h
    LEFT JOIN employee AS e ON e.id::text = h.id
    WHERE e.source_version IS NULL OR e.source_version < h.version
    """,
)

DEDUCTED_ONCE = Check(
    "deducted-once",
    "Overtime is paid and advances are deducted once: by the components of payslips",
    """
    SELECT 'advance ' || a.advance_id FROM advance AS a LEFT JOIN (
        SELECT source_id, sum(amount) AS amount FROM payslip_component WHERE kind = 'deduction' GROUP BY source_id
    ) AS c ON c.source_id = a.advance_id
    WHERE a.deducted <> coalesce(c.amount, 0) OR a.deducted > a.amount
    UNION ALL
    SELECT 'overtime ' || o.overtime_id FROM overtime AS o LEFT JOIN (
        SELECT c.source_id, count(*) AS times, min(c.payslip_id::text) AS payslip_id FROM payslip_component AS c
        WHERE c.code = 'overtime' GROUP BY c.source_id
    ) AS c ON c.source_id = o.overtime_id
    WHERE c.times > 1 OR (c.times = 1 AND c.payslip_id IS DISTINCT FROM o.payslip_id::text)
    """,
)

ALL_SETTLED = Check(
    "all-settled",
    "Every run is completed, and no salary's payment is open",
    """
    SELECT 'run ' || id || ' is still ' || state FROM payroll_run WHERE state <> 'completed'
    UNION ALL
    SELECT 'payslip ' || id || ' is still ' || state FROM payslip WHERE state IN ('calculated', 'paying', 'unknown')
    """,
    at_rest=True,
)

CHECKS = (
    GROSS_IS_DIVIDED,
    SALARIES_TOLD_ONCE,
    SALARIES_UNDER_WAY,
    RUNS_ADD_UP,
    BOOKS_BALANCE,
    BOOKS_ONLY_GROW,
    REPORTS_TOLD,
    AS_MANY_EVENTS,
    STAFF_COPIED,
    DEDUCTED_ONCE,
    ALL_SETTLED,
)
