"""What one service keeps of another's must be what the other says."""

from typing import Any

import orjson

from deploy.local.demo.evidence import Evidence, Record, check
from shared.schemas.base import Payload
from shared.schemas.billing import AccountBalanceChanged
from shared.schemas.hr import (
    AbsenceRecorded,
    AdvanceGranted,
    EmployeeChanged,
    EmployeeHired,
    EmployeeTerminated,
    OvertimeRecorded,
    SalaryChanged,
)
from shared.schemas.sales import BookingConfirmed, PurchaseRecorded

PERSONNEL: dict[str, tuple[type[Payload], ...]] = {
    "employment": (EmployeeHired, EmployeeTerminated),
    "salary": (EmployeeHired, SalaryChanged),
    "absence": (AbsenceRecorded,),
    "overtime": (OvertimeRecorded,),
    "advance": (AdvanceGranted,),
}
"""Which facts of HR stand in which table of payroll."""


@check
async def profiles_agree(evidence: Evidence) -> list[str]:
    """The customer, the profile on Kafka, and the copies in billing and notify are one."""
    owned = await _facts(evidence, "customer", _CUSTOMERS)
    published: dict[str, Any] = {}
    for record in evidence.records["customer.profiles"]:
        if record.value is not None:
            published[(record.key or b"").decode()] = _of_profile(record)
    billed = await _facts(
        evidence, "billing", "SELECT id::text, source_version, bill_to FROM customer WHERE status = 'known'"
    )
    told = await _facts(
        evidence,
        "notify",
        "SELECT id::text, source_version, name, locale, preferred, addresses FROM recipient"
        " WHERE kind = 'customer' AND status IN ('active', 'inactive')",
    )
    offending: list[str] = []
    for id_ in owned.keys() | published.keys() | billed.keys() | told.keys():
        own, profile = owned.get(id_), published.get(id_)
        if own is None or own != profile:
            offending.append(f"customer {id_} is not as published")
            continue
        version, name, locale, preferred, addresses = own
        if id_ not in billed or billed[id_][0] != version or orjson.loads(billed[id_][1])["name"] != name:
            offending.append(f"customer {id_} in billing")
        if id_ not in told or _as_told(*told[id_]) != (version, name, locale, preferred, addresses):
            offending.append(f"customer {id_} in notify")
    return offending


@check
async def balances_agree(evidence: Evidence) -> list[str]:
    """The balances that customer shows, those last told, and billing's own are one."""
    own = await _facts(
        evidence,
        "billing",
        "SELECT id::text, version, currency, outstanding, credit FROM account WHERE version > 1",
    )
    kept = await _facts(
        evidence,
        "customer",
        "SELECT account_id::text, source_version, currency, outstanding, credit FROM account_balance",
    )
    told: dict[str, Any] = {}
    for event in evidence.events(AccountBalanceChanged):
        said = event.payload
        told[said["account_id"]] = (said["version"], said["currency"], said["outstanding"], said["credit"])
    return [f"account {id_} in customer" for id_ in _differing(own, kept)] + [
        f"account {id_} as told" for id_ in _differing(own, told)
    ]


@check
async def histories_agree(evidence: Evidence) -> list[str]:
    """Each customer's timeline holds every purchase, booking, invoice, payment and message, and nothing else."""
    kept: dict[str, set[tuple[str, str]]] = {}
    for row in await evidence.rows(
        "customer",
        "SELECT kind, reference::text, party_id::text, details->>'status' AS status FROM timeline",
    ):
        kept.setdefault(row["kind"], set()).add((row["reference"], row["status"] or row["party_id"]))
    orders: dict[str, tuple[type[Payload], str]] = {
        "purchase": (PurchaseRecorded, "purchase_id"),
        "booking": (BookingConfirmed, "booking_id"),
    }
    wanted = {
        kind: {(each.payload[id_], each.payload["customer_id"]) for each in evidence.taken_in("customer", model)}
        for kind, (model, id_) in orders.items()
    }
    owned = {
        "invoice-issued": ("billing", "SELECT id::text, customer_id::text FROM invoice WHERE status <> 'draft'"),
        "invoice-paid": ("billing", "SELECT id::text, customer_id::text FROM invoice WHERE status = 'paid'"),
        "payment-received": ("billing", "SELECT id::text, customer_id::text FROM payment WHERE state = 'received'"),
        "payment-failed": ("billing", "SELECT id::text, customer_id::text FROM payment WHERE state = 'failed'"),
        "notification": (
            "notify",
            "SELECT id::text, state FROM notification WHERE state IN ('sent', 'failed', 'suppressed')",
        ),
    }
    for kind, (service, sql) in owned.items():
        wanted[kind] = {(row[0], row[1]) for row in await evidence.rows(service, sql)}
    return [
        f"{kind} {reference}"
        for kind in kept.keys() | wanted.keys()
        for reference, _ in kept.get(kind, set()) ^ wanted.get(kind, set())
    ]


@check
async def salaries_agree(evidence: Evidence) -> list[str]:
    """What care sees of salaries is what payroll says; each one that failed has an open ticket, each one paid none."""
    own = await _facts(
        evidence,
        "payroll",
        "SELECT id::text, version, net, CASE WHEN state IN ('nothing_due', 'paying') THEN 'calculated' ELSE state END,"
        " payment_reference FROM payslip",
    )
    kept = await _facts(
        evidence,
        "customer",
        "SELECT payslip_id::text, source_version, net, status, payment_reference FROM salary_payment",
    )
    tickets = await evidence.rows(
        "customer",
        """
        SELECT s.payslip_id::text AS id FROM salary_payment AS s LEFT JOIN ticket AS t ON t.payslip_id = s.payslip_id
        WHERE (s.status = 'failed' AND t.status IS DISTINCT FROM 'open')
            OR (s.status = 'paid' AND t.status IN ('open', 'resolved'))
        """,
    )
    return [f"payslip {id_}" for id_ in _differing(own, kept)] + [f"ticket of payslip {row['id']}" for row in tickets]


@check
async def staff_agree(evidence: Evidence) -> list[str]:
    """Payroll and notify know of the staff exactly what HR said."""
    offending: list[str] = []
    for table, models in PERSONNEL.items():
        wanted = {_said(each) for each in evidence.taken_in("payroll", *models)}
        rows = await evidence.rows("payroll", f"SELECT employee_id::text, source_version FROM {table}")  # noqa: S608 - our own tables
        offending += [f"{table} of {who}, version {n}" for who, n in wanted ^ {(row[0], row[1]) for row in rows}]
    latest: dict[str, int] = {}
    for each in evidence.taken_in("notify", EmployeeHired, EmployeeChanged, EmployeeTerminated):
        who, version = _said(each)
        latest[who] = max(version, latest.get(who, 0))
    rows = await evidence.rows("notify", "SELECT id::text, source_version FROM recipient WHERE kind = 'employee'")
    return offending + [f"employee {id_} in notify" for id_ in _differing(latest, {row[0]: row[1] for row in rows})]


@check
async def points_add_up(evidence: Evidence) -> list[str]:
    """Loyalty points and payments are the sums of their histories."""
    points = await evidence.rows(
        "customer",
        """
        SELECT a.customer_id::text AS id FROM loyalty_account AS a
        LEFT JOIN loyalty_entry AS e ON e.customer_id = a.customer_id AND e.version IS NOT NULL
        GROUP BY a.customer_id HAVING a.points <> coalesce(sum(e.points), 0) OR a.version <> count(e.version)
        """,
    )
    paid = await _facts(
        evidence,
        "billing",
        "SELECT customer_id::text || ' ' || currency, sum(amount)::bigint FROM payment WHERE state = 'received'"
        " GROUP BY customer_id, currency",
    )
    kept = await _facts(evidence, "customer", "SELECT customer_id::text || ' ' || currency, amount FROM paid_total")
    return [f"points of {row['id']}" for row in points] + [f"paid by {id_}" for id_ in _differing(paid, kept)]


_CUSTOMERS = """
    SELECT c.id::text, c.version, c.name, c.locale, c.preferred_channels, coalesce(
        (SELECT jsonb_agg(jsonb_build_array(p.channel, p.value, p.purpose) ORDER BY p.channel, p.value)
         FROM contact_point AS p WHERE p.customer_id = c.id AND p.removed_at IS NULL), '[]') AS addresses
    FROM customer AS c
"""


async def _facts(evidence: Evidence, service: str, sql: str) -> dict[str, Any]:
    """Rows by their first column; JSON of customers' lists is read, so that it can be compared."""
    rows = await evidence.rows(service, sql)
    if sql is _CUSTOMERS:
        return {
            row[0]: (row[1], row[2], row[3], tuple(orjson.loads(row[4])), _sorted(orjson.loads(row[5]))) for row in rows
        }
    return {row[0]: tuple(row)[1:] for row in rows}


def _of_profile(record: Record) -> tuple[Any, ...]:
    said = record.payload
    points = [(each["channel"], each["value"], each["purpose"]) for each in said["contact_points"]]
    return said["version"], said["name"], said["locale"], tuple(said["preferred_channels"]), _sorted(points)


def _as_told(version: int, name: str, locale: str, preferred: str, addresses: str) -> tuple[Any, ...]:
    points = [(each["channel"], each["value"], each["purpose"]) for each in orjson.loads(addresses)]
    return version, name, locale, tuple(orjson.loads(preferred)), _sorted(points)


def _sorted(points: list[Any]) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted(tuple(point) for point in points))


def _said(record: Record) -> tuple[str, int]:
    return record.payload["employee_id"], record.payload["version"]


def _differing(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """The keys under which two differ, or that only one of them has."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
