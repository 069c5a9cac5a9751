"""What the world outside did must be what our databases say: at the gateway, in mailboxes, on phones."""

from collections import Counter
from collections.abc import Mapping

from deploy.local.demo.evidence import Evidence, check


@check
async def captured_once(evidence: Evidence) -> list[str]:
    """Every payment by card was captured exactly once at the gateway, and none that failed."""
    rows = await evidence.rows(
        "billing",
        "SELECT amount, currency, reference FROM payment WHERE method = 'gateway' AND state = 'received'",
    )
    captured = {
        each["id"]: (each["amount"], each["currency"]) for each in evidence.captures if each["kind"] == "capture"
    }
    keys = Counter(each["key"] for each in evidence.captures)
    offending = [f"idempotency key {key} was captured {count} times" for key, count in keys.items() if count > 1]
    received = {row["reference"]: (row["amount"], row["currency"]) for row in rows}
    return offending + [f"capture {id_} differs from its payment" for id_ in _differing(captured, received)]


@check
async def salaries_captured_once(evidence: Evidence) -> list[str]:
    """Every salary that is paid was captured once at the gateway; every other one never."""
    slips = await evidence.rows("payroll", "SELECT id::text, state, net, payment_reference FROM payslip")
    captures: dict[str, list[tuple[str, int]]] = {}
    for each in evidence.captures:
        if each["kind"] == "payout":
            captures.setdefault(each["reference"], []).append((each["id"], each["amount"]))
    offending = [f"capture for nobody's payslip {id_}" for id_ in captures.keys() - {slip["id"] for slip in slips}]
    for slip in slips:
        wanted = [(slip["payment_reference"], slip["net"])] if slip["state"] == "paid" else []
        if captures.get(slip["id"], []) != wanted:
            offending.append(f"payslip {slip['id']} is {slip['state']}: {captures.get(slip['id'])}")
    return offending


@check
async def mailed_once(evidence: Evidence) -> list[str]:
    """What was told by mail or SMS is what arrived: one Message-ID, one text, for each."""
    rows = await evidence.rows(
        "notify",
        "SELECT id::text, state, reason, channel, message_id FROM notification WHERE channel IN ('email', 'sms')",
    )
    mailed = {row["message_id"] for row in rows if row["state"] == "sent" and row["channel"] == "email"}
    texted = Counter(row["message_id"] for row in rows if row["state"] == "sent" and row["channel"] == "sms")
    uncertain = {row["id"] for row in rows if row["state"] == "failed" and row["reason"] == "uncertain"}
    arrived = {mail["message_id"] for mail in evidence.mails}
    without_doubt = {id_ for id_ in arrived if id_.strip("<>").partition("@")[0] not in uncertain}
    offending = [f"mail {id_}" for id_ in mailed ^ without_doubt]
    to_many = [mail["message_id"] for mail in evidence.mails if len(mail["to"]) != 1]
    received = Counter(text["id"] for text in evidence.texts)
    return offending + to_many + [f"text {id_}" for id_ in texted | received if texted[id_] != received[id_]]


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> list[str]:
    """The keys under which two differ, or that only one of them has."""
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
