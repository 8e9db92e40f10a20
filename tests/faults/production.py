"""Tessera on PostgreSQL and Kafka, each behind a network that a test can take away; profile by roles."""

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import msgspec

from cli.environment import Environment
from cli.local_postgres import open_postgres
from cli.log_lines import open_log
from cli.ports import address
from cli.running import Running, RunningService
from cli.secret_files import SecretFiles
from cli.supervisor import Program, Supervisor
from libs.database.embedded import EmbeddedPostgres, free_port
from tests import kafka as kafka_server
from tests.e2e.conftest import Up
from tests.faults.proxy import Proxy
from tests.faults.system import System
from tests.integration.messaging.harness import until

ROLES = {
    "profile": "serve",
    "profile consumer 1": "consume",
    "profile consumer 2": "consume",
    "profile relay": "relay",
}
_DATABASE = "tessera"


class Production(System):
    """What docs/production.md describes, on loopback: four services by `tessera up`, profile by hand."""

    name = "production"

    def __init__(self, folder: Path, postgres: Path | None = None) -> None:
        super().__init__(folder)
        self.kafka_network, self.postgres_network = Proxy(), Proxy()
        self.broker = kafka_server.KafkaBroker(folder / "kafka", self.kafka_network.port)
        self.kafka = self.broker.bootstrap
        self.postgres_folder = postgres or folder / "postgres"
        self._log_file = folder / "profile.log"
        self._health = {name: address(free_port()) for name in ROLES if name != "profile"}
        self._open = AsyncExitStack()
        self._server: EmbeddedPostgres | None = None
        self._supervisor: Supervisor | None = None

    async def start(self) -> None:
        log = self._open.enter_context(open_log(self._log_file, None, "nothing"))
        await asyncio.to_thread(kafka_server.prepare)
        await asyncio.to_thread(self.broker.start)
        self._open.callback(self.broker.stop)
        # Whoever looks after it in production, too, starts it again when it has ended.
        self._server = await self._open.enter_async_context(open_postgres(self.postgres_folder, log))
        for network, target in ((self.kafka_network, self.broker), (self.postgres_network, self._server)):
            await network.start(target.port)
            self._open.push_async_callback(network.close)
        connection = await asyncpg.connect(self._server.url())
        await connection.execute(f"create database {_DATABASE}")
        await connection.close()
        through = self.admin_url.replace(f":{self._server.port}/", f":{self.postgres_network.port}/")
        settings = {
            "DATABASE_URL": through,
            "EVENT_LOG_URL": f"kafka://127.0.0.1:{self.kafka_network.port}",
        }
        self.up = Up(self.home.folder, self.ports.http, settings, without=["profile"])
        starting = asyncio.create_task(asyncio.to_thread(self.up.start))
        await until(self.home.api_keys.exists, 180, "the API keys")
        environment = await self._migrate(settings)
        self._supervisor = Supervisor(self._programs(environment), log)
        self._supervisor.start()
        self._open.push_async_callback(self._supervisor.stop)
        await starting
        await self.until_ready()

    async def stop(self) -> None:
        await super().stop()
        await self._open.aclose()

    @property
    def running(self) -> Running:
        running = super().running
        profile = RunningService(address(self.ports.grpc["profile"]), "", self.process_of("profile"))
        return msgspec.structs.replace(running, services={**running.services, "profile": profile})

    @property
    def admin_url(self) -> str:
        assert self._server is not None
        return self._server.url(_DATABASE)

    @property
    def own_logs(self) -> list[Path]:
        return [*super().own_logs, self._log_file]

    def grpc_addresses(self) -> Mapping[str, str]:
        return {**super().grpc_addresses(), **self._health}

    def process_of(self, name: str) -> int | None:
        if name in ROLES:
            assert self._supervisor is not None
            return self._supervisor.supervised[name].process_id
        return super().process_of(name)

    def postmaster(self) -> int | None:
        assert self._server is not None
        return self._server.process_id

    async def _migrate(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Create what profile owns; returns its environment."""
        secrets = SecretFiles(self.home.secrets)
        given = {**os.environ, **settings}
        environment = Environment(self.home, self.ports, secrets, given).of("profile")
        process = await asyncio.create_subprocess_exec(*_command("migrate"), env=environment)
        assert await process.wait() == 0
        return environment

    def _programs(self, environment: Mapping[str, str]) -> list[Program]:
        own = {"profile": address(self.ports.grpc["profile"]), **self._health}
        return [
            Program(name, _command(role), {**environment, "GRPC_ADDRESS": own[name], "METRICS_ADDRESS": ""})
            for name, role in ROLES.items()
        ]


def _command(role: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "services.profile", "--role", role)
