"""The servers of one test run, in a folder of their own that is gone with them; killed runs are cleaned up after."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from deploy.local.stack import FolderInUse, Stack, lock_folder


@contextmanager
def servers(root: Path, addresses: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """Kafka and PostgreSQL: at `addresses` (KELLO_KAFKA, KELLO_POSTGRES) or as the environment says.

    What is embedded keeps its state under `root`, which git is told to ignore. From the main thread.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / ".gitignore").write_text("*\n")
    _remove_what_killed_runs_left(root)
    folder = root / secrets.token_hex(4)
    with Stack(folder, environment={**os.environ, **(addresses or {})}) as stack:
        yield stack
    shutil.rmtree(folder, ignore_errors=True)  # another run may remove it, too


def _remove_what_killed_runs_left(root: Path) -> None:
    for folder in root.glob("*/"):
        with suppress(FolderInUse), lock_folder(folder):
            shutil.rmtree(folder, ignore_errors=True)
