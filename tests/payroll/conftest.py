"""Payroll, running: one for a whole module, in which each test has a department of its own; or one for a test alone."""

import secrets
from collections.abc import AsyncIterator

import pytest

from deploy.local.stack import Stack
from shared.harness.ground import kello_on
from shared.harness.kello import Kello
from tests.payroll.company import Company


@pytest.fixture(scope="module")
async def running_payroll(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Kello]:
    """Topics, a database and a payroll service for the tests of a module, because a start takes longer than a run."""
    async with kello_on(stack, tmp_path_factory.mktemp("sandboxes")) as kello, kello.running("payroll"):
        yield kello


@pytest.fixture
async def company(running_payroll: Kello) -> Company:
    """A department that no other test knows. Its staff, its runs and its payments are this test's alone."""
    return Company(running_payroll, f"dept-{secrets.token_hex(4)}")


@pytest.fixture
async def own_company(kello: Kello) -> AsyncIterator[Company]:
    """Everything for this test alone, where it looks at more than one department or leaves something unfinished."""
    async with kello.running("payroll"):
        yield Company(kello)
