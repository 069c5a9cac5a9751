"""What must hold of what people are told."""

from collections import Counter

from deploy.local.demo.evidence import Evidence, check
from shared.schemas.base import Payload
from shared.schemas.billing import InvoiceIssued, PaymentFailed, PaymentReceived
from shared.schemas.customer import TicketClosed, TicketOpened, TicketResolved
from shared.schemas.notify import (
    CommandRejected,
    NotificationFailed,
    NotificationSent,
    NotificationSuppressed,
    RequestNotification,
)
from shared.schemas.payroll import SalaryPaid, SalaryPaymentFailed

CAUSES = (
    InvoiceIssued, PaymentReceived, PaymentFailed, SalaryPaid, SalaryPaymentFailed, TicketOpened, TicketResolved,
    TicketClosed,
)  # fmt: skip


@check
async def decided_once(evidence: Evidence) -> list[str]:
    """Every cause led to exactly one decision: told, suppressed, or failed, and none else was made."""
    refused = {each.payload["command_id"] for each in evidence.events(CommandRejected)}
    causes = {each.identity for each in evidence.events(*CAUSES)}
    causes |= {each.identity for each in evidence.taken_in("notify", RequestNotification) if each.id not in refused}
    rows = await evidence.rows(
        "notify", "SELECT id::text, recipient_id::text, cause_source, cause_id, state, reason FROM notification"
    )
    found = Counter((row["cause_source"], row["cause_id"]) for row in rows)
    offending = [f"{cause.source} {cause.id} led to {found[cause]} decisions" for cause in causes if found[cause] != 1]
    offending += [f"a decision about {source} {id_}" for source, id_ in found.keys() - causes]
    told = Counter(
        (each.payload["notification_id"], each.type)
        for each in evidence.events(NotificationSent, NotificationFailed, NotificationSuppressed)
    )
    ends: dict[str, type[Payload]] = {
        "sent": NotificationSent,
        "failed": NotificationFailed,
        "suppressed": NotificationSuppressed,
    }
    for row in rows:
        wanted = Counter({(row["id"], ends[row["state"]].ce_type): 1}) if row["state"] in ends else Counter()
        ended = Counter({key: told[key] for model in ends.values() if told[key := (row["id"], model.ce_type)]})
        if row["state"] in ("sending", "unknown") or ended != wanted:
            offending.append(f"notification {row['id']} is {row['state']}")
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


@check
async def salaries_told_once(evidence: Evidence) -> list[str]:
    """Every SalaryPaid has one mail, or the decision that says why not."""
    rows = await evidence.rows(
        "notify",
        "SELECT cause_id, state, channel, message_id FROM notification WHERE template = 'salary-paid'",
    )
    arrived = {mail["message_id"] for mail in evidence.mails}
    decided = Counter(row["cause_id"] for row in rows)
    offending = [each.id for each in evidence.events(SalaryPaid) if decided[each.id] != 1]
    return offending + [
        row["cause_id"]
        for row in rows
        if row["state"] == "sent" and row["channel"] == "email" and row["message_id"] not in arrived
    ]
