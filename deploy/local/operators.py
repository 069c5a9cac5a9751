"""What operators of this system are told: the environment of `./kello`, as a file that a shell reads."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from deploy.local.system import System
from deploy.local.topics import PLAN


def operators_environment(system: System) -> dict[str, str]:
    """KELLO_KAFKA and so on (shared/operations/installation.py), with the owner's address of each database.

    And where the outside is: who restores a service may have to ask a provider.
    """
    return {
        **system.outside.settings(),
        "KELLO_KAFKA": system.stack.kafka,
        "KELLO_DATABASES": json.dumps({name: database.owner_url for name, database in system.databases.items()}),
        "KELLO_TOPIC_PREFIX": system.prefix,
        "KELLO_HTTP": json.dumps({name: service.url for name, service in system.services.items()}),
        "KELLO_TOPICS": str(PLAN),
    }


def write_environment(folder: Path, environment: Mapping[str, str]) -> None:
    """Writes <folder>/kello.env, which its owner alone may read, for the passwords."""
    file = folder / "kello.env"
    fresh = file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in environment.items()))
    fresh.replace(file)
