"""Kafka's jars: fetched once, verified each time, and used without a network."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.jars import cache_folder, kafka_jars

ROOT = Path(__file__).parents[2]
NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "PATH": "/nonexistent"}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of this test alone, with every jar in it."""
    jars = kafka_jars(print)
    mine = tmp_path / "kello" / jars.name
    mine.mkdir(parents=True)
    for jar in jars.iterdir():
        (mine / jar.name).symlink_to(jar)
    return mine


def test_what_was_fetched_once_needs_no_network(cache: Path) -> None:
    assert folder_without_network(cache).stdout.strip() == str(cache)


def test_a_damaged_jar_is_never_used(cache: Path) -> None:
    damaged = next(cache.glob("kafka-clients-*.jar"))
    damaged.unlink()
    damaged.write_bytes(b"not a jar")
    assert f"{damaged.name} could not be fetched from Maven Central" in folder_without_network(cache, fetched=1).stderr


def test_a_broken_download_goes_on_where_it_was(cache: Path) -> None:
    cache.rename(cache.with_suffix(".partial"))
    assert folder_without_network(cache).stdout.strip().endswith(str(cache))


def test_two_at_once_make_one_folder(cache: Path) -> None:
    cache.rename(cache.with_suffix(".partial"))
    both = [start_without_network(cache) for _ in range(2)]
    for process in both:
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out.strip().endswith(str(cache))


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "kello"


def start_without_network(cache: Path) -> subprocess.Popen[str]:
    program = "from deploy.local.jars import kafka_jars; print(kafka_jars(print))"
    environment = {**os.environ, **NO_NETWORK, "XDG_CACHE_HOME": str(cache.parents[1]), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(  # noqa: S603 - the test's own command
        [sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def folder_without_network(cache: Path, *, fetched: int = 0) -> subprocess.CompletedProcess[str]:
    process = start_without_network(cache)
    out, err = process.communicate(timeout=60)
    assert (process.returncode != 0) == bool(fetched), err
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
