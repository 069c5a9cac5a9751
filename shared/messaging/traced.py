"""The parts of a process that record traces: a service is wired of these where traces are on, and of the plain else.

One span for a batch, linked to the contexts of its messages, with the statements under it; one for a message whose
story is recorded, which goes on in what follows from it; one for a dead letter, always; one for a call to the outside;
one for a round of the relay, linked to the records that it publishes.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, TypeAlias, TypeVar, cast

from aiokafka import AIOKafkaProducer
from opentelemetry.trace import Link, Span, SpanKind
from opentelemetry.util.types import AttributeValue

from shared.messaging import outbox, tracing
from shared.messaging.adoption import Connection
from shared.messaging.database import Row, Tx
from shared.messaging.decision import Message
from shared.messaging.relay import Relay
from shared.messaging.task_store import Claimed
from shared.messaging.tasks import Ended, TaskKind, TaskRunner
from shared.messaging.unit import Decided, Load, Opened, Save, Unit, Work
from shared.messaging.working_set import WorkingSet
from shared.schemas.base import Command

S = TypeVar("S", bound=WorkingSet)
R = TypeVar("R")

Attributes: TypeAlias = Mapping[str, AttributeValue]


class TracedUnit(Unit[S]):
    """A unit of work whose batches are spans."""

    def __init__(self, service: str, pool: Any, load: Load[S], save: Save[S], *rest: Any) -> None:
        super().__init__(service, pool, _stepping("load", load), _stepping("save", save), *rest)

    async def run(self, work: Work) -> Decided | None:
        attributes: Attributes = {
            "messaging.consumer.group.name": self.service,
            "messaging.batch.message_count": len(work),
        }
        batch = tracing.begun(f"batch {self.service}", SpanKind.CONSUMER, attributes)
        with tracing.inside(batch):
            traced = _TracedWork(work, batch, self.service)
            try:
                return await super().run(cast(Work, traced))
            finally:
                traced.end()


class _TracedWork:
    """A batch of somebody else's making, watched on its way through one transaction."""

    def __init__(self, work: Work, batch: Span, service: str) -> None:
        self._work = work
        self._batch = batch
        self._service = service
        self._spans: dict[int, Span] = {}
        self._letters: list[outbox.Record] = []
        self._is_committed = False

    def __len__(self) -> int:
        return len(self._work)

    def __getattr__(self, name: str) -> Any:
        """Whatever else a batch can do."""
        return getattr(self._work, name)

    async def open(self, tx: Tx) -> Opened | None:
        with tracing.step("open"):
            opened = await self._work.open(tx)
        if opened is not None:
            for link in tracing.links_to(message.traceparent for message in opened.messages):
                self._batch.add_link(link.context)
            opened.messages = [self._begun(position, each) for position, each in enumerate(opened.messages)]
        return opened

    async def close(self, tx: Tx, opened: Opened, decided: Decided) -> None:
        for position, fault in decided.faults.items():
            if position in self._spans:
                tracing.fail(self._spans[position], f"{fault.kind}: {fault.code}")
        with tracing.step("close"):
            await self._work.close(tx, opened, decided)
        letters = f"{self._service}.dead-letters"
        self._letters = [record for record in decided.records if record.topic == letters]

    def committed(self) -> None:
        self._is_committed = True
        self._work.committed()
        for record in self._letters:
            _tell_of_dead_letter(record)

    def end(self) -> None:
        """Messages that were not committed come again, in another batch."""
        for span in self._spans.values():
            if not self._is_committed:
                tracing.fail(span, "rolled back")
            span.end()

    def _begun(self, position: int, message: Message[Any]) -> Message[Any]:
        """The message, with a span where its story is recorded: what follows from it is that span's."""
        if not tracing.is_wanted(message.traceparent, begins=isinstance(message.payload, Command)):
            return message
        span = tracing.begun(
            f"decide {message.type}",
            SpanKind.CONSUMER,
            {
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.consumer.group.name": self._service,
                "messaging.destination.name": message.topic,
                "messaging.destination.partition.id": str(message.partition),
                "messaging.kafka.offset": message.offset,
                "messaging.message.id": message.id,
                "messaging.message.conversation_id": message.correlation_id,
            },
            parent=message.traceparent,
        )
        self._spans[position] = span
        return replace(message, traceparent=tracing.traceparent_of(span))


def _tell_of_dead_letter(record: outbox.Record) -> None:
    """A span for each, whatever its sender says of recording; what that does not record is linked instead."""
    headers = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    came_with = headers.get("traceparent", "")
    context, is_recorded = tracing.context_of(came_with), tracing.is_recorded(came_with)
    letter = tracing.begun(
        "dead letter",
        SpanKind.PRODUCER,
        {
            "messaging.destination.name": record.topic,
            "messaging.message.conversation_id": headers.get("ce_correlationid", ""),
            **{name.replace("_", "."): text for name, text in headers.items() if name.startswith("kello_dead_")},
        },
        parent=came_with if is_recorded else None,
        links=[Link(context)] if context is not None and not is_recorded else [],
    )
    tracing.fail(letter, f"{headers.get('kello_dead_kind')}: {headers.get('kello_dead_code')}")
    letter.end()


class TracedRelay(Relay):
    """A relay whose rounds are spans, linked to the records that they publish."""

    async def _publish_round(self, connection: Connection, producer: AIOKafkaProducer, rows: Sequence[Row]) -> None:
        said = [content.headers for row in rows for content in outbox.contents(row["records"])]
        attributes: Attributes = {"messaging.system": "kafka", "messaging.batch.message_count": len(said)}
        links = tracing.links_to(outbox.header(headers, "traceparent") for headers in said)
        with tracing.inside(tracing.begun("publish outbox", SpanKind.PRODUCER, attributes, links=links)):
            await super()._publish_round(connection, producer, rows)


class TracedTasks(TaskRunner):
    """Tasks whose calls to the outside are spans. What is decided on an outcome follows from its call."""

    async def _ended_call(self, kind: TaskKind[Any], claimed: Claimed) -> Ended:
        if kind.perform is None or not tracing.is_wanted(claimed.traceparent):
            return await super()._ended_call(kind, claimed)
        attributes: Attributes = {
            "kello.task.key": claimed.key,
            "kello.task.attempts": claimed.attempts,
            "messaging.message.conversation_id": claimed.correlation_id,
        }
        act = "ask about" if claimed.is_asking else "perform"
        span = tracing.begun(f"{act} {kind.kind}", SpanKind.CLIENT, attributes, parent=claimed.traceparent)
        with tracing.inside(span):
            ended = await super()._ended_call(kind, claimed)
            span.set_attribute("kello.task.state", ended.settled.state)
            if ended.settled.state != "done":
                tracing.fail(span, ended.settled.state)
        return replace(ended, claimed=replace(claimed, traceparent=tracing.traceparent_of(span)))


def _stepping(name: str, act: Callable[..., Awaitable[R]]) -> Callable[..., Awaitable[R]]:
    @wraps(act)
    async def stepping(*args: Any) -> R:
        with tracing.step(name):
            return await act(*args)

    return stepping
