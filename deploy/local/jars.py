"""Kafka's jars: named by kafka.lock with size and hash, fetched once per user, shared by all checkouts."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from deploy.local.processes import Say, StartError

if TYPE_CHECKING:
    from jgo.maven import MavenContext

LOCK = Path(__file__).with_name("kafka.lock")
DOWNLOADS_AT_ONCE = 8
TRIES = 3
MAVEN_SECONDS = 300


class FetchError(StartError):
    """A jar could not be fetched, or is not the one that kafka.lock names."""


@dataclass(frozen=True)
class Jar:
    """One line of kafka.lock."""

    group: str
    artifact: str
    version: str
    size: int
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    def is_at(self, path: Path) -> bool:
        """Whether `path` holds exactly this jar."""
        if not path.is_file() or path.stat().st_size != self.size:
            return False
        return hashlib.sha256(path.read_bytes()).hexdigest() == self.sha256


def kafka_jars(say: Say) -> Path:
    """The folder that holds every jar of kafka.lock, verified; fetched from Maven Central when not there yet.

    Any number of processes may ask at once: one fetches, the others wait. A broken download goes on where it was.
    """
    jars = _locked_jars()
    folder = cache_folder() / f"kafka-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    if _complete(folder, jars):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with only_one(folder.with_suffix(".lock")):
        if not _complete(folder, jars):
            partial = folder.with_suffix(".partial")
            if folder.exists() and not partial.exists():  # damaged: what is good of it is kept
                folder.rename(partial)
            shutil.rmtree(folder, ignore_errors=True)
            partial.mkdir(exist_ok=True)
            _fetch(jars, partial, say)
            partial.rename(folder)
    return folder


def cache_folder() -> Path:
    """Where downloads are kept for all checkouts of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kello"


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock file; the kernel lets go of it when we die."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _locked_jars() -> list[Jar]:
    rows = [line.split() for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    return [_jar(*row) for row in rows]


def _jar(name: str, size: str, sha256: str) -> Jar:
    group, artifact, version = name.split(":")
    return Jar(group, artifact, version, int(size), sha256)


def _complete(folder: Path, jars: list[Jar]) -> bool:
    return all(jar.is_at(folder / jar.file_name) for jar in jars)


def _fetch(jars: list[Jar], target: Path, say: Say) -> None:
    missing = [jar for jar in jars if not jar.is_at(target / jar.file_name)]
    say(f"Fetching Apache Kafka: {len(missing)} jars, {sum(jar.size for jar in missing) / 1e6:.0f} MB, once per user")
    started = time.monotonic()
    try:
        _fetch_with_jgo(missing, target)
    except FetchError as failure:
        if not shutil.which("mvn"):
            raise
        say(f"{failure}; trying Maven, which is on the PATH")
        _fetch_with_maven(missing, target)
    shutil.rmtree(target / "m2", ignore_errors=True)
    say(f"Fetched Apache Kafka in {time.monotonic() - started:.0f} s")


def _fetch_with_jgo(jars: list[Jar], target: Path) -> None:
    with warnings.catch_warnings():  # its import looks for folders of a desktop, and warns where there is none
        warnings.simplefilter("ignore")
        from jgo.config import GlobalSettings  # noqa: PLC0415 - only who fetches needs it
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415
    repositories = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    context = MavenContext(resolver=PythonResolver(), repo_cache=target / "m2", remote_repos=repositories, timeout=30)
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE) as pool:
        try:
            list(pool.map(lambda jar: _fetch_one(jar, context, target), jars))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fetch_one(jar: Jar, context: "MavenContext", target: Path) -> None:
    """Fetch one jar, a few times if need be: what a broken download left behind is thrown away first."""
    artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
    reason: object = "its bytes differ from kafka.lock"
    for attempt in range(TRIES):
        time.sleep(attempt)
        try:
            path = artifact.resolve()
        except Exception as failure:  # noqa: BLE001 - jgo raises requests', its own and bare RuntimeErrors
            reason = failure
        else:
            if jar.is_at(path):
                path.replace(target / jar.file_name)
                return
        if artifact.cached_path:
            artifact.cached_path.unlink(missing_ok=True)
    raise FetchError(f"{jar.file_name} could not be fetched from Maven Central: {reason}")


def _fetch_with_maven(jars: list[Jar], target: Path) -> None:
    """Maven knows mirrors and proxies from its own settings."""
    pom = target / "pom.xml"
    pom.write_text(_pom(jars))
    command = ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={target}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MAVEN_SECONDS, check=False)  # noqa: S603 - our own command
    pom.unlink()
    wrong = [jar.file_name for jar in jars if not jar.is_at(target / jar.file_name)]
    if wrong:
        raise FetchError(f"Maven did not bring {', '.join(wrong)}: {done.stdout[-2000:]}")


def _pom(jars: list[Jar]) -> str:
    """A project that depends on exactly these jars and nothing that they would bring."""
    dependencies = "".join(
        f"<dependency><groupId>{escape(jar.group)}</groupId><artifactId>{escape(jar.artifact)}</artifactId>"
        f"<version>{escape(jar.version)}</version><exclusions><exclusion><groupId>*</groupId>"
        "<artifactId>*</artifactId></exclusion></exclusions></dependency>"
        for jar in jars
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>kello</groupId><artifactId>kafka-jars</artifactId><version>1</version>"
        f"<dependencies>{dependencies}</dependencies></project>"
    )
