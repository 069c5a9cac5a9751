"""An installation of Kello as its operators reach it: Kafka, and each service's database. Told by environment alone.

    KELLO_KAFKA         host:port[,host:port]
    KELLO_DATABASES     {"billing": "postgresql://billing_owner:…@host:port/billing", …}, as the owner of each
    KELLO_TOPIC_PREFIX  what stands before every topic and group; nothing by default
    KELLO_HTTP          {"billing": "http://host:port", …}: health and metrics of processes; optional
    KELLO_TOPICS        the file that plans the topics; optional
    KELLO_DEAD_RUN_MAX  dead letters in a row after which a partition stops, where the services are told another number

`make up` writes them to .kello/local/kello.env, which `./kello` reads where KELLO_DATABASES is not set.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

import asyncpg
import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from shared.messaging import clients
from shared.messaging.database import CONNECT_TIMEOUT_SECONDS, SESSION, Pool, connect_pool, is_transient
from shared.messaging.database import without_password as address_of
from shared.messaging.offsets import Partition
from shared.messaging.service import Service
from shared.messaging.topics import partitions_of
from shared.operations.output import NOT_ANSWERING, USAGE, Failed, stop

CALL_SECONDS = 10.0
STATEMENT_SECONDS = 10.0
REQUEST_BYTES_MAX = 2 * 1024 * 1024

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class Range(NamedTuple):
    """What Kafka has of a partition: the offsets from `begin` up to before `end`."""

    begin: int
    end: int

    def __str__(self) -> str:
        return f"the offsets {self.begin} to {self.end}"


class Installation(BaseSettings):
    """Where everything is. What it opens has timeouts everywhere, and is closed at the end of the block."""

    model_config = SettingsConfigDict(env_prefix="KELLO_", extra="ignore")

    kafka: str = Field(min_length=1)
    databases: dict[str, SecretStr] = Field(min_length=1, repr=False)
    topic_prefix: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,64}$")
    http: dict[str, str] = Field(default_factory=dict)
    topics: Path | None = None
    dead_run_max: int = Field(100, ge=1)

    @property
    def services(self) -> tuple[str, ...]:
        """The services that it has, by name."""
        return tuple(sorted(self.databases))

    @property
    def kafka_servers(self) -> list[str]:
        return [server.strip() for server in self.kafka.split(",")]

    def database_url(self, service: str) -> str:
        """Raises Failed where the installation has no such service."""
        if service not in self.databases:
            raise Failed(f"there is no service {service} here, but {', '.join(self.services)}", USAGE)
        return self.databases[service].get_secret_value()

    def physical(self, topic: str) -> str:
        """A topic's or group's name on the cluster."""
        return self.topic_prefix + topic

    def logical(self, topic: str) -> str:
        """The design's name of a topic on the cluster."""
        return topic.removeprefix(self.topic_prefix)

    @asynccontextmanager
    async def database(
        self, service: str, *, statement_seconds: float = STATEMENT_SECONDS
    ) -> AsyncIterator[Connection]:
        """One session in a service's database, as its owner. Raises Failed where it does not answer."""
        url = self.database_url(service)
        try:
            connection = await asyncpg.connect(
                url,
                timeout=CONNECT_TIMEOUT_SECONDS,
                command_timeout=statement_seconds + 1,
                server_settings={
                    **SESSION,
                    "application_name": "kello",
                    "statement_timeout": f"{statement_seconds * 1000:.0f}ms",
                },
            )
        except Exception as error:
            if not is_transient(error):
                raise
            raise Failed(f"{service}'s database {address_of(url)} does not answer: {error}", NOT_ANSWERING) from error
        try:
            yield connection
        finally:
            await connection.close(timeout=CONNECT_TIMEOUT_SECONDS)

    async def ranges(self, topics: Iterable[str]) -> dict[Partition, Range]:
        """What Kafka has of each partition of these logical topics; of a topic that is not there, nothing."""
        async with self.consumer() as consumer:
            return await self.ranges_seen_by(consumer, topics)

    async def ranges_seen_by(self, consumer: AIOKafkaConsumer, topics: Iterable[str]) -> dict[Partition, Range]:
        """The same, asked through a consumer that is there already."""
        places = await self.places_of(topics)
        begins, ends = await consumer.beginning_offsets(places), await consumer.end_offsets(places)
        return {
            Partition(self.logical(place.topic), place.partition): Range(begins[place], ends[place]) for place in places
        }

    async def places_of(self, topics: Iterable[str]) -> list[TopicPartition]:
        """The partitions of these logical topics; a consumer knows of none that it was not assigned."""
        try:
            found = await partitions_of(self.kafka_servers, {self.physical(topic) for topic in topics})
        except KafkaError as error:
            raise self._no_kafka(error) from error
        return [place for places in found.values() for place in places]

    @asynccontextmanager
    async def pool(self, service: str) -> AsyncIterator[Pool]:
        """A pool of sessions in a service's database, for what the kit asks a pool for."""
        async with await connect_pool(self.database_url(service), application="kello", size_max=4) as pool:
            yield pool

    @asynccontextmanager
    async def consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer of no group, to be assigned: it reads from where it is told and commits nothing."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka_servers,
            client_id="kello",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=int(CALL_SECONDS * 1000),
            fetch_max_wait_ms=100,
        )
        async with self._started(consumer):
            yield consumer

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AIOKafkaProducer]:
        """A producer that waits for all replicas and partitions by murmur2."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.kafka_servers,
            client_id="kello",
            acks="all",
            enable_idempotence=True,
            max_request_size=REQUEST_BYTES_MAX,
            request_timeout_ms=int(CALL_SECONDS * 1000),
        )
        async with self._started(producer):
            yield producer

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """Kafka's administration."""
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self.kafka_servers, client_id="kello", request_timeout_ms=int(CALL_SECONDS * 1000)
        )
        try:
            await admin.start()
        except KafkaError as error:
            await admin.close()
            raise self._no_kafka(error) from error
        try:
            yield admin
        finally:
            await admin.close()

    @asynccontextmanager
    async def _started(self, client: AIOKafkaConsumer | AIOKafkaProducer) -> AsyncIterator[None]:
        try:
            await client.start()
        except KafkaError as error:
            await clients.stop(client, CALL_SECONDS)
            raise self._no_kafka(error) from error
        try:
            yield
        finally:
            await clients.stop(client, CALL_SECONDS)

    def _no_kafka(self, error: KafkaError) -> Failed:
        return Failed(f"Kafka at {self.kafka} does not answer: {error}", NOT_ANSWERING)


def installation() -> Installation:
    """The installation that the environment names. Exits with what is missing there."""
    try:
        return _of_the_environment()
    except Failed as failed:
        stop(str(failed), failed.code)


def _of_the_environment() -> Installation:
    try:
        return Installation()
    except SettingsError as error:  # a value that should be JSON
        raise Failed(f"the environment is not understood: {error}", USAGE) from None
    except ValidationError as error:
        rules = "; ".join(f"KELLO_{each['loc'][0]!s}".upper() + f": {each['msg']}" for each in error.errors())
        raise Failed(
            f"no installation is named by the environment ({rules}). Run `make up`, or set them; see {__name__}", USAGE
        ) from None


def names_of_services(incomplete: str) -> list[str]:
    """For the shell's completion, which must never fail."""
    try:
        return [name for name in _of_the_environment().services if name.startswith(incomplete)]
    except Failed:
        return []


ServiceName = Annotated[
    str, typer.Argument(metavar="SERVICE", help="Its name: billing, for one.", autocompletion=names_of_services)
]


def service_named(name: str) -> Service[Any, Any]:
    """The service of that name, as its app.py wires it. Raises Failed where there is none."""
    module = f"services.{name}"
    if not name.isidentifier() or find_spec(module) is None:
        raise Failed(f"there is no service {name} in this checkout", USAGE)
    service: Service[Any, Any] = import_module(f"{module}.app").service()
    return service
