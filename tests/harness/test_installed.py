"""Kello as another repository has it: a wheel in an environment of its own, and pytest run by its owners."""

import os
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest

from deploy.environment import ROOT, find_uv
from deploy.local.stack import Stack

SHOP = ROOT / "tests" / "examples" / "shop"
SECONDS = 400.0
"""Of a command that hangs; five tests that start four services each take as long as the machine is busy."""

pytestmark = pytest.mark.timeout(2 * SECONDS)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment in which Kello's wheel is installed. Other packages are lent by our own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder))
    (wheel,) = folder.glob("kello-*.whl")
    uv, python = find_uv(), folder / "venv" / "bin" / "python"
    run(uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(folder / "venv"))
    run(uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", str(python), str(wheel))
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_a_shops_tests_pass_with_nothing_but_the_installed_harness(python: Path, stack: Stack, tmp_path: Path) -> None:
    servers = {"KELLO_KAFKA": stack.kafka, "KELLO_POSTGRES": stack.postgres}
    options = ["--rootdir", str(tmp_path), "-p", "no:cacheprovider"]
    told = run(str(python), "-m", "pytest", *options, cwd=SHOP, **servers)
    assert "5 passed" in told


def test_the_wheel_brings_the_operators_command(python: Path, tmp_path: Path) -> None:
    told = run(str(python.with_name("kello")), "--help", cwd=tmp_path)
    assert "Usage: kello" in told


def test_a_run_that_asks_for_nothing_of_kello_starts_and_imports_nothing(python: Path, tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "import sys\n"
        "def test_own(pytestconfig):\n"
        "    assert pytestconfig.pluginmanager.has_plugin('kello')\n"
        "    assert not {'aiokafka', 'asyncpg', 'fastapi', 'testcontainers'} & sys.modules.keys()\n"
    )
    told = run(str(python), "-m", "pytest", "-p", "no:cacheprovider", "--numprocesses", "1", cwd=tmp_path)
    assert "1 passed" in told
    assert [each.name for each in tmp_path.iterdir() if not each.name.startswith("__")] == ["test_own.py"]


def test_what_the_harness_needs_is_what_is_locked_for_our_own_tests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    ours = {each for group in ("local", "dev") for each in project["dependency-groups"][group] if isinstance(each, str)}
    assert set(project["project"]["optional-dependencies"]["harness"]) <= ours


def run(*command: str, cwd: Path = ROOT, **environment: str) -> str:
    """What a command that ends well says. Neither paths nor addresses of this run reach it but those given."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("KELLO_", "PYTEST_", "PYTHON"))}
    done = subprocess.run(  # noqa: S603 - our own commands
        command, cwd=cwd, env={**ours, **environment}, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
