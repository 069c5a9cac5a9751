"""`kello pause`, `kello resume` and `kello offsets`: what an operator says counts at once and lasts."""

import pytest

from shared.harness.kello import Kello
from tests.operations.conftest import Command


@pytest.mark.parametrize("name", ["pause", "resume"])
async def test_an_unknown_service_is_named(command: Command, name: str) -> None:
    said = await command(name, "biling", code=2)
    assert "billing" in said.err


async def test_a_pause_lasts_until_it_is_resumed(kello: Kello, command: Command) -> None:
    said = await command("pause", "billing")
    assert "add --yes" in said.out
    await command("resume", "billing", code=1)
    said = await command("pause", "billing", "--reason", "tonight", "--yes", "--json")
    assert said.document == {"service": "billing", "reason": "tonight", "done": True}
    said = await command("resume", "billing")
    assert "tonight" in said.out
    said = await command("resume", "billing", "--yes")
    assert "goes on" in said.out
    await command("resume", "billing", code=1)
