"""What the tests of the embedded stack share."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the servers keep their data, which is not kept."""
    yield tmp_path
    shutil.rmtree(tmp_path)
