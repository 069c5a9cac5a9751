"""What must hold of messages, whatever they say: answered once, published once, in order, put aside rightly, done."""

from collections import Counter, defaultdict

from aiokafka.admin import AIOKafkaAdminClient

from deploy.local.demo.evidence import Evidence, Identity, check, original
from deploy.local.demo.world import consumed_by
from deploy.local.topics import admin_client
from shared.schemas import billing, customer, notify, payroll, registry
from shared.schemas.base import Command, Payload

ANSWERS: dict[type[Command], tuple[type[Payload], ...]] = {
    customer.RegisterCustomer: (customer.CustomerRegistered,),
    customer.ChangeCustomerDetails: (customer.CustomerUpdated,),
    customer.DeactivateCustomer: (customer.CustomerDeactivated,),
    customer.AddContactPoint: (customer.ContactPointAdded,),
    customer.RemoveContactPoint: (customer.ContactPointRemoved,),
    customer.SetPreferredChannels: (customer.CustomerUpdated,),
    customer.RecordConsent: (customer.ConsentRecorded,),
    customer.TagCustomer: (customer.CustomerTagged,),
    customer.UntagCustomer: (customer.CustomerUntagged,),
    customer.AddNote: (customer.NoteAdded,),
    customer.RecordInteraction: (customer.InteractionRecorded,),
    customer.RecordFeedback: (customer.FeedbackReceived,),
    customer.OpenTicket: (customer.TicketOpened,),
    customer.ResolveTicket: (customer.TicketResolved,),
    customer.ReopenTicket: (customer.TicketReopened,),
    customer.CloseTicket: (customer.TicketClosed,),
    billing.IssueInvoice: (billing.InvoiceIssued, billing.InvoiceDrafted),
    billing.RecordPayment: (billing.PaymentReceived,),
    payroll.StartPayrollRun: (payroll.PayrollRunStarted,),
    payroll.ApprovePayrollRun: (payroll.PayrollRunApproved,),
    notify.RequestNotification: (notify.NotificationSent, notify.NotificationSuppressed),
}
"""What tells the sender of a command that it was carried out; CommandAccepted for all that are not here."""

OWN = ("customer.events", "billing.events", "notify.events", "payroll.events")


@check
async def answered_once(evidence: Evidence) -> list[str]:
    """Every command has exactly one answer."""
    offending: list[str] = []
    for topic in OWN:
        service = topic.partition(".")[0]
        told = _told_by_cause(evidence, topic)
        endings = {model.ce_type for model in registry.answers(service)}
        commands = {
            record.identity: record for record in evidence.records[f"{service}.commands"] if record.id and record.key
        }
        for identity, command in commands.items():
            wanted = endings | _answers_to(command.type)
            answers = sum(count for ce_type, count in told[identity.id].items() if ce_type in wanted)
            if answers != 1:
                offending.append(f"{command.type} {identity.id}: {answers} answers")
    return offending


@check
async def said_once(evidence: Evidence) -> list[str]:
    """What is published twice says the same twice: one event, one id."""
    said: dict[tuple[str, Identity], tuple[bytes | None, bytes | None]] = {}
    return [
        f"{record.place}: {record.id} says something else than before"
        for topic in (*OWN, "customer.profiles")
        for record in evidence.records[topic]
        if said.setdefault((topic, record.identity), (record.key, record.value)) != (record.key, record.value)
    ]


@check
async def versions_in_order(evidence: Evidence) -> list[str]:
    """The versions of every subject run from 1 on, in order."""
    offending: list[str] = []
    for topic in OWN:
        answers = {model.ce_type for model in registry.answers(topic.partition(".")[0])}
        reached: defaultdict[str, int] = defaultdict(int)
        seen: set[Identity] = set()
        for record in evidence.records[topic]:
            if record.type in answers or record.identity in seen:
                continue
            seen.add(record.identity)
            reached[record.subject] += 1
            if record.payload["version"] != reached[record.subject]:
                offending.append(f"{record.place}: {record.subject} is not {reached[record.subject]}")
    return offending


@check
async def put_aside_rightly(evidence: Evidence) -> list[str]:
    """Dead letters are exactly the malformed messages, one for each group that reads them."""
    found = Counter(
        (service, original(letter))
        for service in evidence.watch.world.databases
        for letter in {one.dead["id"]: one for one in evidence.records[f"{service}.dead-letters"]}.values()
    )
    if evidence.sent is None:
        return [f"{group}: {place} twice" for (group, place), count in found.items() if count > 1]
    wanted = Counter((group, place) for place, bad in evidence.sent.bad.items() for group in bad.refused_by)
    offending = [
        f"{group} put aside {place} {found[group, place]} times, not {wanted[group, place]}"
        for group, place in sorted(found | wanted)
        if found[group, place] != wanted[group, place]
    ]
    return offending + await _changed_letters(evidence)


@check
async def nothing_left(evidence: Evidence) -> list[str]:
    """Outboxes are empty, and every task is done."""
    return await evidence.watch.unrest()


@check
async def offsets_at_the_ends(evidence: Evidence) -> list[str]:
    """The offsets in every database, and those committed to Kafka, are the ends of the topics."""
    offending: list[str] = []
    prefix = evidence.watch.world.prefix
    async with admin_client(evidence.watch.world.kafka) as admin:
        for service in evidence.watch.world.databases:
            ends = await evidence.watch.ends(consumed_by(service))
            held = await evidence.watch.offsets(service)
            committed = await _committed(admin, prefix, service)
            offending += [
                f"{service} holds {held.get(p)} of {end} on {p}" for p, end in ends.items() if held.get(p) != end
            ]
            offending += [
                f"{service} committed {committed.get(p)} of {end} on {p}"
                for p, end in ends.items()
                if committed.get(p) != end
            ]
    return offending


async def _committed(admin: AIOKafkaAdminClient, prefix: str, group: str) -> dict[tuple[str, int], int]:
    """What kafka-consumer-groups shows of a group."""
    offsets = await admin.list_consumer_group_offsets(prefix + group)
    return {(place.topic.removeprefix(prefix), place.partition): told.offset for place, told in offsets.items()}


async def _changed_letters(evidence: Evidence) -> list[str]:
    """A dead letter is the record as it came."""
    came = {record.place: record for topic in evidence.records.values() for record in topic}
    return [
        f"{letter.place} is not what came in at {original(letter)}"
        for service in evidence.watch.world.databases
        for letter in evidence.records[f"{service}.dead-letters"]
        if (letter.key, letter.value) != (came[original(letter)].key, came[original(letter)].value)
    ]


def _told_by_cause(evidence: Evidence, topic: str) -> defaultdict[str, Counter[str]]:
    """How many events of each type each message led to."""
    told: defaultdict[str, Counter[str]] = defaultdict(Counter)
    seen: set[Identity] = set()
    for record in evidence.records[topic]:
        if record.identity not in seen:
            seen.add(record.identity)
            told[record.causation][record.type] += 1
    return told


def _answers_to(ce_type: str) -> set[str]:
    model = Payload.contracts.get(ce_type)
    if model is None or not issubclass(model, Command):
        return set()
    return {answer.ce_type for answer in ANSWERS.get(model, ())}
