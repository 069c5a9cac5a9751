"""What must hold of salaries."""

from collections import Counter

from deploy.local.demo.evidence import Evidence, check
from shared.schemas.payroll import PayrollReportGenerated, PayrollRunCalculated, PayslipCalculated, SalaryPaid


@check
async def gross_is_divided(evidence: Evidence) -> list[str]:
    """Gross = net + withholdings + deductions, on every payslip and in every run, by components and as told."""
    slips = await evidence.rows(
        "payroll",
        """
        SELECT s.id::text, s.run_id::text, s.gross, s.withholdings, s.deductions, s.net,
            coalesce(sum(c.amount) FILTER (WHERE c.kind = 'earning'), 0) = s.gross
                AND coalesce(sum(c.amount) FILTER (WHERE c.kind = 'withholding'), 0) = s.withholdings
                AND coalesce(sum(c.amount) FILTER (WHERE c.kind = 'deduction'), 0) = s.deductions AS adds_up
        FROM payslip AS s LEFT JOIN payslip_component AS c ON c.payslip_id = s.id GROUP BY s.id
        """,
    )
    runs = await evidence.rows("payroll", "SELECT id::text, gross, withholdings, deductions, net FROM payroll_run")
    parts = ("gross", "withholdings", "deductions", "net")
    told = {
        each.payload["payslip_id"]: tuple(each.payload[part] for part in parts)
        for each in evidence.events(PayslipCalculated)
    }
    sums: Counter[tuple[str, str]] = Counter()
    offending: list[str] = []
    for slip in slips:
        amounts = tuple(slip[part] for part in parts)
        if not slip["adds_up"] or slip["gross"] != sum(amounts[1:]) or told.get(slip["id"]) != amounts:
            offending.append(f"payslip {slip['id']}")
        sums.update({(slip["run_id"], part): slip[part] for part in parts})
    calculated = {each.payload["run_id"]: each.payload for each in evidence.events(PayrollRunCalculated)}
    return offending + [
        f"run {run['id']}: {part}"
        for run in runs
        for part in parts
        if not run[part] == sums[run["id"], part] == calculated[run["id"]][part]
    ]


@check
async def salaries_paid_once(evidence: Evidence) -> list[str]:
    """Every salary that is paid was captured once at the gateway and told once; every other one never."""
    slips = await evidence.rows("payroll", "SELECT id::text, state, net, payment_reference FROM payslip")
    captures: dict[str, list[tuple[str, int]]] = {}
    for each in evidence.captures:
        if each["kind"] == "payout":
            captures.setdefault(each["reference"], []).append((each["id"], each["amount"]))
    told = Counter(each.payload["payslip_id"] for each in evidence.events(SalaryPaid))
    offending = [f"capture for nobody's payslip {id_}" for id_ in captures.keys() - {slip["id"] for slip in slips}]
    for slip in slips:
        is_paid = slip["state"] == "paid"
        wanted = [(slip["payment_reference"], slip["net"])] if is_paid else []
        if captures.get(slip["id"], []) != wanted or told[slip["id"]] != is_paid:
            offending.append(
                f"payslip {slip['id']} is {slip['state']}: {captures.get(slip['id'])}, told {told[slip['id']]}"
            )
        if slip["state"] in ("calculated", "paying", "unknown"):
            offending.append(f"payslip {slip['id']} is still {slip['state']}")
    return offending


@check
async def runs_completed(evidence: Evidence) -> list[str]:
    """Every run is approved by somebody else, completed, booked, and has its report."""
    rows = await evidence.rows(
        "payroll",
        """
        SELECT r.id::text FROM payroll_run AS r LEFT JOIN LATERAL (
            SELECT count(*) AS slips, count(*) FILTER (WHERE state = 'paid') AS paid,
                count(*) FILTER (WHERE state = 'failed') AS failed,
                coalesce(sum(net) FILTER (WHERE state = 'paid'), 0) AS paid_amount
            FROM payslip WHERE run_id = r.id
        ) AS s ON true
        WHERE r.state <> 'completed' OR r.approved_by = r.started_by
            OR r.employees <> s.slips OR r.paid <> s.paid OR r.failed <> s.failed OR r.paid_amount <> s.paid_amount
            OR NOT EXISTS (SELECT FROM report WHERE run_id = r.id AND rows = r.employees)
            OR s.paid_amount <> (
                SELECT coalesce(-sum(p.amount), 0) FROM ledger_entry AS e JOIN ledger_posting AS p ON p.entry_id = e.id
                WHERE e.run_id = r.id AND p.account = 'bank'
            )
        """,
    )
    unbalanced = await evidence.rows(
        "payroll", "SELECT entry_id::text AS id FROM ledger_posting GROUP BY entry_id HAVING sum(amount) <> 0"
    )
    told = {(each.payload["report_id"], each.payload["sha256"]) for each in evidence.events(PayrollReportGenerated)}
    stored = await evidence.rows("payroll", "SELECT id::text, encode(sha256(content), 'hex') AS sha256 FROM report")
    reports = told ^ {(row["id"], row["sha256"]) for row in stored}
    return [
        *(f"run {row['id']}" for row in rows),
        *(f"entry {row['id']}" for row in unbalanced),
        *(f"report {id_}" for id_, _ in reports),
    ]
