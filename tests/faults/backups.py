"""Backups of a service's database, by PostgreSQL's own tools: taken while it works, brought back after a loss."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from deploy.local.postgres import binary

TOOL_SECONDS = 60.0
NOTHING_LEFT = """
    DROP SCHEMA public, messaging, migration CASCADE;
    CREATE SCHEMA public AUTHORIZATION pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC
"""


@dataclass(frozen=True, slots=True)
class Backup:
    """One consistent state of a database, in a file."""

    admin_url: str
    file: Path

    async def bring_back(self) -> None:
        """Puts the database in the state of the backup, in one transaction: nobody sees it half-way."""
        arguments = ("--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null")
        await _run("psql", self.admin_url, *arguments, f"--command={NOTHING_LEFT}", f"--file={self.file}")


async def take_backup(admin_url: str, file: Path) -> Backup:
    """A snapshot of everything, the kit's tables included."""
    await _run("pg_dump", admin_url, "--format=plain", f"--file={file}")
    return Backup(admin_url, file)


async def _run(tool: str, admin_url: str, *arguments: str) -> None:
    parts = urlsplit(admin_url)
    process = await asyncio.create_subprocess_exec(
        binary(tool),
        f"--host={parts.hostname}",
        f"--port={parts.port}",
        f"--username={parts.username}",
        f"--dbname={parts.path[1:]}",
        *arguments,
        env={**os.environ, "PGPASSWORD": unquote(parts.password or "")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(TOOL_SECONDS):
        said, _ = await process.communicate()
    assert process.returncode == 0, f"{tool}: {said.decode()}"
