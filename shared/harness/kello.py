"""Kello in a test: services in this process or as processes of their own, an ordinary producer, eyes on every topic."""

import asyncio
import os
import secrets
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any, TypeAlias, TypeVar
from uuid import uuid4

import asyncpg
import httpx
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from deploy.local.databases import Database
from deploy.local.sandboxes import Sandboxes
from shared.messaging.service import Process, Service
from shared.messaging.topics import partitions_of
from shared.schemas.base import Payload
from shared.schemas.envelope import Envelope, headers

P = TypeVar("P", bound=Payload)
DEADLINE_SECONDS = 20.0
POLL_SECONDS = 0.02
TOKEN = secrets.token_hex(16)
RawRecord: TypeAlias = "ConsumerRecord[bytes, bytes]"


@dataclass(frozen=True, slots=True)
class Event:
    """A record that arrived, as a consumer sees it."""

    type: str
    id: str
    key: str
    payload: Any
    headers: Mapping[str, str]
    record: RawRecord


@dataclass
class Kello:
    """One test's Kello: topics under a prefix and databases of its own. Services run where `running` says."""

    kafka: str
    prefix: str
    make_database: Callable[[str], Awaitable[Database]]
    sandboxes: Sandboxes
    processes: dict[str, list[Process[Any, Any]]] = field(default_factory=lambda: defaultdict(list))
    _databases: dict[str, Database] = field(default_factory=dict)
    _seen: dict[str, list[RawRecord]] = field(default_factory=lambda: defaultdict(list))
    _places: dict[str, list[TopicPartition]] = field(default_factory=dict)
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)
    _producer: AIOKafkaProducer | None = None
    _eyes: AIOKafkaConsumer | None = None

    # Services

    @asynccontextmanager
    async def running(self, *names: str, **settings: Any) -> AsyncIterator[None]:
        """Services in this event loop, ready; drained at the end. Settings go to all of them."""
        async with AsyncExitStack() as running:
            for name in names:
                await running.enter_async_context(self.running_service(service_named(name), **settings))
            yield

    @asynccontextmanager
    async def running_service(self, service: Service[Any, Any], **settings: Any) -> AsyncIterator[Process[Any, Any]]:
        """One process of a service, in this event loop."""
        fields = {**await self.settings(service.name), **settings}
        process = Process(service, service.settings(**fields))
        run = asyncio.create_task(process.run(), name=service.name)
        ready = asyncio.create_task(process.ready.wait())
        try:
            await asyncio.wait({run, ready}, timeout=DEADLINE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if run.done():
                run.result()
            if not process.ready.is_set():
                raise TimeoutError(f"{service.name} was not ready within {DEADLINE_SECONDS:g} s")
            self.processes[service.name].append(process)
            yield process
        finally:
            ready.cancel()
            with suppress(ValueError):
                self.processes[service.name].remove(process)
            process.stop()
            await _finished(run)

    @asynccontextmanager
    async def spawned(
        self, name: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A service as an operating-system process, to be killed. `arguments` replace `-m services.<name>`."""
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            *(arguments or ("-m", f"services.{name}")),
            env={**os.environ, **await self.environment(name), **(environment or {})},
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            yield child
        finally:
            with suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    async def settings(self, name: str) -> dict[str, Any]:
        """What a service is told in this test."""
        boxes = self.sandboxes
        return {
            "kafka": self.kafka,
            "database_url": (await self.database(name)).url,
            "topic_prefix": self.prefix,
            "api_tokens": {TOKEN: [f"{service}:read" for service in ("customer", "billing", "notify", "payroll")]},
            "gateway_url": boxes.gateway.url,
            "sms_url": boxes.sms.url,
            "smtp_host": "127.0.0.1",
            "smtp_port": boxes.mailbox.smtp_port,
        }

    async def environment(self, name: str) -> dict[str, str]:
        """The same, as environment variables."""
        return {
            f"KELLO_{setting.upper()}": value if isinstance(value, str) else orjson.dumps(value).decode()
            for setting, value in (await self.settings(name)).items()
        }

    # Publishing

    async def publish(
        self,
        *payloads: Payload,
        id: str | None = None,  # noqa: A002 - the name that CloudEvents gives it
        source: str = "tests",
        time: datetime | None = None,
        twice: bool = False,
    ) -> list[str]:
        """Sends events and commands as any producer would; returns their ids. `twice` sends each a second time."""
        ids = []
        producer = await self._sender()
        for payload in payloads:
            envelope = Envelope(
                id=id or str(uuid4()),
                source=source,
                type=payload.ce_type,
                time=time or datetime.now(UTC),
                subject=payload.subject,
                correlation_id="",
                causation_id=None,
                traceparent=None,
            )
            value = payload.model_dump_json().encode()
            for _ in range(2 if twice else 1):
                await producer.send(
                    self.prefix + payload.topic, value, payload.kafka_key.encode(), headers=headers(envelope)
                )
            ids.append(envelope.id)
        await producer.flush()
        return ids

    async def publish_raw(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]] = (),
        partition: int | None = None,
    ) -> None:
        """Sends anything at all to a logical topic."""
        producer = await self._sender()
        await producer.send(self.prefix + topic, value, key, partition, headers=list(headers))
        await producer.flush()

    # Looking

    async def expect(self, model: type[P], *, within: float = DEADLINE_SECONDS, count: int = 1, **fields: Any) -> P:
        """The first event of a type whose fields are as given, as soon as `count` of them have arrived.

        Raises AssertionError with what did arrive, after the deadline.
        """
        found: list[P] = []
        async for events in self._looks(model.topic, within):
            found = [
                event.payload
                for event in events
                if isinstance(event.payload, model)
                and all(getattr(event.payload, name) == value for name, value in fields.items())
            ]
            if len(found) >= count:
                return found[0]
        raise AssertionError(
            f"{count} of {model.__name__} with {fields} did not come within {within:g} s; found {len(found)}. "
            f"What came on {model.topic}:\n" + self._arrived(model.topic)
        )

    async def events(self, model: type[P], **fields: Any) -> list[P]:
        """All events of a type that have arrived by now."""
        await self._pump(model.topic)
        return [
            event.payload
            for event in self._events(model.topic)
            if isinstance(event.payload, model)
            and all(getattr(event.payload, name) == value for name, value in fields.items())
        ]

    async def records(self, topic: str) -> list[RawRecord]:
        """Everything on a logical topic up to now, in order within each partition."""
        await self._pump(topic)
        return list(self._seen[topic])

    async def dead_letters(self, service: str, count: int = 0, within: float = DEADLINE_SECONDS) -> list[RawRecord]:
        """The dead letters of a service, once there are at least `count`."""
        async for _ in self._looks(f"{service}.dead-letters", within):
            if len(self._seen[f"{service}.dead-letters"]) >= count:
                break
        letters = self._seen[f"{service}.dead-letters"]
        assert len(letters) >= count, f"{count} dead letters were expected, {len(letters)} came"  # noqa: S101 - a test's
        return list(letters)

    async def until(self, condition: Callable[[], Awaitable[Any]], what: str, within: float = DEADLINE_SECONDS) -> Any:
        """Polls until `condition` returns something true, and returns it."""
        deadline = asyncio.get_running_loop().time() + within
        while not (found := await condition()):
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"{what}: not within {within:g} s")
            await asyncio.sleep(POLL_SECONDS)
        return found

    async def settled(self, *services: str, within: float = 2 * DEADLINE_SECONDS) -> None:
        """Until the services (default: those that run) have taken in, published and done all that is there to do."""
        names = services or tuple(name for name, running in self.processes.items() if running)
        why: list[str] = []

        async def is_settled() -> bool:
            why[:] = [reason for name in names for reason in await self._unsettled(name)]
            return not why

        for _ in range(2):  # what one has published the other takes in
            try:
                await self.until(is_settled, "settled", within)
            except AssertionError:
                raise AssertionError(f"not settled within {within:g} s: {'; '.join(why)}") from None

    async def rows(self, service: str, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """A query on a service's database, as its administrator."""
        connection = await asyncpg.connect((await self.database(service)).admin_url, timeout=5)
        try:
            return await connection.fetch(sql, *arguments, timeout=10)
        finally:
            await connection.close()

    async def get(self, service: str, path: str, token: str | None = TOKEN) -> tuple[int, Any]:
        """Status and body of a GET on a running service's HTTP."""
        process = self.processes[service][0]
        authorization = {"Authorization": f"Bearer {token}"} if token else {}
        async with httpx.AsyncClient(timeout=10) as client:
            response = await client.get(f"http://127.0.0.1:{process.http_port}{path}", headers=authorization)
        is_json = "json" in response.headers.get("content-type", "")
        return response.status_code, response.json() if is_json else response.content

    async def move_clock(self, service: str, **delta: float) -> None:
        """Moves a service's business clock: `days=3`, `hours=-1`."""
        await self.rows(service, "UPDATE messaging.clock SET shift = shift + $1", timedelta(**delta))

    async def database(self, service: str) -> Database:
        if service not in self._databases:
            self._databases[service] = await self.make_database(service)
        return self._databases[service]

    async def close(self) -> None:
        await self._open.aclose()

    async def _unsettled(self, service: str) -> list[str]:
        states = await self.rows(
            service,
            """
            SELECT (SELECT count(*) FROM messaging.outbox) AS outbox,
                (SELECT count(*) FROM messaging.task
                 WHERE state <> 'waiting' OR due_at <= messaging.kello_now()) AS tasks
            """,
        )
        reasons = [f"{service} has {n} {what}" for what, n in states[0].items() if n]
        offsets = {
            (row["topic"], row["partition"]): row["next_offset"]
            for row in await self.rows(
                service,
                "SELECT topic, partition, next_offset FROM messaging.consumer_offset WHERE consumer_group = $1",
                service,
            )
        }
        for process in self.processes[service][:1]:
            ends = await self._ends(process.service.consumes)
            reasons += [
                f"{service} lags on {topic}/{partition}: {offsets.get((topic, partition), 0)} of {end}"
                for (topic, partition), end in ends.items()
                if end > offsets.get((topic, partition), 0)
            ]
        return reasons

    async def _ends(self, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        eyes = await self._watching()
        places = [place for topic in topics for place in await self._partitions(topic)]
        ends = await eyes.end_offsets(places)
        return {(place.topic.removeprefix(self.prefix), place.partition): end for place, end in ends.items()}

    async def _looks(self, topic: str, within: float) -> AsyncIterator[list[Event]]:
        deadline = asyncio.get_running_loop().time() + within
        while True:
            await self._pump(topic)
            yield self._events(topic)
            if asyncio.get_running_loop().time() > deadline:
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _pump(self, topic: str) -> None:
        """Fetches what is there, up to the end as it is now."""
        eyes = await self._watching()
        places = await self._partitions(topic)
        known = eyes.assignment()
        if not known.issuperset(places):
            positions = {place: await eyes.position(place) for place in known}
            eyes.assign([*known.union(places)])  # which forgets every position
            for place in known.union(places):
                eyes.seek(place, positions.get(place, 0))
        ends = await eyes.end_offsets(places)
        while any([await eyes.position(place) < end for place, end in ends.items()]):
            for place, records in (await eyes.getmany(timeout_ms=100)).items():
                self._seen[place.topic.removeprefix(self.prefix)] += records

    async def _partitions(self, topic: str) -> list[TopicPartition]:
        if topic not in self._places:
            physical = self.prefix + topic
            self._places[topic] = (await partitions_of([self.kafka], [physical])).get(physical, [])
        return self._places[topic]

    def _events(self, topic: str) -> list[Event]:
        return [_event(record) for record in self._seen[topic] if record.value is not None]

    def _arrived(self, topic: str) -> str:
        lines = [f"  {event.type} {event.key} {event.payload!r}"[:400] for event in self._events(topic)[-30:]]
        return "\n".join(lines) or "  nothing"

    async def _sender(self) -> AIOKafkaProducer:
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self.kafka, acks="all", max_request_size=4 * 1024 * 1024
            )
            await self._producer.start()
            self._open.push_async_callback(self._producer.stop)
        return self._producer

    async def _watching(self) -> AIOKafkaConsumer:
        if self._eyes is None:
            # Kafka answers in order: a fetch that waits long for records keeps every question behind it waiting, too.
            self._eyes = AIOKafkaConsumer(
                bootstrap_servers=self.kafka, auto_offset_reset="earliest", fetch_max_wait_ms=20
            )
            await self._eyes.start()
            self._open.push_async_callback(self._eyes.stop)
        return self._eyes


def service_named(name: str) -> Service[Any, Any]:
    """The service of that name, as its app.py wires it."""
    service: Service[Any, Any] = import_module(f"services.{name}.app").service()
    return service


def _event(record: RawRecord) -> Event:
    texts = {name: (value or b"").decode("utf-8", "replace") for name, value in record.headers}
    model = Payload.contracts.get(texts.get("ce_type", ""))
    payload: Any = record.value
    if model is not None:
        with suppress(ValueError):
            payload = model.model_validate_json(record.value)
    key = (record.key or b"").decode("utf-8", "replace")
    return Event(texts.get("ce_type", ""), texts.get("ce_id", ""), key, payload, texts, record)


async def _finished(run: asyncio.Task[None]) -> None:
    """A service that was told to stop; a bound for one that does not."""
    done, _ = await asyncio.wait({run}, timeout=2 * DEADLINE_SECONDS)
    if not done:
        run.cancel()
        await asyncio.wait({run}, timeout=5)
        raise TimeoutError(f"{run.get_name()} did not stop")
    run.result()
