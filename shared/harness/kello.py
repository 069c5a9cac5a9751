"""Kello in a test: services in this process or as processes of their own, an ordinary producer, eyes on every topic.

    await kello.publish(PurchaseRecorded(...))
    invoice = await kello.expect(InvoiceIssued, customer_id=customer)
    mail = await kello.expect_mail(to="ada@example.com")
    kello.gateway.script(Behaviour(decline_code="card_declined"), token="tok_ada")
    await kello.clock.move(days=3)

Every wait has a deadline, and says at its end what came instead.
"""

import asyncio
import os
import secrets
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from importlib import import_module
from typing import Any, TypeVar, cast
from uuid import uuid4

import asyncpg
import httpx
import orjson
from aiokafka import AIOKafkaProducer

from deploy.local.databases import Database
from deploy.local.sandboxes import Gateway, Mailbox, Sandboxes, Sms
from shared.harness.clock import Clock
from shared.harness.expectation import Expectation, letters, refusals
from shared.harness.eyes import POLL_SECONDS, Event, Eyes, RawRecord
from shared.messaging.service import Process, Service
from shared.schemas.base import Payload
from shared.schemas.envelope import Envelope, headers

P = TypeVar("P", bound=Payload)
DEADLINE_SECONDS = 20.0
READY_SECONDS = 60.0
"""A group waits for a member that was killed, until its session ends, before it lets another one begin."""
TOKEN = secrets.token_hex(16)
__all__ = ["DEADLINE_SECONDS", "TOKEN", "Event", "Kello", "RawRecord", "service_named"]


@dataclass
class Kello:
    """One test's Kello: topics under a prefix and databases of its own. Services run where `running` says."""

    kafka: str
    prefix: str
    make_database: Callable[[str], Awaitable[Database]]
    sandboxes: Sandboxes
    processes: dict[str, list[Process[Any, Any]]] = field(default_factory=lambda: defaultdict(list))
    _databases: dict[str, Database] = field(default_factory=dict)
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)
    _producer: AIOKafkaProducer | None = None
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def __post_init__(self) -> None:
        self._eyes = Eyes(self.kafka, self.prefix)
        self._open.push_async_callback(self._eyes.close)
        self.clock = Clock(self._databases)

    @property
    def gateway(self) -> Gateway:
        """The payment gateway: `script` says how it behaves, `captures()` what it did."""
        return self.sandboxes.gateway

    @property
    def mailbox(self) -> Mailbox:
        """The mail server: `script` says how it behaves, `mails()` what it took."""
        return self.sandboxes.mailbox

    @property
    def sms(self) -> Sms:
        """The SMS provider: `script` says how it behaves, `messages()` what it sent."""
        return self.sandboxes.sms

    # Services

    @asynccontextmanager
    async def running(self, *names: str, **settings: Any) -> AsyncIterator[None]:
        """Services in this event loop, ready; drained at the end. Settings go to all of them."""
        async with AsyncExitStack() as running:
            processes = await asyncio.gather(
                *(running.enter_async_context(self.running_service(service_named(n), **settings)) for n in names),
                return_exceptions=True,
            )
            for failure in processes:
                if isinstance(failure, BaseException):
                    raise failure
            try:
                yield
            finally:
                for process in processes:  # all drain at once
                    cast("Process[Any, Any]", process).stop()

    @asynccontextmanager
    async def running_service(self, service: Service[Any, Any], **settings: Any) -> AsyncIterator[Process[Any, Any]]:
        """One process of a service, in this event loop."""
        fields = {**await self.settings(service.name), **settings}
        process = Process(service, service.settings(**fields))
        run = asyncio.create_task(process.run(), name=service.name)
        ready = asyncio.create_task(process.ready.wait())
        try:
            await asyncio.wait({run, ready}, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if run.done():
                run.result()
            if not process.ready.is_set():
                raise TimeoutError(f"{service.name} was not ready within {READY_SECONDS:g} s")
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

        Raises AssertionError with what did arrive, after the deadline; TypeError for a field that the type lacks.
        """
        __tracebackhide__ = True  # pytest points at the line of the test
        expected, found = Expectation(model, fields), list[P]()
        async for events in self._watching().looks(model.topic, within):
            found += expected.among(events)
            if len(found) >= count:
                return found[0]
        raise AssertionError(
            f"{len(found)} of {count} {expected} came within {within:g} s.\n" + await self._told(expected)
        )

    async def events(self, model: type[P], **fields: Any) -> list[P]:
        """All events of a type that have arrived by now."""
        return Expectation(model, fields).among((await self._watching().look(model.topic)).events())

    async def expect_mail(self, to: str, *, subject: str = "", within: float = DEADLINE_SECONDS) -> EmailMessage:
        """The first mail to an address, with these words in its subject, as soon as the mail server took it.

        Raises AssertionError with the mails that did arrive, after the deadline.
        """

        __tracebackhide__ = True

        async def mail() -> bytes | None:
            wanted = (mail for mail in self.mailbox.mails(to) if subject in mail.subject)
            return next((self.mailbox.raw(mail.n) for mail in wanted), None)

        try:
            raw = await self.until(mail, f"a mail to {to}", within)
        except AssertionError as late:
            took = "\n".join(f"  {', '.join(mail.to)}: {mail.subject}" for mail in self.mailbox.mails()[-30:])
            raise AssertionError(f"{late}. What the mail server took:\n{took or '  nothing'}") from None
        return message_from_bytes(raw, EmailMessage, policy=policy.default)

    async def records(self, topic: str) -> list[RawRecord]:
        """Everything on a logical topic up to now, in order within each partition."""
        return list((await self._watching().look(topic)).records)

    async def dead_letters(self, service: str, count: int = 0, within: float = DEADLINE_SECONDS) -> list[RawRecord]:
        """The dead letters of a service, once there are at least `count`."""
        found: list[RawRecord] = []

        async def enough() -> bool:
            found[:] = await self.records(f"{service}.dead-letters")
            return len(found) >= count

        await self.until(enough, f"{count} dead letters of {service}", within)
        return found

    async def until(self, condition: Callable[[], Awaitable[Any]], what: str, within: float = DEADLINE_SECONDS) -> Any:
        """Polls until `condition` returns something true, and returns it."""
        __tracebackhide__ = True
        deadline = asyncio.get_running_loop().time() + within
        while not (found := await condition()):
            if asyncio.get_running_loop().time() > deadline:
                raise AssertionError(f"{what}: not within {within:g} s")
            await asyncio.sleep(POLL_SECONDS)
        return found

    async def settled(self, *services: str, within: float = 2 * DEADLINE_SECONDS) -> None:
        """Until the services (default: those that run) have taken in, published and done all that is there to do.

        They are looked at one after the other. Where nothing was published to any of them from before the first look
        until after the last, whoever was found with nothing to do has had nothing to do since.
        """
        names = services or tuple(name for name, running in self.processes.items() if running)
        consumed = sorted({topic for name in names for each in self.processes[name] for topic in each.service.consumes})
        why: list[str] = []

        async def is_settled() -> bool:
            ends = await self._watching().ends(consumed)
            why[:] = [reason for name in names for reason in await self._unsettled(name, ends)]
            return not why and await self._watching().ends(consumed) == ends

        try:
            await self.until(is_settled, "settled", within)
        except AssertionError:
            left = "; ".join(why) or "more and more is published"
            raise AssertionError(f"not settled within {within:g} s: {left}") from None

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

    async def database(self, service: str) -> Database:
        """The service's database, made when it is first asked for; services that start together share it."""
        async with self._making:
            if service not in self._databases:
                made = await self.make_database(service)
                await self.clock.set(made)
                self._databases[service] = made
        return self._databases[service]

    async def close(self) -> None:
        await self._open.aclose()

    async def _unsettled(self, service: str, ends: Mapping[tuple[str, int], int]) -> list[str]:
        """What is left to do, by one snapshot: offsets move in the transaction that fills outbox and tasks."""
        rows = await self.rows(
            service,
            """
            SELECT (SELECT count(*) FROM messaging.outbox) AS outbox,
                (SELECT count(*) FROM messaging.task
                 WHERE state <> 'waiting' OR due_at <= messaging.kello_now()) AS tasks,
                o.topic, o.partition, o.next_offset
            FROM (VALUES ($1)) AS service (name) LEFT JOIN messaging.consumer_offset AS o ON o.consumer_group = name
            """,
            service,
        )
        offsets = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        consumes = {topic for process in self.processes[service] for topic in process.service.consumes}
        lags = [
            f"{service} lags on {topic}/{partition}: {offsets.get((topic, partition), 0)} of {end}"
            for (topic, partition), end in ends.items()
            if topic in consumes and end > offsets.get((topic, partition), 0)
        ]
        return [f"{service} has {rows[0][what]} {what}" for what in ("outbox", "tasks") if rows[0][what]] + lags

    async def _told(self, expected: Expectation[Any]) -> str:
        """What arrived instead, and what any service refused or put aside."""
        parts = [expected.told((await self._watching().look(expected.model.topic)).events())]
        for service in self._databases:
            parts += refusals((await self._watching().look(f"{service}.events")).events())
            aside = f"{service}.dead-letters"
            parts += letters(aside, (await self._watching().look(aside)).records)
        return "\n".join(parts)

    def _watching(self) -> Eyes:
        self._check_loop()
        return self._eyes

    def _check_loop(self) -> None:
        """Kello lives in the event loop of its fixture; a test in another one would wait for ever."""
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "the test runs in another event loop than the fixture `kello`: give asyncio_default_fixture_loop_scope "
                "and asyncio_default_test_loop_scope the same value"
            )

    async def _sender(self) -> AIOKafkaProducer:
        self._check_loop()
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self.kafka.split(","), acks="all", max_request_size=4 * 1024 * 1024
            )
            await self._producer.start()
            self._open.push_async_callback(self._producer.stop)
        return self._producer


def service_named(name: str) -> Service[Any, Any]:
    """The service of that name, as its app.py wires it."""
    service: Service[Any, Any] = import_module(f"services.{name}.app").service()
    return service


async def _finished(run: asyncio.Task[None]) -> None:
    """A service that was told to stop; a bound for one that does not."""
    done, _ = await asyncio.wait({run}, timeout=2 * DEADLINE_SECONDS)
    if not done:
        run.cancel()
        await asyncio.wait({run}, timeout=5)
        raise TimeoutError(f"{run.get_name()} did not stop")
    run.result()
