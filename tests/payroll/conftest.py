"""Payroll, running, on topics and a database of each test alone."""

from collections.abc import AsyncIterator

import pytest

from shared.harness.kello import Kello
from tests.payroll.company import Company


@pytest.fixture
async def company(kello: Kello) -> AsyncIterator[Company]:
    async with kello.running("payroll"):
        yield Company(kello)
