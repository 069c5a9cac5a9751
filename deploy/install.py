"""Prepares an installation: every topic of topics.yaml, and for each service a database, its two roles and its schema.

    python -m deploy.install

What is there stays as it is, and newer migrations are applied: it runs before each start. Told by environment:

    KELLO_KAFKA          host:port[,host:port]
    KELLO_POSTGRES       the administrator's postgresql://…/postgres
    KELLO_DATABASES      {"billing": "postgresql://billing_owner:…@host:port/billing", …}, as operators have it
    KELLO_DATABASE_URLS  {"billing": "postgresql://billing:…@host:port/billing", …}, as each service has its own

Passwords are set to what these say. Exit code 1, with a line that says what to do, where topics differ from the plan.
"""

import asyncio
import sys
from urllib.parse import urlsplit

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.local.databases import Database, ensure_database
from deploy.local.topics import TopicsDiffer, create_topics, plan
from shared.messaging.migrate import migrate


class Places(BaseSettings):
    """Where everything is to be."""

    model_config = SettingsConfigDict(env_prefix="KELLO_", extra="ignore")

    kafka: str = Field(min_length=1)
    postgres: str = Field(min_length=1, repr=False)
    databases: dict[str, str] = Field(repr=False)
    database_urls: dict[str, str] = Field(repr=False)
    topic_prefix: str = ""

    def planned(self) -> list[Database]:
        """Each service's database. Raises KeyError for a service that one of the two settings lacks."""
        return [self._database(service) for service in sorted(self.databases.keys() | self.database_urls.keys())]

    def _database(self, service: str) -> Database:
        url, owner_url = self.database_urls[service], self.databases[service]
        name = urlsplit(url).path.removeprefix("/")
        return Database(service, name, url, owner_url, urlsplit(self.postgres)._replace(path=f"/{name}").geturl())


async def install(places: Places) -> list[str]:
    """Gives what was created or applied now, a line each."""
    done = [f"topic {name}" for name in await create_topics(places.kafka, plan(), prefix=places.topic_prefix)]
    for database in places.planned():
        await ensure_database(database)
        applied = await migrate(database.owner_url, database.service)
        done += [f"{database.service}: {migration}" for migration in applied]
    return done


def main() -> int:
    try:
        done = asyncio.run(install(Places()))
    except TopicsDiffer as differing:
        sys.stderr.write(f"{differing}\nA person decides what becomes of topics that differ: kello topics plan\n")
        return 1
    sys.stdout.write("\n".join(done or ["everything is there"]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
