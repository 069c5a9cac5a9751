"""`kello send`: a command or an event from a JSON file, checked by its contract before it leaves."""

import asyncio
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import orjson
import typer
from aiokafka import AIOKafkaConsumer

from shared.operations.installation import Installation, installation
from shared.operations.output import NO, USAGE, Failed, Json, Yes, answer, run
from shared.operations.records import Seen, seen
from shared.schemas import envelope, registry
from shared.schemas.base import Command, Payload
from shared.schemas.envelope import Envelope, Unreadable

STRUCTURED = [("content-type", b"application/cloudevents+json")]
FETCH_MILLISECONDS = 200


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message that its contract likes."""

    envelope: Envelope
    payload: Payload
    topic: str
    value: bytes

    @property
    def document(self) -> dict[str, Any]:
        return {
            "topic": self.topic,
            "key": self.payload.kafka_key,
            "id": self.envelope.id,
            "type": self.envelope.type,
            "payload": orjson.loads(self.value),
        }


def send(
    file: Annotated[str, typer.Argument(help="JSON: a CloudEvent in structured mode, or a payload; - reads stdin.")],
    type_: Annotated[
        str | None, typer.Option("--type", help="The CloudEvents type, where the file is a payload alone.")
    ] = None,
    source: Annotated[str, typer.Option(help="ce_source, where the file names none.")] = "operator",
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for a command's answer; 0: none.")] = 10.0,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Publish a command or an event, with the key and on the topic that its contract says.

    It is checked first: what breaks its contract does not leave. Of a command the answer is shown; exit code 1 where
    that is a refusal, or does not come in time.

    kello send order.json --type kello.sales.purchase-recorded.v1 --yes
    """
    outgoing, place, answered = run(_send(file, type_, source, wait, do_it=yes))
    document = {**outgoing.document, **place, "answer": asdict(answered) if answered else None, "done": yes}
    what = f"{outgoing.envelope.type} on {outgoing.topic}, key {outgoing.payload.kafka_key}"
    if not yes:
        answer(document, f"would publish {what}: add --yes", as_json=as_json)
        return
    said = f"published {what}, partition {place['partition']}, offset {place['offset']}, id {outgoing.envelope.id}"
    if not isinstance(outgoing.payload, Command) or not wait:
        answer(document, said, as_json=as_json)
        return
    answer(document, said, answered.lines() if answered else f"no answer within {wait:g} s", as_json=as_json)
    if answered is None or (answered.type or "").endswith(".command-rejected.v1"):
        raise typer.Exit(NO)


async def _send(
    file: str, ce_type: str | None, source: str, wait: float, *, do_it: bool
) -> tuple[Outgoing, dict[str, int], Seen | None]:
    """What was checked; where it is on Kafka; and what answered it."""
    outgoing = _checked(_content(file), ce_type, source)
    if not do_it:
        return outgoing, {}, None
    here = installation()
    async with here.consumer() as consumer, here.producer() as producer:
        if is_asked := isinstance(outgoing.payload, Command) and wait > 0:
            await _listen(here, consumer, outgoing)
        there = await producer.send_and_wait(
            here.physical(outgoing.topic),
            outgoing.value,
            outgoing.payload.kafka_key.encode(),
            headers=envelope.headers(outgoing.envelope),
        )
        answered = await _answer(here, consumer, outgoing, wait) if is_asked else None
    return outgoing, {"partition": there.partition, "offset": there.offset}, answered


def _content(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise Failed(f"{file} cannot be read: {error.strerror}", USAGE) from None


def _checked(content: bytes, ce_type: str | None, source: str) -> Outgoing:
    """Raises Failed with the rules of its contract that the message breaks."""
    try:
        event = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise Failed(f"the file is no JSON: {error}") from None
    if not isinstance(event, dict):
        raise Failed("the file must hold one JSON object")
    if "specversion" not in event:
        if ce_type is None:
            raise Failed("name the payload's --type, or send a whole CloudEvent, with its specversion", USAGE)
        event = {"specversion": "1.0", "type": ce_type, "data": event}
    event = {"id": str(uuid4()), "source": source, "time": envelope.rfc3339(datetime.now(UTC)), **event}
    try:
        head, value = envelope.read(STRUCTURED, orjson.dumps(event))
        payload = registry.parse(head.type, value or b"")
    except Unreadable as error:
        raise Failed(str(error)) from None
    head = replace(head, subject=head.subject or payload.subject)
    return Outgoing(head, payload, registry.model_of(head.type).topic, value or b"")


async def _listen(here: Installation, consumer: AIOKafkaConsumer, outgoing: Outgoing) -> None:
    """Stands at the end of the topic on which the command will be answered."""
    places = await here.places_of([outgoing.topic.replace(".commands", ".events")])
    consumer.assign(places)
    for place, end in (await consumer.end_offsets(places)).items():
        consumer.seek(place, end)


async def _answer(here: Installation, consumer: AIOKafkaConsumer, outgoing: Outgoing, wait: float) -> Seen | None:
    """The first event that the command led to; None where none comes in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(wait):
            while True:
                fetched = await consumer.getmany(timeout_ms=FETCH_MILLISECONDS)
                for place, batch in fetched.items():
                    for record in batch:
                        found = seen(here.logical(place.topic), record)
                        if found.causation_id == outgoing.envelope.id:
                            return found
    return None
