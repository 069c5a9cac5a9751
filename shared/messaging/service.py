"""The service shell: settings, pool, roles, health, watchdog, graceful drain. What each app.py wires together."""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Generic, TypeVar

import structlog
import uvloop
from aiokafka.errors import KafkaError
from fastapi import APIRouter
from pydantic import ValidationError
from pydantic_settings import SettingsError

from shared.messaging import dead_letter_store, inbox, logs, offsets, tracing
from shared.messaging.adoption import DatabaseBehindKafka, adopt_what_kafka_has
from shared.messaging.calls import timed
from shared.messaging.claims import Claims, TopicChanged
from shared.messaging.consumer import Consumer
from shared.messaging.database import (
    ACQUIRE_TIMEOUT_SECONDS,
    Pool,
    connect_pool,
    is_transient,
    without_password,
)
from shared.messaging.gauges import Gauges
from shared.messaging.handlers import Handlers
from shared.messaging.http import Server, application, server
from shared.messaging.intake import Intake
from shared.messaging.offsets import Partition, Stand
from shared.messaging.projections import Projection
from shared.messaging.relay import Relay
from shared.messaging.settings import ServiceSettings
from shared.messaging.tasks import TaskKind, TaskRunner
from shared.messaging.topics import partitions_of
from shared.messaging.traced import TracedRelay, TracedTasks, TracedUnit
from shared.messaging.unit import Decided, Load, Save, Unit, named
from shared.messaging.versions import watching_versions
from shared.messaging.working_set import WorkingSet
from shared.schemas.registry import COMPACTED_TOPICS

log = structlog.get_logger(__name__)

S = TypeVar("S", bound=WorkingSet)
T = TypeVar("T")
C = TypeVar("C", bound=ServiceSettings)

EXIT_BAD_SETTINGS = 64
EXIT_NEEDS_AN_OPERATOR = 69
EXIT_STUCK = 70
WATCH_SECONDS = 1.0
GAUGE_SECONDS = 5.0
RETRY_SECONDS = 0.5
GC_THRESHOLD = 1_000_000
"""More than lives while batches are decided: what they leave is freed by counting references, and needs no search."""


@asynccontextmanager
async def no_tasks(_settings: Any) -> AsyncIterator[Sequence[TaskKind[Any]]]:
    """For a service that calls nobody and waits for nothing."""
    yield ()


@dataclass(frozen=True, slots=True)
class Service(Generic[S, C]):
    """What makes a service: its name is its consumer group, its database and its CloudEvents source `kello/<name>`.

    `consumes` and `publishes` are logical topics; `task_kinds` opens the clients of the outside and closes them;
    `routes` makes the read API on a pool; `projections` name what is a copy of others' data.
    """

    name: str
    consumes: Sequence[str]
    publishes: Sequence[str]
    handlers: Handlers[S]
    load: Load[S]
    save: Save[S]
    routes: Callable[[Pool], APIRouter]
    settings: type[C]
    task_kinds: Callable[[C], AbstractAsyncContextManager[Sequence[TaskKind[Any]]]] = no_tasks
    projections: Mapping[str, Projection] = field(default_factory=dict)


class TopicsMissing(Exception):
    """What the service consumes is not on Kafka, and did not come while the service waited."""


class Stuck(Exception):
    """Everything answers, records wait, and nothing moves: the process ends so that another one begins."""


@dataclass(slots=True)
class Process(Generic[S, C]):
    """One running process of a service. `run` owns every task and connection, and ends with them."""

    service: Service[S, C]
    settings: C
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    http_port: int = 0
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)
    _claims: Claims | None = None
    _consumer: Consumer | None = None
    _relay: Relay | None = None
    _tasks: TaskRunner | None = None
    _is_consuming: bool = False
    _gauges: Gauges = field(init=False)

    def __post_init__(self) -> None:
        self._gauges = Gauges(self.service.name)

    def stop(self) -> None:
        """Takes in nothing more, finishes what is in hand, then `run` returns."""
        self._stopping.set()

    async def run(self) -> None:
        """Until `stop`. Raises TopicChanged, TopicsMissing, DatabaseBehindKafka or Stuck: an operator's turn."""
        pool = await self._connected_pool()
        try:
            async with self.service.task_kinds(self.settings) as kinds:
                self._wire(pool, kinds)
                await self._find_topics()
                await self._adopt_before_consuming(pool)
                await self._run_roles(pool)
        finally:
            self._gauges.take_back()
            with suppress(Exception):
                async with asyncio.timeout(5):
                    await pool.close()
            pool.terminate()

    async def _connected_pool(self) -> Pool:
        """Waits for PostgreSQL as long as a start may take."""
        deadline = monotonic() + self.settings.start_timeout_seconds
        while True:
            try:
                return await connect_pool(
                    self.settings.database_url, application=self.service.name, size_max=self.settings.pool_size
                )
            except Exception as error:
                if not is_transient(error) or monotonic() > deadline:
                    raise
                address = without_password(self.settings.database_url)
                log.warning("database_waits", address=address, error=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)

    def _wire(self, pool: Pool, kinds: Sequence[TaskKind[Any]]) -> None:
        service, roles = self.service, self.settings.roles
        unit_of, relay_of, tasks_of = (
            (TracedUnit, TracedRelay, TracedTasks) if tracing.is_on() else (Unit, Relay, TaskRunner)
        )
        unit = unit_of(service.name, pool, service.load, service.save, self._on_commit)
        if "consumer" in roles:
            handlers = watching_versions(service.handlers, service.name)
            intake = Intake(service.name, handlers, self.settings.dead_run_max, unit.rejection_of_poison)
            topics = {self.settings.topic_prefix + topic: topic for topic in service.consumes}
            self._claims = Claims(service.name, pool, topics, COMPACTED_TOPICS, self.settings.dead_run_max)
            self._consumer = Consumer(self.settings, unit, intake, self._claims, topics)
        if "relay" in roles:
            self._relay = relay_of(self.settings, service.name, self._publishes)
        if "tasks" in roles:
            self._tasks = tasks_of(unit, pool, service.handlers, [timed(kind, service.name) for kind in kinds])

    @property
    def _publishes(self) -> list[str]:
        return [*self.service.publishes, f"{self.service.name}.dead-letters"]

    def _on_commit(self, decided: Decided) -> None:
        """Relay and tasks of this process need not wait for their next look."""
        if decided.records and self._relay is not None:
            self._relay.wake()
        if decided.tasks and self._tasks is not None:
            self._tasks.wake({kind for kind, _ in decided.tasks})

    async def _find_topics(self) -> None:
        """Topics are never made by the way. Those that are consumed must be there before Kafka is asked for records."""
        if self._consumer is None:
            return
        wanted = {self.settings.topic_prefix + topic for topic in self.service.consumes}
        deadline = monotonic() + self.settings.start_timeout_seconds
        while True:
            try:
                missing = sorted(wanted - set(await partitions_of(self.settings.kafka_servers, wanted)))
            except (KafkaError, OSError, TimeoutError) as error:
                if monotonic() > deadline:
                    raise
                log.warning("start_waits", error=type(error).__name__)
            else:
                if not missing:
                    return
                if monotonic() > deadline:
                    raise TopicsMissing(f"Kafka lacks {', '.join(missing)}: kello topics apply")
                log.warning("start_waits", missing=missing)
            await asyncio.sleep(RETRY_SECONDS)

    async def _adopt_before_consuming(self, pool: Pool) -> None:
        """Nothing is decided on a database that is behind what it once published."""
        deadline = monotonic() + self.settings.start_timeout_seconds
        while True:
            try:
                async with pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as connection:
                    await adopt_what_kafka_has(connection, self.settings, self.service.name, self._publishes)
                    return
            except Exception as error:
                if not (isinstance(error, KafkaError) or is_transient(error)) or monotonic() > deadline:
                    raise
                log.warning("start_waits", error=type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)

    async def _run_roles(self, pool: Pool) -> None:
        roles: list[asyncio.Task[None]] = []
        web = await self._web(pool)
        try:
            roles += [asyncio.create_task(each, name=name) for name, each in self._role_runs(pool, web)]
            stopping = asyncio.create_task(self._stopping.wait())
            await self._announce(web, [*roles, stopping])
            done, _ = await asyncio.wait({*roles, stopping}, return_when=asyncio.FIRST_COMPLETED)
            for each in done - {stopping}:
                each.result()
                raise RuntimeError(f"the role {each.get_name()} ended by itself")
            await self._drain()
        finally:
            web.should_exit = True
            stopping.cancel()
            await _ended(roles)

    def _role_runs(self, pool: Pool, web: Server) -> list[tuple[str, Coroutine[Any, Any, None]]]:
        runs: list[tuple[str, Coroutine[Any, Any, None]]] = [
            ("api", web.serve([self._socket()])),
            ("watch", self._watch(pool)),
        ]
        if self._consumer is not None:
            runs.append(("consumer", self._consumer.run(self._consuming)))
        if self._relay is not None:
            runs.append(("relay", self._relay.run()))
        if self._tasks is not None:
            runs.append(("tasks", self._tasks.run()))
        return runs

    def _consuming(self) -> None:
        self._is_consuming = True

    async def _web(self, pool: Pool) -> Server:
        """Health and metrics are there whatever the roles; the read API is a role."""
        routes = [self.service.routes(pool)] if "api" in self.settings.roles else []
        return server(
            application(self.service.name, self.settings.api_tokens, routes, self._what_is_dead, self._what_is_missing)
        )

    def _socket(self) -> socket.socket:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((self.settings.http_host, self.settings.http_port))
        self.http_port = listening.getsockname()[1]
        return listening

    async def _announce(self, web: Server, roles: Sequence[asyncio.Task[Any]]) -> None:
        while not (web.started and (self._consumer is None or self._is_consuming)):
            if any(role.done() for role in roles):
                return
            await asyncio.sleep(0.01)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 50, 50)
        log.info("ready", http_port=self.http_port, roles=self.settings.roles)
        self.ready.set()

    def _what_is_dead(self) -> str | None:
        if self._is_consuming and self._consumer is not None and not self._consumer.is_consuming:
            return "the consume loop has ended"
        return None

    def _what_is_missing(self) -> str | None:
        if not self.ready.is_set():
            return "starting"
        return "stopping" if self._stopping.is_set() else None

    async def _drain(self) -> None:
        log.info("draining")
        if self._consumer is not None:
            await self._consumer.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.drain_timeout_seconds):
                if self._tasks is not None:
                    await self._tasks.drain()
                if self._relay is not None:
                    await self._relay.drain()

    async def _watch(self, pool: Pool) -> None:
        """Gauges, the inbox's turn, and the watchdog."""
        still_seconds, looked, gauged = 0.0, monotonic(), 0.0
        before: object = None
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            logs.tell_what_was_left_out()
            now = monotonic()
            progress = await self._progress(pool)
            still_seconds = still_seconds + now - looked if progress is not None and progress == before else 0.0
            before, looked = progress, now
            if still_seconds > self.settings.watchdog_seconds:
                raise Stuck(f"records wait and nothing moved for {still_seconds:.0f} s")
            if now - gauged > GAUGE_SECONDS:
                gauged = now
                await self._keep_house(pool)

    async def _progress(self, pool: Pool) -> object:
        """Where partitions with lag stand; None where none has any, or where PostgreSQL or Kafka does not answer."""
        ends = await self._answered("kafka", self._claims.ends()) if self._claims is not None else None
        stands = await self._answered("postgresql", self._stands(pool))
        if ends is None or stands is None:
            return None
        self._gauges.lag(ends, stands)
        offsets_of = {each: stands[each].next_offset if each in stands else 0 for each in ends}
        return {each: offset for each, offset in offsets_of.items() if ends[each] > offset} or None

    async def _stands(self, pool: Pool) -> dict[Partition, Stand]:
        async with pool.acquire(timeout=ACQUIRE_TIMEOUT_SECONDS) as connection:
            return await offsets.all_stands(connection, self.service.name)

    async def _keep_house(self, pool: Pool) -> None:
        await self._answered("postgresql", inbox.turn_over(pool, self.settings.inbox_horizon_seconds))
        await self._answered("postgresql", dead_letter_store.forget_old_edits(pool))
        is_relay = self._relay is not None and self._relay.is_holding
        await self._answered("postgresql", self._gauges.look(pool, is_relay))

    async def _answered(self, by: str, asked: Awaitable[T]) -> T | None:
        """What was asked of PostgreSQL or Kafka; None where it does not answer."""
        try:
            answer = await asked
        except Exception as error:
            if not is_transient(error) and not isinstance(error, KafkaError):
                raise
            log.info("watch_waits", error=named(error))
            self._gauges.answers(by, is_answering=False)
            return None
        self._gauges.answers(by, is_answering=True)
        return answer


async def _ended(roles: Sequence[asyncio.Task[None]]) -> None:
    """Every role ends: the web server by itself, the rest, drained or failed, by cancellation."""
    for role in roles:
        if role.get_name() != "api":
            role.cancel()
    _, late = await asyncio.wait(roles, timeout=15) if roles else (set(), set())
    for role in late:
        role.cancel()
    await asyncio.gather(*roles, return_exceptions=True)


def main(service: Service[Any, Any]) -> None:
    """`python -m services.<name>`. Exit codes: 0 after a stop, 64 bad settings, 69 an operator's turn, 70 stuck."""
    try:
        settings = service.settings()
    except SettingsError as error:  # a value that should be JSON
        sys.exit(_told(EXIT_BAD_SETTINGS, f"{service.name} cannot start: {error}"))
    except ValidationError as error:
        rules = "; ".join(
            f"KELLO_{'_'.join(str(p) for p in each['loc']).upper()}: {each['msg']}" for each in error.errors()
        )
        sys.exit(_told(EXIT_BAD_SETTINGS, f"{service.name} cannot start. Set these in its environment: {rules}"))
    logs.configure(service.name, settings.log_level)
    sys.exit(uvloop.run(_main(service, settings)))


async def _main(service: Service[Any, Any], settings: ServiceSettings) -> int:
    end_traces = tracing.configure(service.name, settings.traces_url, settings.traces_ratio)
    process = Process(service, settings)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, process.stop)
    try:
        await process.run()
    except (TopicChanged, TopicsMissing, DatabaseBehindKafka) as error:
        log.critical("needs_an_operator", problem=str(error))
        return EXIT_NEEDS_AN_OPERATOR
    except Stuck as error:
        log.critical("stuck", problem=str(error))
        return EXIT_STUCK
    finally:
        await asyncio.to_thread(tracing.end, end_traces)
    return 0


def _told(code: int, message: str) -> int:
    print(message, file=sys.stderr)  # noqa: T201 - before there is a log
    return code
