"""A Tessera of its own for a benchmark: embedded, in a temporary folder, on free ports."""

import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from libs.cli.clients import Clients, connect
from libs.cli.home import Home
from libs.cli.log_lines import open_log
from libs.cli.ports import Ports
from libs.cli.stack import Stack
from libs.cli.terminal import out
from tessera.ingest.v1 import event_pb2
from tessera.ingest.v1 import ingest_service_pb2 as ingest


@asynccontextmanager
async def running(services: Sequence[str]) -> AsyncIterator[Clients]:
    """Start the services, and stop them at the end."""
    with tempfile.TemporaryDirectory(prefix="tessera-bench-") as folder:
        home = Home.at(Path(folder) / "home")
        home.create()
        with open_log(home.log, out, "nothing") as log:
            async with Stack(home, Ports.free(), log, given=os.environ, services=services) as stack:
                if late := await stack.wait_until_ready():
                    raise RuntimeError(f"not ready: {', '.join(late)}; see {home.log}")
                async with connect(home.folder, deadline_seconds=60) as clients:
                    yield clients


async def write_key(clients: Clients) -> str:
    """The key of a server source."""
    source = ingest.Source(source_id="bench", kind=event_pb2.SOURCE_KIND_SERVER)
    answer = await (await clients.ingest()).CreateSource(ingest.CreateSourceRequest(source=source))
    return answer.source.write_key


def cpu_seconds(clients: Clients) -> dict[str, float]:
    """The processor time that each service and PostgreSQL have used so far, in seconds."""
    found = {
        name: seconds_of(psutil.Process(service.process_id))
        for name, service in clients.running.services.items()
        if service.process_id
    }
    servers = [p for p in psutil.process_iter(["name"]) if p.info["name"] == "postgres"]
    mine = [p for p in servers if _is_mine(p, clients)]
    return {**found, "postgres": sum(seconds_of(process) for process in mine)}


def memory_bytes(clients: Clients) -> int:
    """The memory that the services hold for themselves alone, in bytes (unique set size)."""
    ids = [service.process_id for service in clients.running.services.values() if service.process_id]
    return sum(int(psutil.Process(process_id).memory_full_info().uss) for process_id in ids)


def seconds_of(process: psutil.Process) -> float:
    """The processor time that a process has used, and those that it started and that have ended."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _is_mine(process: psutil.Process, clients: Clients) -> bool:
    try:
        own = psutil.Process(clients.running.process_id)
        return own in process.parents()
    except psutil.NoSuchProcess:
        return False
