"""Settings that every service has, from the environment (prefix KELLO_) or from files of secrets."""

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ROLES = ("consumer", "relay", "tasks", "api")


def _known_roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    unknown = set(roles) - set(ROLES)
    if unknown or not roles:
        raise ValueError(f"roles must be some of {', '.join(ROLES)}; not {', '.join(sorted(unknown)) or 'none'}")
    return roles


class ServiceSettings(BaseSettings):
    """What every service is told from outside. Each has a default where one is safe."""

    model_config = SettingsConfigDict(env_prefix="KELLO_", extra="ignore", secrets_dir=None)

    kafka: str = Field(min_length=1, description="Kafka's addresses: host:port, separated by commas")
    database_url: str = Field(min_length=1, repr=False, description="postgresql://user:password@host:port/database")
    topic_prefix: str = Field("", pattern=r"^[A-Za-z0-9._-]{0,64}$", description="put before every topic and group")
    http_host: str = "127.0.0.1"
    http_port: int = Field(0, ge=0, le=65535, description="0 picks a free one")
    api_tokens: dict[str, list[str]] = Field(default_factory=dict, repr=False, description="token -> scopes")
    roles: Annotated[tuple[str, ...], AfterValidator(_known_roles)] = ROLES
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$")
    traces_url: str = Field("", description="an OTLP collector, such as http://127.0.0.1:4318/v1/traces; empty: none")
    traces_ratio: float = Field(0.01, ge=0, le=1, description="share of the stories beginning here that are recorded")

    batch_records_max: int = Field(800, ge=1, le=10_000, description="so many records are fetched in one go")
    savers: int = Field(2, ge=1, le=8, description="so many batches are saved side by side when much waits")
    dead_run_max: int = Field(100, ge=1, description="dead letters in a row after which a partition stops")
    inbox_horizon_seconds: float = Field(7 * 24 * 3600, gt=0, description="so long a second publication is known")
    pool_size: int = Field(8, ge=4, le=100)
    start_timeout_seconds: float = Field(60, gt=0)
    drain_timeout_seconds: float = Field(10, gt=0)
    watchdog_seconds: float = Field(60, gt=0, description="so long lag may stand still while everything answers")

    @property
    def kafka_servers(self) -> list[str]:
        return [server.strip() for server in self.kafka.split(",")]
