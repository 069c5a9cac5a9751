"""What each service declares to read of others' events is what it reads: all of it, and no field more."""

import json
from collections.abc import Awaitable, Callable
from importlib import import_module

import pytest

from deploy.local.databases import Database
from shared.messaging.database import connect
from shared.operations.installation import service_named
from shared.schemas.base import Command
from shared.schemas.customer import CustomerProfile, ProfileErased
from shared.schemas.readers import declared
from shared.schemas.registry import model_of, parse
from tests.contracts.scenes import play
from tests.contracts.strict import narrow
from tests.contracts.tracing import Trace
from tests.schemas.payloads import samples_of


@pytest.mark.parametrize("name", ["billing", "customer", "notify", "payroll"])
async def test_a_service_reads_what_it_declares_and_nothing_else(
    name: str, database: Callable[[str], Awaitable[Database]]
) -> None:
    service, trace = service_named(name), Trace()
    connection = await connect((await database(name)).url, application="test")
    try:
        async with connection.transaction():
            await play(service, connection, trace)
    finally:
        await connection.close()
    assert trace.reads.keys() == service.handlers.types
    events = [model_of(ce_type) for ce_type in trace.reads if not issubclass(model_of(ce_type), Command)]
    read = {m.ce_type: sorted({m.key_field, *trace.reads[m.ce_type]}) for m in events if m is not ProfileErased}
    said = declared(name, import_module(f"services.{name}.reads").READS).reads
    assert {ce_type: list(paths) for ce_type, paths in said.items()} == read


def test_a_service_in_a_test_gets_no_field_that_it_does_not_declare() -> None:
    sample = json.dumps(samples_of(CustomerProfile.ce_type)[0]).encode()
    profile = narrow(parse(CustomerProfile.ce_type, sample), ["name", "contact_points[].value", "consents.*.status"])
    assert isinstance(profile, CustomerProfile)
    assert (profile.name, profile.contact_points[0].value) == ("Maria Gruber", "maria.gruber@example.org")
    assert {consent.status for consent in profile.consents.values()} == {"granted", "withdrawn"}
    for read in (lambda: profile.tags, lambda: profile.contact_points[0].channel, lambda: profile.customer_id):
        with pytest.raises(AttributeError):
            read()
