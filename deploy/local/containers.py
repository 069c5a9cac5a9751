"""Kafka and PostgreSQL as containers, through testcontainers: Apache's own image in KRaft mode, and PostgreSQL's.

KELLO_KAFKA_IMAGE and KELLO_POSTGRES_IMAGE name others, which must take the environment that these two take.
"""

import os
import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from socket import AF_UNIX, socket
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

import docker
from docker.errors import DockerException, ImageNotFound
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer, ExecConfig
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from deploy.local import kafka, postgres
from deploy.local.processes import Say, StartError

KAFKA_IMAGE = "apache/kafka:4.3.1"
POSTGRES_IMAGE = "postgres:18"
ENGINE_SECONDS = 5
START_SECONDS = 90
LOG_CHARACTERS = 4000
PORT = 9092
ADVERTISED = "/tmp/advertised"  # noqa: S108 - in the container, which is one broker's alone
KAFKA_ENVIRONMENT = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
    "KAFKA_LISTENERS": f"CLIENTS://0.0.0.0:{PORT},BROKER://localhost:9093,CONTROLLER://localhost:9094",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "CLIENTS:PLAINTEXT,BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    **{f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in kafka.SETTINGS.items()},
}
POSTGRES_SETTINGS = ("max_connections", "shared_buffers", "wal_level", "timezone")


def engine_answers() -> bool:
    """Whether there is a Docker engine that we may talk to."""
    if not _is_reachable(urlsplit(os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock")):
        return False
    try:
        client = docker.from_env(timeout=ENGINE_SECONDS)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except DockerException:
        return False
    finally:
        client.close()


def _is_reachable(address: SplitResult) -> bool:
    """Asked before the client is: that one forgets to close a Unix socket at which nobody listens."""
    if address.scheme != "unix":
        return True
    with socket(AF_UNIX) as line:
        line.settimeout(ENGINE_SECONDS)
        return line.connect_ex(address.path) == 0


class Containers:
    """The servers that were asked for, until the end of the `with` block."""

    def __init__(self, say: Say, environment: Mapping[str, str]) -> None:
        self._say = say
        self._kafka_image = environment.get("KELLO_KAFKA_IMAGE") or KAFKA_IMAGE
        self._postgres_image = environment.get("KELLO_POSTGRES_IMAGE") or POSTGRES_IMAGE
        self._open = ExitStack()

    def kafka(self) -> str:
        """Starts a broker; gives its host:port. Raises StartError."""
        container = KafkaContainer(self._kafka_image)
        self._start(container)
        return container.address

    def postgres(self) -> str:
        """Starts a server; gives the administrator's DSN. Raises StartError."""
        password = secrets.token_urlsafe(24)
        container = PostgresContainer(
            self._postgres_image, username=postgres.ADMIN, password=password, dbname="postgres", driver=None
        )
        options = [f"--{name}={postgres.SETTINGS[name]}" for name in POSTGRES_SETTINGS]
        container.with_command(["postgres", *options])
        self._start(container)
        closing = "REVOKE ALL ON DATABASE postgres FROM PUBLIC; REVOKE ALL ON DATABASE template1 FROM PUBLIC"
        psql = [
            "psql",
            "--host",
            "127.0.0.1",
            "--username",
            postgres.ADMIN,
            "--dbname",
            "postgres",
            "--command",
            closing,
        ]
        done = container.exec(ExecConfig(psql, environment={"PGPASSWORD": password}))
        if done.exit_code:
            raise StartError(f"{self._postgres_image}: {done.output.decode('utf-8', 'replace')}")
        return f"postgresql://{postgres.ADMIN}:{password}@{_address(container, 5432)}/postgres"

    def __enter__(self) -> Self:
        self._do_without_reaper_where_there_is_none()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _start(self, container: DockerContainer) -> None:
        self._say(f"Starting {container.image}")
        self._open.callback(container.stop)
        try:
            container.start()
        except DockerException as error:
            raise StartError(
                f"{container.image} did not start: {error}. Where images cannot be pulled, `make images` builds some"
            ) from error
        except (TimeoutError, RuntimeError):
            said = b"\n".join(container.get_logs()).decode("utf-8", "replace")
            raise StartError(f"{container.image} did not start. Its log:\n{said[-LOG_CHARACTERS:]}") from None

    def _do_without_reaper_where_there_is_none(self) -> None:
        """Testcontainers' reaper removes what a killed run leaves. Its image can be missing where others are not."""
        client: Any = docker.from_env(timeout=START_SECONDS)
        try:
            client.images.get(testcontainers_config.ryuk_image)
        except ImageNotFound:
            try:
                client.images.pull(testcontainers_config.ryuk_image)
            except DockerException:
                self._say("Without the image of the reaper a killed run leaves its containers behind")
                testcontainers_config.ryuk_disabled = True
        finally:
            client.close()


class KafkaContainer(DockerContainer):
    """One broker. It must tell clients the address at which they see it, which is known once the container runs."""

    def __init__(self, image: str) -> None:
        super().__init__(image)
        self.with_exposed_ports(PORT).with_envs(**KAFKA_ENVIRONMENT)
        wait = f"while [ ! -f {ADVERTISED} ]; do sleep 0.1; done; . {ADVERTISED}; exec /etc/kafka/docker/run"
        self.with_command(["sh", "-c", wait])

    @property
    def address(self) -> str:
        """host:port for clients."""
        return _address(self, PORT)

    def start(self) -> Self:
        """Raises TimeoutError or RuntimeError when the broker does not serve in time."""
        super().start()
        listeners = f"CLIENTS://{self.address},BROKER://localhost:9093"
        self.copy_into_container(f"export KAFKA_ADVERTISED_LISTENERS={listeners}\n".encode(), ADVERTISED)
        served = LogMessageWaitStrategy("Kafka Server started").with_startup_timeout(START_SECONDS)
        served.wait_until_ready(self)
        return self


def _address(container: DockerContainer, port: int) -> str:
    """host:port. `localhost` can mean ::1 as well, where the port may be another one."""
    host = container.get_container_host_ip()
    return f"{'127.0.0.1' if host == 'localhost' else host}:{container.get_exposed_port(port)}"
