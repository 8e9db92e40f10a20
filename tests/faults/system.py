"""A whole Tessera of real processes, as a person would start it, with handles to hurt it by."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

import asyncpg
import msgspec
import psutil

from cli.access import ADMIN, key_name
from cli.clients import Clients
from cli.home import Home
from cli.lag import drain
from cli.ports import SERVICES, Ports, address
from cli.readiness import READY, listens, state_of
from cli.running import Running
from cli.secret_files import SecretFiles
from tests.e2e.conftest import Up
from tests.integration.messaging.harness import until

READY_SECONDS = 120


class System:
    """The embedded default: `tessera up`, and nothing else."""

    name = "embedded"
    kafka = ""
    namespace = "tessera"

    def __init__(self, folder: Path) -> None:
        self.home = Home.at(folder / "home")
        self.ports = Ports.from_base(_free_base())
        self.up = Up(self.home.folder, self.ports.http)
        self.members: list[Path] = []
        """The logs of further consumers, which tests start."""

    async def start(self) -> None:
        """Return when everything is ready."""
        await asyncio.to_thread(self.up.start)

    async def stop(self) -> None:
        """Stop everything in order."""
        if self.up.process is not None and self.up.process.poll() is None:
            await asyncio.to_thread(self.up.stop)

    @property
    def running(self) -> Running:
        """What runs, as `tessera up` tells it."""
        return msgspec.json.decode(self.home.running.read_bytes(), type=Running)

    @property
    def admin_url(self) -> str:
        """The database, past every proxy."""
        return self.running.database_url

    @property
    def own_logs(self) -> list[Path]:
        """The files that hold the lines of all processes but the further consumers, as JSON."""
        return [self.home.log]

    @property
    def logs(self) -> list[Path]:
        """The files that hold every process's lines."""
        return [*self.own_logs, *self.members]

    def grpc_addresses(self) -> Mapping[str, str]:
        """Where each process answers health."""
        return {name: address(self.ports.grpc[name]) for name in SERVICES}

    def process_of(self, name: str) -> int | None:
        """The process of a service; None between two lives."""
        with suppress(FileNotFoundError, msgspec.DecodeError):
            return self.running.services[name].process_id
        return None

    def consumer_environment(self, service: str) -> dict[str, str]:
        """What a further consumer of a service is told: what the service is, but its addresses."""
        process_id = self.process_of(service)
        assert process_id is not None
        environment = psutil.Process(process_id).environ()
        return {**environment, "GRPC_ADDRESS": "127.0.0.1:0", "METRICS_ADDRESS": ""}

    def postmaster(self) -> int | None:
        """PostgreSQL's first process; None between two lives."""
        with suppress(FileNotFoundError, IndexError):
            return int((self.home.postgres / "data" / "postmaster.pid").read_text().split()[0])
        return None

    async def postgres_accepts(self) -> bool:
        """Whether PostgreSQL takes a connection and answers."""
        try:
            connection = await asyncpg.connect(self.admin_url, timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        connection.terminate()
        return True

    async def not_ready(self) -> list[str]:
        """The processes that do not say that they are ready, and the front door where it is shut."""
        names = list(self.grpc_addresses().values())
        states = await asyncio.gather(*(state_of(at, 1.0) for at in names))
        late = [n for n, state in zip(self.grpc_addresses(), states, strict=True) if state != READY]
        return late if await listens(address(self.ports.http)) else [*late, "http"]

    async def until_ready(self) -> None:
        """Wait until all say that they are ready."""

        async def all_ready() -> bool:
            return not await self.not_ready()

        await until(all_ready, READY_SECONDS, "that everything is ready")

    @asynccontextmanager
    async def clients(self, deadline_seconds: float = 30.0) -> AsyncIterator[Clients]:
        """Calls to all services, with the administrator's key."""
        key = SecretFiles(self.home.secrets).get(key_name(ADMIN))
        async with AsyncExitStack() as stack:
            yield Clients(self.running, key, None, stack, deadline_seconds)

    @asynccontextmanager
    async def admin(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A connection that may see everything."""
        connection = await asyncpg.connect(self.admin_url)
        try:
            yield connection
        finally:
            await connection.close()

    async def drain(self) -> None:
        """Wait until all that is on the log now has had its effects."""
        await drain(self.running)


def _free_base() -> int:
    """The first of sixteen ports that nobody has, below those that the system gives out by itself."""
    while True:
        base = random.SystemRandom().randrange(15_000, 32_000, 16)
        with suppress(OSError):
            for port in range(base, base + 16):
                with closing(socket.socket()) as probe:
                    probe.bind(("127.0.0.1", port))
            return base
