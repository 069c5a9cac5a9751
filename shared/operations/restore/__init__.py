"""`kello restore`: a service's database came back from a backup, and Kafka has what it published since.

What was published is the truth: others acted on it. The records that the service took in since the backup are on Kafka,
too, and a decision is a function of rows, message, moment and ids. So everything is decided once more, in its order,
in one transaction, and must come out as it was published, to the byte: versions, numbers, ledger entries, tasks and
all rows that no event tells of come with it. Nothing of that is published again. What was decided and never published
is decided, too, and published when the service runs. Calls to the outside that may have been made are not made again:
they are unknown, and the service asks about them before anything else. A mail server cannot be asked: what was handed
over and not told of goes once more under the same Message-ID, or not again, as its category says; and where the order
in which the service heard of things cannot be told from what it published, perhaps by another way.

Where an event does not come out again, nothing is changed and the command says which, and what to do.
"""

from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from shared.messaging.retold import Retell
from shared.messaging.service import Service
from shared.messaging.settings import ServiceSettings
from shared.operations.installation import Installation, ServiceName, installation, service_named
from shared.operations.output import USAGE, Failed, Json, Yes, answer, run, table
from shared.operations.restore.restoring import Report, restored

LOST_SHOWN_MAX = 20


def restore(service: ServiceName, yes: Yes = False, as_json: Json = False) -> None:
    """Adopt what a service published after the backup that its database came back from.

    Stop the service first. Without --yes everything is tried and nothing is kept. It needs the settings of the service
    itself, such as KELLO_GATEWAY_URL: a provider may be asked how a payment ended.

    Example: kello restore billing, and when that says what you expect: kello restore billing --yes
    """
    report = run(restore_service(installation(), service, yes=yes))
    answer(asdict(report), *_shown(report), as_json=as_json)


async def restore_service(
    installed: Installation, name: str, *, yes: bool, settings: ServiceSettings | None = None
) -> Report:
    """What the command does. Raises Failed, and then nothing is changed."""
    service = service_named(name)
    async with service.task_kinds(settings or _settings(installed, service)) as kinds:
        return await restored(installed, service, kinds, _retell(name), keep=yes)


def _settings(installed: Installation, service: Service[Any, Any]) -> ServiceSettings:
    try:
        settings: ServiceSettings = service.settings(
            kafka=installed.kafka,
            database_url=installed.database_url(service.name),
            topic_prefix=installed.topic_prefix,
        )
    except ValidationError as error:
        names = ", ".join(f"KELLO_{each['loc'][0]}".upper() for each in error.errors())
        raise Failed(
            f"restoring {service.name} needs settings that {service.name} itself has: set {names} as they are there",
            USAGE,
        ) from None
    return settings


def _retell(name: str) -> Retell:
    retell: Retell = import_module(f"services.{name}.restore").retold
    return retell


def _shown(report: Report) -> Sequence[Any]:
    rows = [
        *((f"on Kafka already: {name}", count) for name, count in report.adopted.items()),
        ("records taken in again", report.taken_in),
        *((f"tasks that ended: {kind}", count) for kind, count in report.ended.items()),
        *((f"calls to ask about: {kind}", count) for kind, count in report.to_ask.items()),
        ("decided and still to be published", report.to_publish),
    ]
    lost = [f"nobody can tell {each}" for each in report.lost[:LOST_SHOWN_MAX]]
    if len(report.lost) > LOST_SHOWN_MAX:
        lost.append(f"and {len(report.lost) - LOST_SHOWN_MAX} more of these: --json has all")
    if report.is_needed and not report.kept:
        lost.append(
            f"Everything came out as it was published. Nothing was changed: add --yes to keep it, with "
            f"{report.service} stopped."
        )
    elif report.is_needed:
        lost.append(f"{report.service} agrees with what it published: start it.")
    else:
        lost.append(f"{report.service} is not behind Kafka: there is nothing to adopt.")
    return [table(report.service, "#", rows=rows), *lost] if report.is_needed else lost
