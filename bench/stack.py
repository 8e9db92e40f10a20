"""A `tessera up` of its own for a benchmark: in a temporary folder, on free ports, over either log."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import orjson
import psutil

from cli import sources
from cli.clients import Clients, connect
from cli.home import Home
from cli.ports import SERVICES
from cli.running import Running
from libs.errors import FailedPrecondition
from tessera.ingest.v1 import event_pb2
from tests import kafka

_READY_SECONDS = 120
_TESSERA = Path(sys.executable).with_name("tessera")


@asynccontextmanager
async def running(
    services: Sequence[str] = SERVICES, given: Mapping[str, str] | None = None
) -> AsyncIterator[Clients]:
    """Start the services, and stop them at the end. `given` is set in their environment."""
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        home = Home.at(Path(folder) / "home")
        home.create()
        process = _start(home, services, given or {}, _TESSERA)
        try:
            await _ready(home, process)
            async with connect(home.folder, deadline_seconds=60) as clients:
                yield clients
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait)


@contextmanager
def front_door(checkout: Path | None = None) -> Iterator[tuple[int, str]]:
    """The port and a server's key of an ingest alone: of this checkout, or of another that is set up.

    Whatever the other is like: it is asked by its own command.
    """
    tessera = checkout.resolve() / ".venv" / "bin" / "tessera" if checkout is not None else _TESSERA
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        home = Home.at(Path(folder) / "home")
        home.create()
        process = _start(home, ("ingest",), {}, tessera)
        try:
            until = time.monotonic() + _READY_SECONDS
            while not (home.running.exists() and orjson.loads(home.running.read_bytes()).get("ready")):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"tessera up is not ready: {home.log.read_text()[-2000:]}")
                time.sleep(0.1)
            create = (tessera, "sources", "create", "bench", "--json", "--home", home.folder)
            source = orjson.loads(subprocess.run(create, check=True, capture_output=True).stdout)
            http = str(orjson.loads(home.running.read_bytes())["http"])
            yield int(http.rpartition(":")[2]), source.get("write_key") or source["keys"][0]["write_key"]
        finally:
            process.terminate()
            process.wait()


def _start(
    home: Home, services: Sequence[str], given: Mapping[str, str], tessera: Path
) -> subprocess.Popen[bytes]:
    left_out = [part for name in SERVICES if name not in services for part in ("--without", name)]
    own = {k: v for k, v in os.environ.items() if not k.endswith(("DATABASE_URL", "EVENT_LOG_URL"))}
    return subprocess.Popen(
        [tessera, "up", "--home", home.folder, "--port-base", "0", *left_out],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**own, **given},
        # Its services are modules, which Python looks for here first.
        cwd=tessera.parents[2],
    )


async def _ready(home: Home, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(_READY_SECONDS):
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"tessera up has ended: {home.log.read_text()[-2000:]}")
            try:
                if Running.read(home).ready:
                    return
            except FailedPrecondition:
                pass
            await asyncio.sleep(0.1)


@contextmanager
def event_log(name: str) -> Iterator[dict[str, str]]:
    """What chooses a log: `postgres`, or `kafka` with a broker of its own."""
    if name == "postgres":
        yield {}
        return
    kafka.prepare()
    with tempfile.TemporaryDirectory(prefix="tessera-bench-kafka-") as folder:
        broker = kafka.KafkaBroker(Path(folder) / "kafka")
        broker.start()
        try:
            yield {"EVENT_LOG_URL": f"kafka://{broker.bootstrap}"}
        finally:
            broker.stop()


async def write_key(clients: Clients) -> str:
    """The key of a server source."""
    source = await sources.ensure_source(clients, "bench", event_pb2.SOURCE_KIND_SERVER)
    return sources.write_key(source)


def cpu_seconds(clients: Clients) -> dict[str, float]:
    """The processor time that each service and PostgreSQL have used so far, in seconds."""
    named = {s.process_id: name for name, s in clients.running.services.items() if s.process_id}
    found = dict.fromkeys([*named.values(), "postgres"], 0.0)
    for process in _processes(clients):
        name = named.get(process.pid) or ("postgres" if _is_postgres(process) else None)
        if name:
            found[name] += seconds_of(process)
    return found


def memory_bytes(clients: Clients) -> int:
    """The memory of `tessera up` and all that it started, in bytes; what they share counts once (PSS)."""
    total = 0
    for process in _processes(clients):
        try:
            total += int(process.memory_full_info().pss)
        except psutil.NoSuchProcess:
            continue
    return total


def _processes(clients: Clients) -> list[psutil.Process]:
    up = psutil.Process(clients.running.process_id)
    return [up, *up.children(recursive=True)]


def _is_postgres(process: psutil.Process) -> bool:
    try:
        return process.name() == "postgres"
    except psutil.NoSuchProcess:
        return False


def seconds_of(process: psutil.Process) -> float:
    """The processor time that a process has used, and those that it started and that have ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
